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

/// The certificates that end a chain.
#[derive(Debug)]
pub(super) struct Roots {
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
    }

    /// Whether not one of them is good any more.
    pub(super) fn have_expired(&self) -> bool {
        self.store.is_empty() && self.chosen.is_empty()
    }

    pub(super) fn store(&self) -> &RootCertStore {
        &self.store
    }

    /// Whether the user's own file answers for a certificate that webpki does not take for its
    /// form: it stands there itself and signs itself, or one of the file has signed it.
    ///
    /// A certificate that an authority has signed proves no less for being one itself.
    pub(super) fn vouch_for(
        &self,
        der: &CertificateDer<'_>,
        leaf: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        leaf.is_for_servers()
            && self.chosen.iter().any(|root| {
                let is_itself = root == der && leaf.is_self_issued();
                is_itself
                    || Certificate::parse(root).is_some_and(|r| r.has_signed(leaf, algorithms))
            })
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
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(chosen.iter().cloned());
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
