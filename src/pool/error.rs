//! What can go wrong with a connection, in words for people and in label values for metrics.
//!
//! The reason comes from the SQLSTATE where the server sent one; its text is in the server's
//! language and never read. No message holds anything of the database URL.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::metrics::{Label, Phase, Reason};

/// A connection that could not be opened.
#[derive(Clone, Debug, Error)]
#[error("{} failed: {message}", phase.map_or("connecting", Label::label))]
pub struct ConnectError {
    /// The step in which it failed; `None` before any was tried.
    pub phase: Option<Phase>,
    /// Why, as the metrics tell it.
    pub reason: Reason,
    /// What the server or the system said.
    pub message: String,
}

impl ConnectError {
    /// A failure that we found ourselves.
    pub fn new(phase: Phase, reason: Reason, message: impl Into<String>) -> Self {
        Self { phase: Some(phase), reason, message: message.into() }
    }

    /// No permit of our own limit of connections became free.
    pub fn budget() -> Self {
        let message = "the exporter's own connections to this target are all in use, or given up \
                       on a server that did not answer";
        Self { phase: None, reason: Reason::Budget, message: message.to_owned() }
    }

    /// The limit for opening a connection ran out before there was a password.
    pub(super) fn no_password(limit: Duration) -> Self {
        let message = format!("password_command gave none within {} s", limit.as_secs_f64());
        Self::new(Phase::Startup, Reason::Auth, message)
    }

    /// The limit for opening a connection ran out in this phase.
    pub fn timeout(phase: Phase, limit: Duration) -> Self {
        // Some microseconds of the limit are gone by then.
        let seconds = (limit.as_secs_f64() * 1e3).round() / 1e3;
        let message = format!("no answer within {seconds} s");
        Self::new(phase, Reason::Timeout, message)
    }

    /// A failure of the network.
    pub fn network(phase: Phase, error: &io::Error) -> Self {
        Self::new(phase, network_reason(error), error.to_string())
    }

    /// A failure of TLS, or of the network while it was set up.
    pub(super) fn tls(phase: Phase, error: &io::Error) -> Self {
        let network = network_reason(error);
        let reason = if network == Reason::Other { Reason::Tls } else { network };
        Self::new(phase, reason, error.to_string())
    }

    /// A failure that the start-up found.
    pub fn startup(error: &tokio_postgres::Error) -> Self {
        Self::new(Phase::Startup, startup_reason(error), chain(error))
    }

    /// Whether the next host of the list is worth a try: a server that knows us and refuses the
    /// role, the password or the database is the answer, as it is for libpq.
    pub fn is_final(&self) -> bool {
        matches!(self.reason, Reason::Auth | Reason::NoDatabase)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list of std is open and long")]
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
    if let Some(state) = error.code() {
        return state_reason(state);
    }
    if source_of::<super::wire::Refusal>(error).is_some() {
        return Reason::Auth;
    }
    // The server's word on our certificate comes after the handshake.
    if source_of::<rustls::Error>(error).is_some() {
        return Reason::Tls;
    }
    if let Some(error) = source_of::<io::Error>(error) {
        return network_reason(error);
    }
    if error.is_closed() {
        return Reason::Disconnected;
    }
    // What is left comes from the settings or the authentication: "password missing", say.
    let head = error.to_string();
    match head.as_str() {
        "invalid configuration" | "authentication error" => Reason::Auth,
        _ => Reason::Other,
    }
}

fn state_reason(state: &SqlState) -> Reason {
    match state.code() {
        "28000" | "28P01" => Reason::Auth,
        "3D000" => Reason::NoDatabase,
        "53300" => Reason::TooManyConnections,
        "57P03" => Reason::StartingUp,
        "57P01" | "57P02" | "57P05" => Reason::Disconnected,
        "57014" | "55P03" => Reason::Timeout,
        "42501" => Reason::NoPrivilege,
        "42P01" => Reason::NoTable,
        "25006" => Reason::ReadOnly,
        "53100" => Reason::DiskFull,
        _ => Reason::Other,
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

/// An error with all its causes: tokio-postgres shows the head only.
fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// A check-out that gave no connection.
#[derive(Clone, Debug, Error)]
pub enum CheckoutError {
    /// No slot became free within `DB_POOL_TIMEOUT`.
    #[error("pool limit of size {size} overflow {overflow} reached, no connection within {} s", waited.as_secs_f64())]
    Timeout {
        /// Connections that the pool keeps.
        size: u32,
        /// Connections beyond it.
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
    /// Why, as the metrics tell it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } => Reason::Timeout,
            Self::Connect(error) => error.reason,
            Self::Closed => Reason::Other,
        }
    }
}

/// A statement that gave no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// Took longer than its limit; cancelled on the server, its connection discarded.
    #[error("no answer within {} s; the statement was cancelled", limit.as_secs_f64())]
    Timeout {
        /// The limit that ran out.
        limit: Duration,
    },
    /// The server refused or broke it.
    #[error("{}", chain(.0))]
    Server(#[source] tokio_postgres::Error),
}

impl QueryError {
    /// Why, as the metrics tell it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } => Reason::Timeout,
            Self::Server(error) if error.is_closed() => Reason::Disconnected,
            Self::Server(error) => match error.code().map(state_reason) {
                Some(Reason::Other) => Reason::Query,
                Some(reason) => reason,
                None => Reason::Other,
            },
        }
    }

    /// The five characters of the server's error code, where it sent one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Timeout { .. } => None,
            Self::Server(error) => error.code().map(SqlState::code),
        }
    }
}
