//! The JSON under `/api/v1`: one file an answer, each a pure function of what was [`Asked`].
//!
//! The names, types and units are a contract, the specification's own; the answer types are this
//! room's and nobody else's. `openapi.json` describes every field, and tests hold the three together.
//! Nothing here asks a database: what is told is the last snapshot's.

mod health;
mod openapi;
mod pool;
mod sd;
mod targets;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod schema;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

pub use health::{bare_health, health, pool_health};
pub use openapi::openapi;
pub use pool::{pool_status, reset_metrics};
pub use sd::sd;
pub use targets::targets;

use crate::health::{Status, Thresholds, Verdict, of};
use crate::probe::{Roster, Target};

/// A request for JSON, as far as an answer depends on it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The targets.
    pub roster: &'a Roster,
    /// From where on something is worth a warning.
    pub thresholds: &'a Thresholds,
    /// Now.
    pub now: Instant,
    /// `?target=`, decoded.
    pub target: Option<&'a str>,
}

/// An answer as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

/// Who may have an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone; in production a stranger gets the row's `bare` answer.
    Open,
    /// In production only who is trusted.
    Sensitive,
    /// Always only who may change something.
    Change,
}

/// A path and its answer.
pub struct Route {
    /// The method; GET serves HEAD as well.
    pub method: Method,
    /// The path, below the route prefix.
    pub path: &'static str,
    /// Who may have it.
    pub access: Access,
    /// The answer.
    pub answer: fn(&Asked<'_>) -> Reply,
    /// What is left of it for a stranger in production.
    pub bare: Option<fn(&Asked<'_>) -> Reply>,
}

/// Every path of this room.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/api/v1/health",
        access: Access::Open,
        answer: health,
        bare: Some(bare_health),
    },
    sensitive("/api/v1/database/pool/status", pool_status),
    sensitive("/api/v1/database/pool/health", pool_health),
    Route {
        method: Method::POST,
        path: "/api/v1/database/pool/reset-metrics",
        access: Access::Change,
        answer: reset_metrics,
        bare: None,
    },
    sensitive("/api/v1/targets", targets),
    sensitive("/api/v1/sd", sd),
    sensitive("/api/v1/openapi.json", openapi),
];

const fn sensitive(path: &'static str, answer: fn(&Asked<'_>) -> Reply) -> Route {
    Route { method: Method::GET, path, access: Access::Sensitive, answer, bare: None }
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

impl Asked<'_> {
    /// The verdict on a target.
    fn verdict(&self, target: &Target) -> Verdict {
        of(target, self.now, self.thresholds)
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

    fn first(&self) -> Option<Arc<Target>> {
        let by_name = || self.roster.targets().into_iter().min_by(|a, b| a.name().cmp(b.name()));
        self.roster.target("default").or_else(by_name)
    }

    /// Fails when nothing is probed at all.
    fn probing(&self) -> Result<(), Reply> {
        match self.roster.is_probing() {
            true => Ok(()),
            false => {
                let detail = "Pool monitoring is disabled";
                Err(Reply::detail(StatusCode::SERVICE_UNAVAILABLE, detail))
            }
        }
    }
}

/// Load balancers leave a degraded database in, and take an unhealthy one out.
fn code(status: Status) -> StatusCode {
    match status {
        Status::Healthy | Status::Degraded => StatusCode::OK,
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
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
