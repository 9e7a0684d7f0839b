//! `GET /api/v1/database/pool/status` and `POST /api/v1/database/pool/reset-metrics`.
//!
//! The events are those of our own pool since the last reset; the averages are over the probes of the
//! window since then. The connections are those of the judged pool, whose owner `source` names.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::request::{ApiRequest, Reply, usage};
use super::units::{moment, ms, seconds};
use crate::pool::{PoolLimits, Totals};
use crate::probe::{Baseline, Since, Snapshot};
use crate::view::Usage;

#[derive(Serialize)]
struct Status {
    pool_class: &'static str,
    target: String,
    source: &'static str,
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
    active: u64,
    idle: u64,
    total: u64,
    overflow: u64,
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
    let usage = usage(&target, snapshot);
    let body = Status {
        pool_class: "QueuePool",
        target: target.name().to_owned(),
        source: usage.source.label(),
        timestamp: snapshot.map(|s| moment(s.taken_at)),
        age_seconds: snapshot.map(|s| seconds(s.age(request.now))),
        metrics: metrics(&usage, &since(snapshot, &target.baseline())),
        pool_config: config(&usage, &target.settings().limits),
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

fn metrics(usage: &Usage, since: &Since) -> Metrics {
    let totals = &since.totals;
    Metrics {
        connections: Connections {
            active: usage.active,
            idle: usage.idle,
            total: usage.open,
            overflow: usage.overflow,
            failed: totals.failed,
            max: usage.max,
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
fn config(usage: &Usage, limits: &PoolLimits) -> Config {
    Config {
        size: usage.size.unwrap_or(limits.size),
        max_overflow: usage.max_overflow.or(limits.max_overflow).map_or(-1, i64::from),
        timeout: limits.timeout.as_secs_f64(),
        recycle: limits.recycle.map_or(-1, whole_seconds),
        pre_ping: limits.pre_ping,
        use_lifo: limits.use_lifo,
    }
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
