//! The counters and histograms of a pool, event by event.
//!
//! All pools share the same bucket bounds: `sum by (le)` over different bounds gives wrong
//! quantiles. The bounds include the usual limits (10 s to connect, 30 s to check out), so that
//! the share of calls that reached a limit can be read exactly.

use crate::{
    CheckOutOutcome, CloseReason, Counter, Counters, Histogram, Histograms, Kind, Label as _,
    PairCounters, Phase, Purpose, Reading, Reason,
};

/// Bounds in seconds for opening a connection and its phases. 1, 3 and 7 s are the times at which
/// a lost SYN packet is sent again.
pub const CONNECT: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Bounds in seconds for waiting for and getting a connection.
pub const CHECKOUT: &[f64] = &[
    0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0, 60.0,
];

/// Bounds in seconds for statements, pings, use and probes.
pub const QUERY: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// The counters and histograms of one pool. The pool's owner calls them at each event.
pub struct PoolInstruments {
    /// Check-outs, by how they ended.
    pub checkouts: Counters<CheckOutOutcome>,
    /// Connections given back.
    pub checkins: Counter,
    /// Connections opened for the pool.
    pub opened: Counter,
    /// Connections of the pool that were closed, by reason.
    pub closed: Counters<CloseReason>,
    /// Failed attempts to connect, for the pool or as a test.
    pub connect_errors: PairCounters<Phase, Reason>,
    /// The histograms of check-outs, connects and pings.
    pub times: PoolTimes,
}

/// The histograms of one pool.
pub struct PoolTimes {
    /// Opening a connection, all phases together.
    pub connect: Histograms<Purpose>,
    /// One phase of opening a connection.
    pub phase: Histograms<Phase>,
    /// Waiting for a free slot.
    pub wait: Histogram,
    /// The whole check-out: the wait, and the connect or the ping.
    pub checkout: Histogram,
    /// From check-out to check-in.
    pub usage: Histogram,
    /// The test of an idle connection at check-out.
    pub ping: Histogram,
}

impl PoolInstruments {
    /// All counters at zero. The most common connect errors have samples from the start, so that
    /// `increase()` sees the first one.
    pub fn new() -> Self {
        Self::closing_for(CloseReason::all())
    }

    /// As [`PoolInstruments::new`], for a pool that closes connections for these reasons only: others have no
    /// sample until they happen all the same.
    pub fn closing_for(reasons: impl IntoIterator<Item = CloseReason>) -> Self {
        let closed = Counters::sparse("reason");
        reasons.into_iter().for_each(|reason| closed.start(reason));
        let connect_errors = PairCounters::new(["phase", "reason"]);
        connect_errors.start(Phase::Tcp, Reason::Refused);
        connect_errors.start(Phase::Tcp, Reason::Timeout);
        connect_errors.start(Phase::Startup, Reason::Timeout);
        connect_errors.start(Phase::Startup, Reason::Auth);
        connect_errors.start(Phase::Startup, Reason::TooManyConnections);
        Self {
            checkouts: Counters::new("result"),
            checkins: Counter::new(),
            opened: Counter::new(),
            closed,
            connect_errors,
            times: PoolTimes {
                connect: Histograms::new("kind", CONNECT),
                phase: Histograms::new("phase", CONNECT),
                wait: Histogram::new(CHECKOUT),
                checkout: Histogram::new(CHECKOUT),
                usage: Histogram::new(QUERY),
                ping: Histogram::new(QUERY),
            },
        }
    }

    /// The number of events so far.
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

/// Numbers of events since the pool was made.
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
    /// Connection attempts that failed, for the pool or as a test.
    pub failed: u64,
    /// Check-outs that found no slot in time.
    pub timeouts: u64,
}

/// The families of [`PoolInstruments`]; read at each scrape.
pub const POOL_READINGS: &[Reading<PoolInstruments>] = &[
    Reading {
        name: "db_pool_checkouts_total",
        help: "Check-outs from the pool, by how they ended.",
        kind: Kind::Counter,
        labels: &["result"],
        read: |i, out| i.checkouts.show(out),
    },
    Reading {
        name: "db_pool_checkins_total",
        help: "Connections given back to the pool.",
        kind: Kind::Counter,
        labels: &[],
        read: |i, out| i.checkins.show(out),
    },
    Reading {
        name: "db_pool_connections_opened_total",
        help: "Connections opened by the pool.",
        kind: Kind::Counter,
        labels: &[],
        read: |i, out| i.opened.show(out),
    },
    Reading {
        name: "db_pool_connections_closed_total",
        help: "Connections closed by the pool, by reason.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |i, out| i.closed.show(out),
    },
    Reading {
        name: "db_pool_connect_errors_total",
        help: "Attempts to connect that failed, for the pool or as a test, by the phase they failed in and the reason.",
        kind: Kind::Counter,
        labels: &["phase", "reason"],
        read: |i, out| i.connect_errors.show(out),
    },
    Reading {
        name: "db_pool_connect_duration_seconds",
        help: "Time to open a connection, all phases together, for the pool (kind=\"pool\") or as a test (kind=\"fresh\"); failed attempts are not included.",
        kind: Kind::Histogram,
        labels: &["kind"],
        read: |i, out| i.times.connect.show(out),
    },
    Reading {
        name: "db_pool_connect_phase_duration_seconds",
        help: "Time of one phase of opening a connection, for the pool or as a test.",
        kind: Kind::Histogram,
        labels: &["phase"],
        read: |i, out| i.times.phase.show(out),
    },
    Reading {
        name: "db_pool_checkout_wait_seconds",
        help: "Time that check-outs waited for a free slot, which pool_timeout limits; opening and testing a connection are not included.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.wait.show(out),
    },
    Reading {
        name: "db_pool_checkout_duration_seconds",
        help: "Time of successful check-outs: the wait for a slot, and the connect or the ping.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.checkout.show(out),
    },
    Reading {
        name: "db_pool_use_duration_seconds",
        help: "Time from check-out to check-in.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.usage.show(out),
    },
    Reading {
        name: "db_pool_ping_duration_seconds",
        help: "Time of the test of an idle connection at check-out (pre_ping), failed tests included.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.times.ping.show(out),
    },
];
