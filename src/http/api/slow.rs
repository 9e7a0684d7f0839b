//! `GET /api/v1/database/slow-queries`: the queries that ran for longer than the threshold when the
//! last probe looked.
//!
//! A query's text may hold anybody's data: it is there only with `show_query_text: true`.

use hyper::StatusCode;
use serde::Serialize;

use super::{Asked, Reply, last, moment, seconds};
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

/// The queries of one target that are slow now, the oldest first; null when nobody could look.
pub fn slow_queries(asked: &Asked<'_>) -> Reply {
    let target = match asked.pick() {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    let last = last(&target);
    let snapshot = last.as_deref();
    let body = SlowQueries {
        target: target.name().to_owned(),
        timestamp: snapshot.map(|s| moment(s.taken_at)),
        age_seconds: snapshot.map(|s| seconds(s.age(asked.now))),
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
