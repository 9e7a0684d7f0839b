//! The families of a [`SourceReport`]; read at each scrape, because polls are more frequent than probes.
//!
//! The gauges that an inferred pool has too are not here: they are rendered with the snapshot, in place of
//! the inferred ones. Families of one process have names of their own, because a family has one set of label
//! names, and dashboards and alerts add up no application twice.

use super::client::FetchReason;
use super::histogram::BucketCounts;
use super::report::{ProcessReport, SourceReport};
use crate::metrics::{Kind, Label as _, Reading, Samples, UsageSource};

const LABELS: &[&str] = &["database", "user", "application", "source"];
const PROCESS: &[&str] = &["database", "user", "application", "source", "instance_id"];

/// The results of check-outs, in the order of their counts.
const RESULTS: [&str; 4] = ["ok", "timeout", "error", "cancelled"];

const fn of_application(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: fn(&SourceReport, &mut Samples<'_>),
) -> Reading<SourceReport> {
    Reading { name, help, kind, labels: LABELS, read }
}

const fn of_process(
    name: &'static str,
    help: &'static str,
    read: fn(&SourceReport, &mut Samples<'_>),
) -> Reading<SourceReport> {
    Reading { name, help, kind: Kind::Gauge, labels: PROCESS, read }
}

/// The families of [`SourceReport`].
pub(crate) const READINGS: &[Reading<SourceReport>] = &[
    of_application(
        "db_pool_app_up",
        "1 while a process of the application answers with the status of its pool, otherwise 0: then the server's view of its sessions is shown instead. Only for applications with status_urls or status_dir.",
        Kind::Gauge,
        |report, out| out.push(labels(report), report.is_up()),
    ),
    of_application(
        "db_pool_app_endpoints_failing",
        "Addresses that gave no status that can be used at the last poll.",
        Kind::Gauge,
        |report, out| out.push(labels(report), report.failed),
    ),
    Reading {
        name: "db_pool_app_endpoint_failures_total",
        help: "Statuses that were not read, by reason. not_status is an answer that is no pool's status, nonsense an impossible number in one, process an address that answers for another process than the rules allow.",
        kind: Kind::Counter,
        labels: &["database", "user", "application", "source", "reason"],
        read: |report, out| {
            let [database, user, application, source] = labels(report);
            for (reason, count) in FetchReason::all().zip(&report.failures) {
                out.push([database, user, application, source, reason.label()], *count);
            }
        },
    },
    of_application(
        "db_pool_app_pending_requests",
        "Callers in the application that wait for a connection now.",
        Kind::Gauge,
        |report, out| out.push(labels(report), report.waiting()),
    ),
    of_application(
        "db_pool_app_oldest_wait_seconds",
        "For how long the first of those callers has waited; 0 when nobody waits.",
        Kind::Gauge,
        |report, out| out.push(labels(report), report.oldest_wait()),
    ),
    Reading {
        name: "db_pool_app_checkouts_total",
        help: "Check-outs of the application by result. timeout: nothing became free within the pool's time-out. Sum over all processes since the exporter started; ended and restarted ones do not make it fall.",
        kind: Kind::Counter,
        labels: &["database", "user", "application", "source", "result"],
        read: |report, out| {
            let [database, user, application, source] = labels(report);
            for (result, count) in RESULTS.iter().zip(&report.totals.checkouts) {
                out.push([database, user, application, source, result], *count);
            }
        },
    },
    of_application(
        "db_pool_app_checkout_wait_seconds",
        "Time that check-outs of the application were blocked until a connection was free.",
        Kind::Histogram,
        |report, out| times(report, out, report.totals.waits.as_ref()),
    ),
    of_application(
        "db_pool_app_use_duration_seconds",
        "Time from check-outs of the application to their check-ins.",
        Kind::Histogram,
        |report, out| times(report, out, report.totals.uses.as_ref()),
    ),
    of_application(
        "db_pool_app_connect_duration_seconds",
        "Time that the application's connects took.",
        Kind::Histogram,
        |report, out| times(report, out, report.totals.connect_times.as_ref()),
    ),
    of_application(
        "db_pool_app_connections_opened_total",
        "Connections that the application opened.",
        Kind::Counter,
        |report, out| out.push(labels(report), report.totals.connects),
    ),
    Reading {
        name: "db_pool_app_connections_closed_total",
        help: "Connections that the application closed, by reason: those of the Python library, at most 24; other for further ones, and where the status names none.",
        kind: Kind::Counter,
        labels: &["database", "user", "application", "source", "reason"],
        read: |report, out| {
            let [database, user, application, source] = labels(report);
            for (reason, count) in report.totals.closed.iter().flatten() {
                out.push([database, user, application, source, reason], *count);
            }
        },
    },
    of_application(
        "db_pool_app_failed_connections_total",
        "Connects of the application that failed.",
        Kind::Counter,
        |report, out| out.push(labels(report), report.totals.failed),
    ),
    of_process(
        "db_pool_app_instance_active_connections",
        "Connections that one process has checked out.",
        |report, out| each(report, out, |process| process.active().map(to_f64)),
    ),
    of_process(
        "db_pool_app_instance_idle_connections",
        "Open connections of one process that are not checked out.",
        |report, out| each(report, out, |process| process.status.now.idle.map(to_f64)),
    ),
    of_process(
        "db_pool_app_instance_open_connections",
        "Open connections of one process.",
        |report, out| each(report, out, |process| process.open().map(to_f64)),
    ),
    of_process(
        "db_pool_app_instance_max_connections",
        "Connections that one process may open; absent without a limit.",
        |report, out| each(report, out, |process| process.max.map(f64::from)),
    ),
    of_process(
        "db_pool_app_instance_pending_requests",
        "Callers in one process that wait for a connection now.",
        |report, out| each(report, out, |process| process.status.now.waiting.map(to_f64)),
    ),
    of_process(
        "db_pool_app_instance_start_time_seconds",
        "When the counters of one process started, in seconds since 1970.",
        |report, out| {
            each(report, out, |process| process.status.identity.as_ref().map(|id| id.started_at));
        },
    ),
];

fn labels(report: &SourceReport) -> [&str; 4] {
    let key = &report.key;
    [&key.database, &key.user, &key.application, UsageSource::Endpoint.label()]
}

fn times(report: &SourceReport, out: &mut Samples<'_>, times: Option<&BucketCounts>) {
    if let Some(BucketCounts { bounds, counts, sum }) = times {
        out.push_buckets(labels(report), bounds, counts, *sum);
    }
}

fn each(
    report: &SourceReport,
    out: &mut Samples<'_>,
    value: impl Fn(&ProcessReport) -> Option<f64>,
) {
    let [database, user, application, source] = labels(report);
    for process in &report.processes {
        out.push([database, user, application, source, &process.instance], value(process));
    }
}

fn to_f64(n: u64) -> f64 {
    n as f64
}
