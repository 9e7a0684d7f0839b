//! The verdict on a target: its checks, and the status that the worst of them decides.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use tokio::time::Instant;

use super::check::{Check, CheckOutcome, connection, slow_queries};
use super::endpoints::endpoints;
use super::judged::JudgedPool;
use super::pooler;
use super::saturation::{deciding, pool_saturation};
use super::server::{headroom, session, write};
use super::{Clock, Thresholds};
use crate::metrics::Label;
use crate::probe::{Snapshot, Target, with_keys_of};

/// The status of a target, from best to worst; the label `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HealthStatus {
    /// Every check passes.
    Healthy,
    /// A check warns, and none fails.
    Degraded,
    /// A check fails.
    Unhealthy,
}

/// The status of a target, with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The status that the worst check decides.
    pub status: HealthStatus,
    /// `Database is healthy`, or the status with the messages of the checks that did not pass.
    pub message: String,
    /// Every check that could be judged, in the order of [`CheckName`](super::CheckName).
    pub checks: Vec<Check>,
    /// The pool that decides the check `pool_saturation`.
    pub pool: JudgedPool,
    /// The age of the snapshot; `None` before the first probe.
    pub age: Option<Duration>,
}

/// Judges a target by its last snapshot.
pub(crate) fn of(target: &Target, now: Instant) -> Verdict {
    let published = target.published();
    let snapshot = published.as_deref().map(|published| published.snapshot.as_ref());
    let settings = target.settings();
    let clock = Clock { now, interval: settings.schedule.interval };
    judge(snapshot, &clock, &settings.thresholds).with_keys_of(target.name())
}

impl Verdict {
    /// Names options in the messages as the target's configuration has them.
    pub(crate) fn with_keys_of(mut self, target: &str) -> Self {
        self.message = with_keys_of(target, self.message);
        for check in &mut self.checks {
            check.message = check.message.take().map(|text| with_keys_of(target, text));
        }
        self
    }
}

/// Judges a snapshot. Without one, before the first probe, the target is unhealthy.
pub(crate) fn judge(
    snapshot: Option<&Snapshot>,
    clock: &Clock,
    thresholds: &Thresholds,
) -> Verdict {
    let deciding = snapshot.and_then(|snapshot| deciding(snapshot, clock, thresholds));
    let mut checks = vec![
        connection(snapshot, clock),
        with_reader(pool_saturation(snapshot, deciding.as_ref(), thresholds), snapshot, clock),
        slow_queries(snapshot, thresholds),
    ];
    if let Some(snapshot) = snapshot {
        let known =
            [headroom(snapshot), write(snapshot), session(snapshot, clock), endpoints(snapshot)];
        checks.extend(known.into_iter().flatten());
        checks.extend(pooler::checks(snapshot, thresholds));
    }
    let worst = checks.iter().map(|check| check.outcome).max().unwrap_or(CheckOutcome::Pass);
    let status = match worst {
        CheckOutcome::Pass => HealthStatus::Healthy,
        CheckOutcome::Warn => HealthStatus::Degraded,
        CheckOutcome::Fail => HealthStatus::Unhealthy,
    };
    let message = summary(status, &checks);
    let pool = JudgedPool::new(snapshot, deciding.as_ref());
    Verdict { status, message, checks, pool, age: snapshot.map(|snapshot| snapshot.age(clock.now)) }
}

/// Adds to a check which other target has read the sessions that it judges, and when.
fn with_reader(check: Check, snapshot: Option<&Snapshot>, clock: &Clock) -> Check {
    let Some(reader) = snapshot.and_then(|snapshot| snapshot.views.read_by.as_ref()) else {
        return check;
    };
    let age = clock.now.saturating_duration_since(reader.at).as_secs();
    let note = format!("sessions read by target {} {age} s ago", reader.target);
    let message = Some(check.message.map_or(note.clone(), |message| format!("{message} ({note})")));
    Check { message, ..check }
}

fn summary(status: HealthStatus, checks: &[Check]) -> String {
    // A check that passed can have a note, which does not make the database less healthy.
    let complaints = checks.iter().filter(|check| check.outcome != CheckOutcome::Pass);
    let reasons: Vec<&str> = complaints.filter_map(|check| check.message.as_deref()).collect();
    let head = format!("Database is {}", status.label());
    if reasons.is_empty() { head } else { format!("{head}: {}", reasons.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::probe::{Failure, ProbeSample, fixture};

    const INTERVAL: Duration = Duration::from_secs(10);

    fn verdict(snapshot: Option<&Snapshot>, after: u64) -> Verdict {
        let now = Instant::now() + Duration::from_secs(after);
        judge(snapshot, &Clock { now, interval: INTERVAL }, &Thresholds::default())
    }

    fn slow() -> ProbeSample {
        ProbeSample { slow: true, ..fixture::sample(Duration::from_secs(2)) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_worst_check_decides() {
        let check = |snapshot: &Snapshot, status, message: &str| {
            let verdict = verdict(Some(snapshot), 0);
            assert_eq!((verdict.status, verdict.message.as_str()), (status, message));
        };
        let mut snapshot = fixture::snapshot();
        check(&snapshot, HealthStatus::Healthy, "Database is healthy");
        snapshot.usage = fixture::usage(18);
        let near = "90.0 % of the pool size in use, 90 % is the limit";
        check(&snapshot, HealthStatus::Degraded, &format!("Database is degraded: {near}"));
        snapshot.window = Arc::new([slow()].into_iter().collect());
        let slow = "100.0 % of the queries were slow, 5 % is the limit";
        check(&snapshot, HealthStatus::Degraded, &format!("Database is degraded: {near}; {slow}"));
        snapshot.query = Err(Failure::deadline(INTERVAL));
        let failed = "query: not done at the probe's deadline of 10 s";
        check(
            &snapshot,
            HealthStatus::Unhealthy,
            &format!("Database is unhealthy: {failed}; {near}; {slow}"),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_snapshot_is_unhealthy_by_itself() {
        let snapshot = fixture::snapshot();
        assert_eq!(verdict(Some(&snapshot), 30).status, HealthStatus::Healthy);
        let old = verdict(Some(&snapshot), 31);
        assert_eq!((old.status, old.age), (HealthStatus::Unhealthy, Some(Duration::from_secs(31))));
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_probe_nothing_is_known_to_work() {
        let unknown = verdict(None, 0);
        assert_eq!((unknown.status, unknown.age), (HealthStatus::Unhealthy, None));
        assert_eq!(unknown.message, "Database is unhealthy: not probed yet");
    }
}
