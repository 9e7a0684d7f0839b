//! `GET /api/v1/database/pool/status` and `POST /api/v1/database/pool/reset-metrics`.
//!
//! All numbers are those of one pool, the judged one; `source` and `application` name its owner. Null is a
//! number that is not known: the server does not show what an application's pool has counted. Events of
//! our own pool are since the last reset, and its averages are over the probes of the window since then.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::request::{ApiRequest, Reply};
use super::units::{moment, ms, seconds};
use crate::health::JudgedPool;
use crate::metrics::UsageSource as Source;
use crate::pool::{PoolLimits, Totals};
use crate::probe::{Baseline, Since, Snapshot};
use crate::source::SourceEvents;

#[derive(Serialize)]
struct Status {
    pool_class: &'static str,
    target: String,
    source: &'static str,
    application: Option<String>,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    metrics: Metrics,
    pool_config: Config,
}

#[derive(Serialize)]
struct Metrics {
    connections: Connections,
    performance: Performance,
    events: Events,
}

#[derive(Serialize)]
struct Connections {
    active: Option<u64>,
    idle: Option<u64>,
    total: Option<u64>,
    overflow: Option<u64>,
    failed: Option<u64>,
    max: Option<u32>,
}

#[derive(Serialize)]
struct Performance {
    avg_connection_time_ms: Option<f64>,
    avg_query_time_ms: Option<f64>,
    slow_queries: Option<u64>,
}

#[derive(Serialize)]
struct Events {
    checkouts: Option<u64>,
    checkins: Option<u64>,
    connects: Option<u64>,
    disconnects: Option<u64>,
    checkout_timeouts: Option<u64>,
}

#[derive(Serialize)]
struct Config {
    size: u32,
    max_overflow: i64,
    timeout: f64,
    recycle: i64,
    pre_ping: bool,
    use_lifo: bool,
}

/// The numbers of the judged pool of one target.
pub fn pool_status(request: &ApiRequest<'_>) -> Reply {
    let target = match request.find_target() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    let last = match request.last_snapshot(&target) {
        Ok(last) => last,
        Err(answer) => return answer,
    };
    let snapshot = last.as_deref();
    let pool = request.verdict(&target, snapshot).pool;
    let limits = &target.settings().limits;
    let body = Status {
        pool_class: "QueuePool",
        target: target.name().to_owned(),
        source: pool.source.label(),
        application: pool.application.clone(),
        timestamp: snapshot.map(|s| moment(s.taken_at)),
        age_seconds: snapshot.map(|s| seconds(s.age(request.now))),
        metrics: metrics(&pool, limits, &History::of(&pool, snapshot, &target.baseline())),
        pool_config: config(&pool, limits),
    };
    Reply::new(StatusCode::OK, &body)
}

/// Resets the numbers of [`pool_status`]. Neither a metric nor a verdict changes.
pub fn reset_metrics(request: &ApiRequest<'_>) -> Reply {
    let target = match request.find_target() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    target.reset(request.now);
    let body = json!({ "message": "Pool metrics reset successfully", "target": target.name() });
    Reply::new(StatusCode::OK, &body)
}

fn since(snapshot: Option<&Snapshot>, baseline: &Baseline) -> Since {
    let nothing =
        Since { totals: Totals::default(), slow: 0, mean_connect: None, mean_query: None };
    snapshot.map_or(nothing, |snapshot| snapshot.since(baseline))
}

fn metrics(pool: &JudgedPool, limits: &PoolLimits, history: &History) -> Metrics {
    Metrics {
        connections: Connections {
            active: pool.active,
            idle: pool.idle,
            total: pool.open,
            overflow: pool.overflow,
            failed: history.failed,
            // Of an application that was never seen nothing is known but the settings.
            max: pool.limits.map_or_else(|| limits.max(), |known| known.max),
        },
        performance: Performance {
            avg_connection_time_ms: history.mean_connect_ms,
            avg_query_time_ms: history.mean_query_ms,
            slow_queries: history.slow,
        },
        events: Events {
            checkouts: history.checkouts,
            checkins: history.checkins,
            connects: history.connects,
            disconnects: history.disconnects,
            checkout_timeouts: history.timeouts,
        },
    }
}

/// What the judged pool has counted and timed; `None` where nobody knows it.
#[derive(Default)]
struct History {
    checkouts: Option<u64>,
    checkins: Option<u64>,
    connects: Option<u64>,
    disconnects: Option<u64>,
    timeouts: Option<u64>,
    failed: Option<u64>,
    slow: Option<u64>,
    mean_connect_ms: Option<f64>,
    mean_query_ms: Option<f64>,
}

impl History {
    fn of(pool: &JudgedPool, snapshot: Option<&Snapshot>, baseline: &Baseline) -> Self {
        match pool.source {
            Source::Exporter => Self::of_exporter(&since(snapshot, baseline)),
            Source::Endpoint => {
                let reports = snapshot.map(|snapshot| snapshot.endpoints.as_slice());
                let name = pool.application.as_deref();
                let mut reports = reports.unwrap_or_default().iter();
                let report = reports.find(|report| Some(report.key.application.as_str()) == name);
                report.map(|report| Self::of_processes(&report.events())).unwrap_or_default()
            }
            // The server shows sessions; what a pool has counted is its own secret.
            Source::Activity | Source::Unknown => Self::default(),
        }
    }

    fn of_exporter(since: &Since) -> Self {
        let totals = &since.totals;
        Self {
            checkouts: Some(totals.checkouts),
            checkins: Some(totals.checkins),
            connects: Some(totals.connects),
            disconnects: Some(totals.disconnects),
            timeouts: Some(totals.timeouts),
            failed: Some(totals.failed),
            slow: Some(since.slow),
            mean_connect_ms: Some(average(since.mean_connect)),
            mean_query_ms: Some(average(since.mean_query)),
        }
    }

    fn of_processes(events: &SourceEvents) -> Self {
        Self {
            checkouts: events.checkouts,
            connects: events.connects,
            disconnects: events.disconnects,
            timeouts: events.timeouts,
            failed: events.failed,
            ..Self::default()
        }
    }
}

fn average(time: Option<Duration>) -> f64 {
    time.map_or(0.0, ms)
}

/// The limits in the terms of the variables: a size of 0, an overflow and a recycle of -1 mean no limit.
fn config(pool: &JudgedPool, limits: &PoolLimits) -> Config {
    let (size, max_overflow) = match pool.limits {
        Some(known) => (known.size.unwrap_or(0), known.max_overflow),
        None => (limits.size, limits.max_overflow),
    };
    Config {
        size,
        max_overflow: max_overflow.map_or(-1, i64::from),
        timeout: limits.timeout.as_secs_f64(),
        recycle: limits.recycle.map_or(-1, whole_seconds),
        pre_ping: limits.pre_ping,
        use_lifo: limits.use_lifo,
    }
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
