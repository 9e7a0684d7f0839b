//! The counters and histograms of a target's probes.

use std::iter;
use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use tokio::time::Instant;

use super::settings::TargetSettings;
use super::snapshot::ProbePart;
use crate::metrics::{
    Counter, Counters, Histogram, Histograms, Kind, Label, PairCounters, Reading,
};
use crate::pool::{QUERY, Reason};
use crate::view::ViewName;

/// A statement that the exporter sends; the label `query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnQuery {
    /// `DB_MONITOR_QUERY`.
    Probe,
    /// The statement of a view.
    View(ViewName),
}

impl Label for OwnQuery {
    fn all() -> impl Iterator<Item = Self> {
        iter::once(Self::Probe).chain(ViewName::all().map(Self::View))
    }

    fn label(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::View(name) => name.label(),
        }
    }
}

/// A step of the write probe; the label `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum WriteStep {
    /// Inserts the rows.
    Insert,
    /// Counts them.
    Read,
    /// Deletes them.
    Delete,
    /// Ends the transaction: the server's disk, and its synchronous standbys, have it.
    Commit,
}

/// The counters and histograms of one target's probes.
pub struct ProbeInstruments {
    pub(super) duration: Histogram,
    pub(super) failures: PairCounters<ProbePart, Reason>,
    pub(super) missed: Counter,
    pub(super) queries: Histograms<OwnQuery>,
    pub(super) slow: Counters<OwnQuery>,
    pub(super) views: Histograms<ViewName>,
    pub(super) writes: Histograms<WriteStep>,
}

impl ProbeInstruments {
    /// Counters at 0 for the failures that alerts look for, so that `increase()` sees the first one. What the
    /// target never does has none.
    pub fn new(settings: &TargetSettings) -> Self {
        let failures = PairCounters::new(["probe", "reason"]);
        let slow = Counters::sparse("query");
        slow.start(OwnQuery::Probe);
        for part in [ProbePart::Connect, ProbePart::Query] {
            failures.start(part, Reason::Timeout);
        }
        for view in settings.enabled_views() {
            failures.start(ProbePart::View(view.name), Reason::Timeout);
            slow.start(OwnQuery::View(view.name));
        }
        if settings.writes() {
            failures.start(ProbePart::Write, Reason::Timeout);
        }
        for part in [ProbePart::Connect, ProbePart::Query] {
            failures.start(part, Reason::Refused);
            failures.start(part, Reason::Auth);
            failures.start(part, Reason::TooManyConnections);
        }
        Self {
            duration: Histogram::new(QUERY),
            failures,
            missed: Counter::new(),
            queries: Histograms::new("query", QUERY),
            slow,
            views: Histograms::new("view", QUERY),
            writes: Histograms::new("step", QUERY),
        }
    }
}

/// A statement of the exporter's own that runs. Dropped, it counts as slow above the threshold, also when
/// it was cut off.
pub(super) struct RunningStatement<'i> {
    instruments: &'i ProbeInstruments,
    query: OwnQuery,
    threshold: Duration,
    sent: Instant,
}

impl<'i> RunningStatement<'i> {
    /// Begins now.
    pub(super) fn begin(
        instruments: &'i ProbeInstruments,
        query: OwnQuery,
        threshold: Duration,
    ) -> Self {
        Self { instruments, query, threshold, sent: Instant::now() }
    }

    /// Records that the answer came, and returns the time that it took.
    pub(super) fn answered(self) -> Duration {
        let took = self.sent.elapsed();
        // The views have a histogram of their own, with the check-out and the reading of the answer.
        if self.query == OwnQuery::Probe {
            self.instruments.queries.observe(self.query, took);
        }
        took
    }
}

impl Drop for RunningStatement<'_> {
    fn drop(&mut self) {
        if self.sent.elapsed() > self.threshold {
            self.instruments.slow.inc(self.query);
        }
    }
}

/// The families of [`ProbeInstruments`]; read at each scrape.
pub const READINGS: &[Reading<ProbeInstruments>] = &[
    Reading {
        name: "db_pool_probe_duration_seconds",
        help: "Time of a whole probe: connect, statement, views and write probe. It ends at DB_MONITOR_TIMEOUT at the latest.",
        kind: Kind::Histogram,
        labels: &[],
        read: |i, out| i.duration.show(out),
    },
    Reading {
        name: "db_pool_probe_failures_total",
        help: "Parts of probes that failed, by part and reason. A fresh connect counts only in the probe that tried it.",
        kind: Kind::Counter,
        labels: &["probe", "reason"],
        read: |i, out| i.failures.show(out),
    },
    Reading {
        name: "db_pool_probes_missed_total",
        help: "Probes that were skipped because the previous one was still running.",
        kind: Kind::Counter,
        labels: &[],
        read: |i, out| i.missed.show(out),
    },
    Reading {
        name: "db_pool_query_duration_seconds",
        help: "Time of the probe's statement (query=\"probe\") when it was answered, without the check-out. Failed and cancelled ones are missing. The views have db_pool_exporter_view_duration_seconds.",
        kind: Kind::Histogram,
        labels: &["query"],
        read: |i, out| i.queries.show(out),
    },
    Reading {
        name: "db_pool_slow_queries_total",
        help: "The exporter's own statements that were answered after DB_MONITOR_SLOW_QUERY_THRESHOLD. Failed and cancelled ones are missing.",
        kind: Kind::Counter,
        labels: &["query"],
        read: |i, out| i.slow.show(out),
    },
    Reading {
        name: "db_pool_exporter_view_duration_seconds",
        help: "Time to read a view: check-out, transaction, statement and reading of the answer. Failed ones are included.",
        kind: Kind::Histogram,
        labels: &["view"],
        read: |i, out| i.views.show(out),
    },
    Reading {
        name: "db_pool_write_duration_seconds",
        help: "Time of a step of the write probe, for all rows together. Failed steps are missing.",
        kind: Kind::Histogram,
        labels: &["step"],
        read: |i, out| i.writes.show(out),
    },
];
