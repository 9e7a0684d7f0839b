//! Our own pool to a target: bb8 under the rules of SQLAlchemy's QueuePool.
//!
//! A check-out waits for a slot (`DB_POOL_TIMEOUT` limits only this), then bb8 hands out a slot in
//! which `manager` has opened, recycled or pinged a connection. The wait is a fair semaphore of our
//! own, because bb8 counts connecting as waiting and lets newcomers pass. No other room knows bb8;
//! its own lifetime, idle time-out and retries are switched off.

mod apart;
mod budget;
mod checkout;
mod connect;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod hint;
mod identity;
mod inspect;
mod login;
mod manager;
mod password;
mod places;
mod policy;
mod pooler;
mod reach;
mod settings;
mod sqlstate;
mod state;
mod timings;
mod tls;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

pub(crate) use apart::{Resolve, Resolved, Resolver};
pub use budget::{Budget, ServerAddress};
pub(crate) use budget::{Budgets, CONNECTIONS_PER_SERVER, Visit};
pub use checkout::{Checkout, TransactionMode};
pub(crate) use connect::ConnectMemory;
pub use connect::Connector;
pub use error::{CheckoutError, ConnectError, QueryError};
pub(crate) use hint::hint;
pub use identity::ServerIdentity;
pub use inspect::AnswerLimit;
pub use login::Backend;
pub use password::{Credentials, Passfile, PasswordCommand, PasswordSource};
pub use reach::Peer;
pub use settings::{ConnectSettings, PoolLimits};
pub(crate) use sqlstate::NOT_IN_PREREQUISITE_STATE;
pub use timings::Timings;
pub use tls::TlsInfo;

pub use crate::metrics::{
    POOL_READINGS as READINGS, POOL_STATE_READINGS as STATE_READINGS, Phase, PoolInstruments,
    QUERY, Reason, Totals,
};

use crate::metrics::{CheckOutOutcome, CloseReason, Gauge, Purpose};
use checkout::HandedOut;
use login::Live;
use manager::Manager;

/// In front of the help text of every family that describes our own pool: the library's texts are
/// about any pool, and an application's pool is never meant here.
pub(crate) const ABOUT: &str = "The exporter's own probe pool: ";

/// A pool of connections to one target. Nothing is opened before the first check-out.
pub struct Pool {
    bb8: bb8::Pool<Manager>,
    manager: Manager,
    slots: Arc<Semaphore>,
    /// The only slot while other targets share the server: a second check-out waits for the connection of the first,
    /// for which there is a permit, and not for another permit, for which there is none.
    single: Arc<Semaphore>,
    limits: PoolLimits,
    instruments: Arc<PoolInstruments>,
    gauges: Gauges,
    /// Held by one check-in at a time: two would both find the pool one below its size.
    check_in: Mutex<()>,
}

#[derive(Default)]
struct Gauges {
    active: Gauge,
    pending: Gauge,
}

impl Pool {
    /// Creates a pool that opens its connections with `connector`. Call it within a tokio runtime.
    pub fn new(
        connector: Arc<Connector>,
        limits: PoolLimits,
        instruments: Arc<PoolInstruments>,
    ) -> Arc<Self> {
        let max = limits.max().unwrap_or(u32::MAX).max(1);
        // bb8's own limit covers waiting, opening and pinging; it should never be reached.
        let net = connector.settings().timeout * 3 + limits.ping_timeout * 2;
        // Without a permit no connection could be opened, so a check-out waits for one to come back.
        let allowed = connector.budget().pool_size();
        let slots = usize::try_from(max).unwrap_or(usize::MAX).min(allowed);
        let manager = Manager::new(connector, limits.clone(), Arc::clone(&instruments));
        let strategy =
            if limits.use_lifo { bb8::QueueStrategy::Lifo } else { bb8::QueueStrategy::Fifo };
        let bb8 = bb8::Pool::builder()
            .max_size(max)
            .min_idle(None)
            .max_lifetime(None)
            .idle_timeout(None)
            .retry_connection(false)
            .test_on_check_out(true)
            .queue_strategy(strategy)
            .connection_timeout(net)
            .build_unchecked(manager.clone());
        Arc::new(Self {
            bb8,
            manager,
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            single: Arc::new(Semaphore::new(1)),
            limits,
            instruments,
            gauges: Gauges::default(),
            check_in: Mutex::new(()),
        })
    }

    /// The limits of the pool.
    pub fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// Opens the pool's connections.
    pub fn connector(&self) -> &Arc<Connector> {
        self.manager.connector()
    }

    /// The pool's counters and histograms.
    pub fn instruments(&self) -> &Arc<PoolInstruments> {
        &self.instruments
    }

    /// Opens a connection outside of the pool and closes it: a test that it can be done now, and how
    /// long each phase takes.
    ///
    /// # Errors
    /// The failure, within the connect time-out. When the server is shutting down, the pool closes
    /// its idle connections first.
    pub async fn try_connect(&self) -> Result<(Timings, Backend), ConnectError> {
        let live = self.open_fresh().await?;
        Ok((live.timings, live.backend.clone()))
    }

    /// As [`Self::try_connect`], and asks which server was reached, as far as there is time before the
    /// deadline.
    ///
    /// # Errors
    /// As [`Self::try_connect`].
    pub async fn try_connect_and_identify(
        &self,
        deadline: Instant,
    ) -> Result<(Timings, Backend, Option<ServerIdentity>), ConnectError> {
        let live = self.open_fresh().await?;
        let identity = identity::of_client(&live.client, deadline).await;
        Ok((live.timings, live.backend.clone(), identity))
    }

    async fn open_fresh(&self) -> Result<Live, ConnectError> {
        match self.connector().open(Purpose::Fresh).await {
            Ok(live) => Ok(live),
            Err(error) => Err(self.heed(error).await),
        }
    }

    /// Closes the idle connections of a server that accepts no new ones.
    ///
    /// A smart shutdown waits for every session to end, so an idle one of ours would hold it up for
    /// ever. It also distinguishes a shutdown from a start in any language: only a server that is
    /// shutting down refuses new sessions and keeps old ones.
    async fn heed(&self, error: ConnectError) -> ConnectError {
        if !matches!(error.reason, Reason::ShuttingDown | Reason::StartingUp) {
            return error;
        }
        let before = self.instruments.closed.count(CloseReason::Shutdown);
        let leaving = self.manager.leave(error.clone());
        while self.bb8.state().idle_connections > 0 {
            // The slot comes back closed, and is discarded when it is dropped.
            drop(self.bb8.get_owned().await);
        }
        drop(leaving);
        if self.instruments.closed.count(CloseReason::Shutdown) > before {
            return ConnectError { reason: Reason::ShuttingDown, ..error };
        }
        error
    }

    /// Checks a connection out.
    ///
    /// # Errors
    /// After the pool's time-out without a free slot; at once when opening a connection fails.
    ///
    /// Cancel safe: nothing is lost, and a connection with a running ping is closed.
    pub async fn check_out(self: &Arc<Self>) -> Result<Checkout, CheckoutError> {
        let mut counted =
            Counted { instruments: &self.instruments, outcome: CheckOutOutcome::Cancelled };
        let start = Instant::now();
        let result = self.attempt(start).await;
        counted.outcome = match &result {
            Ok(_) => CheckOutOutcome::Ok,
            Err(CheckoutError::Timeout { .. }) => CheckOutOutcome::Timeout,
            Err(CheckoutError::Connect(_) | CheckoutError::Closed) => CheckOutOutcome::ConnectError,
        };
        if let Ok(checkout) = &result {
            self.instruments.times.checkout.observe(start.elapsed() - checkout.waited());
        }
        result
    }

    /// Replaces every connection that is open now at its next check-out: they lead to a server that new
    /// connections do not reach, or that is no longer of the wanted kind.
    pub fn replace_wrong_sessions(&self) {
        self.manager.invalidate(CloseReason::WrongSession);
    }

    async fn attempt(self: &Arc<Self>, start: Instant) -> Result<Checkout, CheckoutError> {
        let waiting = self.gauges.pending.inc_guard();
        let slots = if self.connector().budget().is_shared() { &self.single } else { &self.slots };
        let slot = timeout(self.limits.timeout, Arc::clone(slots).acquire_owned()).await;
        drop(waiting);
        self.instruments.times.wait.observe(start.elapsed());
        let permit = match slot {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(CheckoutError::Closed),
            Err(_) => return Err(self.exhausted()),
        };
        // With the semaphore's permit a slot is free, so bb8's own limit is not reached.
        let mut slot = self.bb8.get_owned().await.map_err(|_| CheckoutError::Closed)?;
        let handed_out = match slot.open() {
            Ok(open) => {
                open.live.wire.set_limit(AnswerLimit::VIEW);
                HandedOut::new(&open.live, start)
            }
            Err(error) => {
                drop(slot);
                return Err(self.heed(error).await.into());
            }
        };
        Ok(Checkout::new(Arc::clone(self), slot, handed_out, permit, start.elapsed()))
    }

    /// Closes the idle connections, unless the budget lets the pool keep them.
    pub(crate) async fn release_idle(&self) {
        if !self.connector().budget().may_keep() {
            self.close_idle().await;
        }
    }

    /// Closes the idle connections.
    pub(crate) async fn close_idle(&self) {
        while self.bb8.state().idle_connections > 0 {
            // An idle connection that is checked out meanwhile leaves nothing to wait for.
            let slot = timeout(RELEASE, manager::releasing(self.bb8.get_owned())).await;
            if slot.is_err() {
                return;
            }
        }
    }

    fn exhausted(&self) -> CheckoutError {
        CheckoutError::Timeout {
            size: self.limits.size,
            overflow: self.limits.max_overflow.unwrap_or(u32::MAX),
            waited: self.limits.timeout,
        }
    }

    /// Gives a slot back to bb8. The connection is closed if the pool already keeps as many idle ones
    /// as its size.
    fn give_back(&self, mut slot: bb8::PooledConnection<'static, Manager>) {
        let _one_at_a_time = self.check_in.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = self.bb8.state().idle_connections;
        if self.limits.size > 0 && idle >= self.limits.size {
            slot.close(CloseReason::Overflow);
        }
        drop(slot);
    }
}

/// The longest time to wait for an idle slot that is to be closed.
const RELEASE: std::time::Duration = std::time::Duration::from_secs(1);

/// Counts the outcome of a check-out, also when its future is dropped.
struct Counted<'a> {
    instruments: &'a PoolInstruments,
    outcome: CheckOutOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.instruments.checkouts.inc(self.outcome);
    }
}

/// The rows of a simple query's answer.
pub(crate) fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
    })
}
