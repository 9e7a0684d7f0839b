//! Logs what changed from one probe to the next. An incident of an hour is two lines, not 360.

use tracing::{debug, info, warn};

use super::hint::hint;
use super::sight::Blindness;
use super::snapshot::{Failure, ProbePart, Snapshot};
use super::target::Target;
use crate::metrics::Label;
use crate::pool::Reason;
use crate::view::{Activity, Application, SessionKey};

/// Logs how a probe differs from the target's last published snapshot.
pub(super) fn changes(target: &Target, snapshot: &Snapshot) {
    let before = target.published();
    let before = before.as_deref().map(|published| published.snapshot.as_ref());
    let name = target.name();
    extras(name, snapshot, before);
    match (snapshot.failure(), before.and_then(Snapshot::failure)) {
        (Some(now), Some(then)) if is_same_incident(now, then) => {
            debug!(target = name, probe = now.0.label(), error = %now.1.message, "probe failed again");
        }
        (Some((part, failure)), _) => {
            let hint = hint(name, part, failure);
            warn!(
                target = name,
                probe = part.label(),
                reason = failure.reason.label(),
                error = %failure.message,
                hint,
                "probe failed"
            );
        }
        (None, Some(_)) => info!(target = name, "probe succeeds again"),
        (None, None) if before.is_none() => {
            let version = snapshot.query.as_ref().map_or("", |q| q.server.version.as_str());
            info!(target = name, version, "first probe succeeded");
        }
        (None, None) => debug!(target = name, "probe succeeded"),
    }
}

fn is_same_incident(now: (ProbePart, &Failure), then: (ProbePart, &Failure)) -> bool {
    now.0 == then.0 && cause(now.1.reason) == cause(then.1.reason)
}

/// Connects that time out keep their permits, so that the budget is used up next: one incident.
fn cause(reason: Reason) -> Reason {
    if reason == Reason::Budget { Reason::Timeout } else { reason }
}

/// Warns once of a pooler's address that belongs to several processes.
fn shared_address(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let is_shared = |snapshot: &Snapshot| {
        snapshot.views.consoles.iter().any(|console| console.is_one_of_several == Some(true))
    };
    if is_shared(snapshot) && !before.is_some_and(is_shared) {
        warn!(
            target = name,
            hint = "set `discover: peers` (PgBouncer 1.19 and later), or list the Unix sockets of the processes under `processes`",
            "the address belongs to several processes of PgBouncer (so_reuseport), and the numbers are those of any one of them"
        );
    }
}

/// Logs the views and the write probe, each by itself.
fn extras(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let was_connected = before.is_some_and(|snapshot| snapshot.query.is_ok());
    for (part, result) in &snapshot.extras {
        let probe = part.label();
        match (result, before.and_then(|before| before.failure_of(*part))) {
            // Without a connection no part can succeed, and that is logged already.
            (Err(now), _) if snapshot.query.is_err() => {
                debug!(target = name, probe, error = %now.message, "not tried");
            }
            (Err(now), Some(then)) if now.reason == then.reason => {
                debug!(target = name, probe, error = %now.message, "failed again");
            }
            (Err(now), _) => {
                let hint = hint(name, *part, now);
                let reason = now.reason.label();
                warn!(target = name, probe, reason, error = %now.message, hint, "a part of the probe failed");
            }
            (Ok(()), Some(_)) if was_connected => {
                info!(target = name, probe, "this part of the probe succeeds again");
            }
            // It did not fail before, or only for want of a connection.
            (Ok(()), Some(_) | None) => {}
        }
    }
    shared_address(name, snapshot, before);
    hidden_sessions(name, snapshot, before);
    exceeded_limits(name, snapshot, before);
    sight(name, snapshot, before);
}

/// Logs once that the exporter's role may not see the states of some sessions.
fn hidden_sessions(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    if hides(snapshot) && !before.is_some_and(hides) {
        let hint = "GRANT pg_read_all_stats to the exporter's role";
        info!(
            target = name,
            hint, "other roles' sessions are counted, but their states are hidden"
        );
    }
}

fn hides(snapshot: &Snapshot) -> bool {
    snapshot.views.activity.as_deref().is_some_and(Activity::hides)
}

/// Logs once that an application's pool cannot be seen any more, or again, and that two numbers of processes
/// fit its sessions.
fn sight(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let then = |key: &SessionKey| {
        let mut pools = before.iter().flat_map(|before| &before.sight.pools);
        pools.find(|pool| pool.key == *key)
    };
    for pool in &snapshot.sight.pools {
        let [database, user, application] = pool.key.labels();
        let before = then(&pool.key);
        match (&pool.blindness, before.and_then(|before| before.blindness.as_ref())) {
            // That is logged as the failure of the probe.
            (Some(Blindness::Down), _) | (None, Some(Blindness::Down)) => {}
            (Some(now), Some(then)) if now.is_same(then) => {}
            (Some(now), _) => {
                let reason = now.reason();
                warn!(
                    target = name,
                    database, user, application, reason, "the application's pool cannot be seen"
                );
            }
            (None, Some(_)) => {
                info!(
                    target = name,
                    database, user, application, "the application's pool is seen again"
                );
            }
            (None, None) => {}
        }
        if pool.was_ambiguous && !before.is_some_and(|before| before.was_ambiguous) {
            let hint = "set DB_MONITOR_INSTANCES, or instances of the application";
            info!(
                target = name,
                database,
                user,
                application,
                hint,
                "the number of processes cannot be told from the sessions"
            );
        }
    }
    pooler(name, snapshot, before);
}

/// Logs once that a pooler stands between, where no pool was ever seen.
fn pooler(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let is_between =
        |s: &Snapshot| s.sight.pools.is_empty() && s.sight.blindness == Some(Blindness::Pooler);
    if is_between(snapshot) && !before.is_some_and(is_between) {
        let reason = Blindness::Pooler.reason();
        warn!(target = name, reason, "the application's pool cannot be seen");
    }
}

/// Logs once that an application has more connections open than its settings allow.
fn exceeded_limits(name: &str, snapshot: &Snapshot, before: Option<&Snapshot>) {
    for app in &snapshot.views.applications {
        let Some(exceeded) = exceeded(app) else { continue };
        if before.is_some_and(|before| is_exceeded(before, &app.key)) {
            continue;
        }
        let [database, user, application] = app.key.labels();
        warn!(target = name, database, user, application, "{exceeded}");
    }
}

fn exceeded(app: &Application) -> Option<String> {
    app.allowed.and_then(|allowed| allowed.explain_exceeded())
}

fn is_exceeded(snapshot: &Snapshot, key: &SessionKey) -> bool {
    let mut applications = snapshot.views.applications.iter().filter(|app| app.key == *key);
    applications.any(|app| exceeded(app).is_some())
}
