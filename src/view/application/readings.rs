//! The families of [`Application`]: those of a snapshot.

use super::Application;
use crate::metrics::{Kind, Label, Reading, Samples};
use crate::view::Views;

/// The labels of every family of an application.
pub(in crate::view) const LABELS: &[&str] = &["database", "user", "application", "source"];

const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&Views, &mut Samples<'_>),
) -> Reading<Views> {
    Reading { name, help, kind: Kind::Gauge, labels: LABELS, read }
}

/// The families of [`Application`].
pub(in crate::view) const READINGS: &[Reading<Views>] = &[
    gauge(
        "db_pool_app_active_connections",
        "Connections that the application has certainly checked out. From source activity a lower bound: a connection that was checked out and has sent nothing yet looks idle, and so does one in autocommit between two statements (db_pool_app_uncertain_connections).",
        |views, out| each(views, out, |app| app.active.map(to_f64)),
    ),
    gauge(
        "db_pool_app_idle_connections",
        "Open connections of the application that are not certainly checked out. From source activity some of them may be.",
        |views, out| each(views, out, |app| app.idle.map(to_f64)),
    ),
    gauge(
        "db_pool_app_uncertain_connections",
        "Idle sessions of the application that may be checked out as well: at most this many more than db_pool_app_active_connections are.",
        |views, out| each(views, out, |app| app.uncertain.map(to_f64)),
    ),
    gauge(
        "db_pool_app_open_connections",
        "Open connections of the application, all processes together.",
        |views, out| each(views, out, |app| Some(to_f64(app.open))),
    ),
    gauge(
        "db_pool_app_leaked_connections",
        "Connections of the application that have been idle in a transaction for longer than leak_threshold.",
        |views, out| each(views, out, |app| app.leaked.map(to_f64)),
    ),
    gauge(
        "db_pool_app_overflow_connections",
        "Open connections of the application above its pool size, all processes together. A lower bound where several processes share one application_name. Absent for pools without overflow.",
        |views, out| each(views, out, |app| app.allowed?.overflow.map(to_f64)),
    ),
    gauge(
        "db_pool_app_size",
        "Pool size of the application: of one process, as configured, times db_pool_app_instances; absent without a limit.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.size?))),
    ),
    gauge(
        "db_pool_app_max_connections",
        "Connections that the application may open: of one process, as configured, times db_pool_app_instances; +Inf without a limit.",
        |views, out| {
            each(views, out, |app| Some(app.allowed?.max.map_or(f64::INFINITY, f64::from)))
        },
    ),
    gauge(
        "db_pool_app_min_connections",
        "Connections that the application's pools keep open even when all are idle, times db_pool_app_instances; only for pools of a minimum and a maximum.",
        |views, out| each(views, out, minimum),
    ),
    gauge(
        "db_pool_app_utilization_percent",
        "Checked-out connections in percent of the pool size, over 100 in overflow: those of the fullest process where processes can be told apart by name or address. Processes that cannot be told apart are taken together, and one of them can be full below 100. Absent without a limit.",
        |views, out| each(views, out, Application::utilization_percent),
    ),
    gauge(
        "db_pool_app_saturation_ratio",
        "Checked-out connections divided by what may be open; at 1 the next check-out waits. Of the fullest process where processes can be told apart by name or address. Processes that cannot be told apart are taken together, and one of them can be full below 1. Absent without a limit.",
        |views, out| each(views, out, Application::saturation_ratio),
    ),
    gauge(
        "db_pool_app_mean_utilization_percent",
        "As db_pool_app_utilization_percent, but of all processes together: one can be full while others are idle.",
        |views, out| each(views, out, |app| app.mean?.utilization_percent()),
    ),
    gauge(
        "db_pool_app_mean_saturation_ratio",
        "As db_pool_app_saturation_ratio, but of all processes together: one can be full while others are idle.",
        |views, out| each(views, out, |app| app.mean?.saturation_ratio()),
    ),
    gauge(
        "db_pool_app_saturated_instances",
        "Processes of the application that have nothing left, so that their next check-out waits. Processes that cannot be told apart count only when all of them are full.",
        |views, out| each(views, out, |app| app.saturated_instances.map(f64::from)),
    ),
    gauge(
        "db_pool_app_instances",
        "Number of processes that share the limits, each with a pool of its own. db_pool_app_instances_evidence tells how it is known.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.instances.number))),
    ),
    gauge(
        "db_pool_app_instances_known",
        "1 when the number of processes is configured or certain enough for an alarm, 0 when it is assumed, or when fewer processes whose connections are held without a statement would look the same: then set DB_MONITOR_INSTANCES.",
        |views, out| {
            each(views, out, |app| Some(f64::from(u8::from(app.allowed?.instances.is_known()))));
        },
    ),
    Reading {
        name: "db_pool_app_instances_evidence",
        help: "1, with the evidence for db_pool_app_instances: endpoint (each serves its own status); configured; names or addresses of their own; open (more was open at once than fewer may open); idle (more rests idle than fewer keep); assumed (one, without evidence for more).",
        kind: Kind::Gauge,
        labels: &["database", "user", "application", "source", "evidence"],
        read: |views, out| {
            for app in &views.applications {
                let [database, user, application] = app.key.labels();
                let evidence = app.allowed.map(|allowed| allowed.instances.evidence.label());
                let source = app.source.label();
                let labels = [database, user, application, source, evidence.unwrap_or_default()];
                out.push(labels, evidence.map(|_| 1_u32));
            }
        },
    },
    gauge(
        "db_pool_app_limits_exceeded",
        "1 while more is open than the configured DB_MONITOR_INSTANCES, DB_POOL_SIZE and DB_MAX_OVERFLOW allow: one of them is wrong. Ratios then use the number of processes that fits.",
        |views, out| {
            each(views, out, |app| Some(f64::from(u8::from(app.allowed?.exceeded.is_some()))));
        },
    ),
];

fn minimum(app: &Application) -> Option<f64> {
    let allowed = app.allowed?;
    let min = allowed.process.min()?;
    Some(f64::from(min) * f64::from(allowed.instances.number))
}

fn each(views: &Views, out: &mut Samples<'_>, value: impl Fn(&Application) -> Option<f64>) {
    for app in &views.applications {
        out.push(app.key.labels_and(app.source.label()), value(app));
    }
}

fn to_f64(n: u64) -> f64 {
    n as f64
}
