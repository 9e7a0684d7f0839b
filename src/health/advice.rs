//! Advice on the checks that did not pass: the first thing to do, and the runbook to read.

use super::check::{Check, CheckName, CheckOutcome};
use super::hint::hint;
use super::verdict::Verdict;
use crate::probe::{self, PoolSight, ProbePart, Snapshot};
use crate::view::TightLimit;

/// Returns the first thing to do about a check of a target; `None` for one that passed. A check of a failed part
/// of the probe has the hint of that part, every other one its own.
pub(crate) fn advice(target: &str, check: &Check, snapshot: Option<&Snapshot>) -> Option<String> {
    if check.outcome == CheckOutcome::Pass {
        return None;
    }
    let own = hint(check).map(str::to_owned);
    own.or_else(|| {
        let snapshot = snapshot?;
        let (part, failure) = if check.kind == CheckName::Write {
            (ProbePart::Write, snapshot.write_result()?.err()?)
        } else {
            snapshot.failure()?
        };
        Some(probe::hint(target, part, failure))
    })
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
        CheckName::PoolerWaiting if snapshot.views.consoles.iter().all(|c| c.pools.is_none()) => {
            "DbPoolPoolerDown"
        }
        CheckName::PoolerWaiting if fails => "DbPoolPoolerStuck",
        CheckName::PoolerWaiting => "DbPoolPoolerWaiting",
        CheckName::PoolerSaturation => "DbPoolPoolerSaturated",
        CheckName::PoolerPaused => "DbPoolPoolerPaused",
    })
}

/// The fullest pool of the application that decides.
fn judged<'s>(verdict: &Verdict, snapshot: &'s Snapshot) -> Option<&'s PoolSight> {
    let name = verdict.pool.application.as_deref()?;
    let pools = snapshot.sight.pools.iter().filter(|pool| pool.key.application == name);
    pools.max_by_key(|pool| pool.now().map(|app| app.open))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::health::{Clock, Thresholds, judge};
    use crate::pool::Reason;
    use crate::probe::{Blindness, Failure, fixture};

    fn given(snapshot: &Snapshot) -> Vec<(CheckName, String, &'static str)> {
        let clock = Clock { now: Instant::now(), interval: Duration::from_secs(10) };
        let verdict = judge(Some(snapshot), &clock, &Thresholds::default());
        let checks = verdict.checks.iter().filter_map(|check| {
            let advice = advice("default", check, Some(snapshot))?;
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
            passed: None,
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
        assert!(advice.contains("who holds the connections"), "{advice}");
        assert_eq!(*book, "DbPoolAppExhausted");
        let mut sight = (*full.sight).clone();
        sight.pools[0].blindness = Some(Blindness::NoPrivilege);
        let hidden = Snapshot { sight: sight.into(), ..fixture::snapshot() };
        let [(_, advice, book)] = &given(&hidden)[..] else { panic!() };
        assert!(advice.contains("not a healthy pool"), "{advice}");
        assert_eq!(*book, "DbPoolAppUnseen");
    }
}
