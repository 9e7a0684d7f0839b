//! Parses a certificate for what rustls does not report: its dates, names, hash and uses.
//!
//! webpki accepts only version 3 certificates that are not authorities. The commands in PostgreSQL's manual
//! (<https://www.postgresql.org/docs/current/ssl-tcp.html#SSL-CERTIFICATE-CREATION>) make others:
//! `openssl req -x509` writes CA:TRUE, and `openssl x509 -req` wrote version 1 until OpenSSL 3.2.
//! Certificates that are in the root file themselves, or that a root in it has signed, are verified here, as
//! OpenSSL does for libpq. All others are left to webpki.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ring::digest::{self, SHA256, SHA384, SHA512};
use rustls::pki_types::{SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, crypto::WebPkiSupportedAlgorithms};
use webpki::RawPublicKeyEntity;
use x509_cert::der::asn1::{ContextSpecific, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader, TagNumber};
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::{TbsCertificate, Version};

/// A parsed certificate, and its bytes, which hashes and signatures cover.
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    parsed: x509_cert::Certificate,
}

/// The names that a certificate is for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Alternative DNS names.
    pub(super) dns: Vec<String>,
    /// Alternative names that are IP addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The common name that may stand for the host, as in libpq; `None` if there is none, or if the
    /// alternative names are unreadable.
    pub(super) common: Option<String>,
    /// All common names. OpenSSL applies name constraints to each of them.
    pub(super) commons: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// Parses a certificate; `None` for bytes that are none.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        Some(Self { der, parsed })
    }

    fn body(&self) -> &TbsCertificate {
        self.parsed.tbs_certificate()
    }

    /// When it expires.
    pub(super) fn not_after(&self) -> SystemTime {
        self.body().validity().not_after.to_system_time()
    }

    /// Checks its validity period.
    ///
    /// # Errors
    /// `NotValidYet` or `Expired`.
    pub(super) fn check_dates(&self, now: UnixTime) -> Result<(), CertificateError> {
        let now = Duration::from_secs(now.as_secs());
        let validity = self.body().validity();
        if now < validity.not_before.to_unix_duration() {
            return Err(CertificateError::NotValidYet);
        }
        if now > validity.not_after.to_unix_duration() {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    /// Its public key, in rustls' form.
    pub(super) fn key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        self.body().subject_public_key_info().to_der().ok().map(Into::into)
    }

    /// The names that it is for.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        let subject = self.body().subject();
        names.common = subject.common_name().ok().flatten().map(String::from);
        names.commons = subject
            .iter()
            .filter(|attribute| attribute.oid == COMMON_NAME)
            .filter_map(|attribute| DirectoryString::try_from(&attribute.value).ok())
            .map(String::from)
            .collect();
        match self.body().get_extension::<SubjectAltName>() {
            Ok(Some((_, SubjectAltName(list)))) => list.iter().for_each(|name| names.add(name)),
            Ok(None) => {}
            // Unreadable alternative names must not enable the fallback to the common name: the certificate
            // may be for other hosts only.
            Err(_) => names.common = None,
        }
        names
    }

    /// Its `tls-server-end-point` (RFC 5929, 4.1): its hash with its own signature's hash function, at
    /// least SHA-256. `None` for a signature without a hash function, such as Ed25519's.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        let algorithm = self.parsed.signature_algorithm();
        let hash = match algorithm.oid {
            RSA_PSS => hash_of_pss(algorithm),
            oid => oid,
        };
        let hash = HASHES.iter().find(|(oids, _)| oids.contains(&hash)).map(|(_, hash)| *hash)?;
        Some(digest::digest(hash, self.der).as_ref().to_vec())
    }

    /// Reports whether its issuer is its subject.
    pub(super) fn is_self_issued(&self) -> bool {
        self.body().issuer() == self.body().subject()
    }

    /// Reports whether every critical extension is understood. Others must be refused (RFC 5280, 4.2).
    pub(super) fn is_understood(&self) -> bool {
        let mut extensions = self.body().extensions().into_iter().flatten();
        extensions.all(|extension| !extension.critical || KNOWN.contains(&extension.extn_id))
    }

    /// Reports whether its key usages, if it has any, allow a server (OpenSSL's
    /// `check_purpose_ssl_server`).
    pub(super) fn is_for_servers(&self) -> bool {
        let Ok(usage) = self.body().get_extension::<KeyUsage>() else { return false };
        let serves = usage.is_none_or(|(_, usage)| {
            usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
        });
        serves && self.is_used_for_servers()
    }

    /// Reports whether it may sign servers' certificates (OpenSSL's `check_ca`): it is marked as an
    /// authority, or is too old for the mark. webpki does not check this for trusted certificates.
    pub(super) fn is_authority(&self) -> bool {
        let Ok(usage) = self.body().get_extension::<KeyUsage>() else { return false };
        let signs = usage.as_ref().is_none_or(|(_, usage)| usage.key_cert_sign());
        let named = match self.body().get_extension::<BasicConstraints>() {
            Ok(Some((_, constraints))) => constraints.ca,
            Ok(None) if usage.is_some() => true,
            Ok(None) => self.body().version() == Version::V1 && self.is_self_issued(),
            Err(_) => false,
        };
        named && signs && self.is_used_for_servers()
    }

    fn is_used_for_servers(&self) -> bool {
        let uses = self.body().get_extension::<ExtendedKeyUsage>();
        uses.is_ok_and(|uses| {
            uses.is_none_or(|(_, ExtendedKeyUsage(uses))| uses.contains(&SERVER_AUTH))
        })
    }

    /// The names that it may sign for; `None` without a limit.
    pub(super) fn name_constraints(&self) -> x509_cert::der::Result<Option<NameConstraints>> {
        Ok(self.body().get_extension::<NameConstraints>()?.map(|(_, constraints)| constraints))
    }

    /// Reports whether it may sign for all names. A limited one is left to webpki.
    fn is_unlimited(&self) -> bool {
        matches!(self.name_constraints(), Ok(None))
    }

    /// Reports whether this certificate has signed `other`, and may have.
    pub(super) fn has_signed(
        &self,
        other: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        // Without these two checks any certificate in the root file, also that of another server, could
        // sign for servers, and a limited authority could sign for all names.
        let may_sign = self.is_authority() && self.is_unlimited();
        if !may_sign || self.body().subject() != other.body().issuer() {
            return false;
        }
        let (Some(key), Some(signed)) = (self.key(), other.signed()) else { return false };
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let named = other.parsed.signature_algorithm();
        let signature = other.parsed.signature().raw_bytes();
        // Only algorithms that the certificate itself names: an identifier is compared with its parameters.
        let mut fitting =
            algorithms.all.iter().filter(|a| is_algorithm(named, a.signature_alg_id().as_ref()));
        fitting.any(|algorithm| key.verify_signature(*algorithm, signed, signature).is_ok())
    }

    /// The signed part, byte for byte. `None` if the two fields for the signature algorithm differ, which
    /// RFC 5280 forbids: only one of them is signed.
    fn signed(&self) -> Option<&'a [u8]> {
        if self.body().signature() != self.parsed.signature_algorithm() {
            return None;
        }
        let mut reader = SliceReader::new(self.der).ok()?;
        Header::decode(&mut reader).ok()?;
        reader.tlv_bytes().ok()
    }
}

impl Names {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds of names are no host's")]
    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(name) => self.dns.push(name.to_string()),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                self.addresses
                    .extend(v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)));
            }
            _ => {}
        }
    }
}

/// Reports whether an algorithm identifier is this one, given as the content of its sequence.
fn is_algorithm(named: &AlgorithmIdentifierOwned, content: &[u8]) -> bool {
    let Ok(der) = named.to_der() else { return false };
    let Ok(mut reader) = SliceReader::new(&der) else { return false };
    Header::decode(&mut reader).is_ok()
        && der.ends_with(content)
        && usize::try_from(reader.remaining_len()) == Ok(content.len())
}

/// The hash function in the parameters of RSASSA-PSS; SHA-1 is the default (RFC 4055).
fn hash_of_pss(algorithm: &AlgorithmIdentifierOwned) -> ObjectIdentifier {
    let named = algorithm.parameters.as_ref().and_then(|parameters| {
        let mut reader = SliceReader::new(parameters.value()).ok()?;
        let hash =
            ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(&mut reader, TagNumber(0));
        hash.ok().flatten().map(|hash| hash.value.oid)
    });
    named.unwrap_or(SHA_1)
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const SHA_1: ObjectIdentifier = oid("1.3.14.3.2.26");
const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
const SERVER_AUTH: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.1");

/// The extensions that this module understands.
const KNOWN: [ObjectIdentifier; 4] =
    [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];

/// The hash function of each signature algorithm, and of each hash of RSASSA-PSS. RFC 5929, 4.1:
/// MD5 and SHA-1 become SHA-256.
const HASHES: [(&[ObjectIdentifier], &digest::Algorithm); 3] = [
    (
        &[
            oid("1.2.840.113549.1.1.4"),
            oid("1.2.840.113549.1.1.5"),
            oid("1.2.840.113549.1.1.11"),
            oid("1.2.840.10045.4.1"),
            oid("1.2.840.10045.4.3.2"),
            SHA_1,
            oid("2.16.840.1.101.3.4.2.1"),
        ],
        &SHA256,
    ),
    (
        &[oid("1.2.840.113549.1.1.12"), oid("1.2.840.10045.4.3.3"), oid("2.16.840.1.101.3.4.2.2")],
        &SHA384,
    ),
    (
        &[oid("1.2.840.113549.1.1.13"), oid("1.2.840.10045.4.3.4"), oid("2.16.840.1.101.3.4.2.3")],
        &SHA512,
    ),
];

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// CN=root, an authority limited to `example`.
    const ROOT: &str = "\
        MIIBfDCCASKgAwIBAgIUOLIRJuNfUObVFZae/dXPy6I95xYwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEcm9vdDAg\
        Fw0yNjExMjUxNDQzMjdaGA8yMTI2MTEwMTE0NDMyN1owDzENMAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqG\
        SM49AwEHA0IABJHEk49WlLQfPt0vcAo83AKNv9Z4QiaUmT8FSYwh9SnYVAmVMIZtDlLDW2N0q8huXeQmJgVjpg9n\
        Kj4g8L+IsXSjWjBYMA8GA1UdEwEB/wQFMAMBAf8wCwYDVR0PBAQDAgIEMBkGA1UdHgEB/wQPMA2gCzAJggdleGFt\
        cGxlMB0GA1UdDgQWBBRoRFwbuTADFIkFme5qOR7X21z9kjAKBggqhkjOPQQDAgNIADBFAiADpUYUOIvD9MtpkZpq\
        NiDLgFh84FvSDqYwaCtRMOPaUQIhALBvER+9feXPHhvdvbXv6BIMtnX2g0/cLgidfHnIp7Nf";

    /// Signed by it: two common names, a DNS name, two addresses, a mail address.
    const LEAF: &str = "\
        MIIB1jCCAXygAwIBAgIUCgBcZa3776JFvOvUswLzOZ0HBu8wCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEcm9vdDAg\
        Fw0yNjExMjUxNDQzMjdaGA8yMTI2MTEwMTE0NDMyN1owKTEOMAwGA1UEAwwFZmlyc3QxFzAVBgNVBAMMDnNlY29u\
        ZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIR/XGBv5w6NYbPK4yH/pUJ2sxYlZdMy+uc1eYm93\
        mdZU5U1QECp6XlkXONyE0xfV87sz5PrqXybFTUqGe5e0JqOBmTCBljAyBgNVHREEKzApggpkYi5leGFtcGxlhwQK\
        AAABhxAAAAAAAAAAAAAAAAAAAAABgQNhQGIwCwYDVR0PBAQDAgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1Ud\
        DgQWBBTFOVaktGDfUa0ZC71NztgKfrcZhzAfBgNVHSMEGDAWgBRoRFwbuTADFIkFme5qOR7X21z9kjAKBggqhkjO\
        PQQDAgNIADBFAiEA+kBaZuq1oAvp3jewj+oRiJlW1gK9xXo4NmGMzcMHW3wCIEDQhJZU+7ah060DwmTlxp8G6dtD\
        P6FYn+rySB2J5CrC";

    /// Signed by it: version 1.
    const OLD: &str = "\
        MIIBITCByAIUCgBcZa3776JFvOvUswLzOZ0HBvAwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEcm9vdDAgFw0yNjEx\
        MjUxNDQzMjhaGA8yMTI2MTEwMTE0NDMyOFowFjEUMBIGA1UEAwwLb2xkLmV4YW1wbGUwWTATBgcqhkjOPQIBBggq\
        hkjOPQMBBwNCAASFj7nfQqBFWWwpKZqz69qJmpcv6SpEq2tlx0+KlUKCRw9KaH5GV5dUAnFyI0IQIxO5KxawhPq2\
        hyKpl3girBbxMAoGCCqGSM49BAMCA0gAMEUCIBzKzQhCwnrgxL23wrSjRlXOM3l1eNfzDyJrHzbn6Rf4AiEAwdxJ\
        j3NgIlTOblEWE1e7wDIe0ivIvhcUygtysCWwoHY=";

    /// Signed by it: an unknown critical extension, unreadable names, for clients only.
    const ODD: &str = "\
        MIIBmTCCAT+gAwIBAgIUCgBcZa3776JFvOvUswLzOZ0HBvEwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEcm9vdDAg\
        Fw0yNjExMjUxNDQzMjhaGA8yMTI2MTEwMTE0NDMyOFowFjEUMBIGA1UEAwwLb2RkLmV4YW1wbGUwWTATBgcqhkjO\
        PQIBBggqhkjOPQMBBwNCAAQyFh6JmYG2eRRZy07e3TD7S6EBa6q0TjHCTsSh64/Cnpatdrwl0FAgx0sFEs6zfo/h\
        velDGnKx5GUWPi68laSvo3AwbjAMBgMqAwQBAf8EAgUAMAkGA1UdEQQCBQAwEwYDVR0lBAwwCgYIKwYBBQUHAwIw\
        HQYDVR0OBBYEFJ59T7Mkx20sFr34wd6LQpqOYagMMB8GA1UdIwQYMBaAFGhEXBu5MAMUiQWZ7mo5HtfbXP2SMAoG\
        CCqGSM49BAMCA0gAMEUCIDTk8lvbK4JhWXGbOkbhWIxqzLrf0N5UlfvKe1yxgq7MAiEAiLeP9Ds9xg5kfEZAJsFs\
        /GoZKLBA1hJO2E/E+gkYig8=";

    fn der(text: &str) -> Vec<u8> {
        STANDARD.decode(text).expect("base64")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn algorithms() -> WebPkiSupportedAlgorithms {
        rustls::crypto::ring::default_provider().signature_verification_algorithms
    }

    #[test]
    fn names_are_read_by_their_kinds() {
        let leaf = der(LEAF);
        let names = Certificate::parse(&leaf).unwrap().names();
        assert_eq!(names.dns, ["db.example"]);
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(names.addresses, addresses);
        assert_eq!(names.common.as_deref(), Some("first"));
        assert_eq!(names.commons, ["first", "second.example"]);
        let old = der(OLD);
        let names = Certificate::parse(&old).unwrap().names();
        assert_eq!((names.dns.len(), names.common.as_deref()), (0, Some("old.example")));
    }

    #[test]
    fn unreadable_alternative_names_leave_no_common_name_for_the_host() {
        let odd = der(ODD);
        let odd = Certificate::parse(&odd).unwrap();
        assert_eq!(odd.names().common, None);
        assert!(!odd.is_understood(), "it has an unknown critical extension");
        assert!(!odd.is_for_servers(), "it is for clients");
    }

    #[test]
    fn authorities_and_servers_are_told_apart() {
        for (text, signs, serves) in
            [(ROOT, true, false), (LEAF, false, true), (OLD, false, true), (ODD, false, false)]
        {
            let der = der(text);
            let parsed = Certificate::parse(&der).unwrap();
            assert_eq!(parsed.is_authority(), signs, "{:?}", parsed.names().commons);
            assert_eq!(parsed.is_for_servers(), serves, "{:?}", parsed.names().commons);
            assert_eq!(parsed.is_self_issued(), signs, "{:?}", parsed.names().commons);
        }
    }

    #[test]
    fn a_limited_authority_vouches_for_nothing_outside_of_webpki() {
        let root = der(ROOT);
        let root = Certificate::parse(&root).unwrap();
        let old = der(OLD);
        let old = Certificate::parse(&old).unwrap();
        assert!(root.name_constraints().unwrap().is_some());
        assert!(!root.has_signed(&old, &algorithms()), "it has, but it is limited to some names");
        assert!(!old.has_signed(&root, &algorithms()), "it is no authority");
    }

    #[test]
    fn the_hash_for_channel_binding_is_that_of_the_whole_certificate() {
        let leaf = der(LEAF);
        let end_point = Certificate::parse(&leaf).unwrap().end_point().expect("ECDSA with SHA-256");
        // From `openssl x509 -outform der | sha256sum`.
        let expected = "bad6eea84eb3afc8997fe49ee2be4aaeda6f9b6f839c3fd29b0c014b8f2efc96";
        assert_eq!(hex(&end_point), expected);
    }

    #[test]
    fn a_certificate_is_valid_between_its_dates_alone() {
        let leaf = der(LEAF);
        let leaf = Certificate::parse(&leaf).unwrap();
        let at =
            |seconds| leaf.check_dates(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(0), Err(CertificateError::NotValidYet));
        assert_eq!(at(2_000_000_000), Ok(()));
        assert_eq!(at(6_000_000_000), Err(CertificateError::Expired));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        let leaf = der(LEAF);
        assert!(Certificate::parse(&leaf[..leaf.len() - 1]).is_none());
        assert!(Certificate::parse(b"").is_none());
    }
}
