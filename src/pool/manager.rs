//! bb8's side of the pool: a slot, and what happens to it at check-out and check-in.
//!
//! bb8 makes empty slots at once. A connection is opened, recycled, pinged and replaced inside of its
//! slot at check-out, as SQLAlchemy does with its records. So a connect error reaches the caller at
//! once and with its cause; bb8 by itself retries until its time-out and reports only that. A failure
//! stays in the slot, and the slot is discarded at check-in.
//!
//! Rules: SQLAlchemy's `lib/sqlalchemy/pool/base.py`, `_ConnectionRecord.get_connection` and
//! `_ConnectionFairy._checkout`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bb8::ManageConnection;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::connect::Connector;
use super::error::ConnectError;
use super::inspect::AnswerLimit;
use super::login::Live;
use super::settings::PoolLimits;
use crate::duration::rounded_seconds;
use crate::metrics::{CloseReason, Gauge, GaugeGuard, Phase, PoolInstruments, Reason};

/// The number of pings of one check-out before its last reconnect, as in SQLAlchemy.
const PINGS: u32 = 2;

tokio::task_local! {
    /// Set in a task that takes slots only to close their connections. bb8 has no other way to hand out an idle
    /// slot, and a flag of the pool would also close the connection of a check-out that happens meanwhile.
    static RELEASING: ();
}

/// Runs a check-out in which an idle connection is closed instead of being prepared.
pub(super) async fn releasing<T>(check_out: impl Future<Output = T>) -> T {
    RELEASING.scope((), check_out).await
}

/// A place in the pool: with a connection, without one yet, or with the reason why there is none.
pub(super) struct Slot {
    content: Content,
    /// A ping is running: if its future is dropped, the connection's state is unknown.
    checking: bool,
}

enum Content {
    Empty,
    Open(Box<Open>),
    Failed(ConnectError),
}

/// A pooled connection. Its end is counted when it is dropped.
pub(super) struct Open {
    pub(super) live: Live,
    pub(super) end: CloseReason,
    instruments: Arc<PoolInstruments>,
    _counted: [GaugeGuard; 2],
}

impl Drop for Open {
    fn drop(&mut self) {
        self.instruments.closed.inc(self.end);
    }
}

impl Slot {
    /// The connection.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub(super) fn open(&mut self) -> Result<&mut Open, ConnectError> {
        match &mut self.content {
            Content::Open(open) => Ok(open),
            Content::Failed(error) => Err(error.clone()),
            Content::Empty => {
                Err(ConnectError::new(Phase::Startup, Reason::Other, "the slot is empty"))
            }
        }
    }

    /// Closes the connection, if there is one.
    pub(super) fn close(&mut self, end: CloseReason) {
        if let Content::Open(open) = &mut self.content {
            open.end = end;
        }
        self.content = Content::Empty;
    }
}

/// Creates, checks and judges the slots.
#[derive(Clone)]
pub(super) struct Manager(Arc<Shared>);

struct Shared {
    connector: Arc<Connector>,
    limits: PoolLimits,
    instruments: Arc<PoolInstruments>,
    open: Gauge,
    /// Connections opened before this moment are replaced, for this reason.
    invalidated: Mutex<Option<(Instant, CloseReason)>>,
    /// While the pool closes its idle connections: the error that its slots get instead.
    leaving: Mutex<Option<ConnectError>>,
    /// When that began last. Connections in use then are closed when they come back.
    left: Mutex<Option<Instant>>,
}

impl Manager {
    pub(super) fn new(
        connector: Arc<Connector>,
        limits: PoolLimits,
        instruments: Arc<PoolInstruments>,
    ) -> Self {
        Self(Arc::new(Shared {
            connector,
            limits,
            instruments,
            open: Gauge::new(),
            invalidated: Mutex::new(None),
            leaving: Mutex::new(None),
            left: Mutex::new(None),
        }))
    }

    pub(super) fn connector(&self) -> &Arc<Connector> {
        &self.0.connector
    }

    /// The number of open connections, in use or not.
    pub(super) fn opened(&self) -> u64 {
        self.0.open.value()
    }

    /// Marks every connection opened before now to be replaced at its next check-out.
    pub(super) fn invalidate(&self, reason: CloseReason) {
        self.0.invalidate(reason);
    }

    /// Until the guard is dropped, idle slots are closed with this error instead of being prepared.
    pub(super) fn leave(&self, error: ConnectError) -> Leaving<'_> {
        *self.0.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Leaving(self)
    }
}

/// Ends [`Manager::leave`] when it is dropped.
pub(super) struct Leaving<'a>(&'a Manager);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        *self.0.0.leaving.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Shared {
    fn invalidate(&self, reason: CloseReason) {
        let now = Some((Instant::now(), reason));
        *self.invalidated.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Reports whether the server was shutting down after this connection was opened.
    fn has_left(&self, live: &Live) -> bool {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.is_some_and(|at| at > live.born)
    }

    /// Why a connection must be replaced before it is handed out, if it must.
    fn outdated(&self, live: &Live) -> Option<CloseReason> {
        if self.limits.recycle.is_some_and(|recycle| live.born.elapsed() > recycle) {
            return Some(CloseReason::Recycled);
        }
        let invalidated = *self.invalidated.lock().unwrap_or_else(PoisonError::into_inner);
        invalidated.filter(|(at, _)| *at > live.born).map(|(_, reason)| reason)
    }

    /// Gives the slot a connection that can be handed out, or the reason why it has none.
    async fn prepare(&self, slot: &mut Slot) {
        if RELEASING.try_with(|()| ()).is_ok() {
            return slot.close(CloseReason::Released);
        }
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(error) = leaving {
            let is_dead = slot.open().is_ok_and(|open| open.live.client.is_closed());
            slot.close(if is_dead { CloseReason::Broken } else { CloseReason::Shutdown });
            slot.content = Content::Failed(error);
            return;
        }
        self.close_outdated(slot);
        for _ in 0..PINGS {
            match &slot.content {
                Content::Open(open) if self.limits.pre_ping => {
                    if self.ping(&open.live).await {
                        return;
                    }
                    slot.close(CloseReason::PingFailed);
                    self.invalidate(CloseReason::Invalidated);
                }
                Content::Open(_) => return,
                Content::Empty | Content::Failed(_) => break,
            }
        }
        slot.content = self.connect().await;
    }

    fn close_outdated(&self, slot: &mut Slot) {
        let Content::Open(open) = &slot.content else { return };
        let Some(end) = self.outdated(&open.live) else { return };
        if self.limits.echo {
            let age_s = rounded_seconds(open.live.born.elapsed());
            info!(reason = ?end, age_s, "replacing a pooled connection");
        }
        slot.close(end);
    }

    async fn connect(&self) -> Content {
        let budget = self.connector.budget();
        match self.connector.open(budget.purpose_of_pool()).await {
            Ok(live) => {
                self.instruments.opened.inc();
                Content::Open(Box::new(Open {
                    live,
                    end: CloseReason::Shutdown,
                    instruments: Arc::clone(&self.instruments),
                    _counted: [self.open.inc_guard(), budget.count_pooled()],
                }))
            }
            Err(error) => Content::Failed(error),
        }
    }

    /// Reports whether the server still answers on this connection, within the ping's limit.
    async fn ping(&self, live: &Live) -> bool {
        let start = Instant::now();
        let sql = self.connector.settings().ping;
        live.wire.set_limit(AnswerLimit::SMALL);
        let answer = timeout(self.limits.ping_timeout, live.client.simple_query(sql)).await;
        self.instruments.times.ping.observe(start.elapsed());
        let alive = matches!(answer, Ok(Ok(_)));
        if !alive {
            debug!(pid = live.backend.pid, "a pooled connection does not answer the pre-ping");
        }
        alive
    }
}

impl ManageConnection for Manager {
    type Connection = Slot;
    type Error = Infallible;

    async fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot { content: Content::Empty, checking: false })
    }

    async fn is_valid(&self, slot: &mut Slot) -> Result<(), Infallible> {
        slot.checking = true;
        self.0.prepare(slot).await;
        slot.checking = false;
        Ok(())
    }

    /// Called at check-in: such a slot is discarded.
    fn has_broken(&self, slot: &mut Slot) -> bool {
        match &mut slot.content {
            Content::Open(open) if slot.checking || open.live.client.is_closed() => {
                open.end = CloseReason::Broken;
                true
            }
            Content::Open(open) if self.0.has_left(&open.live) => {
                open.end = CloseReason::Shutdown;
                true
            }
            Content::Open(_) => false,
            Content::Empty | Content::Failed(_) => true,
        }
    }
}
