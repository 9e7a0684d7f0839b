//! What the log says of probes: what changed, once.

use tracing::{debug, info, warn};

use super::snapshot::{Failure, ProbePart, Snapshot};
use super::target::Target;
use crate::metrics::Label;
use crate::pool::{self, Reason};
use crate::view::Activity;

/// Logs what changed: an incident of an hour is two lines, not 360.
pub(super) fn tell(target: &Target, snapshot: &Snapshot) {
    let before = target.published();
    let before = before.as_deref().map(|published| published.snapshot.as_ref());
    let name = target.name();
    tell_extras(name, snapshot, before);
    let key = |failure: (ProbePart, &Failure)| (failure.0, cause(failure.1.reason));
    match (snapshot.failure(), before.and_then(Snapshot::failure)) {
        (Some(now), Some(then)) if key(now) == key(then) => {
            debug!(target = name, probe = now.0.label(), error = %now.1.message, "probe failed again");
        }
        (Some((part, failure)), _) => {
            let (probe, reason) = (part.label(), failure.reason.label());
            let hint = hint(part, failure);
            warn!(target = name, probe, reason, error = %failure.message, hint, "probe failed");
        }
        (None, Some(_)) => info!(target = name, "probe succeeds again"),
        (None, None) if before.is_none() => {
            let version = snapshot.query.as_ref().map_or("", |q| q.server.version.as_str());
            info!(target = name, version, "first probe succeeded");
        }
        (None, None) => debug!(target = name, "probe succeeded"),
    }
}

/// There is no permit because connects timed out: to the reader these two are one incident.
fn cause(reason: Reason) -> Reason {
    if reason == Reason::Budget { Reason::Timeout } else { reason }
}

/// The views and the write probe: each by itself, with what can be done about it.
fn tell_extras(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let then = |part: ProbePart| {
        let extras = before.iter().flat_map(|snapshot| &snapshot.extras);
        extras.filter(move |(p, _)| *p == part).find_map(|(_, result)| result.as_ref().err())
    };
    let was_connected = before.is_some_and(|snapshot| snapshot.query.is_ok());
    for (part, result) in &snapshot.extras {
        let probe = part.label();
        match (result, then(*part)) {
            // Without a connection nothing can be looked at, and that is told already.
            (Err(now), _) if snapshot.query.is_err() => {
                debug!(target = name, probe, error = %now.message, "not tried");
            }
            (Err(now), Some(then)) if now.reason == then.reason => {
                debug!(target = name, probe, error = %now.message, "failed again");
            }
            (Err(now), _) => {
                let (reason, hint) = (now.reason.label(), hint(*part, now));
                warn!(target = name, probe, reason, error = %now.message, hint, "a part of the probe failed");
            }
            (Ok(()), Some(_)) if was_connected => {
                info!(target = name, probe, "this part of the probe succeeds again");
            }
            // Nobody was told that it failed, or nothing did.
            (Ok(()), Some(_) | None) => {}
        }
    }
    tell_hidden(name, snapshot, before);
    tell_exceeded(name, snapshot, before);
}

/// What to do first about a part that failed.
pub fn hint(part: ProbePart, failure: &Failure) -> &'static str {
    match (part, failure.reason) {
        (ProbePart::Query, Reason::ReadOnly) => {
            "DB_MONITOR_QUERY runs in a read-only transaction: it must not write"
        }
        (ProbePart::Query, Reason::TooLarge) => {
            "DB_MONITOR_QUERY returns far too much: it should return one small row"
        }
        (ProbePart::Write, Reason::NoTable) => "make the table with deploy/sql/heartbeat.sql",
        (ProbePart::Write, Reason::NoPrivilege) => {
            "GRANT SELECT, INSERT, DELETE on the table to the exporter's role"
        }
        (ProbePart::View(_), Reason::NoPrivilege) => {
            "GRANT pg_read_all_stats (and USAGE on the schema of pg_stat_statements) to the exporter's role, or switch the view off"
        }
        (ProbePart::Connect | ProbePart::Query | ProbePart::Write | ProbePart::View(_), _) => {
            pool::hint(failure.phase, failure.reason)
        }
    }
}

/// Once: sessions whose state the exporter's role may not see.
fn tell_hidden(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let hides = |s: &Snapshot| s.views.activity.as_ref().is_some_and(Activity::hides);
    if hides(snapshot) && !before.is_some_and(hides) {
        let hint = "GRANT pg_read_all_stats to the exporter's role";
        info!(
            target = name,
            hint, "other roles' sessions are counted, but their states are hidden"
        );
    }
}

/// Once: applications with more connections than their settings allow.
fn tell_exceeded(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let exceeded = |s: &Snapshot| {
        let all = s.views.applications.iter();
        let exceeded = all.filter(|app| app.allowed.is_some_and(|allowed| allowed.is_exceeded));
        exceeded.map(|app| app.key.clone()).collect::<Vec<_>>()
    };
    let known = before.map(exceeded).unwrap_or_default();
    for app in &snapshot.views.applications {
        let allowed = app.allowed.filter(|allowed| allowed.is_exceeded);
        if let (Some(allowed), false) = (allowed, known.contains(&app.key)) {
            let [database, user, application] = app.key.labels();
            let (open, instances, max) = (app.open, allowed.instances, allowed.max());
            let hint = "is the number of instances right?";
            warn!(
                target = name,
                database,
                user,
                application,
                open,
                instances,
                max,
                hint,
                "more connections are open than the pool's settings allow"
            );
        }
    }
}
