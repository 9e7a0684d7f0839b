//! The settings of the web configuration file, in the terms of the Prometheus exporter toolkit.

use std::num::NonZeroU32;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret::Secret;

/// The content of the file. Every part may be absent: without any it is plain HTTP for everybody.
pub(in crate::web) struct WebConfig {
    /// `tls_server_config`.
    pub(in crate::web) tls: Option<TlsSettings>,
    /// `http_server_config.http2`.
    pub(in crate::web) http2: Http2,
    /// `http_server_config.headers`, set on every answer.
    pub(in crate::web) headers: Vec<Header>,
    /// `basic_auth_users`: names and bcrypt hashes.
    pub(in crate::web) users: Vec<(String, Secret)>,
    /// `rate_limit`.
    pub(in crate::web) rate_limit: Option<RateLimit>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            tls: None,
            http2: Http2::Offered,
            headers: Vec::new(),
            users: Vec::new(),
            rate_limit: None,
        }
    }
}

/// The use of HTTP/2, which is spoken over TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Http2 {
    Offered,
    Off,
}

/// `tls_server_config`.
pub(in crate::web) struct TlsSettings {
    /// Our certificate, then those between it and the root.
    pub(in crate::web) chain: Vec<CertificateDer<'static>>,
    /// The key of our certificate.
    pub(in crate::web) key: PrivateKeyDer<'static>,
    pub(in crate::web) client: ClientCertificates,
    /// From `min_version` to `max_version`.
    pub(in crate::web) versions: Vec<&'static rustls::SupportedProtocolVersion>,
    /// `cipher_suites`: those of TLS 1.2, as in Go; all if empty.
    pub(in crate::web) suites: Vec<SupportedCipherSuite>,
    /// `curve_preferences`; all if empty.
    pub(in crate::web) curves: Vec<&'static dyn SupportedKxGroup>,
    pub(in crate::web) prefer_server_suites: bool,
}

/// The certificates that clients have to present.
pub(in crate::web) struct ClientCertificates {
    /// `client_auth_type`.
    pub(in crate::web) auth: ClientAuth,
    /// `client_ca`.
    pub(in crate::web) authorities: Vec<CertificateDer<'static>>,
    /// `client_allowed_sans`: one of them must be in the certificate of the client, if it has one.
    pub(in crate::web) allowed_names: Option<Vec<String>>,
}

/// `client_auth_type`, as in Go's crypto/tls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum ClientAuth {
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
    /// Reports whether a certificate proves the identity of the client.
    pub(in crate::web) fn verifies(self) -> bool {
        match self {
            Self::None | Self::Request | Self::RequireAny => false,
            Self::VerifyIfGiven | Self::RequireAndVerify => true,
        }
    }

    /// Reports whether a client without a certificate is refused.
    pub(super) fn requires(self) -> bool {
        match self {
            Self::None | Self::Request | Self::VerifyIfGiven => false,
            Self::RequireAny | Self::RequireAndVerify => true,
        }
    }
}

/// A header of every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::web) struct Header {
    pub(in crate::web) name: HeaderName,
    pub(in crate::web) value: HeaderValue,
}

impl Header {
    /// `None` if HTTP cannot carry the name or the value.
    pub(super) fn new(name: &str, value: &str) -> Option<Self> {
        let name = HeaderName::try_from(name).ok()?;
        let value = HeaderValue::from_str(value).ok()?;
        Some(Self { name, value })
    }
}

/// `rate_limit`: a token bucket for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct RateLimit {
    /// The time from one token to the next.
    pub(in crate::web) interval: Duration,
    /// The tokens that the bucket holds.
    pub(in crate::web) burst: NonZeroU32,
}
