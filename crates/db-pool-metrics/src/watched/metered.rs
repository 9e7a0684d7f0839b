//! The manager's side: connects, tests and broken connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::mem::{self, ManuallyDrop};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bb8::{ManageConnection, RunError};
use tokio::task_local;
use tokio::time::Instant;

use super::board::{Board, ConnectEnd, GetEnd, Part};
use crate::{CheckOutOutcome, Counter, Counters, PoolInstruments, Purpose, Reason};

/// A bb8 manager that times the connects and the tests of another one.
///
/// It has the connection type and the error type of the inner manager, so a `connection_customizer` or an
/// `error_sink` of the pool's builder needs no change.
pub struct Metered<M: ManageConnection> {
    manager: M,
    meter: Arc<Meter>,
    reason: fn(&M::Error) -> Reason,
}

impl<M: ManageConnection> Metered<M> {
    /// Wraps a manager, for one pool.
    pub fn new(manager: M) -> Self {
        Self { manager, meter: Arc::default(), reason: |_| Reason::Other }
    }

    /// Sets the function that names the reason of a failed connect, for the label `reason` of
    /// `db_pool_connect_errors_total`. Without it every reason is `other`, because bb8 does not know
    /// the manager's errors.
    #[must_use]
    pub fn with_reasons(self, reason: fn(&M::Error) -> Reason) -> Self {
        Self { reason, ..self }
    }

    /// The manager inside.
    pub fn inner(&self) -> &M {
        &self.manager
    }
}

impl<M: ManageConnection + fmt::Debug> fmt::Debug for Metered<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metered").field(&self.manager).finish()
    }
}

impl<M: ManageConnection> ManageConnection for Metered<M> {
    type Connection = M::Connection;
    type Error = M::Error;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        if let Ok(()) = ASKED.try_with(|meter| *meter.borrow_mut() = Some(Arc::clone(&self.meter)))
        {
            return pending().await;
        }
        let connect = Connect::begin(&self.meter);
        let result = self.manager.connect().await;
        match &result {
            Ok(_) => connect.opened(),
            Err(error) => connect.failed((self.reason)(error)),
        }
        result
    }

    async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
        let meter = &self.meter;
        let start = meter.of_this_get(|get| meter.board.test_begins(get.id));
        let start = start.unwrap_or_else(Instant::now);
        let result = self.manager.is_valid(connection).await;
        meter.instruments.times.ping.observe(start.elapsed());
        if result.is_err() {
            meter.invalid.inc();
            meter.of_this_get(|get| {
                meter.board.test_fails(get.id);
                get.is_closing.set(true);
            });
        }
        result
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        let is_broken = self.manager.has_broken(connection);
        // bb8 asks this also of a connection that has just failed its test, which is counted already.
        let is_counted = self.meter.of_this_get(|get| get.is_closing.take()).unwrap_or(false);
        if is_broken && !is_counted {
            self.meter.broken.inc();
        }
        is_broken
    }
}

task_local! {
    /// The get that polls now. bb8 tests connections within the future of the get, so the manager
    /// finds here for whom a test is. Connects run in tasks of their own and find nothing.
    static GET: Get;
    /// Set while [`Meter::of`] asks a pool for its meter.
    static ASKED: RefCell<Option<Arc<Meter>>>;
}

struct Get {
    id: u64,
    /// The address of its meter: a manager may use another watched pool while it tests.
    meter: usize,
    /// Its connection failed the test and is about to be dropped.
    is_closing: Cell<bool>,
}

/// The instruments that a pool and its manager share.
pub(super) struct Meter {
    pub(super) board: Board,
    pub(super) instruments: PoolInstruments,
    /// The counter of the usual outcome, which need not be looked up each time.
    served: Counter,
    pub(super) connect_errors: Counters<Reason>,
    /// All of `connect_errors`.
    pub(super) failed: Counter,
    /// Connections that failed the test at check-out.
    pub(super) invalid: Counter,
    /// Connections that were broken when they came back.
    pub(super) broken: Counter,
}

impl Default for Meter {
    fn default() -> Self {
        let connect_errors = Counters::sparse("reason");
        connect_errors.start(Reason::Other);
        let instruments = PoolInstruments::new();
        Self {
            board: Board::default(),
            served: instruments.checkouts.counter(CheckOutOutcome::Ok),
            instruments,
            connect_errors,
            failed: Counter::new(),
            invalid: Counter::new(),
            broken: Counter::new(),
        }
    }
}

impl Meter {
    /// The meter of a pool's manager.
    ///
    /// bb8 hands out no manager. A connect outside the pool is the one call that reaches it without
    /// changing the pool; [`Metered::connect`] leaves its meter and connects nowhere.
    pub(super) fn of<M: ManageConnection>(pool: &bb8::Pool<Metered<M>>) -> Arc<Self> {
        let asked = ASKED.sync_scope(RefCell::default(), || {
            let connect = pin!(pool.dedicated_connection());
            let _ = connect.poll(&mut Context::from_waker(Waker::noop()));
            ASKED.with(RefCell::take)
        });
        asked.expect("the first poll reaches the manager")
    }

    /// Runs a get of the pool, counts how it ended and times its parts. Returns the connection and the
    /// time at which it was there.
    pub(super) async fn time<C, M: ManageConnection>(
        &self,
        pool: &bb8::Pool<Metered<M>>,
        get: impl Future<Output = Result<C, RunError<M::Error>>>,
    ) -> Result<(C, Instant), RunError<M::Error>> {
        let attempt = Attempt { meter: self, id: self.board.arrive(), ended: Ended::Dropped };
        let scope = Get { id: attempt.id, meter: self.address(), is_closing: Cell::new(false) };
        let room = || pool.config().max_size.saturating_sub(pool.state().connections);
        let mut get = pin!(GET.scope(scope, get));
        let mut is_new = true;
        let result = poll_fn(|context| {
            let poll = get.as_mut().poll(context);
            if mem::take(&mut is_new) && poll.is_pending() {
                self.board.queued(attempt.id, room);
            }
            poll
        })
        .await;
        let at = attempt.end(match &result {
            Ok(_) => Ended::Served,
            Err(RunError::TimedOut) => Ended::TimedOut,
            Err(RunError::User(_)) => Ended::Error,
        });
        result.map(|connection| (connection, at))
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Calls `act` with the get that polls now, if it is one of this pool.
    fn of_this_get<T>(&self, act: impl FnOnce(&Get) -> T) -> Option<T> {
        GET.try_with(|get| (get.meter == self.address()).then(|| act(get))).ok().flatten()
    }
}

/// A get under way. Dropping it counts it as cancelled.
struct Attempt<'m> {
    meter: &'m Meter,
    id: u64,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Served,
    TimedOut,
    Error,
    Dropped,
}

impl Attempt<'_> {
    /// Counts it. Returns the time.
    fn end(self, ended: Ended) -> Instant {
        // Nothing is leaked: it only borrows and copies.
        let mut attempt = ManuallyDrop::new(self);
        attempt.ended = ended;
        attempt.count()
    }

    fn count(&self) -> Instant {
        let is_served = self.ended == Ended::Served;
        let end = if is_served { GetEnd::Served } else { GetEnd::Unserved };
        let times = self.meter.board.leave(self.id, end);
        let instruments = &self.meter.instruments;
        instruments.times.wait.observe(times.waited);
        if is_served {
            instruments.times.checkout.observe(times.whole);
        }
        match self.ended {
            Ended::Served => self.meter.served.inc(),
            // bb8 has one time-out for everything. Only a lack of slots is counted as one.
            Ended::TimedOut if times.last == Part::Slot => {
                instruments.checkouts.inc(CheckOutOutcome::Timeout);
            }
            Ended::TimedOut | Ended::Error => {
                instruments.checkouts.inc(CheckOutOutcome::ConnectError);
            }
            Ended::Dropped => instruments.checkouts.inc(CheckOutOutcome::Cancelled),
        }
        times.at
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

/// A connect under way.
struct Connect<'m> {
    meter: &'m Meter,
    start: Instant,
    end: ConnectEnd,
}

impl<'m> Connect<'m> {
    fn begin(meter: &'m Meter) -> Self {
        meter.board.connect_begins();
        Self { meter, start: Instant::now(), end: ConnectEnd::Dropped }
    }

    fn opened(mut self) {
        self.meter.instruments.times.connect.observe(Purpose::Pool, self.start.elapsed());
        self.end = ConnectEnd::Opened;
    }

    fn failed(mut self, reason: Reason) {
        self.meter.connect_errors.inc(reason);
        self.meter.failed.inc();
        self.end = ConnectEnd::Failed;
    }
}

impl Drop for Connect<'_> {
    fn drop(&mut self) {
        self.meter.board.connect_ends(self.end);
    }
}
