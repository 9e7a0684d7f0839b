//! Certificates made by openssl, good ones and bad ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::workplace;

/// A certification authority of a test's own.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, as PEM files that belong to us.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How a certificate shall be.
pub(crate) struct Leaf<'a> {
    pub(crate) common_name: &'a str,
    /// Lines of openssl's extension file; without any, openssl 3.0 writes version 1.
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

    /// One that signs itself, with just these extensions, whether they make it an authority or not.
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

    /// One below this one, with just these extensions.
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

    /// Itself as a server.
    pub(crate) fn itself(&self) -> Pair {
        private(&self.file("ca.key"));
        Pair { certificate: self.file("ca.crt"), key: self.file("ca.key") }
    }

    /// A file with several certificates.
    pub(crate) fn bundle(&self, name: &str, certificates: &[&Path]) -> PathBuf {
        let texts = certificates.iter().map(|path| fs::read(path).expect("openssl wrote it"));
        let path = self.file(name);
        fs::write(&path, texts.collect::<Vec<_>>().concat()).expect("the folder is writable");
        path
    }

    /// Its own certificate: what `sslrootcert` is set to.
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

    /// A certificate of `localhost` that signs itself and says CA:TRUE, as PostgreSQL's manual makes one.
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

    /// Writes a key in another form, made by an openssl command that takes `-in` and `-out`.
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
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{told}");
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

/// Nothing of the system's own, which adds extensions.
const CONFIGURATION: &str = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=unnamed\n";
