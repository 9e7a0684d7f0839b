//! One probe of every target, without a daemon: for init containers and CI steps.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::health::{self, Verdict};
use crate::probe::{self, Roster, Snapshot, Target};

/// The time in which connections must end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The results of one probe of every target.
pub(crate) struct Checked {
    /// One for each target, in their order.
    pub findings: Vec<Finding>,
    /// The same as JSON, in the shape of `/api/v1/targets`.
    pub json: serde_json::Value,
}

/// The result of one probe of a target.
pub(crate) struct Finding {
    /// The target's name.
    pub target: String,
    /// The snapshot that the probe published.
    pub snapshot: Arc<Snapshot>,
    /// The verdict on it.
    pub verdict: Verdict,
}

/// Probes every target once, all at the same time, each within its own deadline.
///
/// # Errors
/// When the runtime cannot be made.
pub(crate) fn check(targets: Vec<probe::TargetSettings>) -> std::io::Result<Checked> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let checked = runtime.block_on(async {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let roster = Roster::new(tasks.clone(), stop, probe::Probing::ByCaller);
        roster.apply(targets);
        let targets = roster.targets();
        let findings = join_all(targets.iter().map(|target| find(target))).await;
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

async fn find(target: &Target) -> Finding {
    let snapshot = probe::publish_once(target).await;
    Finding {
        target: target.name().to_owned(),
        snapshot,
        verdict: health::of(target, Instant::now()),
    }
}
