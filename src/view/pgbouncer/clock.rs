//! Our own clock of each pool's waiters.
//!
//! `maxwait` is 0 for clients that wait for a login, or in PAUSE before their first query: PgBouncer measures from the
//! client's query, and there was none yet. `total_wait_time` stands still until a wait ends. So in the worst stall
//! both say that nothing happens. `cl_waiting` says it, and the exporter measures for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::pools::{PoolConnections, PoolKey};
use crate::view::key::SessionKey;
use crate::view::series::{Labels, RETAINED, Series, label};

/// The waiters of each pool, from one sample to the next.
#[derive(Debug)]
pub(in crate::view) struct WaitClocks {
    series: Series,
    labels: Labels,
    clocks: BTreeMap<PoolKey, Clock>,
    sums: BTreeMap<SessionKey, WaitingSum>,
    /// The states of the last reading: a pool that has gone is shown with 0 in each.
    blank: PoolConnections,
}

/// The clocks of one pool.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// The first sample since which clients have waited without a break.
    waiting_since: Option<Instant>,
    /// The first sample since which they have waited and the pooler itself has shown no wait.
    unmeasured_since: Option<Instant>,
}

/// The waits of one pool at the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    /// How long clients have waited without a break.
    pub(super) without_break: Option<Duration>,
    /// How long they have waited without a break and without a measured wait.
    pub(super) unmeasured: Option<Duration>,
}

/// The time that the clients of a label set have waited, all together.
#[derive(Clone, Copy, Debug)]
struct WaitingSum {
    seconds: f64,
    /// True once it has been shown: it is shown with 0 first, so that increase() sees what came then.
    is_shown: bool,
    seen: Instant,
}

impl WaitClocks {
    pub(super) fn new(series_limit: usize) -> Self {
        Self {
            series: Series::new(series_limit),
            labels: Labels::new(),
            clocks: BTreeMap::new(),
            sums: BTreeMap::new(),
            blank: PoolConnections::default(),
        }
    }

    /// Takes a sample in. `span`: the time that it stands for.
    pub(super) fn take(
        &mut self,
        pools: &BTreeMap<PoolKey, PoolConnections>,
        at: Instant,
        span: Duration,
    ) {
        self.labels = self.series.admit(pools.keys().map(key_of).collect(), at);
        self.clocks.retain(|key, _| pools.contains_key(key));
        for (key, pool) in pools {
            self.blank = pool.emptied();
            let Some(waiting) = pool.waiting() else { continue };
            self.clocks.entry(key.clone()).or_default().take(waiting, pool.max_wait, at);
            let sum = self.sums.entry(self.label(key)).or_insert(WaitingSum::new(at));
            sum.seconds += waiting as f64 * span.as_secs_f64();
            sum.seen = at;
        }
        let members: Vec<&SessionKey> = self.series.members().collect();
        // A pool that returns soon goes on where it was.
        let most = members.len() * 10 + 100;
        if self.sums.len() > most {
            self.sums.retain(|key, sum| {
                members.contains(&key) || at.saturating_duration_since(sum.seen) <= RETAINED
            });
        }
    }

    /// The label set of a pool: its own, or that of all others.
    pub(super) fn label(&self, key: &PoolKey) -> SessionKey {
        let own = key_of(key);
        label(&self.labels, &own).clone()
    }

    /// The label sets that are shown, and the states of a pool that has gone.
    pub(super) fn members(&self) -> impl Iterator<Item = (&SessionKey, &PoolConnections)> {
        self.series.members().map(|key| (key, &self.blank))
    }

    /// The waits of a pool at the last sample.
    pub(super) fn waits(&self, key: &PoolKey, at: Instant) -> Waits {
        let clock = self.clocks.get(key).copied().unwrap_or_default();
        let age = |since: Instant| at.saturating_duration_since(since);
        Waits {
            without_break: clock.waiting_since.map(age),
            unmeasured: clock.unmeasured_since.map(age),
        }
    }

    /// The number of label sets that found no room.
    pub(super) fn rolled(&self) -> u64 {
        self.series.rolled()
    }

    /// The seconds that clients have waited, by label set, for a scrape.
    pub(super) fn show(&mut self) -> Vec<(PoolKey, f64)> {
        let Self { series, sums, .. } = self;
        let shown = series.members().filter_map(|key| {
            let sum = sums.get_mut(key)?;
            let seconds = if sum.is_shown { sum.seconds } else { 0.0 };
            sum.is_shown = true;
            Some((pool_of(key), seconds))
        });
        shown.collect()
    }
}

impl WaitingSum {
    fn new(seen: Instant) -> Self {
        Self { seconds: 0.0, is_shown: false, seen }
    }
}

impl Clock {
    fn take(&mut self, waiting: u64, max_wait: Option<Duration>, at: Instant) {
        let is_measured = max_wait.is_none_or(|wait| wait > Duration::ZERO);
        self.waiting_since = self.waiting_since.or(Some(at)).filter(|_| waiting > 0);
        self.unmeasured_since =
            self.unmeasured_since.or(Some(at)).filter(|_| waiting > 0 && !is_measured);
    }
}

/// A pool as a label set: where there are too many, the users of a database become one, `other`.
fn key_of(pool: &PoolKey) -> SessionKey {
    SessionKey::new(&pool.database, "", &pool.user).kept_apart()
}

/// The pool of a label set.
pub(super) fn pool_of(key: &SessionKey) -> PoolKey {
    PoolKey { database: key.database.clone(), user: key.application.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::pools::ClientState;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Samples of one pool, a second apart.
    struct Samples {
        clocks: WaitClocks,
        now: Instant,
    }

    impl Samples {
        fn new() -> Self {
            Self { clocks: WaitClocks::new(100), now: Instant::now() }
        }

        fn take(&mut self, waiting: u64, max_wait: f64) -> (Option<u64>, Option<u64>) {
            self.now += SECOND;
            let pool = PoolConnections {
                clients: BTreeMap::from([(ClientState::Waiting, waiting)]),
                max_wait: Some(Duration::from_secs_f64(max_wait)),
                ..PoolConnections::default()
            };
            self.clocks.take(&BTreeMap::from([(key(), pool)]), self.now, SECOND);
            let waits = self.clocks.waits(&key(), self.now);
            let seconds = |time: Duration| time.as_secs();
            (waits.without_break.map(seconds), waits.unmeasured.map(seconds))
        }
    }

    fn key() -> PoolKey {
        PoolKey { database: "shop".to_owned(), user: "app".to_owned() }
    }

    #[test]
    fn waiters_without_a_measured_wait_are_measured_by_our_own_clock() {
        let mut samples = Samples::new();
        assert_eq!(samples.take(0, 0.0), (None, None));
        assert_eq!(samples.take(3, 0.0), (Some(0), Some(0)));
        assert_eq!(samples.take(3, 0.0), (Some(1), Some(1)));
        assert_eq!(samples.take(1, 0.0), (Some(2), Some(2)));
        assert_eq!(samples.take(0, 0.0), (None, None), "a break");
        assert_eq!(samples.take(1, 0.0), (Some(0), Some(0)));
    }

    #[test]
    fn a_busy_pool_whose_waits_are_measured_has_no_long_wait() {
        let mut samples = Samples::new();
        for second in 0..10 {
            assert_eq!(samples.take(45, 0.012), (Some(second), None));
        }
        assert_eq!(samples.take(45, 0.0), (Some(10), Some(0)));
        assert_eq!(samples.take(45, 0.012), (Some(11), None));
    }

    #[test]
    fn the_integral_grows_while_clients_wait_and_begins_with_0() {
        let mut samples = Samples::new();
        let shown = |samples: &mut Samples| samples.clocks.show()[0].1;
        samples.take(3, 0.0);
        assert_eq!(shown(&mut samples), 0.0);
        samples.take(2, 1.0);
        assert_eq!(shown(&mut samples), 5.0);
        samples.take(0, 0.0);
        assert_eq!(shown(&mut samples), 5.0);
    }

    #[test]
    fn ten_thousand_users_are_one_series_beyond_the_limit() {
        let mut clocks = WaitClocks::new(10);
        let pool = PoolConnections {
            clients: BTreeMap::from([(ClientState::Waiting, 1)]),
            ..PoolConnections::default()
        };
        let pools = (0..10_000).map(|n| {
            (PoolKey { database: "shop".to_owned(), user: format!("u{n}") }, pool.clone())
        });
        let at = Instant::now();
        clocks.take(&pools.collect(), at, SECOND);
        assert_eq!(clocks.members().count(), 10);
        assert_eq!(clocks.rolled(), 9_991);
        let sums = clocks.show();
        assert!(sums.iter().any(|(key, _)| key.user == "other"), "{sums:?}");
    }
}
