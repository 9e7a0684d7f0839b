//! The verdict as metrics: a sample for each possible status. The sample of the present status is 1, all
//! others are 0.

use super::check::CheckOutcome;
use super::verdict::{HealthStatus, Verdict};
use crate::metrics::{Kind, Label, Reading, Samples};

/// The families of [`Verdict`]. Read at each scrape, because a snapshot becomes too old without any
/// event. Absent before the first probe.
pub(crate) const READINGS: &[Reading<Verdict>] = &[
    Reading {
        name: "db_pool_health",
        help: "1 for the status of a health check, 0 for its other statuses. Judged at the scrape: a last probe older than three intervals fails the check connection.",
        kind: Kind::Gauge,
        labels: &["check", "status"],
        read: checks,
    },
    Reading {
        name: "db_pool_health_status",
        help: "1 for the status of the target, which its worst check decides, 0 for the other statuses.",
        kind: Kind::Gauge,
        labels: &["status"],
        read: status,
    },
];

fn checks(verdict: &Verdict, out: &mut Samples<'_>) {
    if verdict.age.is_none() {
        return;
    }
    for check in &verdict.checks {
        for outcome in CheckOutcome::all() {
            out.push([check.kind.label(), outcome.label()], check.outcome == outcome);
        }
    }
}

fn status(verdict: &Verdict, out: &mut Samples<'_>) {
    if verdict.age.is_some() {
        for status in HealthStatus::all() {
            out.push([status.label()], verdict.status == status);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::health::{Clock, Thresholds, judge};
    use crate::metrics::{Filter, Format, Page};
    use crate::probe::{Snapshot, fixture};

    fn page(snapshot: Option<&Snapshot>) -> String {
        let clock = Clock { now: Instant::now(), interval: Duration::from_secs(10) };
        let verdict = judge(snapshot, &clock, &Thresholds::default());
        let filter = Filter::default();
        let mut page = Page::new(Format::Text, &filter);
        page.live(READINGS, [("target=\"t\"", &verdict)]);
        page.finish()
    }

    #[tokio::test(start_paused = true)]
    async fn one_status_of_each_check_is_1() {
        let snapshot = Snapshot { usage: fixture::usage(18), ..fixture::snapshot() };
        let page = page(Some(&snapshot));
        let ones: Vec<&str> = page.lines().filter(|line| line.ends_with(" 1")).collect();
        assert_eq!(
            ones,
            [
                "db_pool_health{target=\"t\",check=\"connection\",status=\"pass\"} 1",
                "db_pool_health{target=\"t\",check=\"pool_saturation\",status=\"warn\"} 1",
                "db_pool_health{target=\"t\",check=\"slow_queries\",status=\"pass\"} 1",
                "db_pool_health_status{target=\"t\",status=\"degraded\"} 1",
            ]
        );
        assert_eq!(page.lines().filter(|line| line.ends_with(" 0")).count(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_probe_there_are_no_samples() {
        assert_eq!(page(None), "");
    }
}
