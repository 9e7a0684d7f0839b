//! The closed sets of words that metrics of a pool use as label values.
//!
//! They are plain enums: how a driver's errors map to them is the program's matter.

use strum::{IntoStaticStr, VariantArray};

/// A step of opening a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Resolving the host name.
    Dns,
    /// Connecting the TCP or Unix socket. It succeeds from the kernel's backlog even when the
    /// server process is stopped.
    Tcp,
    /// Asking the server for TLS. Includes the fork of a PostgreSQL backend.
    SslRequest,
    /// The TLS handshake.
    Tls,
    /// Start-up packet, authentication and parameters, until the server is ready for a query.
    Startup,
}

/// Why a connect, a statement or a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// It took longer than its limit.
    Timeout,
    /// Nothing listens at the address.
    Refused,
    /// The host name does not resolve, or there is no route.
    Unreachable,
    /// TLS is required but unavailable, or a certificate is not valid.
    Tls,
    /// The password, the role or pg_hba.conf rejected the login.
    Auth,
    /// The server, the role or the database has reached its connection limit.
    TooManyConnections,
    /// The database does not exist.
    NoDatabase,
    /// The server is starting up or recovering from a crash.
    StartingUp,
    /// The server is shutting down.
    ShuttingDown,
    /// The server or the database does not accept connections: a standby without hot_standby, or
    /// `ALLOW_CONNECTIONS false`.
    NotAccepting,
    /// No host of the list matches `target_session_attrs`.
    WrongSession,
    /// The client's own connection limit for the server is used up, by connections that were
    /// given up but may still exist on the server.
    Budget,
    /// The session's role was dropped.
    NoRole,
    /// The role lacks a privilege.
    NoPrivilege,
    /// The table does not exist.
    NoTable,
    /// An extension is not installed or not loaded.
    NoExtension,
    /// The server is a standby, or its transactions are read-only.
    ReadOnly,
    /// The server's disk is full.
    DiskFull,
    /// PgBouncer pools by statement, which allows no transactions.
    StatementPooling,
    /// PgBouncer had no server connection to give within its `query_wait_timeout`.
    PoolerWait,
    /// PgBouncer answers, but cannot log in to its server.
    PoolerNoServer,
    /// PgBouncer is paused or suspended.
    PoolerPaused,
    /// PgBouncer does not accept a parameter of the start-up packet.
    StartupParameter,
    /// PgBouncer's console where a database is expected, or the other way round.
    WrongKind,
    /// The service at the address is not a PostgreSQL server.
    NotPostgres,
    /// The server sent more than the client accepts.
    TooLarge,
    /// The statement itself failed.
    Query,
    /// The server closed the connection.
    Disconnected,
    /// Anything else; the log has the message.
    Other,
}

impl Reason {
    /// The reason itself, or a better one where it is only [`Reason::Other`].
    #[must_use]
    pub fn or(self, better: Self) -> Self {
        if self == Self::Other { better } else { self }
    }
}

/// The purpose of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    /// To be kept in the pool.
    Pool,
    /// To test that a connection can be opened now; it is closed at once.
    Fresh,
}

/// The end of a check-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckOutOutcome {
    /// The caller got a connection.
    Ok,
    /// No slot became free within the pool's time-out.
    Timeout,
    /// A slot was free, but its connection could not be opened.
    ConnectError,
    /// The caller gave up waiting.
    Cancelled,
}

/// Why a pooled connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CloseReason {
    /// At check-in: the pool already kept as many idle connections as its size.
    Overflow,
    /// At check-out: older than the recycle age.
    Recycled,
    /// At check-out: opened before another connection was found dead.
    Invalidated,
    /// The test at check-out got no answer.
    PingFailed,
    /// It died, timed out or was left in an unknown state while it was in use.
    Broken,
    /// The pool was closed.
    Shutdown,
    /// At the end of a probe: the server has more targets than connections to keep.
    Released,
    /// At check-out: it leads to another server than new connections, or to one that is no longer of the
    /// wanted kind.
    WrongSession,
}
