//! The checks: what each looks at, when it warns and when it fails.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::{Clock, Thresholds};
use crate::metrics::Label;
use crate::probe::{Failure, ProbePart, SPAN, STALE, Snapshot};

/// So many probes in a row that found every slot in use are a failure.
const SATURATED: usize = 3;

/// One check of a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What was looked at.
    pub kind: CheckName,
    /// What came out.
    pub outcome: CheckOutcome,
    /// The number behind it.
    pub measured: Measured,
    /// Why it did not pass, for people.
    pub message: Option<String>,
}

/// What a check looks at; the label `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckName {
    /// Whether the last probe succeeded.
    Connection,
    /// How near the judged pool is to its limits.
    PoolSaturation,
    /// How many of the window's statements were slow.
    SlowQueries,
}

/// How a check came out, from best to worst; the label `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CheckOutcome {
    /// Good.
    Pass,
    /// Still works.
    Warn,
    /// Does not work.
    Fail,
}

/// The number behind a check; `None` when there is none to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// The last probe's check-out and statement together.
    Time(Option<Duration>),
    /// Checked-out connections, in percent of the pool size; `None` without a limit.
    Utilization(Option<f64>),
    /// Slow statements, in percent of the window's.
    Rate(f64),
}

/// Whether the last probe succeeded, and not too long ago.
pub(super) fn connection(snapshot: Option<&Snapshot>, clock: &Clock) -> Check {
    let time = snapshot.and_then(|s| s.query.as_ref().ok()).map(|q| q.checkout + q.query);
    let (outcome, message) = match snapshot {
        None => (CheckOutcome::Fail, Some("not probed yet".to_owned())),
        Some(old) if old.is_stale(clock.now, clock.interval) => {
            (CheckOutcome::Fail, Some(stale(old, clock)))
        }
        Some(good) if good.is_up() => (CheckOutcome::Pass, None),
        Some(failed) => {
            let tell = |(part, failure): (ProbePart, &Failure)| {
                format!("{}: {}", part.label(), failure.message)
            };
            (CheckOutcome::Fail, failed.failure().map(tell))
        }
    };
    Check { kind: CheckName::Connection, outcome, measured: Measured::Time(time), message }
}

fn stale(snapshot: &Snapshot, clock: &Clock) -> String {
    let (age, interval) = (snapshot.age(clock.now).as_secs(), clock.interval.as_secs_f64());
    format!("the last probe ended {age} s ago, more than {STALE} intervals of {interval} s")
}

/// How near the judged pool is to its limits.
pub(super) fn pool_saturation(snapshot: Option<&Snapshot>, thresholds: &Thresholds) -> Check {
    let utilization = snapshot.and_then(|s| s.usage.utilization_percent());
    let row = snapshot.map_or(0, |s| s.window.saturated_in_a_row());
    let timeouts = snapshot.map_or(0, |s| s.window.checkout_timeouts());
    let limit = thresholds.saturation_percent;
    let (outcome, message) = match utilization {
        _ if timeouts > 0 => {
            let minutes = SPAN.as_secs() / 60;
            let message = format!("{timeouts} check-outs timed out in the last {minutes} minutes");
            (CheckOutcome::Fail, Some(message))
        }
        _ if row >= SATURATED => {
            let message = format!("size and overflow were all in use at the last {row} probes");
            (CheckOutcome::Fail, Some(message))
        }
        Some(percent) if percent >= limit => {
            let message = format!("{percent:.1} % of the pool size in use, {limit} % is the limit");
            (CheckOutcome::Warn, Some(message))
        }
        Some(_) | None => (CheckOutcome::Pass, None),
    };
    let measured = Measured::Utilization(utilization);
    Check { kind: CheckName::PoolSaturation, outcome, measured, message }
}

/// How many of the window's statements were slow.
pub(super) fn slow_queries(snapshot: Option<&Snapshot>, thresholds: &Thresholds) -> Check {
    let rate = snapshot.and_then(|s| s.window.slow_percent());
    let limit = thresholds.slow_rate_percent;
    let (outcome, message) = match rate {
        // A limit of 0 does not mean that fast queries are too slow.
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
    use crate::probe::{ProbeSample, fixture};

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
        let refused = || Failure {
            reason: Reason::Refused,
            message: "tcp failed: refused".to_owned(),
            phase: None,
        };
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
    async fn pool_saturation_warns_near_the_size_and_fails_at_the_limit() {
        let check = |active, saturated: usize, timeouts, expected| {
            let calm = [ProbeSample { checkout_timeouts: timeouts, ..sample() }];
            let full = std::iter::repeat_n(ProbeSample { saturated: true, ..sample() }, saturated);
            let mut snapshot = with(calm.into_iter().chain(full));
            snapshot.usage = fixture::usage(active);
            let check = pool_saturation(Some(&snapshot), &Thresholds::default());
            assert_eq!(check.outcome, expected, "{active} {saturated} {timeouts}");
            assert_eq!(check.message.is_none(), expected == CheckOutcome::Pass);
        };
        check(0, 0, 0, CheckOutcome::Pass);
        check(17, 0, 0, CheckOutcome::Pass);
        check(18, 0, 0, CheckOutcome::Warn);
        check(30, 2, 0, CheckOutcome::Warn);
        check(30, 3, 0, CheckOutcome::Fail);
        check(30, 4, 0, CheckOutcome::Fail);
        check(0, 0, 1, CheckOutcome::Fail);
        assert_eq!(pool_saturation(None, &Thresholds::default()).outcome, CheckOutcome::Pass);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_without_a_limit_has_no_utilization() {
        let mut snapshot = fixture::snapshot();
        snapshot.usage.max = None;
        snapshot.usage.active = 1_000;
        let check = pool_saturation(Some(&snapshot), &Thresholds::default());
        assert_eq!(
            (check.outcome, check.measured),
            (CheckOutcome::Pass, Measured::Utilization(None))
        );
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
