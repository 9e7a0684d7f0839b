//! Since when each check has had its present result.
//!
//! Targets are judged once a second, so that the time of a change is known also while nobody looks. A snapshot
//! becomes too old without any event, so waiting for new ones would not be enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::verdict::{Verdict, of};
use crate::metrics::Label as _;
use crate::probe::{Mark, Roster, Target};

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Judges a target, and returns the verdict with the time since when each of its checks stands.
pub(crate) fn mark(target: &Target, now: Instant) -> (Verdict, Vec<Mark>) {
    let verdict = of(target, now);
    if verdict.age.is_none() {
        return (verdict, Vec::new());
    }
    let checks = verdict.checks.iter();
    let results: Vec<_> = checks.map(|check| (check.kind.label(), check.outcome.label())).collect();
    let marks = target.mark(&results, now);
    (verdict, marks)
}

/// Marks every target once a second, until the future is dropped.
pub(crate) async fn watch(roster: Arc<Roster>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (n, target) in roster.targets().iter().enumerate() {
            mark(target, Instant::now());
            // Requests do not wait for all of a thousand targets.
            if n % 50 == 49 {
                tokio::task::yield_now().await;
            }
        }
    }
}
