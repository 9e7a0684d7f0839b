//! `GET /api/v1/database/pool/status` and `POST /api/v1/database/pool/reset-metrics`.
//!
//! The events are those of our own pool since the last reset; the averages are over the probes of the
//! window since then. The connections are those of the judged pool; `source` and `application` name its
//! owner. Null is a number that is not known.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::request::{ApiRequest, Reply};
use super::units::{moment, ms, seconds};
use crate::health::JudgedPool;
use crate::pool::{PoolLimits, Totals};
use crate::probe::{Baseline, Since, Snapshot};

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
    failed: u64,
    max: Option<u32>,
}

#[derive(Serialize)]
struct Performance {
    avg_connection_time_ms: f64,
    avg_query_time_ms: f64,
    slow_queries: u64,
}

#[derive(Serialize)]
struct Events {
    checkouts: u64,
    checkins: u64,
    connects: u64,
    disconnects: u64,
    checkout_timeouts: u64,
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
        metrics: metrics(&pool, limits, &since(snapshot, &target.baseline())),
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

fn metrics(pool: &JudgedPool, limits: &PoolLimits, since: &Since) -> Metrics {
    let totals = &since.totals;
    Metrics {
        connections: Connections {
            active: pool.active,
            idle: pool.idle,
            total: pool.open,
            overflow: pool.overflow,
            failed: totals.failed,
            // Of an application that was never seen nothing is known but the settings.
            max: pool.limits.map_or_else(|| limits.max(), |known| known.max),
        },
        performance: Performance {
            avg_connection_time_ms: average(since.mean_connect),
            avg_query_time_ms: average(since.mean_query),
            slow_queries: since.slow,
        },
        events: Events {
            checkouts: totals.checkouts,
            checkins: totals.checkins,
            connects: totals.connects,
            disconnects: totals.disconnects,
            checkout_timeouts: totals.timeouts,
        },
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
