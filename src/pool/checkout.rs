//! A connection that was checked out, and the statements that go over it.
//!
//! Only the extended protocol without a name (`query_typed`) and the simple one are used: behind
//! PgBouncer a named prepared statement meets another server connection. A statement that takes too
//! long is cancelled on the server, and its connection thrown away: its answer is still under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Error, Row, SimpleQueryMessage};
use tracing::{debug, info};

use super::Pool;
use super::error::QueryError;
use super::login::Backend;
use super::manager::Manager;
use super::tls::{Context, Established};
use crate::metrics::{CloseReason, GaugeGuard};

/// How long a cancel request may take.
const CANCEL: Duration = Duration::from_secs(2);

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// Look only.
    ReadOnly,
    /// What the server lets everybody do: change as well, unless it is read-only.
    ReadWrite,
}

impl TransactionMode {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadOnly => "BEGIN READ ONLY",
            // READ WRITE would pass over default_transaction_read_only, and no application says it.
            Self::ReadWrite => "BEGIN",
        }
    }
}

/// A checked-out connection. It goes back when dropped; one that is dropped in the middle of a
/// statement or a transaction is closed instead.
pub struct Checkout {
    pool: Arc<Pool>,
    slot: Option<bb8::PooledConnection<'static, Manager>>,
    server: Backend,
    since: Instant,
    /// A statement has been sent, and its answer has not come.
    running: bool,
    /// A transaction is open, or nobody knows whether one is.
    unfinished: bool,
    _active: GaugeGuard,
    _permit: OwnedSemaphorePermit,
}

impl Checkout {
    pub(super) fn new(
        pool: Arc<Pool>,
        slot: bb8::PooledConnection<'static, Manager>,
        server: Backend,
        permit: OwnedSemaphorePermit,
        took: Duration,
    ) -> Self {
        let active = pool.gauges.active.inc_guard();
        if pool.limits.echo {
            info!(pid = server.pid, took_ms = took.as_secs_f64() * 1e3, "checked out a connection");
        }
        let since = Instant::now();
        Self {
            pool,
            slot: Some(slot),
            server,
            since,
            running: false,
            unfinished: false,
            _active: active,
            _permit: permit,
        }
    }

    /// What the connection knows of its server.
    pub fn server(&self) -> &Backend {
        &self.server
    }

    /// Opens a transaction in which the server limits each statement too.
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

    /// Ends the transaction and keeps what it did.
    ///
    /// # Errors
    /// As [`Checkout::query`].
    pub async fn commit(&mut self, limit: Duration) -> Result<(), QueryError> {
        self.simple("COMMIT", limit).await?;
        self.unfinished = false;
        Ok(())
    }

    /// Runs a statement whose parameters' types are given: nothing is prepared.
    ///
    /// # Errors
    /// After `limit`, when the statement has been cancelled on the server; or what the server says.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        limit: Duration,
    ) -> Result<Vec<Row>, QueryError> {
        self.run(sql, limit, async |client| client.query_typed(sql, parameters).await).await
    }

    /// Runs statements in the simple protocol.
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

    /// Ends the transaction, if one is open, and undoes what it did.
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

    /// Gives the connection back, after a ROLLBACK if a transaction is open.
    pub async fn release(mut self, limit: Duration) {
        if !self.running {
            // What could not be ended is closed when it is dropped.
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
            info!(pid = self.server.pid, sql, "statement");
        }
        let slot = self.slot.as_mut().expect("a check-out has its slot until it is dropped");
        let client = &slot.open().expect("a check-out is made of an open slot").live.client;
        self.running = true;
        let Ok(result) = timeout(limit, work(client)).await else {
            // Dropping the check-out cancels the statement and closes the connection.
            return Err(QueryError::Timeout { limit });
        };
        self.running = false;
        if result.is_err() && client.is_closed() {
            self.pool.manager.invalidate();
        }
        result.map_err(|error| match error.code().map(tokio_postgres::error::SqlState::code) {
            // statement_timeout or lock_timeout: the server was quicker than we.
            Some("57014" | "55P03") => QueryError::Timeout { limit },
            _ => QueryError::Server(error),
        })
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let used = self.since.elapsed();
        self.pool.instruments.checkins.inc();
        self.pool.instruments.times.usage.observe(used);
        if self.pool.limits.echo {
            info!(
                pid = self.server.pid,
                used_ms = used.as_secs_f64() * 1e3,
                "checked in a connection"
            );
        }
        if let Some(mut slot) = self.slot.take() {
            if let (true, Ok(open)) = (self.running, slot.open()) {
                let token = open.live.client.cancel_token();
                let context = open.live.context.clone();
                self.pool.connector().spawn(cancel(token, self.server.clone(), context));
            }
            if self.running || self.unfinished {
                slot.close(CloseReason::Broken);
            }
            self.pool.give_back(slot);
        }
    }
}

/// Asks the server to end the statement that runs on this connection, encrypted if that is. A request
/// has no answer.
async fn cancel(token: CancelToken, server: Backend, context: Option<Arc<Context>>) {
    let request = async {
        let mut stream = server.peer.stream().await.map_err(|e| e.to_string())?;
        if let Some(context) = context {
            stream = context.secure(stream).await.map_err(|e| e.to_string())?;
        }
        token.cancel_query_raw(stream, Established(None)).await.map_err(|e| e.to_string())
    };
    match timeout(CANCEL, request).await {
        Ok(Ok(())) => debug!(pid = server.pid, "asked the server to cancel a statement"),
        Ok(Err(error)) => debug!(pid = server.pid, error, "could not cancel a statement"),
        Err(_) => debug!(pid = server.pid, "could not cancel a statement: no answer"),
    }
}
