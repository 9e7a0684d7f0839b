//! Go's names of TLS versions, cipher suites and curves, with those that rustls supports.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite as ring, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// A name that is not supported. The text says why, and follows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsupported(&'static str);

const SUITES: &[SupportedCipherSuite] = &[
    ring::TLS13_AES_128_GCM_SHA256,
    ring::TLS13_AES_256_GCM_SHA384,
    ring::TLS13_CHACHA20_POLY1305_SHA256,
    ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A cipher suite by Go's name.
///
/// # Errors
/// CBC and RSA key exchange are known but not supported; anything else is unknown.
pub(super) fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, Unsupported> {
    if let Some(suite) = SUITES.iter().find(|suite| go_name(suite).as_deref() == Some(name)) {
        return Ok(*suite);
    }
    if name.starts_with("TLS_") && name.contains("_CBC_") {
        return Err(Unsupported(
            "CBC suites are not supported: they have no safe implementation here",
        ));
    }
    if name.starts_with("TLS_RSA_WITH_") {
        return Err(Unsupported("suites without forward secrecy are not supported"));
    }
    Err(Unsupported("not a cipher suite, by Go's names, that is supported"))
}

fn go_name(suite: &SupportedCipherSuite) -> Option<String> {
    suite.suite().as_str().map(|text| text.replacen("TLS13_", "TLS_", 1))
}

/// A curve by Go's name.
///
/// # Errors
/// CurveP521 and X25519MLKEM768 are known but not supported; anything else is unknown.
pub(super) fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, Unsupported> {
    match name {
        "CurveP256" => Ok(kx_group::SECP256R1),
        "CurveP384" => Ok(kx_group::SECP384R1),
        "X25519" => Ok(kx_group::X25519),
        "CurveP521" | "X25519MLKEM768" => {
            Err(Unsupported("not supported here; CurveP256, CurveP384 and X25519 are"))
        }
        _ => Err(Unsupported("must be CurveP256, CurveP384 or X25519")),
    }
}

/// The versions of TLS between two of Go's names, oldest first.
///
/// # Errors
/// For each end: a version that rustls does not support (RFC 8996 deprecates it), or not a version.
/// An empty range is a problem of the maximum.
pub(super) fn versions(
    min: &str,
    max: &str,
) -> Result<Vec<&'static SupportedProtocolVersion>, VersionProblems> {
    let (low, high) = (version(min), version(max));
    if low.is_err() || high.is_err() {
        return Err(VersionProblems { min: low.err(), max: high.err() });
    }
    let versions: Vec<_> = [(2, &TLS12), (3, &TLS13)]
        .into_iter()
        .filter(|(n, _)| low.is_ok_and(|low| low <= *n) && high.is_ok_and(|high| *n <= high))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        let max = Some(Unsupported("must not be below min_version"));
        return Err(VersionProblems { min: None, max });
    }
    Ok(versions)
}

/// The problems of `min_version` and `max_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VersionProblems {
    pub(super) min: Option<Unsupported>,
    pub(super) max: Option<Unsupported>,
}

fn version(name: &str) -> Result<u8, Unsupported> {
    match name {
        "TLS12" => Ok(2),
        "TLS13" => Ok(3),
        "TLS10" | "TLS11" => Err(Unsupported(
            "TLS 1.0 and 1.1 are insecure (RFC 8996) and not supported; must be TLS12 or TLS13",
        )),
        _ => Err(Unsupported("must be TLS12 or TLS13")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_found_by_gos_name() {
        for name in [
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(cipher_suite(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_rustls_lacks_are_refused_with_the_reason() {
        let text = |name| cipher_suite(name).unwrap_err().to_string();
        assert!(text("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA").contains("CBC"));
        assert!(text("TLS_RSA_WITH_AES_128_GCM_SHA256").contains("forward secrecy"));
        assert!(curve("CurveP521").is_err() && curve("").is_err());
    }

    #[test]
    fn versions_are_a_range() {
        assert_eq!(versions("TLS12", "TLS13").unwrap().len(), 2);
        assert_eq!(versions("TLS13", "TLS13").unwrap().len(), 1);
        assert!(versions("TLS13", "TLS12").unwrap_err().max.is_some());
        let both = versions("TLS10", "SSL3").unwrap_err();
        assert!(both.min.is_some() && both.max.is_some());
    }
}
