//! When probes are due, and how many run at once.
//!
//! Each target has its own moment in the interval, from a hash of its name, so that a thousand probes are spread
//! evenly and a target keeps its moment over reloads and restarts. The first probes come sooner where there are
//! few targets.
//!
//! A probe starts only with a place. There are a few places for each processor. It gives the place back when it
//! has run for a moment: from then on it mostly waits for the network, and a hundred servers that do not answer
//! must not take the places of those that do. Targets that failed have places of their own for the same reason.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::metrics::{Histogram, Kind, QUERY, Reading};

/// The longest delay of the first probe of a few targets. It differs from target to target, so that they do not
/// connect together; it is short, so that the first numbers come soon.
const FIRST: Duration = Duration::from_millis(500);

/// The time by which one more target delays the first probes of all, and one more target of the same server, which
/// has a few connections for all of them.
const STEPS: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(50)];

/// With so few targets, their probes stay where the first ones are.
const FEW: usize = 8;

/// The time for which a probe holds its place. One that goes well is over by then.
const HOLD: Duration = Duration::from_millis(250);

/// The pace of the probes of all targets.
pub(crate) struct Pace {
    /// The moments of all targets count from here.
    epoch: Instant,
    places: ArcSwap<Lanes>,
    /// The time from the moment when a probe was due to its start.
    lateness: Histogram,
}

/// Places for probes that start.
struct Lanes {
    well: Semaphore,
    failing: Semaphore,
}

impl Lanes {
    fn new(most: usize) -> Arc<Self> {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self { well: Semaphore::new(most), failing: Semaphore::new(most) })
    }
}

/// The last probe of a target, as far as it decides on the place of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It went well, or there was none.
    Well,
    /// It failed, so that the next may hang.
    Failed,
}

/// The moments at which a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moments {
    /// The first probe.
    pub(super) first: Instant,
    /// The second; the others follow at the interval.
    pub(super) second: Instant,
}

/// The targets that are started together with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Company {
    /// All of them.
    pub(super) started: usize,
    /// The targets of its server, whenever they were started.
    pub(super) on_server: usize,
    /// Others wait for its first probe, because it reads the server for them.
    pub(super) waits_for_it: bool,
}

impl Company {
    fn delay(self) -> Duration {
        let times = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let [any, same_server] = STEPS;
        any.saturating_mul(times(self.started))
            .max(same_server.saturating_mul(times(self.on_server)))
    }
}

impl Pace {
    /// Limits the number of probes that start at once.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let lateness = Histogram::new(QUERY);
        let places = ArcSwap::new(Lanes::new(most));
        Arc::new(Self { epoch: Instant::now(), places, lateness })
    }

    /// Changes the number of probes that start at once. Those that have started already do not count.
    pub(crate) fn set_most(&self, most: usize) {
        self.places.store(Lanes::new(most));
    }

    /// The number of probes that start at once, unless another is configured: the starts are what takes
    /// processor time.
    pub(crate) fn default_most() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from) * 8
    }

    /// The moments of a target. `now`: when it was started.
    pub(super) fn moments(
        &self,
        name: &str,
        among: Company,
        interval: Duration,
        now: Instant,
    ) -> Moments {
        let part = part(name);
        let is_early = among.started <= FEW || among.waits_for_it;
        let spread = if is_early { FIRST } else { FIRST + among.delay() };
        let first = now + spread.min(interval).mul_f64(part);
        if among.started <= FEW {
            return Moments { first, second: first + interval };
        }
        // The second one is at the target's own moment of the interval, half an interval later or more.
        let own = self.epoch + interval.mul_f64(part);
        let least = first + interval / 2;
        let behind = least.saturating_duration_since(own);
        let turns = behind.as_nanos().div_ceil(interval.as_nanos().max(1));
        Moments { first, second: own + interval * u32::try_from(turns).unwrap_or(u32::MAX) }
    }

    /// Waits for a place, runs a probe that was due then, and gives the place back after a moment.
    pub(super) async fn run<T>(
        &self,
        due: Instant,
        before: Before,
        probe: impl Future<Output = T>,
    ) -> T {
        let lanes = self.places.load_full();
        let lane = match before {
            Before::Well => &lanes.well,
            Before::Failed => &lanes.failing,
        };
        // It is never closed.
        let place = lane.acquire().await;
        self.lateness.observe(Instant::now().saturating_duration_since(due));
        let mut probe = std::pin::pin!(probe);
        if let Ok(done) = timeout(HOLD, &mut probe).await {
            return done;
        }
        drop(place);
        probe.await
    }
}

/// The place of a name between 0 and 1, the same in every run: FNV-1a, and a mix of its bits, because names that
/// differ in their last letter alone would be close together.
fn part(name: &str) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The 53 bits that a float can hold.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// The families of [`Pace`]; read at each scrape.
pub(crate) const READINGS: &[Reading<Pace>] = &[Reading {
    name: "db_pool_probe_lateness_seconds",
    help: "Time from the moment when a probe was due to its start, of all targets. Probes that were skipped because the previous one was still running are in db_pool_probes_missed_total.",
    kind: Kind::Histogram,
    labels: &[],
    read: |pace, out| pace.lateness.show(out),
}];

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn company(started: usize) -> Company {
        Company { started, on_server: started / 10, waits_for_it: false }
    }

    fn names() -> Vec<String> {
        (0..1000).map(|n| format!("server-{}/db{:03}", n % 10, n / 10)).collect()
    }

    /// The number of names in each tenth.
    fn tenths(parts: impl IntoIterator<Item = f64>) -> [usize; 10] {
        let mut tenths = [0; 10];
        parts.into_iter().for_each(|part| {
            tenths[(0..9).find(|n| part * 10.0 < f64::from(n + 1)).unwrap_or(9) as usize] += 1
        });
        tenths
    }

    #[test]
    fn names_are_spread_evenly_and_a_name_stays_where_it_is() {
        let tenths = tenths(names().iter().map(|name| part(name)));
        assert!(tenths.iter().all(|n| (70..=130).contains(n)), "{tenths:?}");
        assert!((part("orders") - 0.708).abs() < 0.001, "{}", part("orders"));
    }

    #[tokio::test(start_paused = true)]
    async fn many_targets_are_spread_over_the_interval_from_the_first_probe_on() {
        let (pace, now) = (Pace::new(1), Instant::now());
        let all = names();
        let moments = all.iter().map(|name| pace.moments(name, company(all.len()), INTERVAL, now));
        let moments: Vec<Moments> = moments.collect();
        let part = |at: Instant| (at - now).as_secs_f64() / INTERVAL.as_secs_f64();
        let first = tenths(moments.iter().map(|moment| part(moment.first)));
        let second = tenths(moments.iter().map(|moment| part(moment.second).fract()));
        assert!(
            first.iter().chain(&second).all(|n| (70..=130).contains(n)),
            "{first:?} {second:?}"
        );
        for Moments { first, second } in moments {
            let pause = second - first;
            assert!(pause >= INTERVAL / 2 && pause < INTERVAL * 3 / 2 + FIRST, "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_targets_are_probed_at_once_and_a_reload_keeps_the_moments_of_many() {
        let (pace, now) = (Pace::new(1), Instant::now());
        let Moments { first, second } = pace.moments("orders", company(1), INTERVAL, now);
        assert!(first - now < FIRST && second - first == INTERVAL);
        let later = now + Duration::from_secs(100);
        let before = pace.moments("orders", company(1000), INTERVAL, now).second;
        let after = pace.moments("orders", company(900), INTERVAL, later).second;
        assert_eq!((after - before).as_nanos() % INTERVAL.as_nanos(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_gives_its_place_back_and_those_that_failed_have_their_own() {
        let pace = Pace::new(1);
        let start = Instant::now();
        let hangs = |before| pace.run(start, before, tokio::time::sleep(INTERVAL));
        let well = pace.run(start, Before::Well, async { Instant::now() });
        let (_, _, at) = tokio::join!(hangs(Before::Failed), hangs(Before::Failed), well);
        assert_eq!(at, start, "it did not wait for those that failed before");
        let start = Instant::now();
        let well = pace.run(start, Before::Well, async { Instant::now() });
        let (_, at) = tokio::join!(hangs(Before::Well), well);
        assert_eq!(at - start, HOLD, "the first to hang holds it for a moment");
    }
}
