//! The JSON under `/api/v1`: one file an answer, each a pure function of what was [`Asked`].
//! The rows are with the others in [`ROUTES`](super::ROUTES).
//!
//! The names, types and units are a contract, the specification's own; the answer types are this
//! room's and nobody else's. `openapi.json` describes every field, and tests hold the three together.
//! Nothing here asks a database: what is told is the last snapshot's.

mod health;
mod openapi;
mod pool;
mod sd;
mod slow;
mod targets;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod schema;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

pub use health::{bare_health, health, pool_health};
pub use openapi::openapi;
pub use pool::{pool_status, reset_metrics};
pub use sd::sd;
pub use slow::slow_queries;
pub use targets::targets;
pub(super) use targets::{Shown, Used, all};

use super::answer::Answer;
use super::request::Request;
use super::service::Context;
use crate::health::{Clock, HealthStatus, Verdict, judge};
use crate::probe::{Roster, Snapshot, Target};
use crate::view::Usage;

/// What the specification says when nothing is probed.
const DISABLED: &str = "Pool monitoring is disabled";

/// A request for JSON, as far as an answer depends on it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The targets.
    pub roster: &'a Roster,
    /// Now.
    pub now: Instant,
    /// `?target=`, decoded.
    pub target: Option<&'a str>,
    /// `?application=`, decoded.
    pub application: Option<&'a str>,
}

/// An answer as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Reply {
    fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("answers are plain data with text keys");
        Self { status, body }
    }

    /// An error, as all under `/api` are told.
    pub fn detail(status: StatusCode, detail: &str) -> Self {
        Self::new(status, &json!({ "detail": detail }))
    }
}

/// What answers a path.
pub type Endpoint = fn(&Asked<'_>) -> Reply;

/// Answers a request from what the daemon knows now.
pub(super) async fn answer(context: &Context, request: &Request, endpoint: Endpoint) -> Answer {
    let target = request.parameter("target");
    let application = request.parameter("application");
    let asked = Asked {
        roster: &context.state.targets,
        now: Instant::now(),
        target: target.as_deref(),
        application: application.as_deref(),
    };
    let Reply { status, body } = endpoint(&asked);
    Answer::json(status, &body)
}

/// Answers with the whole health, or with the bare status for a stranger in production.
pub(super) async fn answer_health(context: &Context, request: &Request) -> Answer {
    let endpoint = if context.shows_details(&request.client) { health } else { bare_health };
    answer(context, request, endpoint).await
}

impl Asked<'_> {
    /// The verdict on a target's snapshot.
    fn verdict(&self, target: &Target, snapshot: Option<&Snapshot>) -> Verdict {
        let settings = target.settings();
        let clock = Clock { now: self.now, interval: settings.schedule.interval };
        judge(snapshot, &clock, &settings.thresholds)
    }

    /// The target that was asked for; otherwise the first: the roster has `default` first, then by name.
    fn pick(&self) -> Result<Arc<Target>, Reply> {
        self.probing()?;
        let found = match self.target {
            Some(name) => self.roster.target(name),
            None => self.first(),
        };
        found.ok_or_else(|| Reply::detail(StatusCode::NOT_FOUND, "Unknown target"))
    }

    /// The target's last snapshot, with the pool that was asked for as the judged one.
    fn last(&self, target: &Target) -> Result<Option<Arc<Snapshot>>, Reply> {
        let last = last(target);
        let Some(name) = self.application else { return Ok(last) };
        let judged = last.and_then(|snapshot| snapshot.of_application(name));
        let unknown = || Reply::detail(StatusCode::NOT_FOUND, "Unknown application");
        judged.map(Arc::new).map(Some).ok_or_else(unknown)
    }

    fn first(&self) -> Option<Arc<Target>> {
        let by_name = || self.roster.targets().into_iter().min_by(|a, b| a.name().cmp(b.name()));
        self.roster.target("default").or_else(by_name)
    }

    /// Fails when nothing is probed at all.
    fn probing(&self) -> Result<(), Reply> {
        match self.roster.is_probing() {
            true => Ok(()),
            false => Err(Reply::detail(StatusCode::SERVICE_UNAVAILABLE, DISABLED)),
        }
    }
}

/// A target's last snapshot. An answer takes it once, so that its parts are of one moment.
fn last(target: &Target) -> Option<Arc<Snapshot>> {
    target.published().map(|published| Arc::clone(&published.snapshot))
}

/// The judged pool; our own as it is now before the first probe.
fn usage(target: &Target, snapshot: Option<&Snapshot>) -> Usage {
    snapshot.map_or_else(|| Usage::from(&target.pool().state()), |snapshot| snapshot.usage)
}

/// Load balancers leave a degraded database in, and take an unhealthy one out.
fn code(status: HealthStatus) -> StatusCode {
    match status {
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

/// Three digits behind the point are more than anyone reads.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// A moment as RFC 3339 has it, in UTC, to the millisecond.
fn moment(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let time = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}
