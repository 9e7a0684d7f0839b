//! TLS: what the URL asks for. Who does it reads this and nothing else.

use std::path::PathBuf;

use strum::{IntoStaticStr, VariantArray};

use super::{Error, Part, Problem};
use crate::secret::Secret;

/// The TLS settings of a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`, or `ssl` as asyncpg writes it; after [`super::Dsn::resolve`] always there.
    pub mode: Option<SslMode>,
    /// `sslrootcert`: whom to trust.
    pub root: Option<Root>,
    /// `sslcert`: our own certificate.
    pub cert: Option<PathBuf>,
    /// `sslkey`: its key.
    pub key: Option<PathBuf>,
    /// `sslpassword`: the password of the key.
    pub key_password: Option<Secret>,
    /// `sslcertmode`: whether our certificate may or must be sent. Who connects must see to `Require`.
    pub cert_mode: Option<CertMode>,
    /// `sslnegotiation=direct`: no request before the handshake.
    pub direct: bool,
    /// `channel_binding`.
    pub channel_binding: Option<ChannelBinding>,
    /// `sslsni`: whether the server is told its name; on by default.
    pub sni: bool,
    /// `ssl_min_protocol_version`; TLSv1 and TLSv1.1 become 1.2, the least that is spoken here.
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
    /// What libpq refuses before it connects.
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
    /// Never TLS.
    Disable,
    /// Plain first, TLS if refused.
    Allow,
    /// TLS first, plain if refused.
    Prefer,
    /// TLS, verified only if there is a root.
    Require,
    /// TLS with a verified chain.
    VerifyCa,
    /// TLS with a verified chain and name.
    VerifyFull,
}

impl SslMode {
    /// libpq's name of it.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A file of certificates.
    File(PathBuf),
    /// The system's own.
    System,
}

/// `sslcertmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum CertMode {
    /// Our certificate is never sent.
    Disable,
    /// It is sent if there is one and the server asks.
    Allow,
    /// The server must ask for it.
    Require,
}

impl CertMode {
    /// libpq's name of it.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    Prefer,
    /// Always: SCRAM over TLS or nothing.
    Require,
}

impl ChannelBinding {
    /// libpq's name of it.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// A version of TLS that is spoken here.
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
    /// libpq's name of it.
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
                "TLSv1.2, TLSv1.3 (older ones are not spoken here)".to_owned(),
            )),
        }
    }
}
