//! `tls_server_config`.

use std::borrow::Cow;

use std::os::unix::fs::MetadataExt;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::Folder;
use super::names::{cipher_suite, curve, versions};
use super::section::Section;
use super::settings::{ClientAuth, ClientCertificates, TlsSettings};
use crate::problem::{Problem, Problems};

const KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_ca_file",
    "client_auth_type",
    "client_allowed_sans",
    "cipher_suites",
    "curve_preferences",
    "min_version",
    "max_version",
    "prefer_server_cipher_suites",
];

/// The permission of others to read a file.
const OTHERS_READ: u32 = 0o004;

/// Any of these switches TLS on, as in the toolkit.
const SWITCHES: [&str; 7] =
    ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"];

/// Reads the section; `None` for plain HTTP, or if problems were added.
pub(super) fn read(
    root: &Section<'_>,
    folder: &mut Folder<'_>,
    problems: &mut Problems,
) -> Option<TlsSettings> {
    let section = root.section("tls_server_config", &KEYS, problems);
    let mut reader = Reader { section: &section, folder, problems };
    let on = SWITCHES.iter().any(|key| section.scalar(key).is_some_and(|v| v.as_str() != Some("")));
    let suites = reader.names("cipher_suites", cipher_suite);
    let curves = reader.names("curve_preferences", curve);
    let versions = reader.versions();
    let prefer_server_suites = section.flag("prefer_server_cipher_suites", reader.problems);
    let client = reader.client();
    if !on {
        return None;
    }
    let chain = reader.chain();
    let key = reader.key();
    Some(TlsSettings {
        chain: chain?,
        key: key?,
        client: client?,
        versions,
        suites,
        curves,
        prefer_server_suites: prefer_server_suites.unwrap_or(true),
    })
}

struct Reader<'r, 'y, 'f> {
    section: &'r Section<'y>,
    folder: &'r mut Folder<'f>,
    problems: &'r mut Problems,
}

impl Reader<'_, '_, '_> {
    fn chain(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        match self.pem("cert", "cert_file") {
            Found::Text(key, text) => self.certificates(key, &text),
            Found::Nothing => {
                self.add("cert", "cert or cert_file is needed for TLS");
                None
            }
            Found::Problem => None,
        }
    }

    fn key(&mut self) -> Option<PrivateKeyDer<'static>> {
        let found = self.pem("key", "key_file");
        self.warn_of_readers(&found);
        match found {
            Found::Text(key, text) => match PrivateKeyDer::from_pem_slice(&text) {
                Ok(private) => Some(private),
                Err(_) => {
                    self.add(key, "holds no private key in PEM without a passphrase");
                    None
                }
            },
            Found::Nothing => {
                self.add("key", "key or key_file is needed for TLS");
                None
            }
            Found::Problem => None,
        }
    }

    /// Warns if all users of the machine may read the file that holds the key. It is still used: with
    /// mounted secrets the mode is often not in the user's hands.
    fn warn_of_readers(&mut self, found: &Found) {
        let Found::Text(key, _) = *found else { return };
        let path = if key == "key" {
            self.folder.file.to_owned()
        } else {
            let Some(file) = self.section.text(key, self.problems) else { return };
            self.folder.path.join(file.as_ref())
        };
        // The file was read just now, so that its file system answers.
        let mode = std::fs::metadata(&path).map_or(0, |found| found.mode());
        if mode & OTHERS_READ != 0 {
            let place = format!("tls_server_config.{key}");
            let message = "every user of this machine may read the private key; chmod o-r its file";
            self.folder.warnings.push(Problem::new(place, message));
        }
    }

    fn client(&mut self) -> Option<ClientCertificates> {
        let auth = self.client_auth();
        let authorities = match self.pem("client_ca", "client_ca_file") {
            Found::Text(key, text) => Some((key, self.certificates(key, &text)?)),
            Found::Nothing => None,
            Found::Problem => return None,
        };
        let names = self.section.list("client_allowed_sans", self.problems);
        let auth = auth?;
        match &authorities {
            Some((key, _)) if auth == ClientAuth::None => {
                self.add(key, "needs a client_auth_type that verifies");
            }
            None if auth.verifies() => {
                self.add("client_auth_type", "needs client_ca or client_ca_file");
            }
            Some(_) | None => {}
        }
        if names.is_some() && !auth.requires() {
            let message = "needs a client_auth_type of RequireAnyClientCert or RequireAndVerifyClientCert: \
                           with others a client without a certificate has no name that could be checked";
            self.add("client_allowed_sans", message);
        }
        Some(ClientCertificates {
            auth,
            authorities: authorities.map(|(_, found)| found).unwrap_or_default(),
            allowed_names: names.map(|names| names.into_iter().map(Cow::into_owned).collect()),
        })
    }

    fn client_auth(&mut self) -> Option<ClientAuth> {
        match self.section.text("client_auth_type", self.problems).as_deref() {
            None | Some("NoClientCert") => Some(ClientAuth::None),
            Some("RequestClientCert") => Some(ClientAuth::Request),
            // The second is an older name, which the toolkit still takes.
            Some("RequireAnyClientCert" | "RequireClientCert") => Some(ClientAuth::RequireAny),
            Some("VerifyClientCertIfGiven") => Some(ClientAuth::VerifyIfGiven),
            Some("RequireAndVerifyClientCert") => Some(ClientAuth::RequireAndVerify),
            Some(_) => {
                self.add(
                    "client_auth_type",
                    "must be NoClientCert, RequestClientCert, RequireAnyClientCert, \
                     VerifyClientCertIfGiven or RequireAndVerifyClientCert",
                );
                None
            }
        }
    }

    fn versions(&mut self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let min = self.section.text("min_version", self.problems);
        let max = self.section.text("max_version", self.problems);
        versions(min.as_deref().unwrap_or("TLS12"), max.as_deref().unwrap_or("TLS13"))
            .unwrap_or_else(|wrong| {
                for (key, what) in [("min_version", wrong.min), ("max_version", wrong.max)] {
                    if let Some(what) = what {
                        self.add(key, what);
                    }
                }
                Vec::new()
            })
    }

    fn names<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        find: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let names = self.section.list(key, self.problems).unwrap_or_default();
        let mut found = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            match find(&name) {
                Ok(value) => found.push(value),
                Err(what) => self.add(&format!("{key}[{index}]"), what),
            }
        }
        found
    }

    fn certificates(&mut self, key: &str, text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        let certificates: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(text).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) | Err(_) => {
                self.add(key, "holds no certificate in PEM");
                None
            }
        }
    }

    /// The text of a key, or of the file that its twin names.
    fn pem(&mut self, inline: &'static str, file: &'static str) -> Found {
        let text = self.section.text(inline, self.problems);
        let path = self.section.text(file, self.problems);
        match (text, path) {
            (Some(text), Some(_)) => {
                self.add(file, format!("cannot be given together with {inline}"));
                // The text is checked too, so that all problems are reported at once.
                Found::Text(inline, Zeroizing::new(text.as_bytes().into()))
            }
            (Some(text), None) => Found::Text(inline, Zeroizing::new(text.as_bytes().into())),
            (None, Some(path)) => {
                match self.folder.files.read(&self.folder.path.join(path.as_ref())) {
                    Ok(text) => Found::Text(file, Zeroizing::new(text)),
                    Err(error) => {
                        self.add(file, error);
                        Found::Problem
                    }
                }
            }
            (None, None) => Found::Nothing,
        }
    }

    fn add(&mut self, key: &str, what: impl std::fmt::Display) {
        self.problems.add(self.section.problem(key, what.to_string()));
    }
}

/// The value of a key or its twin, with the key that has it.
enum Found {
    Text(&'static str, Zeroizing<Vec<u8>>),
    Nothing,
    Problem,
}
