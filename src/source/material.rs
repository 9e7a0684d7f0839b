//! The certificates and logins that requests need from files. They are read on a separate thread, and again
//! every few seconds, because tokens and certificates are replaced while the daemon runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::settings::{Login, SourceSettings};
use crate::files::FileReader;
use crate::secret::Secret;

/// The time after which the files are read again.
const KEEP: Duration = Duration::from_secs(10);

/// The largest file of certificates, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The TLS settings and the login for requests, read from files.
#[derive(Clone)]
pub(super) struct Material {
    /// Makes TLS of a connection, or the reason for which it cannot.
    pub(super) tls: Result<TlsConnector, String>,
    /// The header `Authorization`, or the reason for which it cannot be made; `None` without a login.
    pub(super) authorization: Result<Option<Secret>, String>,
}

/// The files of a [`Material`], and the names of their options.
pub(super) struct MaterialFiles<'a> {
    pub(super) login: Option<&'a Login>,
    pub(super) ca: Option<&'a Path>,
    pub(super) files: &'a FileReader,
    /// Stands before `ca`, `bearer_token_file` and `password_file` in messages.
    pub(super) prefix: &'static str,
}

impl Material {
    /// Reads what requests need. `needs_tls`: at least one of them goes over https.
    pub(super) async fn read(wanted: &MaterialFiles<'_>, needs_tls: bool) -> Self {
        let tls = match wanted.ca {
            _ if !needs_tls => Err("https is not configured".to_owned()),
            None => system().await,
            Some(path) => own(wanted, path).await,
        };
        Self { tls, authorization: authorization(wanted).await }
    }
}

/// The last [`Material`], and when it was read.
#[derive(Default)]
pub(super) struct Materials {
    last: Option<(Instant, Material)>,
}

impl Materials {
    /// Returns what requests need.
    pub(super) async fn get(&mut self, settings: &SourceSettings, needs_tls: bool) -> Material {
        let now = Instant::now();
        if let Some((at, material)) = &self.last
            && now.duration_since(*at) < KEEP
        {
            return material.clone();
        }
        let wanted = MaterialFiles {
            login: settings.login.as_ref(),
            ca: settings.ca.as_deref(),
            files: &settings.files,
            prefix: "status_",
        };
        let kept = self.last.take().and_then(|(_, material)| material.tls.ok());
        let material = match kept {
            // The system's certificates are read once.
            Some(kept) if settings.ca.is_none() && needs_tls => {
                Material { tls: Ok(kept), authorization: authorization(&wanted).await }
            }
            Some(_) | None => Material::read(&wanted, needs_tls).await,
        };
        // What could not be read is tried again at the next poll.
        let is_whole = material.authorization.is_ok() && (material.tls.is_ok() || !needs_tls);
        self.last = is_whole.then(|| (now, material.clone()));
        material
    }

    /// Reads the files again at the next poll: a login was refused.
    pub(super) fn expire(&mut self) {
        if let Some((at, _)) = &mut self.last {
            *at = at.checked_sub(KEEP).unwrap_or(*at);
        }
    }
}

async fn own(wanted: &MaterialFiles<'_>, path: &Path) -> Result<TlsConnector, String> {
    let prefix = wanted.prefix;
    let pem = wanted.files.read_async(path, LARGEST).await;
    let pem = pem.map_err(|error| format!("{prefix}ca {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| format!("{prefix}ca is not a PEM file"))?;
        roots.add(certificate).map_err(|_| format!("{prefix}ca holds what is no certificate"))?;
    }
    if roots.is_empty() {
        Err(format!("{prefix}ca holds no certificate"))
    } else {
        connector(roots)
    }
}

async fn system() -> Result<TlsConnector, String> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.map_err(|error| error.to_string())?.certs);
    if roots.is_empty() {
        Err("the system has no certificates".to_owned())
    } else {
        connector(roots)
    }
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn authorization(wanted: &MaterialFiles<'_>) -> Result<Option<Secret>, String> {
    let MaterialFiles { files, prefix, .. } = wanted;
    match wanted.login {
        None => Ok(None),
        Some(Login::Bearer(path)) => {
            let token = files.read_secret_async(path).await;
            let token = token.map_err(|error| format!("{prefix}bearer_token_file {error}"))?;
            Ok(Some(Secret::new(format!("Bearer {}", token.reveal().trim()))))
        }
        Some(Login::Basic { username, password }) => {
            let password = files.read_secret_async(password).await;
            let password = password.map_err(|error| format!("{prefix}password_file {error}"))?;
            let login = Secret::new(format!("{username}:{}", password.reveal()));
            Ok(Some(basic(&login)))
        }
    }
}

/// The header of a `user:password`.
pub(super) fn basic(login: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(login.reveal())))
}
