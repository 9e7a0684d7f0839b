//! The loop that probes a target at its interval and publishes what each probe learned.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::history::History;
use super::once::{once, pass};
use super::snapshot::{Failure, Part, Published, Snapshot};
use super::target::Target;
use crate::metrics::Label;

/// The first probe comes within this time, so that many exporters started at once do not knock at
/// once; short, so that a user sees numbers soon.
const JITTER: Duration = Duration::from_millis(500);

/// Probes until it is dropped.
pub(super) async fn run(target: Arc<Target>) {
    let interval = target.settings().schedule.interval;
    let mut due = Instant::now() + JITTER.min(interval).mul_f64(fastrand::f64());
    let mut connects = Connects::new(target.settings().schedule.connect_interval);
    let mut history = History::default();
    loop {
        sleep_until(due).await;
        let with_connect = connects.are_due(Instant::now());
        let snapshot = pass(&target, with_connect, &mut history).await;
        connects.done(&snapshot);
        tell(&target, &snapshot);
        target.publish(Published::new(snapshot, target.base()));
        due += interval;
        let late = Instant::now().saturating_duration_since(due);
        let missed = u32::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(0);
        target.instruments().missed.add(u64::from(missed));
        due += interval * missed;
    }
}

/// When the next fresh connect is due.
struct Connects {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Connects {
    fn new(interval: Option<Duration>) -> Self {
        Self { interval, next: None }
    }

    fn are_due(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return false };
        let due = self.next.is_none_or(|next| now >= next);
        if due {
            self.next = Some(now + interval);
        }
        due
    }

    /// After a failed one, the next probe tries again.
    fn done(&mut self, snapshot: &Snapshot) {
        if matches!(snapshot.connect, Some(Err(_))) {
            self.next = None;
        }
    }
}

/// Logs what changed: an incident of an hour is two lines, not 360.
fn tell(target: &Target, snapshot: &Snapshot) {
    let before = target.published();
    let before = before.as_deref().map(|published| published.snapshot.as_ref());
    let name = target.name();
    let key = |failure: (Part, &Failure)| (failure.0, failure.1.reason);
    match (snapshot.failure(), before.and_then(Snapshot::failure)) {
        (Some(now), Some(then)) if key(now) == key(then) => {
            debug!(target = name, probe = now.0.label(), error = %now.1.message, "probe failed again");
        }
        (Some((part, failure)), _) => {
            let (probe, reason) = (part.label(), failure.reason.label());
            warn!(target = name, probe, reason, error = %failure.message, "probe failed");
        }
        (None, Some(_)) => info!(target = name, "probe succeeds again"),
        (None, None) if before.is_none() => {
            let version = snapshot.query.as_ref().map_or("", |q| q.server.version.as_str());
            info!(target = name, version, "first probe succeeded");
        }
        (None, None) => debug!(target = name, "probe succeeded"),
    }
}

/// Probes once, a fresh connect included, and publishes what it learned.
pub async fn publish_once(target: &Target) -> Arc<Snapshot> {
    let snapshot = once(target, true).await;
    let published = Published::new(snapshot, target.base());
    let snapshot = Arc::clone(&published.snapshot);
    target.publish(published);
    snapshot
}
