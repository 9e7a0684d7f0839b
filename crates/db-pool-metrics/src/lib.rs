//! Metrics of database connection pools, for Prometheus.
//!
//! Four layers, each usable alone:
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
//! # Metrics of your own pool
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
//! # A metric of your own
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
//! # Why not the encoder of the `prometheus` crate
//!
//! It has no OpenMetrics format, and prints `le="1"`, which Prometheus 2 takes for another series
//! than `le="1.0"`. The crate's atomics and buckets are used; the text is written here. No other
//! crate needs to know `prometheus::proto`.

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
