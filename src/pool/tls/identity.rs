//! Our own certificate and its key, for servers that ask for one.
//!
//! `sslcert` and `sslkey`, or `postgresql.crt` and `postgresql.key` in the user's folder; read at
//! each connect, so that renewed ones are picked up. The rule about a key's permissions is libpq's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::{Problem, problem};
use crate::dsn::{self, CertMode};

/// What we show a server that asks; and whether it did.
#[derive(Debug, Default)]
pub(super) struct Identity {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    pub(super) fn load(
        tls: &dsn::Tls,
        folder: Option<&Path>,
        provider: &CryptoProvider,
    ) -> Result<Self, Problem> {
        let certificate = match &tls.cert {
            _ if tls.cert_mode == Some(CertMode::Disable) => None,
            Some(path) => Some(path.clone()),
            None => folder.map(|f| f.join("postgresql.crt")).filter(|path| path.exists()),
        };
        let Some(certificate) = certificate else { return Ok(Self::default()) };
        let chain = read_chain(&certificate)?;
        let key = tls.key.clone().or_else(|| folder.map(|f| f.join("postgresql.key")));
        let missing = || problem(format!("sslcert {} has no sslkey", certificate.display()));
        let key = read_key(&key.ok_or_else(missing)?, tls.key_password.is_some())?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            problem(format!("sslcert {} and its sslkey: {error}", certificate.display()))
        })?;
        Ok(Self { certified: Some(Arc::new(certified)), asked: AtomicBool::new(false) })
    }

    /// Whether the server has asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    /// Always, so that we are told when the server asks.
    fn has_certs(&self) -> bool {
        true
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let shown = path.display();
    let bytes = fs::read(path)
        .map_err(|error| problem(format!("sslcert {shown} cannot be read: {error}")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(problem(format!("sslcert {shown} holds no certificate in PEM form"))),
    }
}

/// Reads a key of PKCS#8, PKCS#1 or SEC1, in PEM or DER form.
fn read_key(path: &PathBuf, has_password: bool) -> Result<PrivateKeyDer<'static>, Problem> {
    let shown = path.display();
    check_permissions(path)?;
    let bytes = fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| problem(format!("sslkey {shown} cannot be read: {error}")))?;
    if contains(&bytes, b"ENCRYPTED") {
        let hint = if has_password { " (sslpassword is of no use here)" } else { "" };
        return Err(problem(format!(
            "sslkey {shown} is encrypted, which is not supported{hint}: decrypt it with `openssl pkey`"
        )));
    }
    let key = match contains(&bytes, b"-----BEGIN") {
        true => PrivateKeyDer::from_pem_slice(&bytes).ok(),
        false => PrivateKeyDer::try_from(bytes.as_slice()).ok().map(|key| key.clone_key()),
    };
    key.ok_or_else(|| problem(format!("sslkey {shown} holds no key of PKCS#8, PKCS#1 or SEC1")))
}

/// A key that others can read is refused: 0600, or 0640 if it belongs to root.
fn check_permissions(path: &Path) -> Result<(), Problem> {
    let shown = path.display();
    let found = fs::metadata(path)
        .map_err(|error| problem(format!("sslkey {shown} cannot be read: {error}")))?;
    if !found.is_file() {
        return Err(problem(format!("sslkey {shown} is not a regular file")));
    }
    let forbidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    match found.mode() & forbidden {
        0 => Ok(()),
        _ => Err(problem(format!(
            "sslkey {shown} can be read by others: it must be 0600, or 0640 if it belongs to root"
        ))),
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
