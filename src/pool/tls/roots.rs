//! The trusted certificates: those of `sslrootcert`, of `~/.postgresql/root.crt`, or the system's.

use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use super::identity::existing;
use super::{Problem, problem};
use crate::dsn;
use crate::files::FileReader;

/// The trusted certificates.
#[derive(Debug)]
pub(super) struct Roots {
    /// Certificates that end a chain: of a file, only self-signed authorities.
    store: RootCertStore,
    /// Certificates of a file, which the user has chosen; not the system's.
    chosen: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Loads the roots that the URL names, or `root.crt` in the user's folder if there is one.
    pub(super) fn load(
        tls: &dsn::Tls,
        folder: Option<&Path>,
        files: &FileReader,
    ) -> Result<Option<Self>, Problem> {
        let roots = match &tls.root {
            Some(dsn::Root::System) => Some(system()?),
            Some(dsn::Root::File(path)) => Some(file(path, files)?),
            None => match existing(folder.map(|folder| folder.join("root.crt")), files)? {
                Some(path) => Some(file(&path, files)?),
                None => None,
            },
        };
        if let Some(roots) = &roots {
            roots.refuse_revocations(folder, files)?;
        }
        Ok(roots)
    }

    /// libpq reads `root.crl` beside any file of roots. Revocation lists are not read here, and to
    /// ignore one would be to trust what was revoked.
    fn refuse_revocations(&self, folder: Option<&Path>, files: &FileReader) -> Result<(), Problem> {
        if self.chosen.is_empty() {
            return Ok(());
        }
        match existing(folder.map(|folder| folder.join("root.crl")), files)? {
            None => Ok(()),
            Some(path) => Err(problem(format!(
                "{} cannot be honoured: no revocation list is read, and psql would read this one",
                path.display()
            ))),
        }
    }

    /// Reports whether every certificate of the file has expired.
    pub(super) fn have_expired(&self) -> bool {
        self.store.is_empty() && self.chosen.is_empty()
    }

    pub(super) fn store(&self) -> &RootCertStore {
        &self.store
    }

    /// The authorities that can stand between a server's certificate and a root: those that the server
    /// sent and those of the user's file. Certificates that must not sign are left out: webpki does not
    /// check their key usage.
    pub(super) fn between<'a>(&'a self, sent: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
        let all = sent.iter().chain(&self.chosen);
        all.filter(|der| Certificate::parse(der).is_none_or(|found| found.is_authority()))
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect()
    }

    /// Reports whether the user's file contains this very certificate, and it is self-signed.
    pub(super) fn hold(&self, der: &CertificateDer<'_>, leaf: &Certificate<'_>) -> bool {
        leaf.is_self_issued() && self.chosen.iter().any(|root| root == der)
    }

    /// Reports whether a root of the user's file has signed this certificate, whatever its form: a
    /// certificate that an authority has signed proves no less for being an authority itself.
    pub(super) fn have_signed(
        &self,
        leaf: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let mut roots = self.chosen.iter().filter_map(|root| Certificate::parse(root));
        roots.any(|root| root.is_self_issued() && root.has_signed(leaf, algorithms))
    }
}

/// Loads the certificates of a file. Expired ones are left out, because webpki does not check the dates
/// of trusted certificates; OpenSSL does.
fn file(path: &Path, files: &FileReader) -> Result<Roots, Problem> {
    let shown = path.display();
    let text = files
        .read(path, LARGEST)
        .map_err(|error| problem(format!("sslrootcert {shown} {error}")))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(format!("sslrootcert {shown} is no PEM file: {error}")))?;
    if all.is_empty() {
        return Err(problem(format!("sslrootcert {shown} holds no certificate")));
    }
    let now = UnixTime::now();
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|der| Certificate::parse(der).is_none_or(|found| found.check_dates(now).is_ok()))
        .collect();
    // webpki trusts every certificate of its store as a root. A pinned server certificate in the file
    // would become an authority for all names.
    let roots = chosen.iter().filter(|der| {
        let parsed = Certificate::parse(der);
        parsed.is_none_or(|parsed| parsed.is_self_issued() && parsed.is_authority())
    });
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.cloned());
    Ok(Roots { store, chosen })
}

fn system() -> Result<Roots, Problem> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err(problem("sslrootcert=system: the system has no certificates"));
    }
    Ok(Roots { store, chosen: Vec::new() })
}

/// The largest file of roots that is read, in bytes. All roots of Mozilla take a quarter of it.
const LARGEST: u64 = 1024 * 1024;
