//! Advice on the checks that did not pass: the first thing to do, and the runbook to read.

use super::check::{Check, CheckName, CheckOutcome};
use super::verdict::Verdict;
use crate::pool::{self, Reason};
use crate::probe::{Blindness, PoolSight, ProbePart, Snapshot, hint};
use crate::view::TightLimit;

/// Returns the first thing to do about a check of a target; `None` for one that passed.
pub(crate) fn advice(
    target: &str,
    verdict: &Verdict,
    check: &Check,
    snapshot: Option<&Snapshot>,
) -> Option<String> {
    if check.outcome == CheckOutcome::Pass {
        return None;
    }
    let snapshot = snapshot?;
    Some(match check.kind {
        CheckName::Connection => match snapshot.failure() {
            Some((part, failure)) => hint(target, part, failure),
            None => STALE.to_owned(),
        },
        CheckName::PoolSaturation => saturation(target, verdict, snapshot),
        CheckName::SlowQueries => SLOW.to_owned(),
        CheckName::Headroom => headroom(snapshot).to_owned(),
        CheckName::Write => {
            let failure = snapshot.write_result()?.err()?;
            hint(target, ProbePart::Write, failure)
        }
        CheckName::Session if check.outcome == CheckOutcome::Fail => {
            pool::hint(None, Reason::WrongSession).to_owned()
        }
        CheckName::Session => SESSION.to_owned(),
        CheckName::Endpoints => ENDPOINTS.to_owned(),
    })
}

fn saturation(target: &str, verdict: &Verdict, snapshot: &Snapshot) -> String {
    let pool = judged(verdict, snapshot);
    let blindness = pool.and_then(|pool| pool.blindness.as_ref());
    let hidden = blindness.or(snapshot.sight.blindness.as_ref().filter(|_| pool.is_none()));
    match hidden {
        Some(Blindness::Down) => snapshot
            .failure()
            .map_or_else(|| STALE.to_owned(), |(part, failure)| hint(target, part, failure)),
        Some(Blindness::ViewFailed(_)) => VIEW_FAILED.to_owned(),
        Some(Blindness::Pooler) => POOLER.to_owned(),
        Some(Blindness::NoPrivilege) => NO_PRIVILEGE.to_owned(),
        Some(Blindness::NotTracked) => NOT_TRACKED.to_owned(),
        None => of_seen(pool).to_owned(),
    }
}

fn of_seen(pool: Option<&PoolSight>) -> &'static str {
    let Some(app) = pool.and_then(PoolSight::now) else { return HOLDERS };
    let is_exceeded = app.allowed.is_some_and(|allowed| allowed.exceeded.is_some());
    let is_known = app.allowed.is_some_and(|allowed| allowed.instances.is_known());
    match () {
        () if pool.is_some_and(|pool| pool.ended.is_some()) => ENDED,
        () if is_exceeded || !is_known => INSTANCES,
        () if app.leaked.is_some_and(|leaked| leaked > 0) => LEAK,
        () => HOLDERS,
    }
}

fn judged<'s>(verdict: &Verdict, snapshot: &'s Snapshot) -> Option<&'s PoolSight> {
    let name = verdict.pool.application.as_deref()?;
    let pools = snapshot.sight.pools.iter().filter(|pool| pool.key.application == name);
    pools.max_by_key(|pool| pool.now().map(|app| app.open))
}

fn headroom(snapshot: &Snapshot) -> &'static str {
    match snapshot.views.tightest().map(|tightest| tightest.limit) {
        Some(TightLimit::Role(_)) => ROLE_LIMIT,
        Some(TightLimit::Database(_)) => DATABASE_LIMIT,
        Some(TightLimit::Server) | None => pool::hint(None, Reason::TooManyConnections),
    }
}

/// Returns the name of the runbook for a check that did not pass: a page of docs/runbooks.
pub(crate) fn runbook(
    verdict: &Verdict,
    check: &Check,
    snapshot: Option<&Snapshot>,
) -> Option<&'static str> {
    let (snapshot, fails) = (snapshot?, check.outcome == CheckOutcome::Fail);
    if check.outcome == CheckOutcome::Pass {
        return None;
    }
    Some(match check.kind {
        CheckName::Connection => match snapshot.failure() {
            None => "DbPoolProbeStale",
            Some((ProbePart::Connect, _)) if snapshot.query.is_ok() => "DbPoolConnectFailing",
            Some(_) => "DbPoolTargetDown",
        },
        CheckName::PoolSaturation => saturation_runbook(verdict, check, snapshot),
        CheckName::SlowQueries => "DbPoolSlowQueries",
        CheckName::Headroom if fails => "DbPoolHeadroomGone",
        CheckName::Headroom => match snapshot.views.tightest().map(|tightest| tightest.limit) {
            Some(TightLimit::Role(_)) => "DbPoolRoleLimitNear",
            Some(TightLimit::Database(_)) => "DbPoolDatabaseLimitNear",
            Some(TightLimit::Server) | None => "DbPoolHeadroomLow",
        },
        CheckName::Write => "DbPoolWriteFailing",
        CheckName::Session => "DbPoolWrongSession",
        CheckName::Endpoints => "DbPoolAppUnseen",
    })
}

fn saturation_runbook(verdict: &Verdict, check: &Check, snapshot: &Snapshot) -> &'static str {
    let pool = judged(verdict, snapshot);
    let is_hidden =
        pool.map_or(snapshot.sight.blindness.is_some(), |pool| pool.blindness.is_some());
    let allowed = pool.and_then(PoolSight::now).and_then(|app| app.allowed);
    match () {
        () if snapshot.window.checkout_timeouts() > 0 => "DbPoolCheckoutTimeouts",
        () if snapshot.query.is_err() => "DbPoolTargetDown",
        () if is_hidden => "DbPoolAppUnseen",
        () if pool.is_some_and(|pool| pool.ended.is_some()) => "DbPoolConnectionsBreaking",
        () if allowed.is_some_and(|allowed| allowed.exceeded.is_some()) => {
            "DbPoolAppInstancesUnknown"
        }
        () if allowed.is_some_and(|allowed| !allowed.instances.is_known()) => {
            "DbPoolAppInstancesUnknown"
        }
        () if check.outcome == CheckOutcome::Fail => "DbPoolAppExhausted",
        () => "DbPoolAppSaturated",
    }
}

const STALE: &str = "the exporter does not get to probe: see its log, and whether it has the processor time that it needs";
const VIEW_FAILED: &str =
    "see the error of the view activity, and what the exporter's role may read";
const POOLER: &str =
    "give the exporter the server's own address, or watch the pooler with kind: pgbouncer";
const NO_PRIVILEGE: &str = "GRANT pg_read_all_stats to the exporter's role";
const NOT_TRACKED: &str = "set track_activities = on for the application's role or database";
const HOLDERS: &str = "see who holds the connections, and for how long, before you make the pool larger: sessions idle in transaction and slow queries hold them";
const LEAK: &str =
    "find the code that leaves transactions open: it holds connections without using them";
const INSTANCES: &str =
    "set DB_MONITOR_INSTANCES, or `instances` of the application, and its limits as they are";
const ENDED: &str =
    "see the server's log for the reason: a restart, a fail-over, or pg_terminate_backend";
const SLOW: &str = "the exporter's own statement is trivial, so the server or the network is slow: look at load, locks and disks";
const ROLE_LIMIT: &str = "make the pools of this role smaller, or ALTER ROLE ... CONNECTION LIMIT";
const DATABASE_LIMIT: &str =
    "make the pools of this database smaller, or ALTER DATABASE ... CONNECTION LIMIT";
const SESSION: &str = "the application's pool may hold such connections too: restart it, or let the recycling and the pre-ping of its pool replace them";
const ENDPOINTS: &str = "see whether the processes run and whether status_urls are right: until then the server's view is shown";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::health::{Clock, Thresholds, judge};
    use crate::probe::{Failure, fixture};

    fn given(snapshot: &Snapshot) -> Vec<(CheckName, String, &'static str)> {
        let clock = Clock { now: Instant::now(), interval: Duration::from_secs(10) };
        let verdict = judge(Some(snapshot), &clock, &Thresholds::default());
        let checks = verdict.checks.iter().filter_map(|check| {
            let advice = advice("default", &verdict, check, Some(snapshot))?;
            Some((check.kind, advice, runbook(&verdict, check, Some(snapshot))?))
        });
        checks.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_passed_needs_no_advice() {
        assert_eq!(given(&fixture::snapshot()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_connection_has_the_hint_of_its_failure() {
        let failure = Failure {
            reason: Reason::Refused,
            message: "refused".to_owned(),
            phase: Some(crate::pool::Phase::Tcp),
        };
        let down = Snapshot { query: Err(failure.clone()), ..fixture::snapshot() };
        let [(CheckName::Connection, advice, book)] = &given(&down)[..] else { panic!() };
        assert!(advice.contains("listen_addresses"), "{advice}");
        assert_eq!(*book, "DbPoolTargetDown");
        let connect = Snapshot { connect: Some(Err(failure)), ..fixture::snapshot() };
        assert_eq!(given(&connect)[0].2, "DbPoolConnectFailing");
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_pool_and_a_hidden_one_have_their_own() {
        let sight = fixture::sight([(fixture::application("shop", 8), 3)]);
        let full = Snapshot { sight, ..fixture::snapshot() };
        let [(_, advice, book)] = &given(&full)[..] else { panic!() };
        assert!(advice.contains("before you make the pool larger"), "{advice}");
        assert_eq!(*book, "DbPoolAppExhausted");
        let mut sight = (*full.sight).clone();
        sight.pools[0].blindness = Some(Blindness::NoPrivilege);
        let hidden = Snapshot { sight: sight.into(), ..fixture::snapshot() };
        let [(_, advice, book)] = &given(&hidden)[..] else { panic!() };
        assert_eq!((advice.as_str(), *book), (NO_PRIVILEGE, "DbPoolAppUnseen"));
    }
}
