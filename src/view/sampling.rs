//! The pace of the samples, and the time that they stand for.
//!
//! The activity view is sampled every second, and slower where a scan takes long: 250 times as long as a
//! scan takes lies between two, which is 0.4 percent of a core. With the transaction around it, sampling
//! stays below half a percent of a core on either side. A sample stands for the time since the last one, but for no more than twice the interval:
//! time in which nothing was seen is not made up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One scan may take this part of the time between two.
const PART: u32 = 250;

/// The cost of a scan is the least of this many scans. Where processors are busy with other work a scan takes
/// longer without costing more.
const SCANS: usize = 8;

/// The pace of the samples, and the time that they stand for.
#[derive(Debug)]
pub struct Sampling {
    configured: Duration,
    /// The times of the last scans, the oldest first.
    costs: VecDeque<Duration>,
    last: Option<Instant>,
    sampled: Duration,
    headroom_gone: Option<Duration>,
    /// The interval of the target whose samples are taken over.
    followed: Option<Duration>,
}

impl Sampling {
    pub(super) fn new(configured: Duration) -> Self {
        Self {
            configured,
            costs: VecDeque::new(),
            last: None,
            sampled: Duration::ZERO,
            headroom_gone: None,
            followed: None,
        }
    }

    /// Takes in the time of a scan, without that of the network.
    pub fn observe(&mut self, cost: Duration) {
        self.followed = None;
        self.costs.push_back(cost);
        while self.costs.len() > SCANS {
            self.costs.pop_front();
        }
    }

    /// Takes over the samples of another target, at its interval, until the next of the target's own.
    pub(super) fn follow(&mut self, interval: Duration) {
        self.followed = Some(interval);
    }

    /// Returns the interval in use.
    pub fn interval(&self) -> Duration {
        if let Some(followed) = self.followed {
            return followed;
        }
        let cost = self.costs.iter().min().copied().unwrap_or_default();
        self.configured.max(cost * PART)
    }

    /// Returns when the last scan answered; `None` before the first.
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Returns the time that all samples stand for.
    pub(super) fn sampled(&self) -> Duration {
        self.sampled
    }

    /// Returns the time in which an ordinary role could open no connection; `None` while it is not known
    /// what the server allows.
    pub(super) fn headroom_gone(&self) -> Option<Duration> {
        self.headroom_gone
    }

    /// Takes in a scan, and returns the time that it stands for.
    pub(super) fn take(&mut self, at: Instant) -> Duration {
        let since = self.last.map_or(Duration::ZERO, |last| at.saturating_duration_since(last));
        let span = since.min(self.interval() * 2);
        self.last = Some(at);
        self.sampled += span;
        span
    }

    /// As [`Self::take`], for samples of other memories that are summed up in this one.
    pub(crate) fn take_now(&mut self, at: Instant) {
        self.take(at);
    }

    pub(super) fn add_headroom(&mut self, span: Duration, free: Option<u64>) {
        let Some(free) = free else { return };
        let gone = if free == 0 { span } else { Duration::ZERO };
        *self.headroom_gone.get_or_insert_default() += gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_interval_follows_the_cost_and_recovers() {
        let mut sampling = Sampling::new(SECOND);
        assert_eq!(sampling.interval(), SECOND);
        sampling.observe(Duration::from_millis(2));
        assert_eq!(sampling.interval(), SECOND, "2 ms a second are cheap enough");
        for _ in 0..SCANS {
            sampling.observe(Duration::from_millis(20));
        }
        assert_eq!(sampling.interval(), SECOND * 5);
        sampling.observe(Duration::from_millis(1));
        assert_eq!(sampling.interval(), SECOND);
        sampling.observe(Duration::from_secs(1));
        assert_eq!(sampling.interval(), SECOND, "one that had to wait says nothing");
    }

    #[test]
    fn a_gap_is_not_made_up() {
        let mut sampling = Sampling::new(SECOND);
        let start = Instant::now();
        let spans = [0, 1, 3, 60, 61].map(|second| sampling.take(start + SECOND * second));
        assert_eq!(spans.map(|span| span.as_secs()), [0, 1, 2, 2, 1]);
        assert_eq!(sampling.sampled(), SECOND * 6);
    }

    #[test]
    fn time_without_headroom_is_absent_until_the_limits_are_known() {
        let mut sampling = Sampling::new(SECOND);
        sampling.add_headroom(SECOND, None);
        assert_eq!(sampling.headroom_gone(), None);
        sampling.add_headroom(SECOND, Some(1));
        assert_eq!(sampling.headroom_gone(), Some(Duration::ZERO));
        sampling.add_headroom(SECOND, Some(0));
        assert_eq!(sampling.headroom_gone(), Some(SECOND));
    }
}
