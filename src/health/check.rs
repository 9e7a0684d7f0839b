//! The checks: what each judges, when it warns, and when it fails.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::{Clock, Thresholds};
use crate::metrics::Label;
use crate::probe::{STALE, Snapshot};

/// One check of a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The name of the check.
    pub kind: CheckName,
    /// Its result.
    pub outcome: CheckOutcome,
    /// The number that was judged.
    pub measured: Measured,
    /// The reason for which it did not pass, or a note to a check that passed.
    pub message: Option<String>,
}

/// The name of a check; the label `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckName {
    /// Passes if the last probe succeeded and is recent.
    Connection,
    /// Passes unless the judged pool is close to its limits.
    PoolSaturation,
    /// Passes unless too many of the probe's statements were slow.
    SlowQueries,
    /// Passes while the server can take more connections.
    Headroom,
    /// Passes while the write probe succeeds.
    Write,
    /// Passes while the pooled connection leads to the server that new ones reach.
    Session,
    /// Passes while the applications that are to serve the status of their own pools do so.
    Endpoints,
    /// Passes unless clients of a pooler wait for long.
    PoolerWaiting,
    /// Passes unless a pool of a pooler is close to its limit.
    PoolerSaturation,
    /// Passes unless a database of a pooler is paused.
    PoolerPaused,
}

/// The result of a check, from best to worst; the label `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckOutcome {
    /// Nothing to complain of.
    Pass,
    /// Works, but needs attention.
    Warn,
    /// Does not work.
    Fail,
}

/// The number that a check judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// The time of the last probe's check-out and statement together; `None` if it was not answered.
    Time(Option<Duration>),
    /// Checked-out connections in percent of the pool size; `None` without a limit.
    Utilization(Option<f64>),
    /// Slow statements in percent of the window's answered ones.
    Rate(f64),
    /// Connections that can still be opened.
    Available(u64),
    /// No number.
    Nothing,
}

/// Judges whether the last probe succeeded and is recent.
pub(super) fn connection(snapshot: Option<&Snapshot>, clock: &Clock) -> Check {
    let queried = snapshot.and_then(|snapshot| snapshot.query.as_ref().ok());
    let time = queried.map(|queried| queried.checkout + queried.query);
    let problem = match snapshot {
        None => Some("not probed yet".to_owned()),
        Some(old) if old.is_stale(clock.now, clock.interval) => Some(stale(old, clock)),
        Some(snapshot) => snapshot
            .failure()
            .map(|(part, failure)| format!("{}: {}", part.label(), failure.message)),
    };
    Check {
        kind: CheckName::Connection,
        outcome: if problem.is_some() { CheckOutcome::Fail } else { CheckOutcome::Pass },
        measured: Measured::Time(time),
        message: problem,
    }
}

fn stale(snapshot: &Snapshot, clock: &Clock) -> String {
    let age = snapshot.age(clock.now).as_secs();
    let interval = clock.interval.as_secs_f64();
    format!("the last probe ended {age} s ago, more than {STALE} intervals of {interval} s")
}

/// Judges how many of the window's statements were slow.
pub(super) fn slow_queries(snapshot: Option<&Snapshot>, thresholds: &Thresholds) -> Check {
    let rate = snapshot.and_then(|s| s.window.slow_percent());
    let limit = thresholds.slow_rate_percent;
    let (outcome, message) = match rate {
        // With a limit of 0, one slow query is too many, but none is fine.
        Some(rate) if rate > 0.0 && rate >= limit => {
            let message = format!("{rate:.1} % of the queries were slow, {limit} % is the limit");
            (CheckOutcome::Warn, Some(message))
        }
        Some(_) | None => (CheckOutcome::Pass, None),
    };
    let measured = Measured::Rate(rate.unwrap_or(0.0));
    Check { kind: CheckName::SlowQueries, outcome, measured, message }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::pool::Reason;
    use crate::probe::{Failure, ProbeSample, fixture};

    const INTERVAL: Duration = Duration::from_secs(10);

    fn sample() -> ProbeSample {
        fixture::sample(Duration::from_millis(1))
    }

    fn with(samples: impl IntoIterator<Item = ProbeSample>) -> Snapshot {
        Snapshot { window: Arc::new(samples.into_iter().collect()), ..fixture::snapshot() }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_fails_when_the_last_probe_failed_or_is_too_old() {
        let good = fixture::snapshot();
        let refused = || Failure::new(Reason::Refused, "tcp failed: refused");
        let no_query = Snapshot { query: Err(refused()), ..good.clone() };
        let no_connect = Snapshot { connect: Some(Err(refused())), ..good.clone() };
        let switched_off = Snapshot { connect: None, ..good.clone() };
        let check = |snapshot: Option<&Snapshot>, after: u64, expected, message: Option<&str>| {
            let clock =
                Clock { now: Instant::now() + Duration::from_secs(after), interval: INTERVAL };
            let check = connection(snapshot, &clock);
            assert_eq!((check.outcome, check.message.as_deref()), (expected, message));
        };
        check(Some(&good), 0, CheckOutcome::Pass, None);
        check(Some(&switched_off), 0, CheckOutcome::Pass, None);
        check(Some(&good), 30, CheckOutcome::Pass, None);
        let old = "the last probe ended 31 s ago, more than 3 intervals of 10 s";
        check(Some(&good), 31, CheckOutcome::Fail, Some(old));
        check(Some(&no_query), 0, CheckOutcome::Fail, Some("query: tcp failed: refused"));
        check(Some(&no_connect), 0, CheckOutcome::Fail, Some("connect: tcp failed: refused"));
        check(None, 0, CheckOutcome::Fail, Some("not probed yet"));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_tells_the_time_of_the_probe_that_answered() {
        let clock = Clock { now: Instant::now(), interval: INTERVAL };
        let mut snapshot = fixture::snapshot();
        let time = |snapshot: &Snapshot| connection(Some(snapshot), &clock).measured;
        assert_eq!(time(&snapshot), Measured::Time(Some(Duration::from_micros(2_500))));
        snapshot.query = Err(Failure::deadline(INTERVAL));
        assert_eq!(time(&snapshot), Measured::Time(None));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_queries_warn_from_the_threshold_and_never_fail() {
        let check = |slow: usize, of: usize, limit, expected, rate| {
            let samples = (0..of).map(|n| ProbeSample { slow: n < slow, ..sample() });
            let thresholds = Thresholds { slow_rate_percent: limit, ..Thresholds::default() };
            let check = slow_queries(Some(&with(samples)), &thresholds);
            let expected = (expected, Measured::Rate(rate));
            assert_eq!((check.outcome, check.measured), expected, "{slow} of {of}");
        };
        check(0, 0, 5.0, CheckOutcome::Pass, 0.0);
        check(0, 20, 5.0, CheckOutcome::Pass, 0.0);
        check(1, 200, 5.0, CheckOutcome::Pass, 0.5);
        check(1, 20, 5.0, CheckOutcome::Warn, 5.0);
        check(20, 20, 5.0, CheckOutcome::Warn, 100.0);
        check(0, 20, 0.0, CheckOutcome::Pass, 0.0);
        check(1, 1_000, 0.0, CheckOutcome::Warn, 0.1);
    }
}
