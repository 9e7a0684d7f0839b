//! The errors of a connection: a text for people and a label value for metrics.
//!
//! Texts come from others, so they are cut here, once, for the log, the page, the JSON and `check`
//! alike. No text contains anything of the database URL but host, port, database and role.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::inspect::Refusal;
use super::sqlstate;
use super::timings::Timings;
use crate::duration::rounded_seconds;
use crate::metrics::{Label, Phase, Reason};

/// The longest text that is taken over from others, in bytes.
const LONGEST: usize = 1024;

/// Cuts a text that somebody else wrote.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}... ({} bytes)", &text[..end], text.len())
}

/// A connection that could not be opened.
#[derive(Clone, Debug, Error)]
#[error("{} failed: {message}", phase.map_or("connecting", Label::label))]
pub struct ConnectError {
    /// The step in which it failed; `None` before any was tried.
    pub phase: Option<Phase>,
    /// The label value for metrics.
    pub reason: Reason,
    /// The text of the server or the system, and where that was.
    pub message: String,
    /// The times of the phases before the one that failed; `None` if none passed. `total` is their sum.
    pub passed: Option<Box<Timings>>,
}

impl ConnectError {
    /// A failure with a text of our own or of others.
    pub fn new(phase: Phase, reason: Reason, message: impl AsRef<str>) -> Self {
        Self { phase: Some(phase), reason, message: cut(message.as_ref()), passed: None }
    }

    /// No permit of our own connection limit became free.
    pub fn budget() -> Self {
        let message = "the exporter's own connections to this server are all in use, or were given \
                       up on a server that did not answer";
        Self { phase: None, reason: Reason::Budget, message: message.to_owned(), passed: None }
    }

    /// The limit for opening a connection ran out before there was a password.
    pub(super) fn no_password(limit: Duration) -> Self {
        let message = format!("no password within {} s from its source", rounded_seconds(limit));
        Self::new(Phase::Startup, Reason::Auth, message)
    }

    /// The limit for opening a connection ran out in this phase.
    pub fn timeout(phase: Phase, limit: Duration) -> Self {
        // Rounded, because some microseconds of the limit have passed before.
        let seconds = rounded_seconds(limit);
        Self::new(phase, Reason::Timeout, format!("no answer within {seconds} s"))
    }

    /// A failure of the network.
    pub fn network(phase: Phase, error: &io::Error) -> Self {
        Self::new(phase, network_reason(error), error.to_string())
    }

    /// A failure of TLS, or of the network during the handshake.
    pub(super) fn tls(phase: Phase, error: &io::Error) -> Self {
        let reason = network_reason(error).or(Reason::Tls);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if inner.is_some_and(is_about_algorithms) {
            return Self::new(phase, reason, format!("{error}; {UNSUPPORTED_KEYS}"));
        }
        Self::new(phase, reason, error.to_string())
    }

    /// A failure during the start-up.
    pub fn startup(error: &tokio_postgres::Error) -> Self {
        Self::new(Phase::Startup, startup_reason(error), chain(error))
    }

    /// Reports whether the other hosts need not be tried: as for libpq, a server that refuses the
    /// role, the password or the database gives the answer for all.
    pub fn is_final(&self) -> bool {
        matches!(self.reason, Reason::Auth | Reason::NoDatabase)
    }

    /// Adds the times of the phases that passed before.
    pub(super) fn after(mut self, timings: &Timings) -> Self {
        self.passed = self.phase.and_then(|phase| timings.before(phase)).map(Box::new);
        self
    }

    /// Adds where the attempt was made. The start-up is about the database and the role as well.
    pub(super) fn at(mut self, place: &str, login: &str) -> Self {
        self.message = match self.phase {
            Some(Phase::Startup) => format!("{} ({place}, {login})", self.message),
            _ => format!("{} ({place})", self.message),
        };
        self
    }

    /// Adds which of a host's addresses it was.
    pub(super) fn at_address(mut self, address: SocketAddr) -> Self {
        self.message = format!("{} ({address})", self.message);
        self
    }

    /// Joins the errors of several attempts: the most informative one first, then the others with their reasons.
    pub(super) fn most_telling(mut attempts: Vec<Self>) -> Option<Self> {
        // `max_by_key` returns the last of equal errors: its host was tried after the others had failed.
        let best = (0..attempts.len()).max_by_key(|n| attempts[*n].telling())?;
        let mut error = attempts.remove(best);
        for (n, other) in attempts.iter().enumerate() {
            let separator = if n == 0 { "; also " } else { ", " };
            error.message += &format!("{separator}{other} [{}]", other.reason.label());
        }
        error.message = cut(&error.message);
        Some(error)
    }

    /// Ranks an error by what it explains about the missing connection. The answer of a server explains more than
    /// a network error, and a host of the wrong kind explains nothing about the right one.
    fn telling(&self) -> u8 {
        match self.reason {
            Reason::Auth
            | Reason::NoDatabase
            | Reason::NoPrivilege
            | Reason::NoRole
            | Reason::NoTable
            | Reason::NoExtension
            | Reason::TooManyConnections
            | Reason::StartupParameter
            | Reason::StatementPooling
            | Reason::PoolerWait
            | Reason::PoolerNoServer
            | Reason::PoolerPaused
            | Reason::ReadOnly
            | Reason::DiskFull
            | Reason::Query => 7,
            Reason::ShuttingDown | Reason::StartingUp | Reason::NotAccepting => 6,
            Reason::Tls | Reason::WrongKind | Reason::NotPostgres | Reason::TooLarge => 5,
            Reason::Timeout => 4,
            Reason::Disconnected => 3,
            Reason::Refused => 2,
            Reason::Unreachable | Reason::WrongSession => 1,
            Reason::Budget | Reason::Other => 0,
        }
    }
}

/// The text for a server with such a key: there is no common signature scheme of TLS 1.3, and the server ends
/// the handshake.
const UNSUPPORTED_KEYS: &str = "keys on P-521 and RSA-PSS keys are not supported in certificates: \
                                use P-256, P-384, RSA or Ed25519";

/// Reports whether a handshake failed because there is no common algorithm.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls' lists are open and long")]
fn is_about_algorithms(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription, CertificateError};
    match error {
        rustls::Error::AlertReceived(alert) => *alert == AlertDescription::HandshakeFailure,
        rustls::Error::InvalidCertificate(error) => matches!(
            error,
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        ),
        _ => false,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "std's list is open and long")]
fn network_reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::TimedOut => Reason::Timeout,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NotFound => Reason::Unreachable,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Reason::Disconnected,
        _ => Reason::Other,
    }
}

fn startup_reason(error: &tokio_postgres::Error) -> Reason {
    if let Some(db) = error.as_db_error() {
        return sqlstate::reason_of_login(db.code().code(), db.message());
    }
    if let Some(refusal) = source_of::<Refusal>(error) {
        return refusal_reason(refusal);
    }
    // The server's alert about our certificate comes after the handshake (TLS 1.3).
    if source_of::<rustls::Error>(error).is_some() {
        return Reason::Tls;
    }
    // From the settings or the authentication: "password missing", for example. Before the network,
    // because some of these have an `io::Error` inside.
    if matches!(error.to_string().as_str(), "invalid configuration" | "authentication error") {
        return Reason::Auth;
    }
    if let Some(error) = source_of::<io::Error>(error) {
        return network_reason(error);
    }
    if error.is_closed() { Reason::Disconnected } else { Reason::Other }
}

pub(super) fn refusal_reason(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::NotListed(_) | Refusal::InTheClear | Refusal::ManyRounds(_) => Reason::Auth,
        Refusal::Http | Refusal::NotPostgres => Reason::NotPostgres,
        Refusal::Unstructured(_) => Reason::Other,
        Refusal::LongStartup(_)
        | Refusal::LargeAnswer(_)
        | Refusal::ManyRows(_)
        | Refusal::ManyParameters => Reason::TooLarge,
    }
}

/// Finds an error of a type in the chain below an error, also inside of `io::Error`s.
fn source_of<E: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<E>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with all its causes: tokio-postgres prints only the outermost.
fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", cut(db.message()), db.code().code());
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    cut(&text)
}

/// A check-out that gave no connection.
#[derive(Clone, Debug, Error)]
pub enum CheckoutError {
    /// No slot became free within `DB_POOL_TIMEOUT`.
    #[error("pool limit of size {size} overflow {overflow} reached, no connection within {} s", rounded_seconds(*waited))]
    Timeout {
        /// The number of connections that the pool keeps.
        size: u32,
        /// The number of connections allowed above the size.
        overflow: u32,
        /// The limit that ran out.
        waited: Duration,
    },
    /// A slot was free, but its connection could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The pool is closing.
    #[error("the pool is closed")]
    Closed,
}

impl CheckoutError {
    /// The label value for metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } => Reason::Timeout,
            Self::Connect(error) => error.reason,
            Self::Closed => Reason::Other,
        }
    }
}

/// A statement that gave no answer.
#[derive(Clone, Debug, Error)]
pub enum QueryError {
    /// It took longer than its limit. It was cancelled on the server, its connection discarded.
    #[error("no answer within {} s; the statement was cancelled", rounded_seconds(*limit))]
    Timeout {
        /// The limit that ran out.
        limit: Duration,
    },
    /// The server answered with an error, or the connection broke.
    #[error("{message}")]
    Server {
        /// The label value for metrics.
        reason: Reason,
        /// The five characters of the server's error code, where it sent one.
        sqlstate: Option<String>,
        /// The text of the server or the client library.
        message: String,
    },
}

impl QueryError {
    /// An error of the client library. `refusal`: why we closed the connection, if we did.
    pub(super) fn new(error: &tokio_postgres::Error, refusal: Option<&Refusal>) -> Self {
        if let Some(refusal) = refusal {
            let message = cut(&refusal.to_string());
            return Self::Server { reason: refusal_reason(refusal), sqlstate: None, message };
        }
        let reason = match error.as_db_error() {
            Some(db) => sqlstate::reason(db.code().code(), db.message()).or(Reason::Query),
            None if error.is_closed() => Reason::Disconnected,
            None => Reason::Other,
        };
        let sqlstate = error.code().map(|code| code.code().to_owned());
        Self::Server { reason, sqlstate, message: chain(error) }
    }

    /// The label value for metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } => Reason::Timeout,
            Self::Server { reason, .. } => *reason,
        }
    }

    /// Reports whether the server ended the statement at its statement_timeout or lock_timeout, which ran out
    /// before our own limit. A pooler's time-out is its own: its text names the setting.
    pub(super) fn is_servers_limit(&self) -> bool {
        self.reason() == Reason::Timeout && self.sqlstate().is_some_and(sqlstate::is_time_limit)
    }

    /// The five characters of the server's error code, where it sent one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Timeout { .. } => None,
            Self::Server { sqlstate, .. } => sqlstate.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(1000);
        let text = cut(&format!("x{long}"));
        assert!(text.starts_with("xé") && text.ends_with("... (2001 bytes)"), "{text}");
        assert!(text.len() < LONGEST + 32);
    }

    #[test]
    fn of_several_attempts_the_most_telling_is_reported_with_the_others() {
        let refused = ConnectError::new(Phase::Tcp, Reason::Refused, "refused").at("a:1", "x");
        let full = ConnectError::new(Phase::Startup, Reason::TooManyConnections, "full");
        let full = full.at("b:2", "database d, role r");
        for attempts in [vec![refused.clone(), full.clone()], vec![full, refused]] {
            let error = ConnectError::most_telling(attempts).unwrap();
            assert_eq!(
                (error.phase, error.reason),
                (Some(Phase::Startup), Reason::TooManyConnections)
            );
            assert_eq!(
                error.to_string(),
                "startup failed: full (b:2, database d, role r); also tcp failed: refused (a:1) [refused]"
            );
        }
        assert!(ConnectError::most_telling(Vec::new()).is_none());
    }
}
