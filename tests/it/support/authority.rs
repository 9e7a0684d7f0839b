//! Certificates made by openssl, good ones and bad ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::workplace;

/// A certificate authority for one test.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, as PEM files owned by the present user.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The properties of a certificate to create.
pub(crate) struct Leaf<'a> {
    pub(crate) common_name: &'a str,
    /// Lines of openssl's extension file. Without any, openssl 3.0 creates a version 1 certificate.
    pub(crate) extensions: &'a [&'a str],
    pub(crate) days: i32,
    /// Arguments that choose the key and the hash.
    pub(crate) kind: &'a [&'a str],
}

/// For a key on P-256.
pub(crate) const ECDSA: &[&str] =
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-sha256"];

impl Default for Leaf<'_> {
    fn default() -> Self {
        Self {
            common_name: "localhost",
            extensions: &["subjectAltName=DNS:localhost,IP:127.0.0.1"],
            days: 10,
            kind: ECDSA,
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        Authority::with(name, &["basicConstraints=critical,CA:TRUE"])
    }

    /// Creates a self-signed certificate with exactly these extensions, even if they do not make it an authority.
    pub(crate) fn with(name: &str, extensions: &[&str]) -> Authority {
        let authority = Authority::empty();
        let extensions: Vec<&str> = extensions.iter().flat_map(|text| ["-addext", text]).collect();
        authority.openssl(
            &[&["req", "-x509", "-nodes", "-days", "10"], ECDSA, &extensions].concat(),
            &[("-subj", &format!("/CN={name}"))],
            &[("-config", "conf"), ("-keyout", "ca.key"), ("-out", "ca.crt")],
        );
        authority
    }

    /// Creates an intermediate authority with exactly these extensions.
    pub(crate) fn below(&self, name: &str, extensions: &[&str]) -> Authority {
        let pair = self.issue(name, &Leaf { common_name: name, extensions, ..Leaf::default() });
        let authority = Authority::empty();
        fs::copy(pair.certificate, authority.file("ca.crt")).expect("both are ours");
        fs::copy(pair.key, authority.file("ca.key")).expect("both are ours");
        authority
    }

    fn empty() -> Authority {
        let authority = Authority { folder: workplace::folder("authority") };
        fs::write(authority.file("conf"), CONFIGURATION).expect("the folder is writable");
        authority
    }

    /// The authority's own certificate and key, for use as a server's.
    pub(crate) fn itself(&self) -> Pair {
        private(&self.file("ca.key"));
        Pair { certificate: self.file("ca.crt"), key: self.file("ca.key") }
    }

    /// Writes a file with several certificates.
    pub(crate) fn bundle(&self, name: &str, certificates: &[&Path]) -> PathBuf {
        let texts = certificates.iter().map(|path| fs::read(path).expect("openssl wrote it"));
        let path = self.file(name);
        fs::write(&path, texts.collect::<Vec<_>>().concat()).expect("the folder is writable");
        path
    }

    /// Its own certificate, for `sslrootcert`.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// Signs a certificate.
    pub(crate) fn issue(&self, name: &str, leaf: &Leaf<'_>) -> Pair {
        let file = |ending: &str| format!("{name}.{ending}");
        self.openssl(
            &[&["req", "-new", "-nodes"], leaf.kind].concat(),
            &[("-subj", &format!("/CN={}", leaf.common_name))],
            &[("-config", "conf"), ("-keyout", &file("key")), ("-out", &file("csr"))],
        );
        fs::write(self.file(&file("ext")), leaf.extensions.join("\n")).expect("it is writable");
        let hash: Vec<&str> = leaf.kind.iter().copied().filter(|k| k.starts_with("-sha")).collect();
        let mut files = vec![("-in", file("csr")), ("-out", file("crt"))];
        files.extend([("-CA", "ca.crt".to_owned()), ("-CAkey", "ca.key".to_owned())]);
        if !leaf.extensions.is_empty() {
            files.push(("-extfile", file("ext")));
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(flag, name)| (*flag, name.as_str())).collect();
        let days = leaf.days.to_string();
        self.openssl(
            &[&["x509", "-req", "-CAcreateserial"], &hash[..]].concat(),
            &[("-days", &days)],
            &files,
        );
        self.pair(name)
    }

    /// A self-signed certificate for `localhost` with CA:TRUE, created as in PostgreSQL's manual.
    pub(crate) fn self_signed(&self, name: &str, options: &[&str]) -> Pair {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let words = ["req", "-x509", "-nodes", "-days", "10", "-newkey", "rsa:2048"];
        self.openssl(
            &[&words[..], &["-addext", "basicConstraints=critical,CA:TRUE"], options].concat(),
            &[("-subj", "/CN=localhost")],
            &[("-config", "conf"), ("-keyout", &key), ("-out", &certificate)],
        );
        self.pair(name)
    }

    /// Converts the key with an openssl command that takes `-in` and `-out`.
    pub(crate) fn convert(&self, pair: &Pair, name: &str, command: &[&str]) -> Pair {
        let key = self.file(name);
        let from = pair.key.to_str().expect("made of plain characters");
        self.openssl(command, &[("-in", from)], &[("-out", name)]);
        private(&key);
        Pair { certificate: pair.certificate.clone(), key }
    }

    fn pair(&self, name: &str) -> Pair {
        let key = self.file(&format!("{name}.key"));
        private(&key);
        Pair { certificate: self.file(&format!("{name}.crt")), key }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn openssl(&self, words: &[&str], values: &[(&str, &str)], files: &[(&str, &str)]) {
        let mut command = Command::new("openssl");
        command.args(words).current_dir(&self.folder);
        for (flag, value) in values.iter().chain(files) {
            command.args([flag, value]);
        }
        let output = command.output().expect("openssl is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{errors}");
    }
}

impl Pair {
    pub(crate) fn certificate_text(&self) -> Vec<u8> {
        fs::read(&self.certificate).expect("openssl wrote it")
    }

    pub(crate) fn key_text(&self) -> Vec<u8> {
        fs::read(&self.key).expect("openssl wrote it")
    }
}

fn private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// An empty openssl configuration, because the system's own one adds extensions.
const CONFIGURATION: &str = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=unnamed\n";
