//! Checks of the server beside the pool: connections left, writes, and where the pooled connection leads.
//!
//! A check exists only if its input is known. For example, there is no headroom check without the view
//! `limits`. The metric of a missing check is absent.

use super::Clock;
use super::check::{Check, CheckName, CheckOutcome, Measured};
use crate::pool::Reason;
use crate::probe::{Failure, Snapshot};
use crate::view::{ServerLimits, TightLimit, Tightest};

/// Fewer free connections than this, or than this percentage of max_connections, are a warning. The alerts
/// DbPoolHeadroomGone and DbPoolHeadroomLow have the same thresholds.
const FEW: u64 = 3;
const LOW_PERCENT: u64 = 10;

/// Consecutive probes without a free connection after which the check fails.
const GONE: usize = 3;

/// Judges whether ordinary roles, and the roles of the applications, can still open connections.
pub(super) fn headroom(snapshot: &Snapshot) -> Option<Check> {
    let limits = snapshot.views.limits.as_ref()?;
    let Tightest { free, limit } = snapshot.views.tightest()?;
    let gone = snapshot.window.without_headroom();
    let is_low = free < FEW || free * 100 < limits.max * LOW_PERCENT;
    let outcome = match () {
        () if free == 0 && gone >= GONE => CheckOutcome::Fail,
        () if is_low => CheckOutcome::Warn,
        () => CheckOutcome::Pass,
    };
    let message = (outcome != CheckOutcome::Pass).then(|| left(free, &limit, limits));
    Some(Check { kind: CheckName::Headroom, outcome, measured: Measured::Available(free), message })
}

fn left(free: u64, limit: &TightLimit, limits: &ServerLimits) -> String {
    let number = if free == 1 { "1 connection".to_owned() } else { format!("{free} connections") };
    let place = match limit {
        TightLimit::Server => String::new(),
        TightLimit::Role(role) => format!(" by role {role}"),
        TightLimit::Database(database) => format!(" to database {database}"),
    };
    format!("{number} can still be opened{place} (max_connections is {})", limits.max)
}

/// Judges whether the write probe succeeds; `None` where it is off.
pub(super) fn write(snapshot: &Snapshot) -> Option<Check> {
    let failure = snapshot.write_result()?.err();
    let message = failure.map(|failure| format!("writing failed: {}", failure.message));
    let outcome = if message.is_some() { CheckOutcome::Fail } else { CheckOutcome::Pass };
    Some(Check { kind: CheckName::Write, outcome, measured: Measured::Nothing, message })
}

/// Judges where the pooled connection leads.
///
/// It fails if no host is a server of the kind that `target_session_attrs` asks for. It warns if the pooled
/// connection led to a wrong server: the exporter replaces its own connection at once, but the
/// application's pool keeps such connections.
pub(super) fn session(snapshot: &Snapshot, clock: &Clock) -> Option<Check> {
    let (outcome, message) = if let Some(failure) = wrong_kind(snapshot) {
        (CheckOutcome::Fail, Some(failure.message.clone()))
    } else if let Some(fault) = &snapshot.session_fault {
        let age = clock.now.saturating_duration_since(fault.at).as_secs();
        (CheckOutcome::Warn, Some(format!("{} (found {age} s ago)", fault.message)))
    } else {
        snapshot.query.as_ref().ok()?.identity.as_ref()?;
        (CheckOutcome::Pass, None)
    };
    Some(Check { kind: CheckName::Session, outcome, measured: Measured::Nothing, message })
}

fn wrong_kind(snapshot: &Snapshot) -> Option<&Failure> {
    let connect = snapshot.connect.as_ref().and_then(|connect| connect.as_ref().err());
    let failures = connect.into_iter().chain(snapshot.query.as_ref().err());
    failures.into_iter().find(|failure| failure.reason == Reason::WrongSession)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::pool::ServerIdentity;
    use crate::probe::{ProbePart, ProbeSample, Queried, SessionFault, fixture};
    use crate::view::{Headroom, Views};

    fn with_free(free: u64, roles: Vec<(String, u64)>, zeros: usize) -> Snapshot {
        let headroom = Headroom { ordinary: free, roles, databases: Vec::new() };
        let limits = ServerLimits { max: 100, ..ServerLimits::default() };
        let applications = vec![fixture::application("web", 1)];
        let sample = |headroom| ProbeSample { headroom, ..fixture::sample(Duration::ZERO) };
        let calm = std::iter::once(sample(Some(50)));
        let window = calm.chain((0..zeros).map(|_| sample(Some(0)))).collect();
        Snapshot {
            views: Views {
                headroom: Some(Arc::new(headroom)),
                limits: Some(Arc::new(limits)),
                applications,
                ..Views::default()
            },
            window: Arc::new(window),
            ..fixture::snapshot()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn headroom_warns_where_the_alerts_do_and_fails_when_it_stays_gone() {
        let check = |snapshot: &Snapshot, expected, words: &str| {
            let check = headroom(snapshot).unwrap();
            assert_eq!(check.outcome, expected, "{check:?}");
            assert!(check.message.clone().unwrap_or_default().contains(words), "{check:?}");
        };
        check(&with_free(10, Vec::new(), 0), CheckOutcome::Pass, "");
        check(
            &with_free(9, Vec::new(), 0),
            CheckOutcome::Warn,
            "9 connections can still be opened",
        );
        check(&with_free(0, Vec::new(), 2), CheckOutcome::Warn, "0 connections");
        check(&with_free(0, Vec::new(), 3), CheckOutcome::Fail, "max_connections is 100");
        let role = vec![("app".to_owned(), 2)];
        check(
            &with_free(50, role, 0),
            CheckOutcome::Warn,
            "2 connections can still be opened by role app",
        );
        let other = vec![("batch".to_owned(), 0)];
        check(&with_free(50, other, 3), CheckOutcome::Pass, "");
        assert_eq!(headroom(&fixture::snapshot()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn write_fails_with_the_write_probe() {
        let result = |result| {
            let extras = vec![(ProbePart::Write, result)];
            write(&Snapshot { extras, ..fixture::snapshot() }).map(|check| check.outcome)
        };
        assert_eq!(result(Ok(())), Some(CheckOutcome::Pass));
        let failed = Err(Failure::deadline(Duration::from_secs(1)));
        assert_eq!(result(failed), Some(CheckOutcome::Fail));
        assert_eq!(write(&fixture::snapshot()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn session_warns_of_a_replaced_connection_and_fails_without_a_server_of_the_kind() {
        let clock = Clock { now: Instant::now(), interval: Duration::from_secs(10) };
        let outcome = |snapshot: &Snapshot| session(snapshot, &clock).map(|check| check.outcome);
        let mut snapshot = fixture::snapshot();
        assert_eq!(outcome(&snapshot), None, "a server that does not say which one it is");
        let identity = ServerIdentity {
            pid: 1,
            started: 1,
            in_recovery: false,
            read_only: false,
            user: String::new(),
            database: String::new(),
        };
        if let Ok(Queried { identity: known, .. }) = &mut snapshot.query {
            *known = Some(identity);
        }
        assert_eq!(outcome(&snapshot), Some(CheckOutcome::Pass));
        let message = "elsewhere".to_owned();
        snapshot.session_fault = Some(SessionFault { at: clock.now, message });
        assert_eq!(outcome(&snapshot), Some(CheckOutcome::Warn));
        let wrong = Failure::new(Reason::WrongSession, "not of the kind");
        snapshot.connect = Some(Err(wrong));
        assert_eq!(outcome(&snapshot), Some(CheckOutcome::Fail));
    }
}
