//! Our own pool to a target: bb8 under SQLAlchemy QueuePool's rules.
//!
//! Wait for a slot (only this is what `DB_POOL_TIMEOUT` limits), then let bb8 give a slot whose
//! connection `manager` has opened, recycled or pinged. The wait is a fair semaphore of our own,
//! because bb8 counts connecting as waiting and lets newcomers pass. This is the only room that
//! knows bb8; bb8's own lifetime, idle time-out and retries are switched off.

mod budget;
mod checkout;
mod connect;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod hint;
mod login;
mod manager;
mod password;
mod policy;
mod reach;
mod settings;
mod state;
mod timings;
mod tls;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

pub use budget::Budget;
pub use checkout::{Checkout, TransactionMode};
pub use connect::Connector;
pub use error::{CheckoutError, ConnectError, QueryError};
pub use hint::hint;
pub use login::Backend;
pub use password::{Credentials, PasswordCommand, PasswordSource};
pub use reach::Peer;
pub use settings::{ConnectSettings, PoolLimits};
pub use timings::Timings;
pub use tls::TlsInfo;

pub use crate::metrics::{
    CheckOutOutcome, CloseReason, POOL_READINGS as READINGS, POOL_STATE_READINGS as STATE_READINGS,
    Phase, PoolInstruments, PoolState, Purpose, QUERY, Reason, Totals,
};

use crate::metrics::Gauge;
use manager::Manager;

/// In front of the help text of every family that describes our own pool: the library's texts are
/// about any pool, and an application's pool is never meant here.
pub const ABOUT: &str = "The exporter's own probe pool: ";

/// A pool of connections to one target. Lazy: nothing is opened before the first check-out.
pub struct Pool {
    bb8: bb8::Pool<Manager>,
    manager: Manager,
    slots: Arc<Semaphore>,
    limits: PoolLimits,
    instruments: Arc<PoolInstruments>,
    gauges: Gauges,
    /// Whether a connection is one too many is decided and done by one check-in at a time.
    check_in: Mutex<()>,
}

#[derive(Default)]
struct Gauges {
    active: Gauge,
    pending: Gauge,
}

impl Pool {
    /// A pool that opens its connections with `connector`. Must be called within a tokio runtime.
    pub fn new(
        connector: Arc<Connector>,
        limits: PoolLimits,
        instruments: Arc<PoolInstruments>,
    ) -> Arc<Self> {
        let max = limits.max().unwrap_or(u32::MAX).max(1);
        // bb8's own limit covers waiting, opening and pinging: a net that nothing should reach.
        let net = connector.settings().timeout * 3 + limits.ping_timeout * 2;
        // Who could not open a connection anyway waits for one to come back instead.
        let allowed = connector.budget().pool_size();
        let slots = usize::try_from(max).unwrap_or(usize::MAX).min(allowed);
        let manager = Manager::new(connector, limits.clone(), Arc::clone(&instruments));
        let strategy = match limits.use_lifo {
            true => bb8::QueueStrategy::Lifo,
            false => bb8::QueueStrategy::Fifo,
        };
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
            limits,
            instruments,
            gauges: Gauges::default(),
            check_in: Mutex::new(()),
        })
    }

    /// The limits that it obeys.
    pub fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// What opens its connections.
    pub fn connector(&self) -> &Arc<Connector> {
        self.manager.connector()
    }

    /// What it counts and times.
    pub fn instruments(&self) -> &Arc<PoolInstruments> {
        &self.instruments
    }

    /// Opens a connection that is not of the pool, and closes it: whether that can be done now,
    /// and how long each phase takes.
    ///
    /// # Errors
    /// The connect's failure, within the connect time-out.
    pub async fn try_connect(&self) -> Result<(Timings, Backend), ConnectError> {
        let live = self.connector().open(Purpose::Fresh).await?;
        Ok((live.timings, live.server.clone()))
    }

    /// Takes a connection out.
    ///
    /// # Errors
    /// After the limits' time-out without a free slot; at once when opening a connection fails.
    ///
    /// Cancel safe: nothing is lost, and a connection whose ping was under way is closed.
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
        if result.is_ok() {
            self.instruments.times.checkout.observe(start.elapsed());
        }
        result
    }

    async fn attempt(self: &Arc<Self>, start: Instant) -> Result<Checkout, CheckoutError> {
        let waiting = self.gauges.pending.inc_guard();
        let slot = timeout(self.limits.timeout, Arc::clone(&self.slots).acquire_owned()).await;
        drop(waiting);
        self.instruments.times.wait.observe(start.elapsed());
        let permit = match slot {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(CheckoutError::Closed),
            Err(_) => return Err(self.exhausted()),
        };
        // Behind the semaphore a slot is free; bb8's own limit is a net that is never reached.
        let mut slot = self.bb8.get_owned().await.map_err(|_| CheckoutError::Closed)?;
        let server = slot.open()?.live.server.clone();
        Ok(Checkout::new(Arc::clone(self), slot, server, permit, start.elapsed()))
    }

    fn exhausted(&self) -> CheckoutError {
        CheckoutError::Timeout {
            size: self.limits.size,
            overflow: self.limits.max_overflow.unwrap_or(u32::MAX),
            waited: self.limits.timeout,
        }
    }

    /// Gives a slot back, or closes it: an overflow connection goes when the pool keeps its size.
    fn give_back(&self, mut slot: bb8::PooledConnection<'static, Manager>) {
        let _one_at_a_time = self.check_in.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = self.bb8.state().idle_connections;
        if self.limits.size > 0 && idle >= self.limits.size {
            slot.close(CloseReason::Overflow);
        }
        drop(slot);
    }
}

/// Counts a check-out's end, also when its future is dropped.
struct Counted<'a> {
    instruments: &'a PoolInstruments,
    outcome: CheckOutOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.instruments.checkouts.inc(self.outcome);
    }
}

/// The rows among the messages of a simple query.
pub fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
    })
}
