//! bb8's side of the pool: a slot, and what happens to it at check-out and check-in.
//!
//! bb8 makes empty slots at once, and a connection is opened, recycled, pinged and replaced inside
//! of them at check-out, as SQLAlchemy does with its records: so a connect error reaches the one
//! who asked, at once and with its cause (bb8 by itself retries until its time-out and tells only
//! that). A failure stays in the slot, and the slot is thrown away at check-in.
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
use super::login::Live;
use super::settings::PoolLimits;
use crate::metrics::{CloseReason, Gauge, GaugeGuard, Phase, PoolInstruments, Purpose, Reason};

/// How often a check-out pings before its last reconnect, as in SQLAlchemy.
const PINGS: u32 = 2;

/// A place in the pool: with a connection, without one yet, or with the reason why not.
pub(super) struct Slot {
    state: State,
    /// A ping is under way: if its future is dropped, nobody knows the connection's state.
    checking: bool,
}

enum State {
    Empty,
    Open(Box<Open>),
    Failed(ConnectError),
}

/// A pooled connection; its end is counted when it is dropped.
pub(super) struct Open {
    pub(super) live: Live,
    pub(super) end: CloseReason,
    instruments: Arc<PoolInstruments>,
    _counted: GaugeGuard,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.instruments.closed.inc(self.end);
    }
}

impl Slot {
    /// The connection, or the error that there is none.
    pub(super) fn open(&mut self) -> Result<&mut Open, ConnectError> {
        match &mut self.state {
            State::Open(open) => Ok(open),
            State::Failed(error) => Err(error.clone()),
            State::Empty => {
                Err(ConnectError::new(Phase::Startup, Reason::Other, "the slot is empty"))
            }
        }
    }

    /// Closes the connection, if there is one.
    pub(super) fn close(&mut self, end: CloseReason) {
        if let State::Open(open) = &mut self.state {
            open.end = end;
        }
        self.state = State::Empty;
    }
}

/// Makes, checks and judges the slots.
#[derive(Clone)]
pub(super) struct Manager(Arc<Rules>);

struct Rules {
    connector: Arc<Connector>,
    limits: PoolLimits,
    instruments: Arc<PoolInstruments>,
    open: Gauge,
    invalidated: Mutex<Option<Instant>>,
}

impl Manager {
    pub(super) fn new(
        connector: Arc<Connector>,
        limits: PoolLimits,
        instruments: Arc<PoolInstruments>,
    ) -> Self {
        let (open, invalidated) = (Gauge::new(), Mutex::new(None));
        Self(Arc::new(Rules { connector, limits, instruments, open, invalidated }))
    }

    pub(super) fn connector(&self) -> &Arc<Connector> {
        &self.0.connector
    }

    /// Open connections, in use or not.
    pub(super) fn opened(&self) -> u64 {
        self.0.open.value()
    }

    /// Every connection opened before now is replaced at its next check-out.
    pub(super) fn invalidate(&self) {
        self.0.invalidate();
    }
}

impl Rules {
    fn invalidate(&self) {
        *self.invalidated.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Why a connection must be replaced before it goes out, if it must.
    fn outdated(&self, live: &Live) -> Option<CloseReason> {
        if self.limits.recycle.is_some_and(|recycle| live.born.elapsed() > recycle) {
            return Some(CloseReason::Recycled);
        }
        let invalidated = *self.invalidated.lock().unwrap_or_else(PoisonError::into_inner);
        invalidated.filter(|at| *at > live.born).map(|_| CloseReason::Invalidated)
    }

    /// Gives the slot a connection that may go out, or the reason why it has none.
    async fn prepare(&self, slot: &mut Slot) {
        if let State::Open(open) = &slot.state {
            let (born, outdated) = (open.live.born, self.outdated(&open.live));
            if let Some(end) = outdated {
                if self.limits.echo {
                    info!(reason = ?end, age_s = born.elapsed().as_secs_f64(), "replacing a pooled connection");
                }
                slot.close(end);
            }
        }
        for _ in 0..PINGS {
            match &slot.state {
                State::Open(open) if self.limits.pre_ping => {
                    if self.ping(&open.live).await {
                        return;
                    }
                    slot.close(CloseReason::PingFailed);
                    self.invalidate();
                }
                State::Open(_) => return,
                State::Empty | State::Failed(_) => break,
            }
        }
        if !matches!(slot.state, State::Open(_)) {
            slot.state = self.connect().await;
        }
    }

    async fn connect(&self) -> State {
        match self.connector.open(Purpose::Pool).await {
            Ok(live) => {
                self.instruments.opened.inc();
                let instruments = Arc::clone(&self.instruments);
                let _counted = self.open.inc_guard();
                let end = CloseReason::Shutdown;
                State::Open(Box::new(Open { live, end, instruments, _counted }))
            }
            Err(error) => State::Failed(error),
        }
    }

    /// Whether the server still answers on this connection, within the ping's limit.
    async fn ping(&self, live: &Live) -> bool {
        let start = Instant::now();
        let sql = self.connector.settings().ping;
        let answer = timeout(self.limits.ping_timeout, live.client.simple_query(sql)).await;
        self.instruments.times.ping.observe(start.elapsed());
        let alive = matches!(answer, Ok(Ok(_)));
        if !alive {
            debug!(pid = live.server.pid, "a pooled connection does not answer the pre-ping");
        }
        alive
    }
}

impl ManageConnection for Manager {
    type Connection = Slot;
    type Error = Infallible;

    async fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot { state: State::Empty, checking: false })
    }

    async fn is_valid(&self, slot: &mut Slot) -> Result<(), Infallible> {
        slot.checking = true;
        self.0.prepare(slot).await;
        slot.checking = false;
        Ok(())
    }

    /// Asked at check-in: such a slot is thrown away.
    fn has_broken(&self, slot: &mut Slot) -> bool {
        match &mut slot.state {
            State::Open(open) if slot.checking || open.live.client.is_closed() => {
                open.end = CloseReason::Broken;
                true
            }
            State::Open(_) => false,
            State::Empty | State::Failed(_) => true,
        }
    }
}
