//! The TLS settings of a URL; `pool::tls` acts on them.

use std::path::PathBuf;

use strum::{IntoStaticStr, VariantArray};

use super::{Error, Part, Problem};
use crate::secret::Secret;

/// The TLS settings of a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`, or asyncpg's `ssl`; always set after [`super::Dsn::resolve`].
    pub mode: Option<SslMode>,
    /// `sslrootcert`: the trusted root certificates.
    pub root: Option<Root>,
    /// `sslcert`: the client certificate.
    pub cert: Option<PathBuf>,
    /// `sslkey`: the key of the client certificate.
    pub key: Option<PathBuf>,
    /// `sslpassword`: the password of the key.
    pub key_password: Option<Secret>,
    /// `sslcertmode`: whether the client certificate may or must be sent. `Require` is enforced by the
    /// connector, not here.
    pub cert_mode: Option<CertMode>,
    /// `sslnegotiation=direct`: TLS starts at once, without PostgreSQL's SSLRequest.
    pub direct: bool,
    /// `channel_binding`.
    pub channel_binding: Option<ChannelBinding>,
    /// `sslsni`: whether the handshake names the host; on by default.
    pub sni: bool,
    /// `ssl_min_protocol_version`. TLSv1 and TLSv1.1 become 1.2, the oldest version supported here.
    pub min_protocol: Option<TlsVersion>,
    /// `ssl_max_protocol_version`.
    pub max_protocol: Option<TlsVersion>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: None,
            root: None,
            cert: None,
            key: None,
            key_password: None,
            cert_mode: None,
            direct: false,
            channel_binding: None,
            sni: true,
            min_protocol: None,
            max_protocol: None,
        }
    }
}

impl Tls {
    /// Returns the combinations that libpq refuses before it connects.
    pub(super) fn contradictions(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        if let Some(mode) = self.mode {
            if self.root == Some(Root::System) && mode != SslMode::VerifyFull {
                problems.push((
                    "sslmode",
                    Problem::Weak { allowed: "verify-full", with: "sslrootcert=system" },
                ));
            }
            if self.direct && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
                let allowed = "require, verify-ca, verify-full";
                problems
                    .push(("sslmode", Problem::Weak { allowed, with: "sslnegotiation=direct" }));
            }
        }
        if self.min_protocol > self.max_protocol && self.max_protocol.is_some() {
            problems.push(("ssl_min_protocol_version", Problem::Range));
        }
        problems
            .into_iter()
            .map(|(name, problem)| Error::anywhere(Part::parameter(name), problem))
            .collect()
    }
}

/// `sslmode`, with libpq's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// Without TLS first, with TLS if the server refuses that.
    Allow,
    /// With TLS first, without if the server refuses that.
    Prefer,
    /// TLS. The certificate is verified only if there is a root certificate.
    Require,
    /// TLS with a verified certificate chain.
    VerifyCa,
    /// TLS with a verified certificate chain and host name.
    VerifyFull,
}

impl SslMode {
    /// Returns libpq's word.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// `sslrootcert`: the trusted root certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A file of certificates.
    File(PathBuf),
    /// The roots of the operating system.
    System,
}

/// `sslcertmode`: the use of the client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum CertMode {
    /// Never sent.
    Disable,
    /// Sent if there is one and the server requests it.
    Allow,
    /// The server must request it.
    Require,
}

impl CertMode {
    /// Returns libpq's word.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// `channel_binding`: whether SCRAM is bound to the TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    Prefer,
    /// Always: any login but SCRAM over TLS with channel binding fails.
    Require,
}

impl ChannelBinding {
    /// Returns libpq's word.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// A supported version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[strum(serialize = "TLSv1.2")]
    V1_2,
    /// TLS 1.3.
    #[strum(serialize = "TLSv1.3")]
    V1_3,
}

impl TlsVersion {
    /// Returns libpq's word.
    pub fn label(self) -> &'static str {
        self.into()
    }

    pub(super) fn parse_min(text: &str) -> Result<Option<Self>, Problem> {
        match text.to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "tlsv1" | "tlsv1.1" | "tlsv1.2" => Ok(Some(Self::V1_2)),
            "tlsv1.3" => Ok(Some(Self::V1_3)),
            _ => Err(Problem::Allowed("TLSv1, TLSv1.1, TLSv1.2, TLSv1.3".to_owned())),
        }
    }

    pub(super) fn parse_max(text: &str) -> Result<Option<Self>, Problem> {
        match text.to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "tlsv1.2" => Ok(Some(Self::V1_2)),
            "tlsv1.3" => Ok(Some(Self::V1_3)),
            _ => Err(Problem::Allowed(
                "TLSv1.2, TLSv1.3 (older versions are not supported)".to_owned(),
            )),
        }
    }
}
