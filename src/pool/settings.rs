//! The settings of a pool: how its server is reached, and SQLAlchemy QueuePool's parameters.

use std::sync::Arc;
use std::time::Duration;

use super::password::Credentials;
use crate::dsn::{Dsn, SslMode};
use crate::metrics::{CloseReason, Label as _};

/// The settings for opening connections to the server of a pool.
#[derive(Clone, PartialEq)]
pub struct ConnectSettings {
    /// The parsed database URL.
    pub dsn: Arc<Dsn>,
    /// The limit for opening a connection: all hosts and phases together.
    pub timeout: Duration,
    /// The source of the password, if it is not the URL, and the user's home folder.
    pub credentials: Credentials,
    /// The `application_name` of our sessions, unless the URL has one.
    pub application_name: String,
    /// The statement of the pre-ping; the empty statement is the cheapest that PostgreSQL answers.
    pub ping: &'static str,
    /// The time for which a connection that was given up is waited for, with its socket open, until the server
    /// closes it. It keeps its permit for longer.
    pub linger: Duration,
}

impl ConnectSettings {
    /// The limit for opening a connection, unless another is configured.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The time for which a configured target's abandoned connection is waited for. TCP keepalives detect a dead
    /// peer far sooner.
    pub const LINGER: Duration = Duration::from_secs(600);

    /// The sslmode in force, as libpq calls it.
    pub fn sslmode(&self) -> &'static str {
        self.dsn.tls.mode.unwrap_or(SslMode::Prefer).label()
    }
}

/// The limits and options of a pool, with the meaning of SQLAlchemy's parameters
/// (<https://docs.sqlalchemy.org/en/20/core/pooling.html>).
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLimits {
    /// The number of connections that the pool keeps; 0 means no limit at all, as in SQLAlchemy.
    pub size: u32,
    /// The number of connections allowed above the size, closed at check-in; `None` means no limit.
    pub max_overflow: Option<u32>,
    /// The longest time that a check-out waits for a slot. Opening and testing a connection are not
    /// included.
    pub timeout: Duration,
    /// At check-out, a connection older than this is replaced; `None` means never.
    pub recycle: Option<Duration>,
    /// True if an idle connection is tested at check-out (`pool_pre_ping`).
    pub pre_ping: bool,
    /// The limit of that test. SQLAlchemy has none.
    pub ping_timeout: Duration,
    /// True if the connection used last is handed out first (`pool_use_lifo`).
    pub use_lifo: bool,
    /// True if every check-out and check-in is logged (`echo_pool`).
    pub echo: bool,
    /// True if every statement is logged (`echo`).
    pub echo_statements: bool,
}

impl Default for PoolLimits {
    /// The application's own defaults, and a test of idle connections within ten seconds.
    fn default() -> Self {
        Self {
            size: 20,
            max_overflow: Some(10),
            timeout: Duration::from_secs(30),
            recycle: Some(Duration::from_secs(3600)),
            pre_ping: true,
            ping_timeout: Duration::from_secs(10),
            use_lifo: true,
            echo: false,
            echo_statements: false,
        }
    }
}

impl PoolLimits {
    /// The largest number of open connections; `None` without a limit.
    pub fn max(&self) -> Option<u32> {
        if self.size == 0 { None } else { Some(self.size.saturating_add(self.max_overflow?)) }
    }

    /// The reasons for which a pool with these limits can close a connection.
    pub(crate) fn close_reasons(&self) -> impl Iterator<Item = CloseReason> {
        let has_overflow = self.size > 0 && self.max_overflow != Some(0);
        let (recycles, pings) = (self.recycle.is_some(), self.pre_ping);
        CloseReason::all().filter(move |reason| match reason {
            CloseReason::Overflow => has_overflow,
            CloseReason::Recycled => recycles,
            // Only where a server has many targets; it is shown once it happens.
            CloseReason::Released => false,
            CloseReason::PingFailed => pings,
            CloseReason::Invalidated
            | CloseReason::Broken
            | CloseReason::Shutdown
            | CloseReason::WrongSession => true,
        })
    }
}
