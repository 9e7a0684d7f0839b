//! What a pool counts and times, event by event.
//!
//! The edges of the buckets are the same for all targets: `sum by (le)` over edges that differ is
//! wrong. They hold the usual limits (10 s to connect, 30 s to check out) as edges.

use strum::{IntoStaticStr, VariantArray};

use super::budget::Purpose;
use super::error::{Phase, Reason};
use crate::metrics::{Counter, Counters, Histogram, Histograms, Kind, PairCounters, Reading};

/// How a check-out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckOutOutcome {
    /// With a connection.
    Ok,
    /// No slot within `DB_POOL_TIMEOUT`.
    Timeout,
    /// A slot, but no connection.
    ConnectError,
    /// The caller gave up.
    Cancelled,
}

/// Why a pooled connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CloseReason {
    /// At check-in, when the pool already kept its size.
    Overflow,
    /// At check-out, older than `DB_POOL_RECYCLE`.
    Recycled,
    /// At check-out, opened before a connection was found dead.
    Invalidated,
    /// The pre-ping got no answer.
    PingFailed,
    /// Died, timed out or was left in an unknown state while it was used.
    Broken,
    /// With the pool.
    Shutdown,
}

/// Seconds; connecting and its phases. 1, 3 and 7 s are where a lost SYN is sent again.
const CONNECT: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Seconds; waiting for and getting a connection.
const CHECKOUT: &[f64] = &[
    0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0, 60.0,
];

/// Seconds; statements, pings, use and probes.
pub const QUERY: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// The counters and histograms of one pool.
pub struct PoolInstruments {
    pub(super) checkouts: Counters<CheckOutOutcome>,
    pub(super) checkins: Counter,
    pub(super) opened: Counter,
    pub(super) closed: Counters<CloseReason>,
    pub(super) connect_errors: PairCounters<Phase, Reason>,
    pub(super) times: Times,
}

/// The histograms of one pool.
pub(super) struct Times {
    pub(super) connect: Histograms<Purpose>,
    pub(super) phase: Histograms<Phase>,
    pub(super) wait: Histogram,
    pub(super) checkout: Histogram,
    pub(super) usage: Histogram,
    pub(super) ping: Histogram,
}

impl PoolInstruments {
    /// All at zero.
    pub fn new() -> Self {
        let connect_errors = PairCounters::new(["phase", "reason"]);
        // The usual ones exist before they happen, so that their first is an increase.
        connect_errors.start(Phase::Tcp, Reason::Refused);
        connect_errors.start(Phase::Tcp, Reason::Timeout);
        connect_errors.start(Phase::Startup, Reason::Timeout);
        connect_errors.start(Phase::Startup, Reason::Auth);
        connect_errors.start(Phase::Startup, Reason::TooManyConnections);
        Self {
            checkouts: Counters::new("result"),
            checkins: Counter::new(),
            opened: Counter::new(),
            closed: Counters::new("reason"),
            connect_errors,
            times: Times {
                connect: Histograms::new("kind", CONNECT),
                phase: Histograms::new("phase", CONNECT),
                wait: Histogram::new(CHECKOUT),
                checkout: Histogram::new(CHECKOUT),
                usage: Histogram::new(QUERY),
                ping: Histogram::new(QUERY),
            },
        }
    }

    /// The events so far, as the specification's pool status names them.
    pub fn totals(&self) -> Totals {
        Totals {
            checkouts: self.checkouts.count(CheckOutOutcome::Ok),
            checkins: self.checkins.count(),
            connects: self.opened.count(),
            disconnects: self.closed.sum(),
            failed: self.connect_errors.sum(),
            timeouts: self.checkouts.count(CheckOutOutcome::Timeout),
        }
    }
}

impl Default for PoolInstruments {
    fn default() -> Self {
        Self::new()
    }
}

/// Events since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Check-outs that got a connection.
    pub checkouts: u64,
    /// Connections given back.
    pub checkins: u64,
    /// Pooled connections opened.
    pub connects: u64,
    /// Pooled connections closed.
    pub disconnects: u64,
    /// Connection attempts that failed, fresh ones among them.
    pub failed: u64,
    /// Check-outs that found no slot in time.
    pub timeouts: u64,
}

/// The families of [`PoolInstruments`]; read at each scrape.
pub const READINGS: &[Reading<PoolInstruments>] = &[
    Reading {
        name: "db_pool_checkouts_total",
        help: "Check-outs from the exporter's own probe pool, by how they ended.",
        kind: Kind::Counter,
        labels: &["result"],
        read: |i, out| i.checkouts.show(out),
    },
    Reading {
        name: "db_pool_checkins_total",
        help: "Connections given back to the exporter's own probe pool.",
        kind: Kind::Counter,
        labels: &[],
        read: |i, out| i.checkins.show(out),
    },
    Reading {
        name: "db_pool_connections_opened_total",
        help: "Connections opened by the exporter's own probe pool.",
        kind: Kind::Counter,
        labels: &[],
        read: |i, out| i.opened.show(out),
    },
    Reading {
        name: "db_pool_connections_closed_total",
        help: "Connections closed by the exporter's own probe pool, by reason.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |i, out| i.closed.show(out),
    },
    Reading {
        name: "db_pool_connect_errors_total",
        help: "Connection attempts that failed, pooled and fresh, by the phase they failed in and the reason.",
        kind: Kind::Counter,
        labels: &["phase", "reason"],
        read: |i, out| i.connect_errors.show(out),
    },
    Reading {
        name: "db_pool_connect_duration_seconds",
        help: "Time to open a connection, all phases together, for the exporter's own probe pool (pool) or to see that it can be done (fresh).",
        kind: Kind::Histogram,
        labels: &["kind"],
        read: |i, out| i.times.connect.show(out),
    },
    Reading {
        name: "db_pool_connect_phase_duration_seconds",
        help: "Time of one phase of opening a connection, pooled and fresh.",
        kind: Kind::Histogram,
        labels: &["phase"],
        read: |i, out| i.times.phase.show(out),
    },
    Reading {
        name: "db_pool_checkout_wait_seconds",
        help: "Time that check-outs from the exporter's own probe pool waited for a free slot; what DB_POOL_TIMEOUT limits.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.wait.show(out),
    },
    Reading {
        name: "db_pool_checkout_duration_seconds",
        help: "Time that check-outs from the exporter's own probe pool took: wait, and connect or ping.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.checkout.show(out),
    },
    Reading {
        name: "db_pool_use_duration_seconds",
        help: "Time from check-out to check-in in the exporter's own probe pool.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.usage.show(out),
    },
    Reading {
        name: "db_pool_ping_duration_seconds",
        help: "Time of the pre-ping at check-out from the exporter's own probe pool, failed ones included.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.ping.show(out),
    },
];
