//! The web configuration: TLS, passwords, headers and rate, in the Prometheus exporter toolkit's terms.
//!
//! `config` reads the file and makes [`WebConfig`]; `live` makes them again when it changes.

mod live;
mod names;
mod rate;
mod tls;
mod users;
mod verify;

use std::num::NonZeroU32;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret::Secret;

pub use live::{Files, Load, Loaded, check};
pub use names::{Cannot, cipher_suite, curve, versions};
pub use users::password_hash;

pub(super) use live::{Live, Web};
pub(super) use users::Gate;

/// What the file says. Every part may be absent: without any it is plain HTTP for everybody.
pub struct WebConfig {
    /// `tls_server_config`.
    pub tls: Option<Tls>,
    /// `http_server_config.http2`: offered over TLS.
    pub http2: bool,
    /// `http_server_config.headers`, on every answer.
    pub headers: Vec<Header>,
    /// `basic_auth_users`: names, and hashes that [`password_hash`] took.
    pub users: Vec<(String, Secret)>,
    /// `rate_limit`.
    pub rate_limit: Option<RateLimit>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { tls: None, http2: true, headers: Vec::new(), users: Vec::new(), rate_limit: None }
    }
}

/// `tls_server_config`.
pub struct Tls {
    /// Our certificate, then those between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Whether clients show a certificate too.
    pub client: Client,
    /// From `min_version` to `max_version`; see [`versions`].
    pub versions: Vec<&'static rustls::SupportedProtocolVersion>,
    /// `cipher_suites`, for TLS 1.2, as in Go; empty: all.
    pub suites: Vec<SupportedCipherSuite>,
    /// `curve_preferences`; empty: all.
    pub curves: Vec<&'static dyn SupportedKxGroup>,
    /// `prefer_server_cipher_suites`.
    pub prefer_server_suites: bool,
}

/// What clients have to show.
pub struct Client {
    /// `client_auth_type`.
    pub auth: ClientAuth,
    /// `client_ca`.
    pub authorities: Vec<CertificateDer<'static>>,
    /// `client_allowed_sans`: one of them must be in the client's certificate, if it shows one.
    pub allowed_names: Option<Vec<String>>,
}

/// `client_auth_type`, as Go names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`.
    None,
    /// `RequestClientCert`: any certificate or none.
    Request,
    /// `RequireAnyClientCert`: any certificate.
    RequireAny,
    /// `VerifyClientCertIfGiven`: a verified one or none.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`: a verified one.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a certificate says who the client is.
    pub fn verifies(self) -> bool {
        match self {
            Self::None | Self::Request | Self::RequireAny => false,
            Self::VerifyIfGiven | Self::RequireAndVerify => true,
        }
    }
}

/// A header of every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

impl Header {
    /// `None`: the name or the value cannot be sent.
    pub fn new(name: &str, value: &str) -> Option<Self> {
        let (name, value) = (HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?);
        Some(Self { name, value })
    }
}

/// `rate_limit`: a token bucket for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// From one token to the next.
    pub interval: Duration,
    /// What the bucket holds.
    pub burst: NonZeroU32,
}
