//! `GET /api/v1/health` and `GET /api/v1/database/pool/health`: the verdict on every target, and on one.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::request::{ApiRequest, Reply, code, last_snapshot};
use super::targets::BottleneckJson;
use super::units::{moment, ms, rounded, seconds};
use crate::health::{Check, HealthStatus, Measured, Neighbours, Verdict, advice, bottleneck};
use crate::metrics::Label;
use crate::probe::{Snapshot, Target};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    components: Components,
    #[serde(serialize_with = "by_name")]
    targets: Vec<(String, Component)>,
}

#[derive(Serialize)]
struct Components {
    /// The worst target.
    database: Component,
}

#[derive(Clone, Serialize)]
struct Component {
    status: &'static str,
    message: String,
    metadata: Metadata,
}

#[derive(Clone, Serialize)]
struct Metadata {
    target: String,
    source: &'static str,
    application: Option<String>,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    query_time_ms: Option<f64>,
    bottleneck: Option<BottleneckJson>,
    pool_health: VerdictJson,
}

#[derive(Clone, Serialize)]
struct VerdictJson {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize)]
struct PoolHealth {
    status: &'static str,
    message: String,
    target: String,
    source: &'static str,
    application: Option<String>,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    bottleneck: Option<BottleneckJson>,
    checks: Checks,
}

/// The checks of a verdict under their names, each with its hint if it did not pass.
#[derive(Clone)]
pub(super) struct Checks(Vec<(Check, Option<String>)>);

/// A check in the JSON: its status, and the number of its kind.
#[derive(Default, Serialize)]
struct CheckJson<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utilization: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Checks {
    /// `target`: the name of the target, on which the names of options in hints depend.
    pub(super) fn new(target: &str, verdict: &Verdict, snapshot: Option<&Snapshot>) -> Self {
        let hint = |check: &Check| advice(target, check, snapshot);
        Self(verdict.checks.iter().map(|check| (check.clone(), hint(check))).collect())
    }
}

impl Serialize for Checks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(check, hint)| (check.kind.label(), check_json(check, hint.as_deref()))),
        )
    }
}

/// The verdict on every target. The worst decides the status.
pub fn health(request: &ApiRequest<'_>) -> Reply {
    let all = match judged(request) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let Some((status, database)) = worst(&all) else { return no_target() };
    let body = Health {
        status: status.label(),
        timestamp: database.metadata.timestamp.clone(),
        age_seconds: database.metadata.age_seconds,
        components: Components { database: database.clone() },
        targets: all.into_iter().map(|(_, c)| (c.metadata.target.clone(), c)).collect(),
    };
    Reply::new(code(status), &body)
}

/// The bare status, for untrusted clients in production.
pub(crate) fn bare_health(request: &ApiRequest<'_>) -> Reply {
    let all = match judged(request) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let Some((status, _)) = worst(&all) else { return no_target() };
    Reply::new(code(status), &json!({ "status": status.label() }))
}

/// The verdict on one target.
pub fn pool_health(request: &ApiRequest<'_>) -> Reply {
    let target = match request.find_target() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    let last = match request.last_snapshot(&target) {
        Ok(last) => last,
        Err(answer) => return answer,
    };
    let targets = request.roster.targets();
    let neighbours = Neighbours::new(&targets);
    let (worst, component) = component(request, &target, last.as_deref(), &neighbours);
    let Component { status, message, metadata } = component;
    let Metadata { target, source, application, timestamp, age_seconds, .. } = metadata;
    let (bottleneck, checks) = (metadata.bottleneck, metadata.pool_health.checks);
    let body = PoolHealth {
        status,
        message,
        target,
        source,
        application,
        timestamp,
        age_seconds,
        bottleneck,
        checks,
    };
    Reply::new(code(worst), &body)
}

fn judged(request: &ApiRequest<'_>) -> Result<Vec<(HealthStatus, Component)>, Reply> {
    request.check_probing()?;
    let targets = request.roster.targets();
    let neighbours = Neighbours::new(&targets);
    let judge = |target: &Arc<Target>| {
        component(request, target, last_snapshot(target).as_deref(), &neighbours)
    };
    Ok(targets.iter().map(judge).collect())
}

/// The first of the worst.
fn worst(all: &[(HealthStatus, Component)]) -> Option<(HealthStatus, &Component)> {
    let status = all.iter().map(|(status, _)| *status).max()?;
    all.iter().find(|(s, _)| *s == status).map(|(status, component)| (*status, component))
}

fn query_time(snapshot: &Snapshot) -> Option<Duration> {
    snapshot.query.as_ref().ok().map(|queried| queried.query)
}

/// Can happen while a reload is being applied.
fn no_target() -> Reply {
    Reply::detail(hyper::StatusCode::SERVICE_UNAVAILABLE, "No target is configured")
}

fn component(
    request: &ApiRequest<'_>,
    target: &Target,
    snapshot: Option<&Snapshot>,
    neighbours: &Neighbours<'_>,
) -> (HealthStatus, Component) {
    let verdict = request.verdict(target, snapshot);
    let status = verdict.status.label();
    let component = Component {
        status,
        message: verdict.message.clone(),
        metadata: Metadata {
            target: target.name().to_owned(),
            source: verdict.pool.source.label(),
            application: verdict.pool.application.clone(),
            timestamp: snapshot.map(|s| moment(s.taken_at)),
            age_seconds: verdict.age.map(seconds),
            query_time_ms: snapshot.and_then(query_time).map(ms),
            bottleneck: bottleneck(target, neighbours, request.now).map(BottleneckJson::from),
            pool_health: VerdictJson {
                status,
                checks: Checks::new(target.name(), &verdict, snapshot),
            },
        },
    };
    (verdict.status, component)
}

fn check_json<'a>(check: &'a Check, hint: Option<&'a str>) -> CheckJson<'a> {
    let head = CheckJson {
        status: check.outcome.label(),
        message: check.message.as_deref(),
        hint,
        ..CheckJson::default()
    };
    match check.measured {
        Measured::Time(time) => CheckJson { time_ms: Some(time.map(ms)), ..head },
        Measured::Utilization(percent) => {
            CheckJson { utilization: Some(percent.map(rounded)), ..head }
        }
        Measured::Available(connections) => CheckJson { available: Some(connections), ..head },
        Measured::Nothing => head,
        Measured::Rate(percent) => CheckJson { rate: Some(rounded(percent)), ..head },
    }
}

fn by_name<S: Serializer>(all: &[(String, Component)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|(name, component)| (name, component)))
}
