//! `GET /api/v1/database/slow-queries`: the queries that had run for longer than the threshold at the
//! last probe.
//!
//! The text of a query may contain personal data: it is shown only with `show_query_text: true`.

use hyper::StatusCode;
use serde::Serialize;

use super::request::{ApiRequest, Reply, last_snapshot};
use super::units::{moment, seconds};
use crate::metrics::Label;
use crate::probe::Snapshot;
use crate::view::RunningQuery;

#[derive(Serialize)]
struct SlowQueries {
    target: String,
    timestamp: Option<String>,
    age_seconds: Option<f64>,
    threshold_seconds: f64,
    queries: Option<Vec<Query>>,
}

#[derive(Serialize)]
struct Query {
    pid: i32,
    database: String,
    user: String,
    application: String,
    age_seconds: f64,
    state: &'static str,
    wait_event_type: Option<String>,
    wait_event: Option<String>,
    query: Option<String>,
}

/// The slow queries of one target, oldest first; null when the activity could not be read.
pub(crate) fn slow_queries(request: &ApiRequest<'_>) -> Reply {
    let target = match request.find_target() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    let last = last_snapshot(&target);
    let snapshot = last.as_deref();
    let body = SlowQueries {
        target: target.name().to_owned(),
        timestamp: snapshot.map(|s| moment(s.taken_at)),
        age_seconds: snapshot.map(|s| seconds(s.age(request.now))),
        threshold_seconds: seconds(target.settings().views.slow_threshold),
        queries: snapshot.and_then(queries),
    };
    Reply::new(StatusCode::OK, &body)
}

fn queries(snapshot: &Snapshot) -> Option<Vec<Query>> {
    let activity = snapshot.views.activity.as_ref()?;
    Some(activity.running.iter().map(query).collect())
}

fn query(running: &RunningQuery) -> Query {
    Query {
        pid: running.slow.pid,
        database: running.key.database.clone(),
        user: running.key.user.clone(),
        application: running.key.application.clone(),
        age_seconds: seconds(running.age),
        state: running.state.label(),
        wait_event_type: running.waits_for.clone(),
        wait_event: running.slow.wait_event.clone(),
        query: running.slow.text.clone(),
    }
}
