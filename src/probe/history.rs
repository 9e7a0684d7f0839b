//! The results of the last minutes' probes, for averages, rates, and failures in a row.
//!
//! Only the loop that probes a target writes its [`History`]. Each snapshot holds a copy of it, a
//! [`Window`], so that a verdict never mixes two probes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::once::FreshConnect;
use super::session::Sessions;
use super::sight::SightMemory;
use super::snapshot::Snapshot;
use crate::pool::Totals;

/// The time that a window covers.
pub(crate) const SPAN: Duration = Duration::from_secs(300);

/// The maximum number of samples in a window: it bounds the memory where the interval is short.
pub(crate) const CAPACITY: usize = 1_000;

/// The part of one probe that a window keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSample {
    /// The end of the probe.
    pub at: Instant,
    /// True if the target was up: connect and statement succeeded.
    pub ok: bool,
    /// The statement's time; `None` if it was not answered.
    pub query: Option<Duration>,
    /// True if that was above the slow threshold.
    pub slow: bool,
    /// The time of the probe's own fresh connect; `None` if there was none, or it failed.
    pub connect: Option<Duration>,
    /// True if the exporter's own pool was used up to its limit.
    pub saturated: bool,
    /// Check-outs that timed out since the previous probe.
    pub checkout_timeouts: u64,
    /// Connects that failed since the previous probe.
    pub failed_connects: u64,
    /// Connections that could still be opened; `None` where that is not known.
    pub headroom: Option<u64>,
}

/// The samples of the last `SPAN`, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    samples: Vec<ProbeSample>,
}

impl Window {
    /// The samples, oldest first.
    pub fn samples(&self) -> &[ProbeSample] {
        &self.samples
    }

    /// The number of probes that found the target down.
    pub(crate) fn failed(&self) -> usize {
        self.samples.iter().filter(|sample| !sample.ok).count()
    }

    /// The number of slow statements.
    pub(crate) fn slow(&self) -> usize {
        self.samples.iter().filter(|sample| sample.slow).count()
    }

    /// Slow statements in percent of the answered ones; `None` if none was answered.
    pub(crate) fn slow_percent(&self) -> Option<f64> {
        let answered = self.samples.iter().filter(|sample| sample.query.is_some()).count();
        (answered > 0).then(|| self.slow() as f64 / answered as f64 * 100.0)
    }

    /// The number of probes in a row, up to the last, that found the judged pool used up to its limit.
    pub(crate) fn saturated_in_a_row(&self) -> usize {
        self.samples.iter().rev().take_while(|sample| sample.saturated).count()
    }

    /// The number of consecutive probes, up to the last that knew, at which no connection was left.
    pub fn without_headroom(&self) -> usize {
        let known = self.samples.iter().rev().filter_map(|sample| sample.headroom);
        known.take_while(|free| *free == 0).count()
    }

    /// The number of check-outs that timed out.
    pub(crate) fn checkout_timeouts(&self) -> u64 {
        self.samples.iter().map(|sample| sample.checkout_timeouts).sum()
    }

    /// The number of connects that failed.
    pub(crate) fn failed_connects(&self) -> u64 {
        self.samples.iter().map(|sample| sample.failed_connects).sum()
    }

    /// The statements' mean time; `None` if there are none. `since`: looks only at later probes.
    pub(crate) fn mean_query(&self, since: Option<Instant>) -> Option<Duration> {
        mean(self.later(since).filter_map(|sample| sample.query))
    }

    /// The fresh connects' mean time; `None` if there are none. `since`: looks only at later probes.
    pub(crate) fn mean_connect(&self, since: Option<Instant>) -> Option<Duration> {
        mean(self.later(since).filter_map(|sample| sample.connect))
    }

    fn later(&self, since: Option<Instant>) -> impl Iterator<Item = &ProbeSample> {
        self.samples.iter().filter(move |sample| since.is_none_or(|since| sample.at > since))
    }
}

impl FromIterator<ProbeSample> for Window {
    fn from_iter<I: IntoIterator<Item = ProbeSample>>(samples: I) -> Self {
        Self { samples: samples.into_iter().collect() }
    }
}

/// The samples of a target, with what is needed to make the next one.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<ProbeSample>,
    totals: Totals,
    pub(super) sessions: Sessions,
    pub(super) sights: SightMemory,
}

impl History {
    /// Adds a probe, drops what is too old, and returns the window.
    ///
    /// `fresh`: whether the snapshot's connect is of this probe. `slow`: the threshold.
    pub(super) fn add(
        &mut self,
        new: &Snapshot,
        fresh: FreshConnect,
        slow: Duration,
    ) -> Arc<Window> {
        let before = std::mem::replace(&mut self.totals, new.totals);
        let query = new.query.as_ref().ok().map(|queried| queried.query);
        let connect = match (fresh, &new.connect) {
            (FreshConnect::Try, Some(Ok(connected))) => Some(connected.timings.total),
            (FreshConnect::Try | FreshConnect::Skip, _) => None,
        };
        self.samples.push_back(ProbeSample {
            at: new.taken,
            ok: new.is_up(),
            query,
            slow: query.is_some_and(|took| took > slow),
            connect,
            saturated: new.usage.is_saturated(),
            checkout_timeouts: new.totals.timeouts.saturating_sub(before.timeouts),
            failed_connects: new.totals.failed.saturating_sub(before.failed),
            headroom: new.views.tightest().map(|tightest| tightest.free),
        });
        self.prune(new.taken);
        Arc::new(self.samples.iter().cloned().collect())
    }

    fn prune(&mut self, now: Instant) {
        while let Some(oldest) = self.samples.front() {
            let is_old = now.saturating_duration_since(oldest.at) > SPAN;
            if !is_old && self.samples.len() <= CAPACITY {
                return;
            }
            self.samples.pop_front();
        }
    }
}

fn mean(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (count, sum) = times.fold((0_u32, Duration::ZERO), |(n, sum), t| (n + 1, sum + t));
    (count > 0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::probe::fixture;
    use crate::probe::{Failure, Queried};

    const SLOW: Duration = Duration::from_secs(1);

    fn queried(ms: u64) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        if let Ok(Queried { query, .. }) = &mut snapshot.query {
            *query = Duration::from_millis(ms);
        }
        snapshot
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_reaches_back_five_minutes() {
        let mut history = History::default();
        history.add(&queried(100), FreshConnect::Try, SLOW);
        advance(SPAN).await;
        assert_eq!(history.add(&queried(300), FreshConnect::Try, SLOW).samples().len(), 2);
        advance(Duration::from_millis(1)).await;
        let window = history.add(&queried(500), FreshConnect::Try, SLOW);
        assert_eq!(window.samples().len(), 2);
        assert_eq!(window.mean_query(None), Some(Duration::from_millis(400)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_has_at_most_its_capacity() {
        let mut history = History::default();
        for _ in 0..CAPACITY {
            history.add(&queried(1), FreshConnect::Try, SLOW);
        }
        let window = history.add(&queried(2), FreshConnect::Try, SLOW);
        assert_eq!(window.samples().len(), CAPACITY);
        assert_eq!(window.samples().last().and_then(|s| s.query), Some(Duration::from_millis(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_window_does_not_change() {
        let mut history = History::default();
        let first = history.add(&queried(1), FreshConnect::Try, SLOW);
        history.add(&queried(2), FreshConnect::Try, SLOW);
        assert_eq!(first.samples().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_is_above_the_threshold_and_its_rate_of_the_answered() {
        let mut history = History::default();
        assert_eq!(Window::default().slow_percent(), None);
        history.add(&queried(1_000), FreshConnect::Try, SLOW);
        history.add(&queried(1_001), FreshConnect::Try, SLOW);
        let mut failed = queried(1);
        failed.query = Err(Failure::deadline(SLOW));
        let window = history.add(&failed, FreshConnect::Try, SLOW);
        assert_eq!((window.slow(), window.failed()), (1, 1));
        assert_eq!(window.slow_percent(), Some(50.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connect_that_was_not_tried_again_counts_once() {
        let mut history = History::default();
        history.add(&fixture::snapshot(), FreshConnect::Try, SLOW);
        let window = history.add(&fixture::snapshot(), FreshConnect::Skip, SLOW);
        assert_eq!(window.samples().iter().filter(|s| s.connect.is_some()).count(), 1);
        assert_eq!(window.mean_connect(None), Some(fixture::CONNECT));
    }

    #[tokio::test(start_paused = true)]
    async fn means_begin_anew_after_a_reset() {
        let mut history = History::default();
        history.add(&queried(100), FreshConnect::Try, SLOW);
        let reset = Instant::now();
        assert_eq!(history.add(&queried(1), FreshConnect::Try, SLOW).mean_query(Some(reset)), None);
        advance(SLOW).await;
        let window = history.add(&queried(500), FreshConnect::Try, SLOW);
        assert_eq!(window.mean_query(Some(reset)), Some(Duration::from_millis(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn saturation_is_counted_up_to_the_last_probe() {
        let mut history = History::default();
        let row = |history: &mut History, active| {
            let mut snapshot = fixture::snapshot();
            snapshot.usage.active = active;
            history.add(&snapshot, FreshConnect::Try, SLOW).saturated_in_a_row()
        };
        let counted = [30, 29, 30, 31, 30, 5].map(|active| row(&mut history, active));
        assert_eq!(counted, [1, 0, 1, 2, 3, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_between_probes_belong_to_the_later_one() {
        let mut history = History::default();
        let at = |timeouts, failed| {
            let mut snapshot = fixture::snapshot();
            snapshot.totals = Totals { timeouts, failed, ..Totals::default() };
            snapshot
        };
        history.add(&at(1, 0), FreshConnect::Try, SLOW);
        let window = history.add(&at(3, 4), FreshConnect::Try, SLOW);
        assert_eq!((window.checkout_timeouts(), window.failed_connects()), (3, 4));
        advance(SPAN + SLOW).await;
        let window = history.add(&at(3, 5), FreshConnect::Try, SLOW);
        assert_eq!((window.checkout_timeouts(), window.failed_connects()), (0, 1));
    }
}
