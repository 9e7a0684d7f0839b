//! TLS to the server, with libpq's meaning of the URL's parameters
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
//!
//! The request and the handshake are done here, before tokio-postgres gets the stream: so each is
//! timed, `allow` and `prefer` can try again, and the start-up is inspected above TLS. Files are read
//! at each connect, so that renewed certificates are used. rustls runs on ring, which needs no cmake
//! and makes the smaller program.

mod certificate;
mod constraints;
mod established;
mod identity;
mod roots;
mod trust;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

pub(super) use established::{Bound, Established};

use self::certificate::Certificate;
use self::identity::Identity;
use self::roots::Roots;
use self::trust::Verifier;
use super::error::ConnectError;
use super::wire::Io;
use crate::dsn::{self, Address, CertMode, Host, SslMode, TlsVersion};
use crate::files::FileReader;
use crate::metrics::Reason;

/// The outcome of TLS on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version: `TLSv1.3`.
    pub version: String,
    /// The cipher suite, by IANA's name.
    pub cipher: String,
    /// When the server's certificate expires; `None` for one that cannot be parsed.
    pub not_after: Option<SystemTime>,
}

/// One way to try a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Without TLS.
    Plain,
    /// With TLS if the server has it, otherwise without.
    Optional,
    /// With TLS.
    Encrypted,
}

/// The ways in which a host is tried, in order. A Unix socket never has TLS.
pub(super) fn attempts(mode: Option<SslMode>, host: &Host) -> &'static [Attempt] {
    if matches!(host.address, Address::Unix(_)) && host.hostaddr.is_none() {
        return &[Attempt::Plain];
    }
    match mode.unwrap_or(SslMode::Prefer) {
        SslMode::Disable => &[Attempt::Plain],
        SslMode::Allow => &[Attempt::Plain, Attempt::Encrypted],
        SslMode::Prefer => &[Attempt::Optional, Attempt::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Attempt::Encrypted],
    }
}

/// Merges the errors of two attempts: that of the encrypted one, unless TLS itself was unavailable.
pub(super) fn worse(before: Option<(Attempt, ConnectError)>, error: ConnectError) -> ConnectError {
    let Some((first, before)) = before else { return error };
    let (plain, encrypted) = match first {
        Attempt::Plain => (before, error),
        Attempt::Optional | Attempt::Encrypted => (error, before),
    };
    let (shown, other, way) = if encrypted.reason == Reason::Tls {
        (plain, encrypted, "with")
    } else {
        (encrypted, plain, "without")
    };
    ConnectError { message: format!("{} ({way} TLS: {})", shown.message, other.message), ..shown }
}

/// A mistake in our own TLS settings, found before any server is asked.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub(super) struct Problem(String);

fn problem(text: impl Into<String>) -> Problem {
    Problem(text.into())
}

/// Everything that a handshake with one host needs.
pub(super) struct Context {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    identity: Arc<Identity>,
    verifies: bool,
    must_be_asked: bool,
    direct: bool,
}

/// A server's answer to the request for TLS.
pub(super) enum TlsSupport {
    Yes,
    No,
    /// An answer that no PostgreSQL server gives, such as the first letter of an HTTP response.
    NotPostgres,
}

/// An encrypted stream.
pub(super) struct Secured {
    pub(super) stream: Box<dyn Io>,
    pub(super) tls: TlsInfo,
    /// The channel binding data of the server's certificate; `None` where its signature algorithm has
    /// none.
    pub(super) end_point: Option<Vec<u8>>,
}

impl Context {
    /// Reads the files; blocks. `home` is the user's home folder, with `.postgresql` in it.
    pub(super) fn load(
        tls: &dsn::Tls,
        host: &Host,
        home: Option<&Path>,
        files: &FileReader,
    ) -> Result<Self, Problem> {
        let folder = home.map(|home| home.join(".postgresql"));
        let provider = Arc::new(ring::default_provider());
        let identity = Arc::new(Identity::load(tls, folder.as_deref(), &provider, files)?);
        let verifier = verifier(tls, host, folder.as_deref(), Arc::clone(&provider), files)?;
        let verifies = verifier.has_roots();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(tls))
            .map_err(|error| problem(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::clone(&identity) as _);
        config.enable_sni = tls.sni;
        // No resumption: each handshake is measured, and it must show the server's certificate.
        config.resumption = Resumption::disabled();
        if tls.direct {
            config.alpn_protocols = vec![ALPN.to_vec()];
        }
        Ok(Self {
            config: Arc::new(config),
            name: sent_name(host),
            identity,
            verifies,
            must_be_asked: tls.cert_mode == Some(CertMode::Require),
            direct: tls.direct,
        })
    }

    /// Reports whether a handshake verifies the server's certificate.
    pub(super) fn verifies(&self) -> bool {
        self.verifies
    }

    /// Asks the server for TLS.
    pub(super) async fn request(&self, stream: &mut Box<dyn Io>) -> io::Result<TlsSupport> {
        if self.direct {
            return Ok(TlsSupport::Yes);
        }
        stream.write_all(&SSL_REQUEST).await?;
        stream.flush().await?;
        // One byte and no more: what is received before the handshake was sent by anybody, and must
        // not be taken for the server's words afterwards (CVE-2021-23222).
        match stream.read_u8().await? {
            b'S' => Ok(TlsSupport::Yes),
            b'N' => Ok(TlsSupport::No),
            b'E' => Err(io::Error::other("the server answers the request for TLS with an error")),
            _ => Ok(TlsSupport::NotPostgres),
        }
    }

    /// Does the TLS handshake.
    pub(super) async fn handshake(&self, stream: Box<dyn Io>) -> io::Result<Secured> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        let (_, connection) = stream.get_ref();
        if self.direct && connection.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::other(
                "the server does not know sslnegotiation=direct (no ALPN)",
            ));
        }
        if self.must_be_asked && !self.identity.was_asked() {
            return Err(io::Error::other(
                "sslcertmode=require: the server asks for no certificate",
            ));
        }
        let leaf = connection.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let leaf = leaf.and_then(|der| Certificate::parse(der));
        let tls = describe(connection, leaf.as_ref());
        let end_point = leaf.and_then(|leaf| leaf.end_point());
        Ok(Secured { stream: Box::new(stream), tls, end_point })
    }

    /// Asks for TLS and does the handshake; fails if the server has no TLS.
    pub(super) async fn secure(&self, mut stream: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        match self.request(&mut stream).await? {
            TlsSupport::Yes => Ok(self.handshake(stream).await?.stream),
            TlsSupport::No | TlsSupport::NotPostgres => Err(io::Error::other(NO_TLS)),
        }
    }
}

fn describe(connection: &ClientConnection, leaf: Option<&Certificate<'_>>) -> TlsInfo {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsInfo {
        version: version.unwrap_or("unknown").replace('_', "."),
        cipher: suite.unwrap_or("unknown").replace("TLS13_", "TLS_"),
        not_after: leaf.map(Certificate::not_after),
    }
}

/// Chooses what is verified: the chain wherever there are roots, also for `require`, as in libpq.
fn verifier(
    tls: &dsn::Tls,
    host: &Host,
    folder: Option<&Path>,
    provider: Arc<CryptoProvider>,
    files: &FileReader,
) -> Result<Verifier, Problem> {
    let mode = tls.mode.unwrap_or(SslMode::Prefer);
    let roots = Roots::load(tls, folder, files)?;
    if roots.is_none() && matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
        return Err(problem(format!(
            "sslmode={} needs sslrootcert (a file, or `system`), or ~/.postgresql/root.crt",
            mode.label()
        )));
    }
    let name = match (mode, &host.address) {
        (SslMode::VerifyFull, Address::Name(name)) => Some(name.clone()),
        (SslMode::VerifyFull, Address::Unix(_) | Address::Unset) => {
            return Err(problem("sslmode=verify-full needs a host name beside hostaddr"));
        }
        (
            SslMode::Disable
            | SslMode::Allow
            | SslMode::Prefer
            | SslMode::Require
            | SslMode::VerifyCa,
            _,
        ) => None,
    };
    Ok(Verifier::new(provider, roots, name))
}

fn versions(tls: &dsn::Tls) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)]
        .into_iter()
        .filter(|(version, _)| tls.min_protocol.is_none_or(|min| *version >= min))
        .filter(|(version, _)| tls.max_protocol.is_none_or(|max| *version <= max))
        .map(|(_, version)| version)
        .collect()
}

/// The name sent to the server (SNI has no addresses). The verifier does not use it: it has the host as
/// the user wrote it.
fn sent_name(host: &Host) -> ServerName<'static> {
    let name = match &host.address {
        Address::Name(name) => ServerName::try_from(name.clone()).ok(),
        Address::Unix(_) | Address::Unset => None,
    };
    let address = host.hostaddr.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    name.unwrap_or_else(|| ServerName::IpAddress(address.into()))
}

/// The message where TLS is required and the server has none.
pub(super) const NO_TLS: &str = "the server does not support TLS, but the sslmode demands it";

/// The packet `SSLRequest`: its length and its code, 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The protocol that `sslnegotiation=direct` must agree on, so that a TLS connection to another service
/// with the same certificate is refused (ALPACA attack).
const ALPN: &[u8] = b"postgresql";
