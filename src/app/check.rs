//! A few probes of every target, without a daemon: for init containers, CI steps, and people.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::health::{self, Verdict};
use crate::probe::{self, Roster, SampleSeries, Snapshot, Target, publish_series};
use crate::report::Report;

/// The time in which connections must end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The results of the probes of every target.
pub(crate) struct Checked {
    /// One for each target, in their order.
    pub findings: Vec<Finding>,
    /// The same as JSON, in the shape of `/api/v1/targets`.
    pub json: serde_json::Value,
}

/// The result of the probes of a target.
pub(crate) struct Finding {
    settings: probe::TargetSettings,
    snapshot: Arc<Snapshot>,
    verdict: Verdict,
}

impl Finding {
    /// Returns the same for a report.
    pub(crate) fn report(&self) -> Report<'_> {
        Report { settings: &self.settings, snapshot: &self.snapshot, verdict: &self.verdict }
    }
}

/// Probes every target, all at the same time, each probe within its own deadline. Several probes show what one
/// cannot: a pool is exhausted when it had nothing left at three in a row.
///
/// # Errors
/// When the runtime cannot be made.
pub(crate) fn check(
    targets: Vec<probe::TargetSettings>,
    series: SampleSeries,
) -> std::io::Result<Checked> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let checked = runtime.block_on(async {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let roster = Roster::new(tasks.clone(), stop, probe::Probing::ByCaller);
        roster.apply(targets);
        let targets = roster.targets();
        let findings = join_all(targets.iter().map(|target| find(target, series))).await;
        let request = api::ApiRequest {
            roster: &roster,
            now: Instant::now(),
            target: None,
            application: None,
        };
        let json = api::targets(&request).body;
        drop((targets, roster));
        tasks.close();
        // Connections end in order, but a server that does not answer is not waited for.
        let _ = timeout(FAREWELL, tasks.wait()).await;
        Checked { findings, json }
    });
    runtime.shutdown_background();
    Ok(checked)
}

async fn find(target: &Target, series: SampleSeries) -> Finding {
    let snapshot = publish_series(target, series, |_| ()).await;
    Finding {
        settings: target.settings().clone(),
        snapshot,
        verdict: health::of(target, Instant::now()),
    }
}
