//! Servers with certificates, and URLs to connect to them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use db_pool_exporter::dsn;

use super::authority::{Authority, Leaf, Pair};
use super::client::{connect, outcome, psql};
use super::postgres::{Builder, Cluster};
use super::workplace;

pub(crate) const MODES: [&str; 6] =
    ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

pub(crate) const HOSTSSL_ONLY: &str = "hostnossl all all 127.0.0.1/32 reject";
pub(crate) const HOSTNOSSL_ONLY: &str = "hostssl all all 127.0.0.1/32 reject";
pub(crate) const CLIENT_CERTIFICATE: &str =
    "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca";

/// Two certificate authorities, one of them used by no server, and an empty home directory.
pub(crate) struct Scene {
    pub(crate) authority: Authority,
    pub(crate) stranger: Authority,
    pub(crate) home: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene {
            authority: Authority::new("authority"),
            stranger: Authority::new("stranger"),
            home: workplace::folder("home"),
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> Pair {
        self.authority.issue("server", leaf)
    }

    /// URLs with each of these sslmodes and each kind of root file.
    pub(crate) fn urls(
        cluster: &Cluster,
        host: &str,
        modes: &[&str],
        roots: &[&Path],
    ) -> Vec<String> {
        let mut urls = Vec::new();
        for mode in modes {
            urls.push(url(cluster, host, &[("sslmode", mode)]));
            for root in roots {
                urls.push(url(cluster, host, &[("sslmode", mode), ("sslrootcert", text(root))]));
            }
        }
        urls
    }

    /// Fails unless the exporter and psql get the same result for each URL; returns the number of each result.
    pub(crate) async fn agree(&self, what: &str, urls: &[String]) -> [usize; 3] {
        let mut differences = String::new();
        let mut counts = [0; 3];
        for url in urls {
            let (ours, (theirs, message)) =
                tokio::join!(connect(url, &self.home), psql(url, &self.home));
            counts[theirs as usize] += 1;
            if outcome(&ours) != theirs {
                let _ =
                    writeln!(differences, "{url}\n  we: {ours:?}\n  psql: {theirs:?} {message}");
            }
        }
        assert!(differences.is_empty(), "{what}:\n{differences}");
        counts
    }
}

/// Starts a server with this certificate.
pub(crate) fn server(pair: &Pair) -> Builder {
    Cluster::builder()
        .setting("ssl", "on")
        .file("server.crt", pair.certificate_text())
        .file("server.key", pair.key_text())
}

pub(crate) fn with_client_ca(builder: Builder, scene: &Scene) -> Builder {
    let root = fs::read(scene.authority.certificate()).expect("openssl wrote it");
    builder.setting("ssl_ca_file", "root.crt").file("root.crt", root)
}

pub(crate) fn start(builder: Builder) -> Cluster {
    let cluster = builder.start();
    cluster.role("app", "secret");
    cluster
}

pub(crate) fn url(cluster: &Cluster, host: &str, parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let url =
        format!("postgresql://app:secret@{host}:{}/postgres?{}", cluster.port(), pairs.join("&"));
    assert!(dsn::parse(&url).is_ok(), "{url}");
    url
}

pub(crate) fn with_certificate(cluster: &Cluster, pair: &Pair, mode: &str) -> String {
    let (certificate, key) = (text(&pair.certificate), text(&pair.key));
    url(cluster, "localhost", &[("sslmode", mode), ("sslcert", certificate), ("sslkey", key)])
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("made of plain characters")
}
