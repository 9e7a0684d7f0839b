//! Go's names of what TLS can do, and which of it rustls does.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite as ring, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// A name that we cannot follow, and why; the text goes behind the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cannot(&'static str);

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
/// CBC and RSA key exchange are known but not done; anything else is unknown.
pub fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, Cannot> {
    let rustls_name = |suite: &SupportedCipherSuite| {
        suite.suite().as_str().map(|text| text.replacen("TLS13_", "TLS_", 1))
    };
    if let Some(suite) = SUITES.iter().find(|suite| rustls_name(suite).as_deref() == Some(name)) {
        return Ok(*suite);
    }
    if name.starts_with("TLS_") && name.contains("_CBC_") {
        return Err(Cannot("CBC suites are not supported: they have no safe implementation here"));
    }
    if name.starts_with("TLS_RSA_WITH_") {
        return Err(Cannot("suites without forward secrecy are not supported"));
    }
    Err(Cannot("not a cipher suite, by Go's names, that is supported"))
}

/// A curve by Go's name.
///
/// # Errors
/// CurveP521 and X25519MLKEM768 are known but not done; anything else is unknown.
pub fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, Cannot> {
    match name {
        "CurveP256" => Ok(kx_group::SECP256R1),
        "CurveP384" => Ok(kx_group::SECP384R1),
        "X25519" => Ok(kx_group::X25519),
        "CurveP521" | "X25519MLKEM768" => {
            Err(Cannot("not supported here; CurveP256, CurveP384 and X25519 are"))
        }
        _ => Err(Cannot("must be CurveP256, CurveP384 or X25519")),
    }
}

/// The versions of TLS between two of Go's names, oldest first.
///
/// # Errors
/// Per end: a version that rustls does not do (it is insecure, RFC 8996), or no version;
/// an empty range is told for the maximum.
pub fn versions(
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
        let max = Some(Cannot("must not be below min_version"));
        return Err(VersionProblems { min: None, max });
    }
    Ok(versions)
}

/// What is wrong with `min_version` and `max_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionProblems {
    /// With the minimum.
    pub min: Option<Cannot>,
    /// With the maximum.
    pub max: Option<Cannot>,
}

fn version(name: &str) -> Result<u8, Cannot> {
    match name {
        "TLS12" => Ok(2),
        "TLS13" => Ok(3),
        "TLS10" | "TLS11" => Err(Cannot(
            "TLS 1.0 and 1.1 are insecure (RFC 8996) and not supported; must be TLS12 or TLS13",
        )),
        _ => Err(Cannot("must be TLS12 or TLS13")),
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
    fn what_rustls_lacks_is_told() {
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
