//! The client certificate and its key, for servers that ask for one.
//!
//! `sslcert` and `sslkey`, or `postgresql.crt` and `postgresql.key` in the user's folder; read at
//! each connect, so that renewed ones are picked up. The rule about a key's permissions is libpq's.

use std::fs::Metadata;
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

use super::{Problem, problem};
use crate::dsn::{self, CertMode};
use crate::files::FileReader;

/// The client certificate, and the record whether the server has asked for one.
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
        files: &FileReader,
    ) -> Result<Self, Problem> {
        let certificate = match &tls.cert {
            _ if tls.cert_mode == Some(CertMode::Disable) => None,
            Some(path) => Some(path.clone()),
            None => existing(folder.map(|folder| folder.join("postgresql.crt")), files)?,
        };
        let Some(certificate) = certificate else { return Ok(Self::default()) };
        let chain = read_chain(&certificate, files)?;
        let key = tls.key.clone().or_else(|| folder.map(|f| f.join("postgresql.key")));
        let key =
            key.ok_or_else(|| problem(format!("sslcert {} has no sslkey", certificate.display())))?;
        let key = read_key(&key, files)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            problem(format!("sslcert {} and its sslkey: {error}", certificate.display()))
        })?;
        Ok(Self { certified: Some(Arc::new(certified)), asked: AtomicBool::new(false) })
    }

    /// Reports whether the server has asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    /// Always, so that `resolve` is called when the server asks: `sslcertmode=require` depends on it.
    fn has_certs(&self) -> bool {
        true
    }
}

fn read_chain(path: &Path, files: &FileReader) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let shown = path.display();
    let bytes =
        files.read(path, LARGEST).map_err(|error| problem(format!("sslcert {shown} {error}")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(problem(format!("sslcert {shown} holds no certificate in PEM form"))),
    }
}

/// Reads a key of PKCS#8, PKCS#1 or SEC1, in PEM or DER form.
fn read_key(path: &Path, files: &FileReader) -> Result<PrivateKeyDer<'static>, Problem> {
    let shown = path.display();
    let content = files
        .read_with_metadata(path, LARGEST)
        .map_err(|error| problem(format!("sslkey {shown} {error}")))?;
    check_permissions(path, &content.metadata)?;
    let bytes = content.bytes;
    if contains(&bytes, b"ENCRYPTED") {
        return Err(problem(format!(
            "sslkey {shown} is encrypted, which is not supported, with sslpassword or without: decrypt it with `openssl pkey`"
        )));
    }
    let key = if contains(&bytes, b"-----BEGIN") {
        PrivateKeyDer::from_pem_slice(&bytes).ok()
    } else {
        PrivateKeyDer::try_from(bytes.as_slice()).ok().map(|key| key.clone_key())
    };
    key.ok_or_else(|| problem(format!("sslkey {shown} holds no key of PKCS#8, PKCS#1 or SEC1")))
}

/// Refuses a key that others can read, as libpq does: it must be 0600, or 0640 if it belongs to root.
fn check_permissions(path: &Path, found: &Metadata) -> Result<(), Problem> {
    let forbidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    if found.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(problem(format!(
        "sslkey {} can be read by others: it must be 0600, or 0640 if it belongs to root",
        path.display()
    )))
}

/// The path, if there is a file.
pub(super) fn existing(
    path: Option<PathBuf>,
    files: &FileReader,
) -> Result<Option<PathBuf>, Problem> {
    let Some(path) = path else { return Ok(None) };
    let exists = files.exists(&path);
    let exists = exists.map_err(|error| problem(format!("{} {error}", path.display())))?;
    Ok(if exists { Some(path) } else { None })
}

/// The largest certificate or key file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
