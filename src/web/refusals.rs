//! Failed logins and TLS handshakes: why they failed, and a log that a flood cannot fill.

use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::Error as TlsError;

use super::access::Peer;
use super::config::RateLimit;
use super::rate::Bucket;
use super::users::Login;

/// The reason for which a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum LoginFailure {
    /// No Authorization header: a browser's first request, or a client without a password.
    Missing,
    /// A header that is not one of basic authentication.
    Malformed,
    /// An unknown user or a wrong password; which of the two is not shown.
    Wrong,
    /// Too many passwords waited to be checked.
    Busy,
}

impl LoginFailure {
    /// `None` for a login that succeeded.
    pub(super) fn of(login: Login) -> Option<Self> {
        match login {
            Login::Right => None,
            Login::Missing => Some(Self::Missing),
            Login::Malformed => Some(Self::Malformed),
            Login::Wrong => Some(Self::Wrong),
            Login::Busy => Some(Self::Busy),
        }
    }
}

/// The reason for which a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum HandshakeFailure {
    /// The client does not speak TLS: plain HTTP, or a port scanner.
    NotTls,
    /// No version, cipher suite or curve in common.
    Incompatible,
    /// The client has no certificate, and one is required.
    NoCertificate,
    /// The certificate of the client was refused.
    BadCertificate,
    /// The client refused our certificate, or ended the handshake with another alert.
    Alert,
    /// The client closed the connection.
    Closed,
    /// The handshake took too long.
    Timeout,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls has dozens, and adds to them")]
    pub(super) fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Other,
            };
        };
        match error {
            TlsError::InvalidMessage(_) => Self::NotTls,
            TlsError::PeerIncompatible(_) => Self::Incompatible,
            TlsError::NoCertificatesPresented => Self::NoCertificate,
            TlsError::InvalidCertificate(_) => Self::BadCertificate,
            TlsError::AlertReceived(_) => Self::Alert,
            _ => Self::Other,
        }
    }
}

/// Lines of a log, at a bounded rate: the next line says how many were left out.
pub(super) struct BoundedLog {
    bucket: Bucket,
    left_out: AtomicU64,
}

impl BoundedLog {
    /// Ten lines at once, then one in ten seconds.
    pub(super) fn new() -> Self {
        let burst = NonZeroU32::MIN.saturating_add(9);
        let limit = RateLimit { interval: Duration::from_secs(10), burst };
        Self { bucket: Bucket::new(limit), left_out: AtomicU64::new(0) }
    }

    /// The number of lines left out since the last one; `None` if this one is left out too.
    fn turn(&self) -> Option<u64> {
        if self.bucket.take() {
            Some(self.left_out.swap(0, Ordering::Relaxed))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    pub(super) fn login(&self, peer: Peer, reason: LoginFailure) {
        // Not an attempt: every browser begins like this.
        if reason == LoginFailure::Missing {
            return;
        }
        let Some(left_out) = self.turn() else { return };
        let reason: &str = reason.into();
        tracing::warn!(%peer, reason, left_out, "login failed");
    }

    pub(super) fn handshake(
        &self,
        peer: Peer,
        reason: HandshakeFailure,
        error: Option<&io::Error>,
    ) {
        let Some(left_out) = self.turn() else { return };
        let reason: &str = reason.into();
        let error = error.map(ToString::to_string).unwrap_or_default();
        tracing::info!(%peer, reason, error, left_out, "TLS handshake failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_leaves_ten_lines_and_a_count() {
        let log = BoundedLog::new();
        let lines = (0..1000).filter(|_| log.turn().is_some()).count();
        assert_eq!(lines, 10);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((log.turn(), log.turn()), (Some(990), None));
    }
}
