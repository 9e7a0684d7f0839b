//! The identity of the server behind a connection, from the server's own answer.
//!
//! An address does not identify a server: behind a proxy or a name that was switched, an old and a new
//! connection have the same. The start of its postmaster does. Asked with the simple protocol, outside of
//! any timing, and a server that cannot answer is no failure.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::checkout::Checkout;
use super::rows;
use crate::dsn::SessionAttrs;

/// The server behind a connection, and the kind of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The process id of the backend that answered. It differs from [`Backend::pid`](super::Backend)
    /// where a pooler stands between.
    pub pid: i32,
    /// When the postmaster started, in microseconds since 1970 by the server's clock.
    pub started: i64,
    /// True if the server is a standby, or still recovering (`pg_is_in_recovery()`).
    pub in_recovery: bool,
    /// True if the session's transactions are read-only by libpq's rule for `target_session_attrs`.
    pub read_only: bool,
    /// The session's role.
    pub user: String,
    /// Its database.
    pub database: String,
}

/// The longest time that a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The statement. transaction_read_only would be that of the probe's own transaction, which is read-only.
const SQL: &str = "SELECT pg_catalog.pg_backend_pid(), \
                   (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::int8, \
                   pg_catalog.pg_is_in_recovery(), \
                   pg_catalog.current_setting('default_transaction_read_only')::bool \
                   OR pg_catalog.pg_is_in_recovery(), session_user, pg_catalog.current_database()";

impl ServerIdentity {
    /// Reports whether the session is of the kind that `target_session_attrs` asks for.
    pub fn meets(&self, wanted: SessionAttrs) -> bool {
        match wanted {
            SessionAttrs::Any | SessionAttrs::PreferStandby => true,
            SessionAttrs::ReadWrite => !self.read_only,
            SessionAttrs::ReadOnly => self.read_only,
            SessionAttrs::Primary => !self.in_recovery,
            SessionAttrs::Standby => self.in_recovery,
        }
    }

    /// The kind of the server, for messages.
    pub fn role(&self) -> &'static str {
        match (self.in_recovery, self.read_only) {
            (true, _) => "a standby",
            (false, true) => "a read-only primary",
            (false, false) => "a primary",
        }
    }

    fn read(answer: &[SimpleQueryMessage]) -> Option<Self> {
        let row = rows(answer).next()?;
        Some(Self {
            pid: row.get(0)?.parse().ok()?,
            started: row.get(1)?.parse().ok()?,
            in_recovery: row.get(2)? == "t",
            read_only: row.get(3)? == "t",
            user: name(row, 4),
            database: name(row, 5),
        })
    }
}

/// A name in an answer. One that is not in UTF-8 is left out: it must not hide which server answered.
fn name(row: &SimpleQueryRow, column: usize) -> String {
    row.try_get(column).ok().flatten().unwrap_or_default().to_owned()
}

/// A server that does not answer must not fail a probe that has succeeded before its deadline.
fn limit(deadline: Instant) -> Duration {
    PATIENCE.min(deadline.saturating_duration_since(Instant::now()) / 2)
}

/// Asks on a connection that is not of the pool.
pub(super) async fn of_client(client: &Client, deadline: Instant) -> Option<ServerIdentity> {
    let answer = timeout(limit(deadline), client.simple_query(SQL)).await.ok()?.ok()?;
    ServerIdentity::read(&answer)
}

impl Checkout {
    /// Asks which server this connection leads to; `None` where it does not answer well before the
    /// deadline, or knows no such thing.
    pub async fn identity(&mut self, deadline: Instant) -> Option<ServerIdentity> {
        let answer = self.simple(SQL, limit(deadline)).await.ok()?;
        ServerIdentity::read(&answer)
    }
}
