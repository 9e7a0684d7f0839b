//! Metrics of database connection pools, for Prometheus.
//!
//! # A bb8 pool with exact metrics
//!
//! With the feature `bb8` a pool takes two more words. [`Metered`] goes around the manager, [`Watched`] around
//! the pool:
//!
//! ```
//! # #[cfg(feature = "bb8")]
//! # mod example {
//! # struct Manager;
//! # impl bb8::ManageConnection for Manager {
//! #     type Connection = ();
//! #     type Error = std::convert::Infallible;
//! #     async fn connect(&self) -> Result<(), Self::Error> { Ok(()) }
//! #     async fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> { Ok(()) }
//! #     fn has_broken(&self, (): &mut ()) -> bool { false }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let manager = Manager;
//! use db_pool_metrics::{Metered, Watched};
//!
//! let pool = bb8::Pool::builder().max_size(8).build(Metered::new(manager)).await?;
//! let pool = Watched::new(pool, "orders");
//!
//! // The application's own registry, which its /metrics shows.
//! let registry = prometheus::Registry::new();
//! pool.register(&registry)?;
//!
//! // Use it as before.
//! let connection = pool.get().await?;
//! drop(connection);
//!
//! let page = prometheus::TextEncoder::new().encode_to_string(&registry.gather())?;
//! assert!(page.contains("db_pool_checkouts_total{result=\"ok\",target=\"orders\"} 1\n"));
//! assert!(page.contains("db_pool_active_connections{target=\"orders\"} 0\n"));
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "bb8")]
//! # example::main().unwrap();
//! ```
//!
//! The names, labels and buckets are those that `db_pool_exporter` uses for its own pool. So its dashboards
//! and alert rules show the application's pool, with `target="orders"`, and with exact numbers: who waits now,
//! which check-outs timed out, how long waits, connects and uses take.
//!
//! [`Watched::status_json`] returns the same as a JSON document. An application that serves it at
//! `GET /api/v1/database/pool/status` can be read by `db_pool_exporter` too, which adds up all processes. The
//! examples `axum.rs` and `hyper.rs` are whole applications with both.
//!
//! Any manager will do. The pool's builder, its `error_sink` and its `connection_customizer` stay as they are,
//! because connections and errors keep their types. There is no task: an event is recorded where it happens,
//! and the rest is read from bb8 when somebody asks.
//!
//! ## What is measured
//!
//! bb8's `get` waits for a slot, opens a connection and tests it, all within one time-out, and shows one sum
//! for it. Here the parts are separate:
//!
//! | family | is |
//! | --- | --- |
//! | `db_pool_checkout_wait_seconds` | the time of a get during which no slot was free for it; each get, however it ended |
//! | `db_pool_connect_duration_seconds` | the time of `connect` of the manager; successful connects only |
//! | `db_pool_ping_duration_seconds` | the time of `is_valid` of the manager, which bb8 calls for new connections also |
//! | `db_pool_checkout_duration_seconds` | the whole get, when it was successful |
//! | `db_pool_use_duration_seconds` | from the end of the get until the connection is dropped |
//! | `db_pool_pending_requests`, `db_pool_oldest_wait_seconds` | the gets that wait for a slot now |
//! | `db_pool_connecting_connections` | calls of `connect` under way now |
//! | `db_pool_active_connections`, `db_pool_idle_connections`, `db_pool_open_connections` | `state()` of bb8; a connection under test is active |
//! | `db_pool_connections_opened_total` | `connections_created` of bb8 |
//! | `db_pool_connections_closed_total` | by `reason`: `broken` when it came back, `ping_failed` in the test, `idle_timeout`, `recycled` after `max_lifetime`. bb8 counts some connections twice; here each has one reason |
//! | `db_pool_connect_errors_total` | failed connects by `reason`: `other`, or what [`Metered::with_reasons`] makes of the error |
//! | `db_pool_checkouts_total` | by `result`, see below |
//! | `db_pool_size`, `db_pool_max_connections`, `db_pool_timeout_seconds`, `db_pool_recycle_seconds` | `max_size`, twice, `connection_timeout` and `max_lifetime`; `db_pool_max_overflow` is 0 |
//!
//! **The split of wait and connect.** bb8 opens connections in tasks of their own and gives them to whoever
//! waits. So a connect belongs to nobody, and it is assigned by bb8's own rule: with *n* connects under way, the
//! *n* gets that came first wait for a connect, and all others wait for a slot. When one of the *n* is served
//! with a connection that came back, or is dropped, its connect is for the next get. A get for which a connect has
//! failed no longer counts as waiting for a slot. What remains inexact: when a newcomer takes the connection that
//! was opened for another get (bb8 lets it), the other's wait begins then; and when a connection comes back, the
//! time until the get wakes up is part of the wait.
//!
//! **Results.** `ok`; `cancelled`: the future was dropped; `timeout`: bb8's `TimedOut` while the get waited for a
//! slot, so that the pool is too small or connections are held for too long; `connect_error`: bb8's `TimedOut`
//! while it waited for a connect or a test, or after a failed connect, so that the server is the reason. (bb8
//! reports all of them as `TimedOut`, and with `retry_connection(false)` only after the whole time-out.)
//!
//! **Dropped futures** lose nothing. bb8's own `pending_gets()` counts them as waiting for ever and is not
//! used. A connect of a dropped get goes on, in bb8 and in these numbers.
//!
//! A get through a clone of the bb8 pool inside is not counted, though its connections are. A get
//! costs about a microsecond more (`cargo bench` measures it).
//!
//! # The layers below
//!
//! Without features the crate depends on `prometheus` and `strum` only. It has four layers, each usable alone:
//!
//! 1. **Readings.** A metric family is one [`Reading`], a row of a table beside the type that it
//!    reads. A [`Page`] writes tables in the Prometheus text format or in OpenMetrics.
//! 2. **Instruments.** [`Counter`], [`Counters`], [`PairCounters`], [`Histogram`] and
//!    [`Histograms`] count and time events. Label values are closed enums ([`Label`]), so a typo
//!    cannot make a new series and every series starts at 0.
//! 3. **The vocabulary of a pool.** [`Phase`], [`Reason`], [`CheckOutOutcome`], [`CloseReason`] and
//!    [`PoolState`] name what happens in a pool; [`Usage`] defines utilization, saturation and
//!    overflow once for all pools.
//! 4. **The instruments of a pool.** [`PoolInstruments`] has every counter and histogram that the
//!    dashboards and alerts of `db_pool_exporter` know, with the same names and buckets.
//!
//! ## Metrics of another kind of pool
//!
//! Call the instruments where things happen, and write a page when Prometheus asks for one:
//!
//! ```
//! use std::time::Duration;
//! use db_pool_metrics::{
//!     CheckOutOutcome, Filter, Format, POOL_READINGS, POOL_STATE_READINGS, Page, PoolInstruments,
//!     PoolState, base_label,
//! };
//!
//! let instruments = PoolInstruments::new();
//! // At a check-out that waited 2 ms for its connection:
//! instruments.checkouts.inc(CheckOutOutcome::Ok);
//! instruments.times.wait.observe(Duration::from_millis(2));
//!
//! // At a scrape: the pool's numbers now, in a struct of your own making.
//! let state = PoolState {
//!     active: 3, idle: 1, open: 4, connecting: 0, pending: 0, abandoned: 0,
//!     size: 5, max_overflow: Some(10), max: Some(15),
//!     timeout: Duration::from_secs(30), recycle: None,
//! };
//! let base = base_label("pool", "orders");
//! let every = Filter::default();
//! let mut page = Page::new(Format::Text, &every);
//! page.live(POOL_STATE_READINGS, [(base.as_str(), &state)]);
//! page.live(POOL_READINGS, [(base.as_str(), &instruments)]);
//! let text = page.finish();
//!
//! assert!(text.contains("db_pool_saturation_ratio{pool=\"orders\"} 0.2\n"));
//! assert!(text.contains("db_pool_checkouts_total{pool=\"orders\",result=\"ok\"} 1\n"));
//! assert!(text.contains("db_pool_checkout_wait_seconds_bucket{pool=\"orders\",le=\"0.005\"} 1\n"));
//! ```
//!
//! Send `text` with the header `Content-Type: ` [`Format::content_type`]; Prometheus 3 demands it.
//!
//! ## A metric of your own
//!
//! Add a row. `None` writes no sample, because absent is not zero:
//!
//! ```
//! use db_pool_metrics::{Filter, Format, Kind, Page, Reading};
//!
//! struct Queue { length: u64, oldest_seconds: Option<f64> }
//!
//! const READINGS: &[Reading<Queue>] = &[
//!     Reading {
//!         name: "queue_length",
//!         help: "Jobs that wait.",
//!         kind: Kind::Gauge,
//!         labels: &[],
//!         read: |queue, out| out.push([], queue.length),
//!     },
//!     Reading {
//!         name: "queue_oldest_seconds",
//!         help: "Age of the oldest job that waits; absent for an empty queue.",
//!         kind: Kind::Gauge,
//!         labels: &[],
//!         read: |queue, out| out.push([], queue.oldest_seconds),
//!     },
//! ];
//!
//! let every = Filter::default();
//! let mut page = Page::new(Format::Text, &every);
//! page.live(READINGS, [("", &Queue { length: 0, oldest_seconds: None })]);
//! assert_eq!(
//!     page.finish(),
//!     "# HELP queue_length Jobs that wait.\n# TYPE queue_length gauge\nqueue_length 0\n"
//! );
//! ```
//!
//! ## Why not the encoder of the `prometheus` crate
//!
//! It has no OpenMetrics format, and prints `le="1"`, which Prometheus 2 takes for another series
//! than `le="1.0"`. The crate's atomics and buckets are used; the text is written here. No other
//! crate needs to know `prometheus::proto`.

// The front page describes the feature also where it is off.
#![cfg_attr(not(feature = "bb8"), allow(rustdoc::broken_intra_doc_links))]

use strum::{IntoStaticStr, VariantArray};

mod instrument;
mod page;
mod pool;
mod samples;
mod state;
mod usage;
mod vocabulary;
#[cfg(feature = "bb8")]
mod watched;

pub use instrument::{
    Counter, Counters, Distribution, Gauge, GaugeGuard, Histogram, Histograms, Label, LabelText,
    PairCounters,
};
pub use page::{Filter, Format, Page, Rendered};
pub use pool::{CHECKOUT, CONNECT, POOL_READINGS, PoolInstruments, PoolTimes, QUERY, Totals};
pub use samples::{Samples, Value, base_label};
pub use state::{POOL_STATE_READINGS, PoolState};
pub use usage::{Usage, UsageSource, overflow};
pub use vocabulary::{CheckOutOutcome, CloseReason, Phase, Purpose, Reason};
#[cfg(feature = "bb8")]
pub use watched::{Metered, Watched, WatchedConnection};

/// The type of a metric family, as the exposition formats name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts again from zero with the process. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl Kind {
    /// The word after `# TYPE name`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The detail in which a subject is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Detail {
    /// Every bucket of every histogram.
    #[default]
    Full,
    /// Every bucket of the main histograms, and at most six of the minor ones.
    Standard,
    /// At most six buckets of the main histograms, sum and count of the minor ones, and no [`Rank::Extra`].
    Lean,
}

/// The rank of a family: how much of it a subject shows that is not shown in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// What alerts and dashboards stand on; of a histogram the quantiles.
    Main,
    /// A histogram that is mostly asked for its mean.
    Minor,
    /// A family that only explains others, or repeats what is configured. A lean subject does not have it.
    Extra,
}

/// The ranks of families that are not [`Rank::Main`], by name.
pub type Ranks = &'static [(&'static str, Rank)];

/// The subject that samples are about: the label that all of them carry, and the detail.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The label in the form of [`base_label`]; empty for none.
    pub base: &'a str,
    /// The detail in which it is shown.
    pub detail: Detail,
}

impl<'a> From<&'a str> for Subject<'a> {
    /// A subject that is shown in full.
    fn from(base: &'a str) -> Self {
        Self { base, detail: Detail::Full }
    }
}

/// Name, meaning and labels of a metric family, for its `# HELP` line and for documentation.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The full name, with `_total` for a counter.
    pub name: &'static str,
    /// One sentence, with the unit.
    pub help: &'static str,
    /// The family's type.
    pub kind: Kind,
    /// The label names, without the base label that the caller adds.
    pub labels: &'static [&'static str],
}

/// A table row: a metric family, and how its samples are read from a `T`.
pub struct Reading<T: ?Sized> {
    /// The full name, with `_total` for a counter.
    pub name: &'static str,
    /// One sentence, with the unit.
    pub help: &'static str,
    /// The family's type.
    pub kind: Kind,
    /// The label names, in the order in which `read` pushes their values. The caller adds the base
    /// label, such as `target`.
    pub labels: &'static [&'static str],
    /// Pushes the samples. Pushing `None` or nothing writes none, because absent is not zero.
    pub read: fn(&T, &mut Samples<'_>),
}

// By hand, because the derive would demand `T: Copy`.
impl<T: ?Sized> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Reading<T> {}

impl<T: ?Sized> Reading<T> {
    /// The row without its function.
    pub const fn describe(&self) -> Description {
        Description { name: self.name, help: self.help, kind: self.kind, labels: self.labels }
    }
}
