//! The loop that probes a target at its interval and publishes each snapshot.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::history::History;
use super::log;
use super::once::{FreshConnect, pass};
use super::pace::{Before, Moments, Pace};
use super::read;
use super::snapshot::{Published, Snapshot};
use super::target::Target;
use crate::pool::Reason;

/// Probes a target, and samples it between the probes, until the future is dropped.
pub(super) async fn run(target: Arc<Target>, pace: Arc<Pace>, moments: Moments) {
    tokio::join!(probe(&target, &pace, moments), sample(&target), read_endpoints(&target));
}

async fn probe(target: &Target, pace: &Pace, moments: Moments) {
    let interval = target.settings().schedule.interval;
    let Moments { first: mut due, second } = moments;
    let mut next = second;
    let mut before = Before::Well;
    let mut connects = Connects::new(target.settings().schedule.connect_interval);
    let mut history = History::default();
    loop {
        sleep_until(due).await;
        let fresh = connects.next(Instant::now());
        let snapshot = pace.run(due, before, Box::pin(pass(target, fresh, &mut history))).await;
        connects.done(&snapshot);
        log::changes(target, &snapshot);
        let is_up = snapshot.is_up();
        // The exporter's own limit is not an incident of the server, and its turn should stay where it is.
        let is_ours = snapshot.failure().is_some_and(|(_, f)| f.reason == Reason::Budget);
        before = if is_up { Before::Well } else { Before::Failed };
        target.publish(Published::new(snapshot, target.base()));
        // The next probe is due one interval after this one was. Times that have passed are skipped and
        // counted, so that a slow probe does not bring a burst of probes.
        due = next;
        if !is_up && !is_ours {
            // A failure that took long is published shortly before the next probe. It must stand for a
            // whole interval all the same, or most scrapes would miss it.
            due = due.max(Instant::now() + interval);
        }
        let late = Instant::now().saturating_duration_since(due);
        let missed = u32::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(0);
        target.instruments().missed.add(u64::from(missed));
        due += interval * missed;
        next = due + interval;
    }
}

/// Samples activity between the probes. What a probe reads itself is a sample too.
async fn sample(target: &Target) {
    if target.settings().views.sampling >= target.settings().schedule.interval {
        return;
    }
    let mut tried = Instant::now();
    loop {
        let (last, every) =
            target.remember(|memory| (memory.sampling().last(), memory.sampling().interval()));
        // Random, so that a workload with the same rhythm is not always hit or missed.
        let pause = every.mul_f64(0.8 + 0.4 * fastrand::f64());
        sleep_until(last.map_or(tried, |last| last.max(tried)) + pause).await;
        if target.remember(|memory| memory.sampling().last()) != last {
            continue;
        }
        tried = Instant::now();
        // A server that did not answer the last probe is not asked again before the next one. Nor is one to
        // which a connection would have to be opened for each sample.
        // Nor is one that another target samples.
        let may_keep = !target.follows() && target.pool().connector().budget().may_keep();
        if may_keep && target.published().is_some_and(|published| published.snapshot.query.is_ok())
        {
            let limit = every.max(LEAST).min(target.settings().schedule.timeout);
            read::sample(target, tried + limit).await;
        }
    }
}

/// Reads the status of the applications that serve it, as often as activity is sampled. The probe does not
/// wait for a poll; it uses the result of the last one.
async fn read_endpoints(target: &Target) {
    if target.endpoints().is_empty() {
        return;
    }
    let settings = target.settings();
    let every = settings.views.sampling.clamp(SHORTEST, settings.schedule.interval.max(SHORTEST));
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        join_all(target.endpoints().iter().map(|pools| pools.poll(target.name()))).await;
    }
}

/// The shortest time between two polls of an application's processes.
const SHORTEST: Duration = Duration::from_millis(100);

/// The shortest time limit of a sample, also where the sampling interval is shorter.
const LEAST: Duration = Duration::from_secs(1);

/// Decides which probes open a fresh connection.
struct Connects {
    /// From one to the next; `None` for never.
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Connects {
    fn new(interval: Option<Duration>) -> Self {
        Self { interval, next: None }
    }

    fn next(&mut self, now: Instant) -> FreshConnect {
        let Some(interval) = self.interval else { return FreshConnect::Skip };
        if self.next.is_some_and(|next| now < next) {
            return FreshConnect::Skip;
        }
        self.next = Some(now + interval);
        FreshConnect::Try
    }

    /// After a failed connect, the next probe tries again: an outage ends when the connect succeeds.
    fn done(&mut self, snapshot: &Snapshot) {
        if matches!(snapshot.connect, Some(Err(_))) {
            self.next = None;
        }
    }
}

/// Several probes of a target, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleSeries {
    /// The number of probes.
    pub count: u32,
    /// The time from the start of one to the start of the next.
    pub pause: Duration,
}

/// Probes a target several times, samples it between the probes as the daemon does, and publishes each snapshot.
/// Returns the last one. `seen`: called with each.
pub(crate) async fn publish_series(
    target: &Target,
    series: SampleSeries,
    mut seen: impl FnMut(&Snapshot),
) -> Arc<Snapshot> {
    let probes = async {
        let mut connects = Connects::new(target.settings().schedule.connect_interval);
        let mut history = History::default();
        let mut due = interval(series.pause.max(SHORTEST));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for left in (0..series.count.max(1)).rev() {
            due.tick().await;
            let fresh = connects.next(Instant::now());
            let snapshot = pass(target, fresh, &mut history).await;
            connects.done(&snapshot);
            seen(&snapshot);
            let snapshot = publish(target, snapshot);
            if left == 0 {
                return snapshot;
            }
        }
        unreachable!("the last probe of at least one returns")
    };
    tokio::select! {
        biased;
        last = probes => last,
        () = async { sample(target).await; std::future::pending().await } => unreachable!("it waits for ever"),
    }
}

fn publish(target: &Target, snapshot: Snapshot) -> Arc<Snapshot> {
    let published = Published::new(snapshot, target.base());
    let snapshot = Arc::clone(&published.snapshot);
    target.publish(published);
    snapshot
}
