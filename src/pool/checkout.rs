//! A connection that is checked out, and its statements.
//!
//! Only unnamed statements of the extended protocol (`query_typed`) and the simple protocol are used:
//! behind PgBouncer, a named prepared statement can be executed on another server connection than it
//! was prepared on. A statement over its time limit is cancelled on the server, and its connection is
//! discarded, because its answer may still arrive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Error, Row, SimpleQueryMessage};
use tracing::{debug, info};

use super::Pool;
use super::error::QueryError;
use super::inspect::AnswerLimit;
use super::login::{Backend, Live};
use super::manager::Manager;
use super::timings::Timings;
use super::tls::{Context, Established};
use crate::duration::rounded_ms;
use crate::metrics::{CloseReason, GaugeGuard};

/// The longest time that a cancel request may take.
const CANCEL: Duration = Duration::from_secs(2);

/// The mode of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// It can only read.
    ReadOnly,
    /// The server's default: it can write, unless the server is read-only.
    ReadWrite,
}

/// Names and statements of other databases stand in the system views in the encodings of their own. Where
/// the server would convert them from its database's encoding, and refuse the whole answer when one does
/// not fit, it sends them as they are instead. From UTF8 nothing is converted or checked, and every byte is
/// a character of LATIN1.
/// <https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-AUTOMATIC-CONVERSION>
const READ_ONLY: &str = "BEGIN READ ONLY; SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', true) \
    WHERE pg_catalog.current_setting('server_encoding') NOT IN ('UTF8', 'LATIN1')";

impl TransactionMode {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadOnly => READ_ONLY,
            // READ WRITE would override default_transaction_read_only, and applications do not say it.
            Self::ReadWrite => "BEGIN",
        }
    }
}

/// The connection that a check-out got.
pub(super) struct HandedOut {
    backend: Backend,
    /// `None` for a connection that was open before.
    opened: Option<Timings>,
    waited: Duration,
}

impl HandedOut {
    /// `asked`: when the check-out began.
    pub(super) fn new(live: &Live, asked: Instant) -> Self {
        let is_new = live.born >= asked;
        Self {
            backend: live.backend.clone(),
            opened: is_new.then_some(live.timings),
            waited: if is_new { live.waited } else { Duration::ZERO },
        }
    }
}

/// A checked-out connection. It goes back to the pool when dropped; dropped in the middle of a
/// statement or a transaction, it is closed instead.
pub struct Checkout {
    pool: Arc<Pool>,
    slot: Option<bb8::PooledConnection<'static, Manager>>,
    handed_out: HandedOut,
    since: Instant,
    /// A statement has been sent, and its answer has not come.
    running: bool,
    /// A transaction may be open.
    unfinished: bool,
    _active: GaugeGuard,
    _permit: OwnedSemaphorePermit,
}

impl Checkout {
    pub(super) fn new(
        pool: Arc<Pool>,
        slot: bb8::PooledConnection<'static, Manager>,
        handed_out: HandedOut,
        permit: OwnedSemaphorePermit,
        took: Duration,
    ) -> Self {
        let active = pool.gauges.active.inc_guard();
        if pool.limits.echo {
            info!(
                pid = handed_out.backend.pid,
                took_ms = rounded_ms(took),
                "checked out a connection"
            );
        }
        let since = Instant::now();
        Self {
            pool,
            slot: Some(slot),
            handed_out,
            since,
            running: false,
            unfinished: false,
            _active: active,
            _permit: permit,
        }
    }

    /// The server's side of the connection.
    pub fn server(&self) -> &Backend {
        &self.handed_out.backend
    }

    /// The times of the phases in which the connection was opened, if that was for this check-out.
    pub fn opened(&self) -> Option<Timings> {
        self.handed_out.opened
    }

    /// The time that this check-out waited for a permit of the exporter's own budget. The server has no part
    /// in it.
    pub fn waited(&self) -> Duration {
        self.handed_out.waited
    }

    /// Limits the answers of the statements that follow, which is [`AnswerLimit::VIEW`] otherwise.
    /// An answer above it closes the connection.
    pub fn limit_answers(&mut self, limit: AnswerLimit) {
        self.live().wire.set_limit(limit);
    }

    fn live(&mut self) -> &Live {
        let slot = self.slot.as_mut().expect("a check-out has its slot until it is dropped");
        &slot.open().expect("a check-out is made of an open slot").live
    }

    /// Begins a transaction in which the server enforces the limit of each statement too.
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn begin(
        &mut self,
        access: TransactionMode,
        limit: Duration,
    ) -> Result<(), QueryError> {
        let ms = limit.as_millis().max(1);
        let sql = format!(
            "{}; SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}",
            access.begin()
        );
        self.simple(&sql, limit).await?;
        self.unfinished = true;
        Ok(())
    }

    /// Runs statements that only read in one message, with the server's limit on each, where a pooler allows no
    /// transactions: the server takes such a message for a transaction that ends with it.
    /// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT>
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn read_alone(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<SimpleQueryMessage>, QueryError> {
        let ms = limit.as_millis().max(1);
        let sql = format!(
            "SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}; {sql}"
        );
        self.simple(&sql, limit).await
    }

    /// Closes the connection instead of giving it back.
    pub fn discard(mut self) {
        self.unfinished = true;
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn commit(&mut self, limit: Duration) -> Result<(), QueryError> {
        self.simple("COMMIT", limit).await?;
        self.unfinished = false;
        Ok(())
    }

    /// Runs a statement with the types of its parameters, so that it needs no prepared statement.
    ///
    /// # Errors
    /// After `limit`, when the statement is cancelled on the server; or the server's error.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        limit: Duration,
    ) -> Result<Vec<Row>, QueryError> {
        self.run(sql, limit, async |client| client.query_typed(sql, parameters).await).await
    }

    /// Runs statements with the simple protocol.
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn simple(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<SimpleQueryMessage>, QueryError> {
        self.run(sql, limit, async |client| client.simple_query(sql).await).await
    }

    /// Rolls the transaction back, if one is open.
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn rollback(&mut self, limit: Duration) -> Result<(), QueryError> {
        if self.unfinished {
            self.simple("ROLLBACK", limit).await?;
            self.unfinished = false;
        }
        Ok(())
    }

    /// Returns the connection to the pool, after a ROLLBACK if a transaction is open.
    pub async fn release(mut self, limit: Duration) {
        if !self.running {
            // A transaction that cannot be ended closes the connection on drop.
            let _ = self.rollback(limit).await;
        }
    }

    async fn run<T>(
        &mut self,
        sql: &str,
        limit: Duration,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, QueryError> {
        if self.pool.limits.echo_statements {
            info!(pid = self.handed_out.backend.pid, sql, "statement");
        }
        self.running = true;
        let live = self.live();
        let Ok(result) = timeout(limit, work(&live.client)).await else {
            // Dropping the check-out cancels the statement and closes the connection.
            return Err(QueryError::Timeout { limit });
        };
        let is_closed = live.client.is_closed();
        let error = match result {
            Ok(answer) => {
                self.running = false;
                return Ok(answer);
            }
            Err(error) => QueryError::new(&error, live.wire.refusal()),
        };
        self.running = false;
        if is_closed {
            self.pool.manager.invalidate(CloseReason::Invalidated);
        }
        Err(if error.is_servers_limit() { QueryError::Timeout { limit } } else { error })
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let used = self.since.elapsed();
        self.pool.instruments.checkins.inc();
        self.pool.instruments.times.usage.observe(used);
        if self.pool.limits.echo {
            info!(
                pid = self.handed_out.backend.pid,
                used_ms = rounded_ms(used),
                "checked in a connection"
            );
        }
        if let Some(mut slot) = self.slot.take() {
            if self.running
                && let Ok(open) = slot.open()
            {
                let token = open.live.client.cancel_token();
                let context = open.live.context.clone();
                self.pool.connector().spawn(cancel(
                    token,
                    self.handed_out.backend.clone(),
                    context,
                ));
            }
            if self.running || self.unfinished {
                slot.close(CloseReason::Broken);
            }
            self.pool.give_back(slot);
        }
    }
}

/// Asks the server to cancel the statement that runs on this connection, encrypted if the connection
/// is. The server does not answer such a request.
async fn cancel(token: CancelToken, backend: Backend, context: Option<Arc<Context>>) {
    let request = async {
        let mut stream = backend.peer.stream().await.map_err(|e| e.to_string())?;
        if let Some(context) = context {
            stream = context.secure(stream).await.map_err(|e| e.to_string())?;
        }
        token.cancel_query_raw(stream, Established(None)).await.map_err(|e| e.to_string())
    };
    match timeout(CANCEL, request).await {
        Ok(Ok(())) => debug!(pid = backend.pid, "asked the server to cancel a statement"),
        Ok(Err(error)) => debug!(pid = backend.pid, error, "could not cancel a statement"),
        Err(_) => debug!(pid = backend.pid, "could not cancel a statement: no answer"),
    }
}
