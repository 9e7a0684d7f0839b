//! A certificate, read for what rustls does not tell: its end, its names, its hash, its issuer.
//!
//! webpki takes only certificates of version 3 that are no authorities, and PostgreSQL's own manual
//! makes others: `openssl req -x509` writes CA:TRUE, `openssl x509 -req` wrote version 1 until
//! OpenSSL 3.2. Those that stand in the root file themselves, or that one of it has signed, are
//! verified here, as OpenSSL does for libpq. Whatever else must be verified is left to webpki.

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

/// A parsed certificate beside its bytes.
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    parsed: x509_cert::Certificate,
}

/// The names that a certificate is for.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) dns: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) common: Option<String>,
    /// All common names; the first is the one that stands for the host.
    pub(super) commons: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// `None` for bytes that are no certificate.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        Some(Self { der, parsed })
    }

    fn body(&self) -> &TbsCertificate {
        self.parsed.tbs_certificate()
    }

    /// When it ends.
    pub(super) fn not_after(&self) -> SystemTime {
        self.body().validity().not_after.to_system_time()
    }

    /// Whether it is good at this time.
    pub(super) fn check_dates(&self, now: UnixTime) -> Result<(), CertificateError> {
        let now = Duration::from_secs(now.as_secs());
        let validity = self.body().validity();
        if now < validity.not_before.to_unix_duration() {
            return Err(CertificateError::NotValidYet);
        }
        match now > validity.not_after.to_unix_duration() {
            true => Err(CertificateError::Expired),
            false => Ok(()),
        }
    }

    /// Its key, as rustls takes it.
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
            // Names that cannot be read do not make room for the common name.
            Err(_) => names.common = None,
        }
        names
    }

    /// `tls-server-end-point` of RFC 5929: its hash by its own signature's hash, SHA-256 at least.
    /// `None` for a signature without one, such as Ed25519's.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        let algorithm = self.parsed.signature_algorithm();
        let hash = match algorithm.oid {
            RSA_PSS => hash_of_pss(algorithm),
            oid => oid,
        };
        let hash = HASHES.iter().find(|(oids, _)| oids.contains(&hash)).map(|(_, hash)| *hash)?;
        Some(digest::digest(hash, self.der).as_ref().to_vec())
    }

    /// Whether it says that it signs itself.
    pub(super) fn is_self_issued(&self) -> bool {
        self.body().issuer() == self.body().subject()
    }

    /// Whether every extension that must be understood is.
    pub(super) fn is_understood(&self) -> bool {
        let mut extensions = self.body().extensions().into_iter().flatten();
        extensions.all(|extension| !extension.critical || KNOWN.contains(&extension.extn_id))
    }

    /// Whether its key may be a server's, if its uses are named (OpenSSL's `check_purpose_ssl_server`).
    pub(super) fn is_for_servers(&self) -> bool {
        let serves = |usage: &KeyUsage| {
            usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
        };
        self.is_used_for_servers()
            && self
                .body()
                .get_extension::<KeyUsage>()
                .is_ok_and(|usage| usage.is_none_or(|(_, usage)| serves(&usage)))
    }

    /// Whether it may sign servers' certificates (OpenSSL's `check_ca`): it is called an authority, or
    /// is of the time when there was no such word. webpki asks this of no trusted certificate.
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

    /// Whether this one has signed `other`.
    pub(super) fn has_signed(
        &self,
        other: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let may_sign = self.is_authority() && self.is_unlimited();
        if !may_sign || self.body().subject() != other.body().issuer() {
            return false;
        }
        let (Some(key), Some(signed)) = (self.key(), other.signed()) else { return false };
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let named = other.parsed.signature_algorithm();
        let signature = other.parsed.signature().raw_bytes();
        let mut fitting =
            algorithms.all.iter().filter(|a| is_algorithm(named, a.signature_alg_id().as_ref()));
        fitting.any(|algorithm| key.verify_signature(*algorithm, signed, signature).is_ok())
    }

    /// The part of it that is signed, byte for byte; `None` if two places name different signatures.
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

/// Whether an algorithm's name is this one, given as the content of its sequence.
fn is_algorithm(named: &AlgorithmIdentifierOwned, content: &[u8]) -> bool {
    let Ok(der) = named.to_der() else { return false };
    let Ok(mut reader) = SliceReader::new(&der) else { return false };
    Header::decode(&mut reader).is_ok()
        && der.ends_with(content)
        && usize::try_from(reader.remaining_len()) == Ok(content.len())
}

/// The hash that RSASSA-PSS names in its parameters; SHA-1 where it names none.
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

/// The extensions that are understood here.
const KNOWN: [ObjectIdentifier; 4] =
    [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];

/// Which hash stands for which signature, or for which hash of RSASSA-PSS; MD5 and SHA-1 become
/// SHA-256 (RFC 5929, 4.1).
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
