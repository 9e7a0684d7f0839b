//! `GET /api/v1/health` and `GET /api/v1/database/pool/health`: the verdict on every target, and on one.

use serde::{Serialize, Serializer};
use serde_json::json;

use super::{Asked, Reply, code, last, moment, ms, rounded, seconds, usage};
use crate::health::{Check, HealthStatus, Measured, Verdict};
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
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    query_time_ms: Option<f64>,
    pool_health: Judged,
}

#[derive(Clone, Serialize)]
struct Judged {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize)]
struct PoolHealth {
    status: &'static str,
    message: String,
    target: String,
    source: &'static str,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    checks: Checks,
}

/// The checks of a verdict under their names.
#[derive(Clone)]
pub(super) struct Checks(Vec<Check>);

/// A check's answer: one of the numbers, by the check's kind.
#[derive(Default, Serialize)]
struct Outcome<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utilization: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl Checks {
    pub(super) fn new(verdict: &Verdict) -> Self {
        Self(verdict.checks.to_vec())
    }
}

impl Serialize for Checks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|check| (check.kind.label(), outcome(check))))
    }
}

/// The verdict on every target; the worst decides.
pub fn health(asked: &Asked<'_>) -> Reply {
    let all = match judged(asked) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let Some((status, database)) = worst(&all) else { return none() };
    let body = Health {
        status: status.label(),
        timestamp: database.metadata.timestamp.clone(),
        age_seconds: database.metadata.age_seconds,
        components: Components { database: database.clone() },
        targets: all.into_iter().map(|(_, c)| (c.metadata.target.clone(), c)).collect(),
    };
    Reply::new(code(status), &body)
}

/// What a stranger may know in production: whether it works.
pub fn bare_health(asked: &Asked<'_>) -> Reply {
    let all = match judged(asked) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let Some((status, _)) = worst(&all) else { return none() };
    Reply::new(code(status), &json!({ "status": status.label() }))
}

/// The verdict on one target.
pub fn pool_health(asked: &Asked<'_>) -> Reply {
    let target = match asked.pick() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    let last = match asked.last(&target) {
        Ok(last) => last,
        Err(answer) => return answer,
    };
    let (worst, component) = component(asked, &target, last.as_deref());
    let Component { status, message, metadata } = component;
    let Metadata { target, source, timestamp, age_seconds, pool_health, .. } = metadata;
    let checks = pool_health.checks;
    let body = PoolHealth { status, message, target, source, timestamp, age_seconds, checks };
    Reply::new(code(worst), &body)
}

fn judged(asked: &Asked<'_>) -> Result<Vec<(HealthStatus, Component)>, Reply> {
    asked.probing()?;
    Ok(asked
        .roster
        .targets()
        .iter()
        .map(|target| component(asked, target, last(target).as_deref()))
        .collect())
}

/// The first of the worst.
fn worst(all: &[(HealthStatus, Component)]) -> Option<(HealthStatus, &Component)> {
    let status = all.iter().map(|(status, _)| *status).max()?;
    all.iter().find(|(s, _)| *s == status).map(|(status, component)| (*status, component))
}

/// Between two configurations, perhaps.
fn none() -> Reply {
    Reply::detail(hyper::StatusCode::SERVICE_UNAVAILABLE, "No target is configured")
}

fn component(
    asked: &Asked<'_>,
    target: &Target,
    snapshot: Option<&Snapshot>,
) -> (HealthStatus, Component) {
    let verdict = asked.verdict(target, snapshot);
    let query = |s: &Snapshot| s.query.as_ref().ok().map(|queried| ms(queried.query));
    let status = verdict.status.label();
    let component = Component {
        status,
        message: verdict.message.clone(),
        metadata: Metadata {
            target: target.name().to_owned(),
            source: usage(target, snapshot).source.label(),
            timestamp: snapshot.map(|s| moment(s.taken_at)),
            age_seconds: verdict.age.map(seconds),
            query_time_ms: snapshot.and_then(query),
            pool_health: Judged { status, checks: Checks::new(&verdict) },
        },
    };
    (verdict.status, component)
}

fn outcome(check: &Check) -> Outcome<'_> {
    let head = Outcome {
        status: check.outcome.label(),
        message: check.message.as_deref(),
        ..Outcome::default()
    };
    match check.measured {
        Measured::Time(time) => Outcome { time_ms: Some(time.map(ms)), ..head },
        Measured::Utilization(percent) => {
            Outcome { utilization: Some(percent.map(rounded)), ..head }
        }
        Measured::Rate(percent) => Outcome { rate: Some(rounded(percent)), ..head },
    }
}

fn by_name<S: Serializer>(all: &[(String, Component)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|(name, component)| (name, component)))
}
