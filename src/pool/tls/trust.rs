//! Decides whether a server's certificate is valid: libpq's rules, on webpki.
//!
//! Without roots only the server's possession of the certificate's key is verified, which channel
//! binding depends on. With roots the chain is verified; with a host, its name as well
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>).

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, VerifiedPath};

use super::certificate::{Certificate, Names};
use super::constraints::{Constraints, is_dns_name};
use super::roots::Roots;

/// The verifier of one connection.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Option<Roots>,
    /// The host from the URL; `None` accepts any name (every sslmode but `verify-full`).
    host: Option<String>,
}

impl Verifier {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: Option<Roots>,
        host: Option<String>,
    ) -> Self {
        Self { provider, roots, host }
    }

    /// Reports whether more than the possession of the key is verified.
    pub(super) fn has_roots(&self) -> bool {
        self.roots.is_some()
    }

    /// Checks the chain up to a root, and the uses of the certificate.
    ///
    /// # Errors
    /// The error of webpki, unless it is about form only and the exception below applies.
    fn check_chain(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if roots.have_expired() {
            return Err(Error::General("every certificate of sslrootcert has expired".to_owned()));
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        // First the strict check. Everything after it can only refuse more, or accept one of the two
        // exceptions for certificates that webpki refuses because of their form.
        let by_webpki = ParsedCertificate::try_from(leaf).and_then(|leaf| {
            let between = roots.between(others);
            let all = algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&leaf, roots.store(), &between, now, all)
        });
        let parsed = Certificate::parse(leaf);
        // webpki does not look at the key usage of a server's certificate; OpenSSL does.
        if parsed.as_ref().is_some_and(|parsed| !parsed.is_for_servers()) {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        let Err(error) = by_webpki else { return Ok(()) };
        let Some(parsed) = parsed else { return Err(error) };
        // webpki refuses the certificates that PostgreSQL's manual makes because of their form: CA:TRUE on a
        // server, or version 1. libpq accepts them, so without this exception a documented set-up could not
        // be monitored with verify-full. They are accepted only if a root of the user's own file has signed
        // them directly, or is the same certificate. Dates, uses, critical extensions and the
        // root's signature are still checked, here instead of in webpki.
        let is_signed = is_form_only(&error) && roots.have_signed(&parsed, algorithms);
        if parsed.is_understood() && (is_signed || roots.hold(leaf, &parsed)) {
            return parsed.check_dates(now).map_err(Error::InvalidCertificate);
        }
        Err(error)
    }

    /// Applies the name constraints of the chain to the common name, which webpki does not do.
    fn check_common_name(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
        named_by: Option<NamedBy>,
    ) -> Result<(), Error> {
        let names = Certificate::parse(leaf).map(|parsed| parsed.names()).unwrap_or_default();
        let by_common = named_by == Some(NamedBy::CommonName);
        // As in OpenSSL: with alternative DNS names the common name is not a name of the server.
        if !names.dns.is_empty() && !by_common {
            return Ok(());
        }
        // webpki cannot parse a version 1 certificate. `check_chain` accepted it through a root without name
        // constraints (`is_unlimited` in certificate.rs), so there is nothing to apply.
        let Ok(entity) = EndEntityCert::try_from(leaf) else { return Ok(()) };
        // webpki calls the closure below for each possible path. One refused path must not refuse the
        // certificate while another path is good, so the outcome of the whole search counts. The cell
        // distinguishes our refusal from other errors of webpki, which `check_chain` has judged already.
        let is_refused = Cell::new(false);
        let host = self.host.as_deref().filter(|_| by_common);
        let judge = |path: &VerifiedPath<'_>| {
            if is_common_name_allowed(path, &names, host) {
                return Ok(());
            }
            is_refused.set(true);
            Err(webpki::Error::NameConstraintViolation)
        };
        let between = roots.between(others);
        let found = entity.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &roots.store().roots,
            &between,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&judge),
        );
        if found.is_err() && is_refused.get() {
            let text = "the common name is outside of the name constraints of its authority";
            return Err(Error::General(text.to_owned()));
        }
        Ok(())
    }
}

/// Reports whether the authorities of a path may sign for these common names. `host` is set when it
/// was recognised by the common name alone.
fn is_common_name_allowed(path: &VerifiedPath<'_>, names: &Names, host: Option<&str>) -> bool {
    let Ok(constraints) = Constraints::of(path) else { return false };
    if constraints.are_none() {
        return true;
    }
    if let Some(host) = host {
        // Stricter than OpenSSL in two points. It applies no constraint on addresses to a common
        // name, and takes neither one label nor a star for a DNS name, so these pass all limits.
        let common = names.common.as_deref().unwrap_or_default();
        if address_of(host).is_some() || !constraints.allow(common) {
            return false;
        }
    }
    let mut dns_names = names.commons.iter().filter(|name| is_dns_name(name));
    !names.dns.is_empty() || dns_names.all(|name| constraints.allow(name))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _sent: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            self.check_chain(roots, leaf, others, now)?;
        }
        let named_by = match &self.host {
            Some(host) => Some(named_by(leaf, host)?),
            None => None,
        };
        if let Some(roots) = &self.roots {
            self.check_common_name(roots, leaf, others, now, named_by)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // As in `check_chain`: rustls parses the leaf by webpki's rules before it verifies the signature, so
        // the key of a version 1 certificate, or of an authority as a server, must be taken from our parser.
        // The signature itself is verified in every case; without it, anyone with a copy of the certificate
        // could answer.
        let algorithms = &self.provider.signature_verification_algorithms;
        let result = verify_tls12_signature(message, leaf, signed, algorithms);
        let Err(error) = result else { return result };
        let key = Certificate::parse(leaf).filter(|_| is_form_only(&error));
        let Some(key) = key.and_then(|parsed| parsed.key()) else { return Err(error) };
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return Err(error) };
        let mapped = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let mut candidates = mapped.into_iter().flat_map(|(_, candidates)| candidates.iter());
        if candidates.any(|a| key.verify_signature(*a, message, signed.signature()).is_ok()) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // See `verify_tls12_signature`.
        let algorithms = &self.provider.signature_verification_algorithms;
        let result = verify_tls13_signature(message, leaf, signed, algorithms);
        let Err(error) = result else { return result };
        let key = Certificate::parse(leaf).filter(|_| is_form_only(&error));
        match key.and_then(|parsed| parsed.key()) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
            None => Err(error),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Reports whether webpki objects to a certificate's form rather than to what it proves: version 1,
/// or an authority in a server's place. Dates, signatures and uses are never form.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls' lists are open; unknown is not form")]
fn is_form_only(error: &Error) -> bool {
    let Error::InvalidCertificate(error) = error else { return false };
    match error {
        CertificateError::BadEncoding => true,
        CertificateError::Other(other) => matches!(
            other.0.downcast_ref::<webpki::Error>(),
            Some(webpki::Error::CaUsedAsEndEntity | webpki::Error::UnsupportedCertVersion)
        ),
        _ => false,
    }
}

/// The kind of the name by which a certificate names the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedBy {
    /// By an alternative name.
    AlternativeName,
    /// By its common name, which libpq accepts where there are no alternative names of the host's
    /// kind.
    CommonName,
}

/// Returns the kind of the name by which the certificate names this host.
///
/// # Errors
/// `NotValidForName` if it does not name the host.
fn named_by(leaf: &CertificateDer<'_>, host: &str) -> Result<NamedBy, Error> {
    let parsed = ParsedCertificate::try_from(leaf);
    if let (Ok(parsed), Ok(name)) = (&parsed, ServerName::try_from(host))
        && verify_server_name(parsed, &name).is_ok()
    {
        return Ok(NamedBy::AlternativeName);
    }
    let names = Certificate::parse(leaf).map(|parsed| parsed.names()).unwrap_or_default();
    let named = name_of(&names, host);
    named.ok_or(Error::InvalidCertificate(CertificateError::NotValidForName))
}

/// Compares a host with a certificate's names by libpq's rules
/// (`pq_verify_peer_name_matches_certificate` and `pgtls_verify_peer_name_matches_certificate_guts`). The
/// common name counts only if the certificate has no alternative name of the host's kind (RFC 6125, 6.4.4).
fn name_of(names: &Names, host: &str) -> Option<NamedBy> {
    let has_own_kind = match address_of(host) {
        Some(address) if names.addresses.contains(&address) => {
            return Some(NamedBy::AlternativeName);
        }
        Some(_) => !names.addresses.is_empty(),
        None => !names.dns.is_empty(),
    };
    if names.dns.iter().any(|pattern| matches(pattern, host)) {
        return Some(NamedBy::AlternativeName);
    }
    let is_common = names.common.as_deref().is_some_and(|common| matches(common, host));
    if is_common && !has_own_kind { Some(NamedBy::CommonName) } else { None }
}

/// Parses a host as an IP address; `None` for a name. The zone (`%eth0`) is dropped, because certificates
/// have none.
fn address_of(host: &str) -> Option<IpAddr> {
    host.split('%').next()?.parse().ok()
}

/// Reports whether a name of a certificate stands for a host; `*` stands for one whole first label, as in
/// libpq's `wildcard_certificate_match`. An IP address is never matched by a star.
fn matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(pattern), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && pattern.eq_ignore_ascii_case(rest) && host.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dns: &[&str], addresses: &[&str], common: &str, host: &str, expected: bool) {
        let names = Names {
            dns: dns.iter().map(ToString::to_string).collect(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            common: Some(common.to_owned()),
            commons: vec![common.to_owned()],
        };
        assert_eq!(name_of(&names, host).is_some(), expected, "{names:?} for {host}");
    }

    #[test]
    fn a_common_name_counts_only_where_there_are_no_names_of_the_hosts_kind() {
        check(&[], &[], "db.example", "DB.example", true);
        check(&[], &["10.0.0.1"], "db.example", "db.example", true);
        check(&["other.example"], &[], "db.example", "db.example", false);
        check(&["other.example"], &[], "10.0.0.1", "10.0.0.1", true);
        check(&[], &["10.0.0.2"], "10.0.0.1", "10.0.0.1", false);
        check(&["10.0.0.1"], &[], "x", "10.0.0.1", true);
        check(&[], &["::1"], "x", "0:0::1", true);
        check(&[], &["fe80::1"], "x", "fe80::1%eth0", true);
    }

    #[test]
    fn a_star_stands_for_one_whole_label() {
        check(&[], &[], "*.example", "db.example", true);
        check(&[], &[], "*.example", "a.db.example", false);
        check(&[], &[], "*.example", ".example", false);
        check(&[], &[], "*.example", "example", false);
        check(&[], &[], "d*.example", "db.example", false);
        check(&[], &[], "*.0.0.1", "10.0.0.1", false);
    }
}
