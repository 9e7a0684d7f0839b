//! The totals of the samples of activity. Their families are read at each scrape and not from a snapshot,
//! so that they grow between two probes and survive a view that fails.

use std::time::Duration;

use super::application::{ApplicationCounters, LABELS};
use super::pgbouncer::{WAITING_CLIENT_SECONDS, WaitingSeconds};
use crate::metrics::{Kind, Reading, Samples};

/// The sums of a target's samples at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The interval between two samples that is in use.
    pub interval: Duration,
    /// The time that the samples stand for.
    pub sampled: Duration,
    /// Of that, the time without headroom; `None` while the limits are not known.
    pub headroom_gone: Option<Duration>,
    /// The time that clients of a pooler's pools have waited, by process.
    pub waiting: Vec<(Option<String>, WaitingSeconds)>,
    /// Those of each application.
    pub applications: Vec<ApplicationCounters>,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&Counters, &mut Samples<'_>),
) -> Reading<Counters> {
    Reading { name, help, kind: Kind::Counter, labels: LABELS, read }
}

/// The families of [`Counters`]; read at each scrape.
pub const COUNTER_READINGS: &[Reading<Counters>] = &[
    Reading {
        name: "db_pool_sampling_interval_seconds",
        help: "Mean time between two samples of activity, or of a pooler's pools, that is in use: slow_query_sampling, or longer where a sample takes long.",
        kind: Kind::Gauge,
        labels: &[],
        read: |counters, out| out.push([], counters.interval),
    },
    Reading {
        name: "db_pool_sampled_seconds_total",
        help: "Time that the samples of activity, or of a pooler's pools, stand for. Time in which they could not be read is not in it: divide the rate of another sampled counter by the rate of this one.",
        kind: Kind::Counter,
        labels: &[],
        read: |counters, out| out.push([], counters.sampled),
    },
    Reading {
        name: "db_pool_server_headroom_gone_seconds_total",
        help: "Sampled time in which a non-superuser could open no connection, where neither the role nor the database has a CONNECTION LIMIT.",
        kind: Kind::Counter,
        labels: &[],
        read: |counters, out| out.push([], counters.headroom_gone),
    },
    counter(
        "db_pool_app_active_connection_seconds_total",
        "Sampled seconds of connections that were certainly checked out; the rate is their mean number.",
        |counters, out| each(counters, out, |app| Some(app.totals.active)),
    ),
    counter(
        "db_pool_app_open_connection_seconds_total",
        "Sampled seconds of open connections of the application; the rate is their mean number.",
        |counters, out| each(counters, out, |app| Some(app.totals.open)),
    ),
    counter(
        "db_pool_app_idle_in_transaction_connection_seconds_total",
        "Sampled seconds of connections that were idle in a transaction; the rate is their mean number.",
        |counters, out| each(counters, out, |app| Some(app.totals.in_transaction)),
    ),
    counter(
        "db_pool_app_saturated_seconds_total",
        "Sampled time in which a process of the application had nothing left, or all processes that cannot be told apart; the rate is the part of the time. Of one short saturation it can be off by a sampling interval; over many it is right. Absent without a limit.",
        |counters, out| each(counters, out, |app| app.totals.saturated),
    ),
    Reading {
        name: "db_pool_app_active_connections_peak",
        help: "The most connections that were certainly checked out at once in a sample of the last minute.",
        kind: Kind::Gauge,
        labels: LABELS,
        read: |counters, out| each(counters, out, |app| Some(app.peak as f64)),
    },
    WAITING_CLIENT_SECONDS,
];

fn each(
    counters: &Counters,
    out: &mut Samples<'_>,
    value: impl Fn(&ApplicationCounters) -> Option<f64>,
) {
    for app in &counters.applications {
        out.push(app.key.labels_and(app.source.label()), value(app));
    }
}
