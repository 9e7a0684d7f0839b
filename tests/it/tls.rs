//! TLS with real servers, and the real psql beside us: the same URL must come to the same end.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use db_pool_exporter::dsn;
use db_pool_exporter::pool::{Peer, QueryError, Reason};

use crate::support::authority::{Authority, Leaf, Pair};
use crate::support::client::{Outcome, at_home, connect, outcome, pool, psql};
use crate::support::postgres::{Builder, Cluster};
use crate::support::{wait_for, workplace};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

const HOSTSSL_ONLY: &str = "hostnossl all all 127.0.0.1/32 reject";
const HOSTNOSSL_ONLY: &str = "hostssl all all 127.0.0.1/32 reject";
const CLIENT_CERTIFICATE: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca";

/// Two authorities, one of which nobody's server knows, and an empty home.
struct Scene {
    authority: Authority,
    stranger: Authority,
    home: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            authority: Authority::new("authority"),
            stranger: Authority::new("stranger"),
            home: workplace::folder("home"),
        }
    }

    fn issue(&self, leaf: &Leaf<'_>) -> Pair {
        self.authority.issue("server", leaf)
    }

    /// The URLs of these sslmodes with each kind of root file.
    fn urls(cluster: &Cluster, host: &str, modes: &[&str], roots: &[&Path]) -> Vec<String> {
        let mut urls = Vec::new();
        for mode in modes {
            urls.push(url(cluster, host, &[("sslmode", mode)]));
            for root in roots {
                urls.push(url(cluster, host, &[("sslmode", mode), ("sslrootcert", text(root))]));
            }
        }
        urls
    }

    /// Fails unless we and psql come to the same end with each of these; tells how often to which.
    async fn agree(&self, what: &str, urls: &[String]) -> [usize; 3] {
        let mut differences = String::new();
        let mut counts = [0; 3];
        for url in urls {
            let (ours, (theirs, told)) =
                tokio::join!(connect(url, &self.home), psql(url, &self.home));
            counts[theirs as usize] += 1;
            if outcome(&ours) != theirs {
                let _ = writeln!(differences, "{url}\n  we: {ours:?}\n  psql: {theirs:?} {told}");
            }
        }
        assert!(differences.is_empty(), "{what}:\n{differences}");
        counts
    }
}

#[tokio::test]
async fn every_sslmode_comes_to_the_end_that_psql_comes_to() {
    let scene = Scene::new();
    let (root, other) = (scene.authority.certificate(), scene.stranger.certificate());
    let good = scene.issue(&Leaf::default());
    let other_name = &["subjectAltName=DNS:other.example"][..];
    let wrong = Leaf { common_name: "other.example", extensions: other_name, ..Leaf::default() };
    let expired = scene.issue(&Leaf { days: -1, ..Leaf::default() });
    let servers = [
        ("no TLS", Cluster::builder()),
        ("a private CA", server(&good)),
        ("a wrong host name", server(&scene.issue(&wrong))),
        ("an expired certificate", server(&expired)),
        (
            "a demand for a client certificate",
            with_client_ca(server(&good), &scene).hba(CLIENT_CERTIFICATE),
        ),
        ("hostssl only", server(&good).hba(HOSTSSL_ONLY)),
        ("hostnossl only", server(&good).hba(HOSTNOSSL_ONLY)),
    ];
    let mut counts = [0; 3];
    for (what, builder) in servers {
        let cluster = start(builder);
        let urls = Scene::urls(&cluster, "localhost", &MODES, &[&root, &other]);
        let found = scene.agree(what, &urls).await;
        counts.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    assert!(counts.iter().all(|n| *n > 10), "there is something of everything: {counts:?}");
}

#[tokio::test]
async fn certificates_as_users_really_have_them_are_judged_as_psql_does() {
    let scene = Scene::new();
    let self_signed = scene.authority.self_signed("self", &[]);
    let ca_leaf = ["basicConstraints=critical,CA:TRUE", "subjectAltName=DNS:localhost"];
    let leaf = |common_name, extensions| Leaf { common_name, extensions, ..Leaf::default() };
    let old = Leaf { days: -1, ..leaf("x", &ca_leaf) };
    // Of the same name as the authority that is trusted, but with a key of its own.
    let namesake = Authority::new("authority");
    let client_only = ["extendedKeyUsage=clientAuth", "subjectAltName=DNS:localhost"];
    let ip_only = ["subjectAltName=IP:127.0.0.1"];
    let servers = [
        ("signs itself, CA:TRUE", self_signed),
        ("an authority itself, expired", scene.authority.issue("old", &old)),
        ("version 1 of a namesake", namesake.issue("v1", &leaf("localhost", &[]))),
        ("an authority of a namesake", namesake.issue("sub", &leaf("localhost", &ca_leaf))),
        ("version 1", scene.authority.issue("v1", &leaf("localhost", &[]))),
        (
            "version 1, expired",
            scene.authority.issue("v1x", &Leaf { days: -1, ..leaf("localhost", &[]) }),
        ),
        ("version 1 of a stranger", scene.stranger.issue("v1", &leaf("localhost", &[]))),
        ("an authority itself", scene.authority.issue("authority", &leaf("x", &ca_leaf))),
        ("only for clients", scene.authority.issue("use", &leaf("localhost", &client_only))),
        (
            "common name only",
            scene.authority.issue("cn", &leaf("localhost", &["keyUsage=digitalSignature"])),
        ),
        (
            "common name with a star",
            scene.authority.issue("star", &leaf("*.localhost", &["keyUsage=digitalSignature"])),
        ),
        ("IP address", scene.authority.issue("ip", &leaf("x", &ip_only))),
    ];
    for (what, pair) in &servers {
        let cluster = start(server(pair));
        let root = scene.authority.certificate();
        let roots: [&Path; 2] = [&root, &pair.certificate];
        let mut urls = Scene::urls(&cluster, "localhost", &MODES[2..], &roots);
        urls.extend(Scene::urls(&cluster, "127.0.0.1", &["verify-full"], &roots));
        for version in ["TLSv1.2", "TLSv1.3"] {
            let parameters = [("sslmode", "require"), ("ssl_max_protocol_version", version)];
            urls.push(url(&cluster, "localhost", &parameters));
        }
        scene.agree(what, &urls).await;
    }
}

#[tokio::test]
async fn a_root_file_at_home_is_used_for_require_too() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let folder = scene.home.join(".postgresql");
    fs::create_dir(&folder).unwrap();
    let urls = Scene::urls(&cluster, "localhost", &MODES, &[]);
    for (root, require) in
        [(&scene.authority, Outcome::Encrypted), (&scene.stranger, Outcome::Refused)]
    {
        fs::copy(root.certificate(), folder.join("root.crt")).unwrap();
        scene.agree("a root file at home", &urls).await;
        let url = url(&cluster, "localhost", &[("sslmode", "require")]);
        assert_eq!(outcome(&connect(&url, &scene.home).await), require);
    }
}

#[tokio::test]
async fn client_certificates_are_read_in_every_form() {
    let scene = Scene::new();
    let cluster = start(
        with_client_ca(server(&scene.issue(&Leaf::default())), &scene).hba(CLIENT_CERTIFICATE),
    );
    let ours = |name, kind| {
        let leaf = Leaf {
            common_name: "app",
            extensions: &["keyUsage=digitalSignature"],
            kind,
            ..Leaf::default()
        };
        scene.authority.issue(name, &leaf)
    };
    let (ec, rsa) = (ours("ec", Leaf::default().kind), ours("rsa", &["-newkey", "rsa:2048"]));
    let convert = |pair, name, command: &[&str]| scene.authority.convert(pair, name, command);
    let stranger = scene.stranger.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    let pairs = [
        convert(&ec, "sec1", &["ec"]),
        convert(&rsa, "pkcs1", &["rsa", "-traditional"]),
        convert(&ec, "der", &["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]),
        ec.clone(),
        rsa.clone(),
        stranger,
    ];
    for pair in &pairs {
        let urls = [with_certificate(&cluster, pair, "require")];
        scene.agree("a client certificate", &urls).await;
        assert_eq!(
            psql(&urls[0], &scene.home).await.0 == Outcome::Encrypted,
            pair.key != pairs[5].key
        );
    }
    let refused = connect(&with_certificate(&cluster, &pairs[5], "require"), &scene.home).await;
    assert_eq!(refused.unwrap_err().reason, Reason::Tls, "the server says so after the handshake");
    let locked = convert(&pairs[3], "locked", &["pkcs8", "-topk8", "-passout", "pass:x"]);
    let error = connect(&with_certificate(&cluster, &locked, "require"), &scene.home).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("sslkey") && error.contains("encrypted"), "{error}");
}

#[tokio::test]
async fn a_server_can_be_made_to_ask_for_a_certificate() {
    let scene = Scene::new();
    let pair = scene.issue(&Leaf::default());
    let ours = scene.authority.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    let servers = [(server(&pair), false), (with_client_ca(server(&pair), &scene), true)];
    for (builder, asks) in servers {
        let cluster = start(builder);
        let url = with_certificate(&cluster, &ours, "require");
        let required = connect(&format!("{url}&sslcertmode=require"), &scene.home).await;
        assert_eq!(required.is_ok(), asks, "{required:?}");
        let disabled = connect(&format!("{url}&sslcertmode=disable"), &scene.home).await;
        assert_eq!(outcome(&disabled), Outcome::Encrypted);
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_as_psql_refuses_it() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let pair = scene.authority.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    for mode in [0o600, 0o400, 0o640, 0o644, 0o660, 0o604] {
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(mode)).unwrap();
        let urls = [with_certificate(&cluster, &pair, "require")];
        scene.agree(&format!("a key of mode {mode:o}"), &urls).await;
    }
}

#[tokio::test]
async fn files_that_are_named_must_be_there() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    for (parameter, value) in
        [("sslrootcert", "/nowhere/root.crt"), ("sslcert", "/nowhere/app.crt")]
    {
        for mode in ["prefer", "require", "verify-full"] {
            let url = url(&cluster, "localhost", &[("sslmode", mode), (parameter, value)]);
            let error = connect(&url, &scene.home).await.unwrap_err();
            assert_eq!(error.reason, Reason::Tls, "{url}: {error}");
            assert!(error.to_string().contains(parameter), "{error}");
        }
    }
}

#[tokio::test]
async fn channel_binding_is_demanded_and_had() {
    let scene = Scene::new();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-sha384"];
    let rsa = ["-newkey", "rsa:2048", "-sha512"];
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sha384"];
    for (name, pair) in [
        ("P-384", scene.issue(&Leaf { kind: &curve, ..Leaf::default() })),
        ("SHA-512", scene.issue(&Leaf { kind: &rsa, ..Leaf::default() })),
        ("RSA-PSS", scene.authority.self_signed("pss", &pss)),
    ] {
        let cluster = start(server(&pair));
        cluster.psql("SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'secret'");
        let mut urls = Vec::new();
        for binding in ["disable", "prefer", "require"] {
            for mode in ["disable", "prefer", "require"] {
                let parameters = [("sslmode", mode), ("channel_binding", binding)];
                let url = url(&cluster, "localhost", &parameters);
                urls.push(url.replace("//app:", "//old:"));
                urls.push(url);
            }
        }
        let [refused, plain, encrypted] = scene.agree(name, &urls).await;
        assert!(refused > 0 && plain > 0 && encrypted > 0);
        let url =
            url(&cluster, "localhost", &[("sslmode", "require"), ("channel_binding", "require")]);
        assert_eq!(outcome(&connect(&url, &scene.home).await), Outcome::Encrypted, "{name}");
    }
}

#[tokio::test]
async fn a_unix_socket_never_has_tls() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let folder = text(cluster.folder());
    let urls: Vec<String> = MODES
        .iter()
        .map(|mode| {
            let port = cluster.port();
            format!("postgresql://app@:{port}/postgres?host={folder}&sslmode={mode}")
        })
        .collect();
    assert_eq!(scene.agree("a Unix socket", &urls).await, [0, 6, 0]);
}

#[tokio::test]
async fn the_version_the_cipher_and_the_certificates_end_are_told() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    for (parameters, version) in [
        (&[("sslmode", "require")][..], "TLSv1.3"),
        (&[("sslmode", "require"), ("ssl_max_protocol_version", "TLSv1.2")], "TLSv1.2"),
    ] {
        let server = connect(&url(&cluster, "localhost", parameters), &scene.home).await.unwrap();
        let tls = server.tls.expect("it is encrypted");
        assert_eq!(tls.version, version);
        assert!(tls.cipher.starts_with("TLS_"), "{tls:?}");
        let left = tls.not_after.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((left.as_secs_f64() / 86400.0 - 10.0).abs() < 0.1, "{left:?}");
    }
}

#[tokio::test]
async fn both_ways_of_prefer_are_told_when_neither_works() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let wrong = url(&cluster, "localhost", &[("sslmode", "prefer")]).replace(":secret@", ":wrong@");
    let error = connect(&wrong, &scene.home).await.unwrap_err();
    assert_eq!(error.reason, Reason::Auth);
    assert!(error.message.contains("without TLS: "), "{error}");
}

#[tokio::test]
async fn a_statement_over_tls_is_cancelled_over_tls() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())).hba(HOSTSSL_ONLY));
    let pool = pool(&url(&cluster, "localhost", &[("sslmode", "require")]), at_home(&scene.home));
    let mut checkout = pool.check_out().await.unwrap();
    let slow = checkout.simple("SELECT pg_sleep(60)", Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(QueryError::Timeout { .. })));
    drop(checkout);
    tokio::task::spawn_blocking(move || {
        wait_for("the statement to end", Duration::from_secs(10), || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
            (cluster.psql(sql) == "0").then_some(())
        });
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_systems_certificates_do_not_vouch_for_a_private_one() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let url = url(&cluster, "localhost", &[("sslrootcert", "system")]);
    let error = connect(&url, &scene.home).await.unwrap_err();
    assert_eq!(error.reason, Reason::Tls, "{error}");
}

#[tokio::test]
async fn direct_negotiation_works_with_those_who_know_it() {
    let scene = Scene::new();
    let good = scene.issue(&Leaf::default());
    let parameters = [("sslmode", "require"), ("sslnegotiation", "direct")];
    let old = start(server(&good).version(15));
    assert!(connect(&url(&old, "localhost", &parameters), &scene.home).await.is_err());
    let new = start(server(&good).version(17));
    let server = connect(&url(&new, "localhost", &parameters), &scene.home).await.unwrap();
    assert_eq!(outcome(&Ok(server)), Outcome::Encrypted);
}

#[test]
fn where_a_server_is_reads_as_an_address() {
    let (tcp, unix) = (Peer::Tcp("[::1]:5432".parse().unwrap()), Peer::Unix("/run/x".into()));
    assert_eq!((tcp.to_string(), unix.to_string()), ("[::1]:5432".to_owned(), "/run/x".to_owned()));
}

/// A server with this certificate.
fn server(pair: &Pair) -> Builder {
    Cluster::builder()
        .setting("ssl", "on")
        .file("server.crt", pair.certificate_text())
        .file("server.key", pair.key_text())
}

fn with_client_ca(builder: Builder, scene: &Scene) -> Builder {
    let root = fs::read(scene.authority.certificate()).expect("openssl wrote it");
    builder.setting("ssl_ca_file", "root.crt").file("root.crt", root)
}

fn start(builder: Builder) -> Cluster {
    let cluster = builder.start();
    cluster.role("app", "secret");
    cluster
}

fn url(cluster: &Cluster, host: &str, parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let url =
        format!("postgresql://app:secret@{host}:{}/postgres?{}", cluster.port(), pairs.join("&"));
    assert!(dsn::parse(&url).is_ok(), "{url}");
    url
}

fn with_certificate(cluster: &Cluster, pair: &Pair, mode: &str) -> String {
    let (certificate, key) = (text(&pair.certificate), text(&pair.key));
    url(cluster, "localhost", &[("sslmode", mode), ("sslcert", certificate), ("sslkey", key)])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("made of plain characters")
}
