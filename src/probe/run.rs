//! The loop that probes a target at its interval and publishes what each probe learned.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::history::History;
use super::once::{once, pass};
use super::read;
use super::snapshot::{Published, Snapshot};
use super::target::Target;
use super::tell::tell;

/// The first probe comes within this time, so that many exporters started at once do not knock at
/// once; short, so that a user sees numbers soon.
const JITTER: Duration = Duration::from_millis(500);

/// Probes, and samples between the probes, until it is dropped.
pub(super) async fn run(target: Arc<Target>) {
    tokio::join!(probe(&target), sample(&target));
}

async fn probe(target: &Target) {
    let interval = target.settings().schedule.interval;
    let mut due = Instant::now() + JITTER.min(interval).mul_f64(fastrand::f64());
    let mut connects = Connects::new(target.settings().schedule.connect_interval);
    let mut history = History::default();
    loop {
        sleep_until(due).await;
        let with_connect = connects.are_due(Instant::now());
        let snapshot = pass(target, with_connect, &mut history).await;
        connects.done(&snapshot);
        tell(target, &snapshot);
        target.publish(Published::new(snapshot, target.base()));
        due += interval;
        let late = Instant::now().saturating_duration_since(due);
        let missed = u32::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(0);
        target.instruments().missed.add(u64::from(missed));
        due += interval * missed;
    }
}

/// Looks at activity more often than the probes do, if that is wanted: it counts slow queries.
async fn sample(target: &Target) {
    let schedule = &target.settings().schedule;
    let every = schedule.sampling;
    if every.is_zero() || every >= schedule.interval {
        return;
    }
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let tick = due.tick().await;
        let before = target.published();
        // A server that did not answer the last probe is asked again by the next one.
        if before.is_none_or(|published| published.snapshot.query.is_err()) {
            continue;
        }
        read::sample(target, tick + every).await;
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

/// Probes once, a fresh connect included, and publishes what it learned.
pub async fn publish_once(target: &Target) -> Arc<Snapshot> {
    let snapshot = once(target, true).await;
    let published = Published::new(snapshot, target.base());
    let snapshot = Arc::clone(&published.snapshot);
    target.publish(published);
    snapshot
}
