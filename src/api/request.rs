//! A request for JSON and its reply: an [`Endpoint`] is a pure function from one to the other.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Context;
use super::health::{bare_health, health};
use crate::health::{Clock, HealthStatus, Verdict, judge};
use crate::probe::{DEFAULT_TARGET, Roster, Snapshot, Target};
use crate::web::{Answer, Request};

/// The specification's text for a monitor that is switched off.
pub(super) const DISABLED: &str = "Pool monitoring is disabled";

/// The parts of a request on which a reply depends.
#[derive(Clone, Copy)]
pub struct ApiRequest<'a> {
    /// The targets.
    pub roster: &'a Roster,
    /// The time of the request.
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
    pub(super) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("answers are plain data with text keys");
        Self { status, body }
    }

    /// An error in the form that all errors under `/api` have.
    pub fn detail(status: StatusCode, detail: &str) -> Self {
        Self::new(status, &json!({ "detail": detail }))
    }
}

/// The function of a path.
pub type Endpoint = fn(&ApiRequest<'_>) -> Reply;

/// Answers a request from the present state of the daemon.
pub(super) async fn answer(context: &Context, request: &Request, endpoint: Endpoint) -> Answer {
    let target = request.parameter("target");
    let application = request.parameter("application");
    let request = ApiRequest {
        roster: &context.targets,
        now: Instant::now(),
        target: target.as_deref(),
        application: application.as_deref(),
    };
    let Reply { status, body } = endpoint(&request);
    Answer::json(status, &body)
}

/// Answers with the whole health, or with the bare status for an untrusted client in production.
pub(super) async fn answer_health(context: &Context, request: &Request) -> Answer {
    let endpoint = if request.client.sees_details { health } else { bare_health };
    answer(context, request, endpoint).await
}

impl ApiRequest<'_> {
    /// Judges the snapshot of a target.
    pub(super) fn verdict(&self, target: &Target, snapshot: Option<&Snapshot>) -> Verdict {
        let settings = target.settings();
        let clock = Clock { now: self.now, interval: settings.schedule.interval };
        judge(snapshot, &clock, &settings.thresholds).with_keys_of(target.name())
    }

    /// Finds the target of the request: the one that is named, or else `default`, or else the first
    /// by name.
    pub(super) fn find_target(&self) -> Result<Arc<Target>, Reply> {
        self.check_probing()?;
        let found = match self.target {
            Some(name) => self.roster.target(name),
            None => self.first(),
        };
        found.ok_or_else(|| Reply::detail(StatusCode::NOT_FOUND, "Unknown target"))
    }

    /// The last snapshot of a target. With `?application=` only the pools of that application are judged.
    pub(super) fn last_snapshot(&self, target: &Target) -> Result<Option<Arc<Snapshot>>, Reply> {
        let last = last_snapshot(target);
        let Some(name) = self.application else { return Ok(last) };
        let judged = last.and_then(|snapshot| snapshot.of_application(name));
        match judged {
            Some(snapshot) => Ok(Some(Arc::new(snapshot))),
            None => Err(Reply::detail(StatusCode::NOT_FOUND, "Unknown application")),
        }
    }

    fn first(&self) -> Option<Arc<Target>> {
        self.roster
            .target(DEFAULT_TARGET)
            .or_else(|| self.roster.targets().into_iter().min_by(|a, b| a.name().cmp(b.name())))
    }

    /// Fails when monitoring is disabled.
    pub(super) fn check_probing(&self) -> Result<(), Reply> {
        if self.roster.is_probing() {
            Ok(())
        } else {
            Err(Reply::detail(StatusCode::SERVICE_UNAVAILABLE, DISABLED))
        }
    }
}

/// The last snapshot of a target. A reply reads it once, so that all its parts are of one moment.
pub(super) fn last_snapshot(target: &Target) -> Option<Arc<Snapshot>> {
    target.published().map(|published| Arc::clone(&published.snapshot))
}

/// The status code of a verdict: load balancers keep a degraded database and take an unhealthy one
/// out.
pub(super) fn code(status: HealthStatus) -> StatusCode {
    match status {
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}
