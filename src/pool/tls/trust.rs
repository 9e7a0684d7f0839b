//! Whether a server's certificate is good: libpq's rules, on webpki.
//!
//! Without roots nothing is verified but that the server has the certificate's key, which is what
//! channel binding stands on. With roots, the chain; with a host, its name as well
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>).

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
use webpki::RawPublicKeyEntity;

use super::certificate::{Certificate, Names};
use super::roots::Roots;

/// The verifier of one connection.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Option<Roots>,
    /// The host as the user wrote it; `None`: any name will do.
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

    /// Whether anything is verified but the key.
    pub(super) fn has_roots(&self) -> bool {
        self.roots.is_some()
    }

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
        let by_webpki = ParsedCertificate::try_from(leaf).and_then(|leaf| {
            let (store, all) = (roots.store(), algorithms.all);
            let between = roots.between(others);
            verify_server_cert_signed_by_trust_anchor(&leaf, store, &between, now, all)
        });
        let parsed = Certificate::parse(leaf);
        if parsed.as_ref().is_some_and(|parsed| !parsed.is_for_servers()) {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        let Err(error) = by_webpki else { return Ok(()) };
        let vouched = |parsed: &Certificate<'_>| {
            let signed = is_form_only(&error) && roots.have_signed(parsed, algorithms);
            parsed.is_understood() && (signed || roots.hold(leaf, parsed))
        };
        match parsed.filter(vouched) {
            Some(parsed) => parsed.check_dates(now).map_err(Error::InvalidCertificate),
            None => Err(error),
        }
    }
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
        if let Some(host) = &self.host {
            check_name(leaf, host)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let result = verify_tls12_signature(message, leaf, signed, algorithms);
        let Err(error) = result else { return result };
        let key = Certificate::parse(leaf).filter(|_| is_form_only(&error));
        let Some(key) = key.and_then(|parsed| parsed.key()) else { return Err(error) };
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return Err(error) };
        let mapped = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let mut candidates = mapped.into_iter().flat_map(|(_, candidates)| candidates.iter());
        match candidates.any(|a| key.verify_signature(*a, message, signed.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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

/// Whether webpki found fault with a certificate's form rather than with what it proves: version 1,
/// or an authority in a server's place. Dates, signatures and uses are never form.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls' lists are open; unknown is no form")]
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

/// Whether the certificate is for this host: by its alternative names, or, as libpq does, by its
/// common name where it has no alternative ones of the host's kind.
fn check_name(leaf: &CertificateDer<'_>, host: &str) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(leaf);
    if let (Ok(parsed), Ok(name)) = (&parsed, ServerName::try_from(host))
        && verify_server_name(parsed, &name).is_ok()
    {
        return Ok(());
    }
    let names = Certificate::parse(leaf).map(|parsed| parsed.names()).unwrap_or_default();
    match is_named(&names, host) {
        true => Ok(()),
        false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
    }
}

/// libpq's `pgtls_verify_peer_name_matches_certificate_guts`.
fn is_named(names: &Names, host: &str) -> bool {
    let address = host.split('%').next().and_then(|text| text.parse::<IpAddr>().ok());
    let has_own_kind = match address {
        Some(address) if names.addresses.contains(&address) => return true,
        Some(_) => !names.addresses.is_empty(),
        None => !names.dns.is_empty(),
    };
    let common = names.common.iter().filter(|_| !has_own_kind);
    names.dns.iter().chain(common).any(|pattern| matches(pattern, host))
}

/// Whether a host is what a name of a certificate says; a `*` stands for its whole first label.
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
        };
        assert_eq!(is_named(&names, host), expected, "{names:?} for {host}");
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
