//! `GET /api/v1/targets`: every target with its last snapshot.

use serde::{Serialize, Serializer};

use super::health::Checks;
use super::request::{ApiRequest, DISABLED, Reply, last_snapshot};
use super::units::{moment, ms, rounded, seconds};
use crate::health::{Bottleneck, JudgedPool, Neighbours, bottleneck};
use crate::metrics::Label;
use crate::pool::Timings;
use crate::probe::{Connected, Failure, Queried, SPAN, Snapshot, Target, TargetKind};

#[derive(Serialize)]
struct Targets {
    targets: Vec<TargetJson>,
}

#[derive(Serialize)]
struct TargetJson {
    name: String,
    #[serde(serialize_with = "as_label")]
    kind: TargetKind,
    host: String,
    database: String,
    #[serde(serialize_with = "as_object")]
    labels: Vec<(String, String)>,
    interval_seconds: f64,
    status: &'static str,
    message: String,
    checks: Checks,
    /// Null for a target that is no database, and before the first probe.
    bottleneck: Option<BottleneckJson>,
    /// Null before the first probe, like all fields below.
    up: Option<bool>,
    stale: bool,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    last_success: Option<String>,
    server_version: Option<String>,
    probe: Option<Probe>,
    usage: Option<UsageJson>,
    window: Option<Window>,
}

/// Where the wait is.
#[derive(Clone, Serialize)]
pub(super) struct BottleneckJson {
    layer: &'static str,
    message: String,
}

impl From<Bottleneck> for BottleneckJson {
    fn from(found: Bottleneck) -> Self {
        Self { layer: found.layer.label(), message: found.message }
    }
}

#[derive(Serialize)]
struct Probe {
    time_ms: f64,
    connect: Option<Connect>,
    query: Query,
}

#[derive(Serialize)]
struct Connect {
    success: bool,
    time_ms: Option<f64>,
    #[serde(serialize_with = "by_phase")]
    phases: Option<Timings>,
    reason: Option<&'static str>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Query {
    success: bool,
    checkout_time_ms: Option<f64>,
    query_time_ms: Option<f64>,
    reason: Option<&'static str>,
    error: Option<String>,
}

/// The usage of the judged pool; null for what is not known.
#[derive(Serialize)]
struct UsageJson {
    source: &'static str,
    application: Option<String>,
    active: Option<u64>,
    idle: Option<u64>,
    total: Option<u64>,
    overflow: Option<u64>,
    size: Option<u32>,
    max_overflow: Option<u32>,
    max: Option<u32>,
    instances: Option<u32>,
    instances_known: Option<bool>,
    utilization: Option<f64>,
    saturation: Option<f64>,
}

#[derive(Serialize)]
struct Window {
    seconds: f64,
    probes: usize,
    failed_probes: usize,
    slow_queries: usize,
    failed_connects: u64,
    checkout_timeouts: u64,
    avg_connection_time_ms: Option<f64>,
    avg_query_time_ms: Option<f64>,
}

/// Every target, in the order of the roster, also when monitoring is disabled.
pub(crate) fn targets(request: &ApiRequest<'_>) -> Reply {
    let targets = request.roster.targets();
    let neighbours = Neighbours::new(&targets);
    let all = targets.iter().map(|target| target_json(request, target, &neighbours)).collect();
    Reply::new(hyper::StatusCode::OK, &Targets { targets: all })
}

fn target_json(
    request: &ApiRequest<'_>,
    target: &Target,
    neighbours: &Neighbours<'_>,
) -> TargetJson {
    let settings = target.settings();
    let last = last_snapshot(target);
    let snapshot = last.as_deref();
    let verdict = request.verdict(target, snapshot);
    let found = bottleneck(target, neighbours, request.now);
    let stale = snapshot.is_some_and(|s| s.is_stale(request.now, settings.schedule.interval));
    TargetJson {
        name: settings.name.clone(),
        kind: settings.kind,
        host: target.host(),
        database: target.database().to_owned(),
        labels: settings.labels.clone(),
        interval_seconds: seconds(settings.schedule.interval),
        status: verdict.status.label(),
        checks: Checks::new(&settings.name, &verdict, snapshot),
        bottleneck: found.map(BottleneckJson::from),
        message: if request.roster.is_probing() { verdict.message } else { DISABLED.to_owned() },
        up: snapshot.map(|s| s.is_up() && !stale),
        stale,
        timestamp: snapshot.map(|s| moment(s.taken_at)),
        age_seconds: verdict.age.map(seconds),
        last_success: snapshot.and_then(|s| s.last_success_at).map(moment),
        server_version: snapshot.and_then(version),
        probe: snapshot.map(probe),
        usage: snapshot.map(|_| usage_json(&verdict.pool)),
        window: snapshot.map(window),
    }
}

fn as_label<S: Serializer>(kind: &TargetKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.label())
}

fn version(snapshot: &Snapshot) -> Option<String> {
    if let Ok(queried) = &snapshot.query {
        return Some(queried.server.version.clone());
    }
    let connected = snapshot.connect.as_ref()?.as_ref().ok()?;
    Some(connected.server.version.clone())
}

fn probe(snapshot: &Snapshot) -> Probe {
    Probe {
        time_ms: ms(snapshot.took),
        connect: snapshot.connect.as_ref().map(connect),
        query: query(&snapshot.query),
    }
}

fn connect(result: &Result<Connected, Failure>) -> Connect {
    let timings = result.as_ref().ok().map(|connected| connected.timings);
    let (reason, error) = failure(result.as_ref().err());
    Connect {
        success: result.is_ok(),
        time_ms: timings.map(|timings| ms(timings.total)),
        phases: timings,
        reason,
        error,
    }
}

fn query(result: &Result<Queried, Failure>) -> Query {
    let queried = result.as_ref().ok();
    let (reason, error) = failure(result.as_ref().err());
    Query {
        success: queried.is_some(),
        checkout_time_ms: queried.map(|queried| ms(queried.checkout)),
        query_time_ms: queried.map(|queried| ms(queried.query)),
        reason,
        error,
    }
}

fn failure(failure: Option<&Failure>) -> (Option<&'static str>, Option<String>) {
    (failure.map(|f| f.reason.label()), failure.map(|f| f.message.clone()))
}

fn usage_json(pool: &JudgedPool) -> UsageJson {
    UsageJson {
        source: pool.source.label(),
        application: pool.application.clone(),
        active: pool.active,
        idle: pool.idle,
        total: pool.open,
        overflow: pool.overflow,
        size: pool.limits.and_then(|limits| limits.size),
        max_overflow: pool.limits.and_then(|limits| limits.max_overflow),
        max: pool.limits.and_then(|limits| limits.max),
        instances: pool.instances.map(|(number, _)| number),
        instances_known: pool.instances.map(|(_, is_known)| is_known),
        utilization: pool.utilization_percent.map(rounded),
        saturation: pool.saturation_ratio.map(rounded),
    }
}

fn window(snapshot: &Snapshot) -> Window {
    let window = &snapshot.window;
    Window {
        seconds: seconds(SPAN),
        probes: window.samples().len(),
        failed_probes: window.failed(),
        slow_queries: window.slow(),
        failed_connects: window.failed_connects(),
        checkout_timeouts: window.checkout_timeouts(),
        avg_connection_time_ms: window.mean_connect(None).map(ms),
        avg_query_time_ms: window.mean_query(None).map(ms),
    }
}

fn as_object<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Milliseconds by phase; null for a phase that did not take place.
fn by_phase<S: Serializer>(timings: &Option<Timings>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(timings) = timings else { return serializer.serialize_none() };
    let phases = timings.phases();
    serializer.collect_map(phases.iter().map(|(phase, took)| (phase.label(), took.map(ms))))
}
