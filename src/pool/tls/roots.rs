//! Whom we trust: the certificates of `sslrootcert`, of `~/.postgresql/root.crt`, or the system's.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use super::{Problem, problem};
use crate::dsn;

/// The certificates that we trust.
#[derive(Debug)]
pub(super) struct Roots {
    /// Those that end a chain: of a file, only authorities that sign themselves.
    store: RootCertStore,
    /// Those of a file, which the user has chosen; not the system's.
    chosen: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// What the URL names, or `root.crt` in the user's folder if there is one.
    pub(super) fn load(tls: &dsn::Tls, folder: Option<&Path>) -> Result<Option<Self>, Problem> {
        match &tls.root {
            Some(dsn::Root::System) => system().map(Some),
            Some(dsn::Root::File(path)) => file(path).map(Some),
            None => match folder.map(|folder| folder.join("root.crt")) {
                Some(path) if path.exists() => file(&path).map(Some),
                Some(_) | None => Ok(None),
            },
        }
        .and_then(|roots| refuse_revocations(roots, folder))
    }

    /// Whether not one of them is good any more.
    pub(super) fn have_expired(&self) -> bool {
        self.store.is_empty() && self.chosen.is_empty()
    }

    pub(super) fn store(&self) -> &RootCertStore {
        &self.store
    }

    /// The authorities between a server's certificate and a root: what the server sent and what the
    /// user's file has, less those that must not sign, which webpki would take.
    pub(super) fn between<'a>(&'a self, sent: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
        let all = sent.iter().chain(&self.chosen);
        all.filter(|der| Certificate::parse(der).is_none_or(|found| found.is_authority()))
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect()
    }

    /// Whether the user's own file holds this very certificate, which signs itself.
    pub(super) fn hold(&self, der: &CertificateDer<'_>, leaf: &Certificate<'_>) -> bool {
        leaf.is_self_issued() && self.chosen.iter().any(|root| root == der)
    }

    /// Whether a root of the user's own file has signed this one, whatever its form: a certificate
    /// that an authority has signed proves no less for being one itself.
    pub(super) fn have_signed(
        &self,
        leaf: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let mut roots = self.chosen.iter().filter_map(|root| Certificate::parse(root));
        roots.any(|root| root.is_self_issued() && root.has_signed(leaf, algorithms))
    }
}

/// libpq reads `root.crl` beside any file of roots; ignoring it would trust what was revoked.
fn refuse_revocations(
    roots: Option<Roots>,
    folder: Option<&Path>,
) -> Result<Option<Roots>, Problem> {
    let is_of_a_file = roots.as_ref().is_some_and(|roots| !roots.chosen.is_empty());
    match folder.map(|folder| folder.join("root.crl")) {
        Some(path) if is_of_a_file && path.exists() => Err(problem(format!(
            "{} cannot be honoured: no revocation list is read, and psql would read this one",
            path.display()
        ))),
        Some(_) | None => Ok(roots),
    }
}

/// The certificates of a file. One that has ended is left out: webpki would not look at its dates.
fn file(path: &Path) -> Result<Roots, Problem> {
    let shown = path.display();
    let text = fs::read(path)
        .map_err(|error| problem(format!("sslrootcert {shown} cannot be read: {error}")))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(format!("sslrootcert {shown} is no PEM file: {error}")))?;
    if all.is_empty() {
        return Err(problem(format!("sslrootcert {shown} holds no certificate")));
    }
    let now = UnixTime::now();
    let is_good = |der: &CertificateDer<'_>| {
        Certificate::parse(der).is_none_or(|certificate| certificate.check_dates(now).is_ok())
    };
    let chosen: Vec<_> = all.into_iter().filter(is_good).collect();
    // webpki would take any of them for a root: somebody's server for an authority over all names.
    let is_root = |der: &&CertificateDer<'_>| {
        let parsed = Certificate::parse(der);
        parsed.is_none_or(|parsed| parsed.is_self_issued() && parsed.is_authority())
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(chosen.iter().filter(is_root).cloned());
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
