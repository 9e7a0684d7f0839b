//! bb8 pools with exact metrics. The crate's front page is the guide.

mod board;
mod connection;
mod families;
mod metered;
mod status;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bb8::{ManageConnection, RunError};
use prometheus::Registry;
use prometheus::core::Desc;

use self::board::Queue;
pub use self::connection::WatchedConnection;
use self::families::Closed;
use self::metered::Meter;
pub use self::metered::Metered;
use self::status::{Identity, Settings};
use crate::{CheckOutOutcome, Label as _, PoolState};

/// A bb8 pool that counts and times its check-outs.
///
/// Use it like [`bb8::Pool`]: [`get`](Self::get), [`get_owned`](Self::get_owned), and cheap clones that are the
/// same pool. It has no task of its own: events are recorded where they happen, and everything else is
/// read from bb8 when someone asks.
///
/// Make it before the pool is first used, and check out through it only: gets on a clone of the bb8 pool
/// inside are not counted.
pub struct Watched<M: ManageConnection> {
    pool: bb8::Pool<Metered<M>>,
    watch: Arc<Watch>,
}

struct Watch {
    name: String,
    meter: Arc<Meter>,
    descriptors: Vec<Desc>,
    identity: Identity,
    /// The largest number of connections closed because of their age that was ever shown.
    recycled: AtomicU64,
}

impl<M: ManageConnection> Watched<M> {
    /// Watches a pool. `name` becomes the label `target`, and the application's name in the status
    /// document, where every character but letters, digits, `_`, `.` and `-` is replaced by `_`.
    pub fn new(pool: bb8::Pool<Metered<M>>, name: &str) -> Self {
        let identity = Identity {
            application: application(name),
            started_at: SystemTime::now(),
            instance_id: instance_id(),
        };
        let watch = Watch {
            name: name.to_owned(),
            meter: Meter::of(&pool),
            descriptors: families::descriptors(name),
            identity,
            recycled: AtomicU64::new(0),
        };
        Self { pool, watch: Arc::new(watch) }
    }

    /// Checks a connection out, as [`bb8::Pool::get`]. Dropping the future counts as cancelled and loses
    /// nothing.
    ///
    /// # Errors
    /// Those of bb8: `TimedOut` when there is no connection within the pool's `connection_timeout`.
    pub async fn get(&self) -> Result<WatchedConnection<'_, M>, RunError<M::Error>> {
        let (connection, since) = self.watch.meter.time(&self.pool, self.pool.get()).await?;
        Ok(WatchedConnection::new(connection, &self.watch.meter, since))
    }

    /// Checks a connection out that does not borrow the pool, as [`bb8::Pool::get_owned`].
    ///
    /// # Errors
    /// As [`Watched::get`].
    pub async fn get_owned(&self) -> Result<WatchedConnection<'static, M>, RunError<M::Error>> {
        let (connection, since) = self.watch.meter.time(&self.pool, self.pool.get_owned()).await?;
        Ok(WatchedConnection::new(connection, &self.watch.meter, since))
    }

    /// Adds the pool's families to the application's registry.
    ///
    /// The registry keeps the pool, and so its idle connections, until it is dropped itself.
    ///
    /// # Errors
    /// The registry has a pool of this name, or other metrics with one of the names.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.clone()))
    }

    /// Returns the status document, to be served as `application/json` at
    /// `GET /api/v1/database/pool/status`. `db_pool_exporter` reads it there.
    pub fn status_json(&self) -> String {
        let settings = Settings { is_tested_at_check_out: self.pool.config().test_on_check_out };
        status::document(&self.view(), &settings, &self.watch.identity)
    }

    /// The numbers of the pool now.
    pub fn pool_state(&self) -> PoolState {
        self.view().state
    }

    /// The number of check-outs so far that ended like this.
    pub fn checkouts(&self, outcome: CheckOutOutcome) -> u64 {
        self.watch.meter.instruments.checkouts.count(outcome)
    }

    /// The bb8 pool inside, for its `state()` and `config()`.
    pub fn inner(&self) -> &bb8::Pool<Metered<M>> {
        &self.pool
    }

    fn view(&self) -> View {
        let found = self.pool.state();
        let config = self.pool.config();
        let queue = self.watch.meter.board.queue();
        let statistics = &found.statistics;
        let open = u64::from(found.connections);
        let idle = u64::from(found.idle_connections);
        let state = PoolState {
            active: open - idle,
            idle,
            open,
            connecting: queue.connecting,
            pending: queue.waiting,
            abandoned: 0,
            size: config.max_size,
            max_overflow: Some(0),
            max: Some(config.max_size),
            timeout: config.connection_timeout,
            recycle: config.max_lifetime,
        };
        let mut view = View {
            state,
            queue,
            meter: Arc::clone(&self.watch.meter),
            opened: statistics.connections_created,
            idle_timeouts: statistics.connections_closed_idle_timeout,
            recycled: 0,
        };
        let recycled = view.recycled(statistics.connections_closed_max_lifetime);
        view.recycled = self.watch.recycled.fetch_max(recycled, Ordering::Relaxed).max(recycled);
        view
    }
}

impl<M: ManageConnection> Clone for Watched<M> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), watch: Arc::clone(&self.watch) }
    }
}

impl<M: ManageConnection> fmt::Debug for Watched<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("name", &self.watch.name).finish_non_exhaustive()
    }
}

/// A pool at one moment.
struct View {
    state: PoolState,
    queue: Queue,
    meter: Arc<Meter>,
    opened: u64,
    idle_timeouts: u64,
    recycled: u64,
}

impl View {
    fn closed(&self, reason: Closed) -> u64 {
        match reason {
            Closed::Broken => self.meter.broken.count(),
            Closed::PingFailed => self.meter.invalid.count(),
            Closed::IdleTimeout => self.idle_timeouts,
            Closed::Recycled => self.recycled,
        }
    }

    fn disconnects(&self) -> u64 {
        Closed::all().map(|reason| self.closed(reason)).sum()
    }

    /// The number of connections closed only because of their age.
    ///
    /// bb8 counts a connection twice that was also idle for too long, or failed its test. So no more are
    /// taken from its count (`expired`) than are missing in the pool for no other reason.
    fn recycled(&self, expired: u64) -> u64 {
        let gone = self.opened.saturating_sub(self.state.open);
        let others = self.meter.broken.count() + self.meter.invalid.count() + self.idle_timeouts;
        expired.min(gone.saturating_sub(others))
    }
}

/// The name as the status document allows it: 1 to 64 characters, the first a letter or a digit.
fn application(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let text: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).take(64).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if text.is_empty() { "pool".to_owned() } else { text.to_owned() }
}

/// 32 random hexadecimal digits. The keys of the standard library's hash maps are the source, so that no
/// crate is needed; they are random in each process and differ from call to call.
fn instance_id() -> String {
    let random = || RandomState::new().hash_one(SystemTime::now());
    format!("{:016x}{:016x}", random(), random())
}
