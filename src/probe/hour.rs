//! The last hour of a target, for the status page: a ring of compact steps, and the last failures.
//!
//! Written when a snapshot is published, from that snapshot alone: no statement is sent for it. A step stands
//! for [`STEP`]; several probes within one step are combined. Times and counts are kept in 16 bits with four
//! significant digits, so that an hour of a target with [`MOST_POOLS`] pools stays below 64 KiB.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::snapshot::{Failure, ProbePart, Snapshot};
use crate::metrics::{Label, Phase};
use crate::view::{Application, SessionKey};

/// The time that a step stands for.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// The number of steps of an hour.
pub(crate) const STEPS: u32 = 360;

/// Pools beyond this number are not recorded: the first by name are.
pub(crate) const MOST_POOLS: usize = 6;

/// Failures that are kept, each with its repetitions.
pub(crate) const MOST_FAULTS: usize = 16;

/// The characters of a failure's message that are kept.
const LONGEST_MESSAGE: usize = 400;

/// The phases of a connect.
pub(crate) const PHASES: usize = 5;

/// A number in 16 bits, with four significant digits up to 134 million; larger ones count as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compact(u16);

impl Compact {
    const NONE: Self = Self(u16::MAX);
    const MANTISSA: u32 = 12;

    fn new(number: Option<u64>) -> Self {
        let Some(mut mantissa) = number else { return Self::NONE };
        let mut exponent = 0_u16;
        while mantissa >> Self::MANTISSA > 0 && exponent < 15 {
            mantissa >>= 1;
            exponent += 1;
        }
        // All bits set stand for no number.
        let most = if exponent == 15 { 0xffe } else { 0xfff };
        let mantissa = u16::try_from(mantissa.min(most)).unwrap_or(0xffe);
        Self(exponent << Self::MANTISSA | mantissa)
    }

    fn get(self) -> Option<u64> {
        let number = u64::from(self.0 & 0xfff) << (self.0 >> Self::MANTISSA);
        (self != Self::NONE).then_some(number)
    }

    /// The larger of two numbers that may be missing.
    fn max(self, other: Self) -> Self {
        Self::new(self.get().max(other.get()))
    }
}

/// A step of the target.
#[derive(Clone, Copy, Debug)]
struct Stored {
    /// The number of the step since the start of the record.
    at: u32,
    is_up: bool,
    phases: [Compact; PHASES],
    query: Compact,
    headroom: Compact,
}

/// A step of one application's pools.
#[derive(Clone, Copy, Debug)]
struct StoredPool {
    at: u32,
    /// Tenths of connections.
    active: Compact,
    peak: Compact,
    open: Compact,
    max: Compact,
    /// Milliseconds.
    saturated: Compact,
}

/// A step as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// Steps before now; 0 for the present one.
    pub(crate) ago: u32,
    /// True if the target was up at the last probe of the step.
    pub(crate) is_up: bool,
    /// Microseconds of each phase of the slowest connect; `None` for a phase that did not take place.
    pub(crate) phases: [Option<u64>; PHASES],
    /// Microseconds of the slowest statement.
    pub(crate) query: Option<u64>,
    /// Connections that could still be opened, the fewest.
    pub(crate) headroom: Option<u64>,
}

/// A step of one application's pools as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PoolStep {
    /// Steps before now; 0 for the present one.
    pub(crate) ago: u32,
    /// Connections that were certainly checked out, on average; `None` where they could not be seen.
    pub(crate) active: Option<f64>,
    /// The most that were checked out at once.
    pub(crate) peak: Option<u64>,
    /// Open connections.
    pub(crate) open: Option<u64>,
    /// The limit; `None` where there is none, or it is not known.
    pub(crate) max: Option<u64>,
    /// The time in which a process, or all of them, had nothing left.
    pub(crate) saturated: Option<Duration>,
}

/// A failed part of a probe, with its repetitions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The first time, by the wall clock.
    pub(crate) first: SystemTime,
    /// The last time.
    pub(crate) last: SystemTime,
    /// The number of probes at which it failed this way.
    pub(crate) times: u32,
    /// The part of the probe.
    pub(crate) part: ProbePart,
    /// The last of these failures.
    pub(crate) failure: Failure,
}

/// A copy of the record, for one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct HourView {
    /// The steps, oldest first.
    pub(crate) steps: Vec<Step>,
    /// The steps of each application's pools, oldest first.
    pub(crate) pools: Vec<(SessionKey, Vec<PoolStep>)>,
    /// The last failures, newest first.
    pub(crate) faults: Vec<Fault>,
}

/// The last hour of a target.
#[derive(Debug)]
pub(crate) struct Hour {
    start: Instant,
    steps: VecDeque<Stored>,
    pools: Vec<(SessionKey, VecDeque<StoredPool>)>,
    faults: VecDeque<Fault>,
}

impl Hour {
    /// Starts an empty record.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, steps: VecDeque::new(), pools: Vec::new(), faults: VecDeque::new() }
    }

    /// Adds a published snapshot.
    pub(crate) fn add(&mut self, snapshot: &Snapshot) {
        let at = self.number(snapshot.taken);
        let new = stored(snapshot, at);
        match self.steps.back_mut() {
            Some(step) if step.at == at => step.combine(&new),
            Some(_) | None => push(&mut self.steps, new),
        }
        while self.steps.front().is_some_and(|step| is_old(step.at, at)) {
            self.steps.pop_front();
        }
        self.add_pools(snapshot, at);
        self.add_faults(snapshot);
    }

    /// Copies the record.
    pub(crate) fn view(&self, now: Instant) -> HourView {
        let now = self.number(now);
        let steps = self.steps.iter().filter(|step| !is_old(step.at, now));
        let pools = self.pools.iter().map(|(key, steps)| {
            let steps = steps.iter().filter(|step| !is_old(step.at, now));
            (key.clone(), steps.map(|step| step.show(now)).collect())
        });
        HourView {
            steps: steps.map(|step| step.show(now)).collect(),
            pools: pools.filter(|(_, steps): &(_, Vec<_>)| !steps.is_empty()).collect(),
            faults: self.faults.iter().rev().cloned().collect(),
        }
    }

    fn number(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.start);
        u32::try_from(since.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX)
    }

    fn add_pools(&mut self, snapshot: &Snapshot, at: u32) {
        self.pools.retain(|(_, steps)| steps.back().is_some_and(|step| !is_old(step.at, at)));
        let seen = snapshot.sight.pools.iter().filter(|pool| !pool.is_gone);
        for app in seen.filter_map(|pool| pool.now()) {
            let new = stored_pool(app, at);
            if let Some((_, steps)) = self.pools.iter_mut().find(|(key, _)| *key == app.key) {
                match steps.back_mut() {
                    Some(step) if step.at == at => step.combine(&new),
                    Some(_) | None => push(steps, new),
                }
                while steps.front().is_some_and(|step| is_old(step.at, at)) {
                    steps.pop_front();
                }
            } else if self.pools.len() < MOST_POOLS {
                self.pools.push((app.key.clone(), VecDeque::from([new])));
            }
        }
    }

    /// Views and the write probe are not tried without a connection, so they count only where there is one.
    fn add_faults(&mut self, snapshot: &Snapshot) {
        let is_connected = snapshot.query.is_ok();
        for (part, result) in snapshot.parts() {
            let Err(failure) = result else { continue };
            if is_connected || matches!(part, ProbePart::Connect | ProbePart::Query) {
                self.add_fault(part, failure, snapshot.taken_at);
            }
        }
    }

    fn add_fault(&mut self, part: ProbePart, failure: &Failure, at: SystemTime) {
        let message = failure.message.chars().take(LONGEST_MESSAGE).collect();
        let failure = Failure { message, ..failure.clone() };
        let is_same = |fault: &Fault| {
            let Failure { reason, phase, .. } = fault.failure;
            fault.part == part && reason == failure.reason && phase == failure.phase
        };
        let known = self.faults.iter().position(is_same).and_then(|n| self.faults.remove(n));
        let (first, times) = known.map_or((at, 0), |fault| (fault.first, fault.times));
        // The newest stands last.
        self.faults.push_back(Fault {
            first,
            last: at,
            times: times.saturating_add(1),
            part,
            failure,
        });
        while self.faults.len() > MOST_FAULTS {
            self.faults.pop_front();
        }
    }
}

fn is_old(at: u32, now: u32) -> bool {
    now.saturating_sub(at) >= STEPS
}

/// Grows in small pieces: doubling would take up to twice the memory of an hour.
fn push<T>(steps: &mut VecDeque<T>, step: T) {
    if steps.len() == steps.capacity() {
        steps.reserve_exact(STEPS as usize / 6);
    }
    steps.push_back(step);
}

fn micros(time: Duration) -> Option<u64> {
    u64::try_from(time.as_micros()).ok()
}

fn stored(snapshot: &Snapshot, at: u32) -> Stored {
    let mut phases = [Compact::NONE; PHASES];
    if let Some(Ok(connected)) = &snapshot.connect {
        let took = connected.timings.phases();
        for (place, (_, took)) in phases.iter_mut().zip(took) {
            *place = Compact::new(took.and_then(micros));
        }
    }
    let query = snapshot.query.as_ref().ok().and_then(|queried| micros(queried.query));
    let headroom = snapshot.views.tightest().map(|tightest| tightest.free);
    Stored {
        at,
        is_up: snapshot.is_up(),
        phases,
        query: Compact::new(query),
        headroom: Compact::new(headroom),
    }
}

fn stored_pool(app: &Application, at: u32) -> StoredPool {
    let step = &app.since_probe;
    // Before the second sample there is no time to average over.
    let mean = (step.active.as_millis() * 10).checked_div(step.sampled.as_millis());
    let mean = mean.and_then(|tenths| u64::try_from(tenths).ok());
    let tenths = app.active.map(|active| mean.unwrap_or(active.saturating_mul(10)));
    let millis = u64::try_from(step.saturated.as_millis()).ok();
    StoredPool {
        at,
        active: Compact::new(tenths),
        peak: Compact::new(app.active.map(|active| active.max(step.peak))),
        open: Compact::new(Some(app.open)),
        max: Compact::new(app.allowed.and_then(|allowed| allowed.max).map(u64::from)),
        saturated: Compact::new(millis.filter(|_| app.saturated_instances.is_some())),
    }
}

impl Stored {
    /// Takes in a later probe of the same step: the worst of both stays.
    fn combine(&mut self, later: &Self) {
        for (phase, later) in self.phases.iter_mut().zip(later.phases) {
            *phase = phase.max(later);
        }
        let fewest = [self.headroom.get(), later.headroom.get()].into_iter().flatten().min();
        self.headroom = Compact::new(fewest);
        self.query = self.query.max(later.query);
        self.is_up = later.is_up;
    }

    fn show(&self, now: u32) -> Step {
        Step {
            ago: now.saturating_sub(self.at),
            is_up: self.is_up,
            phases: self.phases.map(Compact::get),
            query: self.query.get(),
            headroom: self.headroom.get(),
        }
    }
}

impl StoredPool {
    fn combine(&mut self, later: &Self) {
        let sum = [self.saturated.get(), later.saturated.get()].into_iter().flatten();
        let step = u64::try_from(STEP.as_millis()).ok();
        self.saturated = Compact::new(sum.reduce(u64::saturating_add).min(step));
        self.peak = self.peak.max(later.peak);
        (self.active, self.open, self.max) = (later.active, later.open, later.max);
    }

    fn show(&self, now: u32) -> PoolStep {
        PoolStep {
            ago: now.saturating_sub(self.at),
            active: self.active.get().map(|tenths| tenths as f64 / 10.0),
            peak: self.peak.get(),
            open: self.open.get(),
            max: self.max.get(),
            saturated: self.saturated.get().map(Duration::from_millis),
        }
    }
}

/// The names of the phases, in the order of [`Step::phases`].
pub(crate) fn phase_names() -> impl Iterator<Item = &'static str> {
    Phase::all().map(Label::label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Reason;
    use crate::probe::fixture;
    use crate::view::application::Recent;

    fn at(start: Instant, second: u64, app: Application) -> Snapshot {
        let sight = fixture::sight([(app, 0)]);
        Snapshot { taken: start + Duration::from_secs(second), sight, ..fixture::snapshot() }
    }

    fn app(active: u64, peak: u64, saturated: u64) -> Application {
        let since_probe = Recent {
            active: Duration::from_secs(active * 10),
            peak,
            saturated: Duration::from_secs(saturated),
            sampled: Duration::from_secs(10),
        };
        Application { since_probe, ..fixture::application("shop", 8) }
    }

    #[test]
    fn numbers_keep_four_digits_and_none_stays_none() {
        let kept = |n| Compact::new(Some(n)).get();
        for n in [0, 1, 999, 4_095] {
            assert_eq!(kept(n), Some(n));
        }
        for n in [4_097, 65_537, 1_234_567, 134_000_000] {
            let back = kept(n).expect("a number");
            assert!(back <= n && (n - back) * 2_000 < n, "{n} became {back}");
        }
        assert_eq!(kept(u64::MAX), Some(0xffe << 15));
        assert_eq!(Compact::new(None).get(), None);
        assert_eq!(Compact::NONE.max(Compact::new(Some(7))).get(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_of_one_step_are_combined() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        hour.add(&at(start, 1, app(2, 8, 3)));
        hour.add(&at(start, 6, app(4, 5, 4)));
        hour.add(&at(start, 12, app(6, 6, 0)));
        let view = hour.view(start + Duration::from_secs(25));
        let (_, steps) = &view.pools[0];
        let shown: Vec<_> = steps.iter().map(|s| (s.ago, s.active, s.peak, s.saturated)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(
            shown,
            [(2, Some(4.0), Some(8), seconds(7)), (1, Some(6.0), Some(8), seconds(0))]
        );
        assert_eq!(view.steps.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_an_hour_is_gone() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        for second in (0..7_200).step_by(10) {
            hour.add(&at(start, second, app(1, 1, 0)));
        }
        let now = start + Duration::from_secs(7_190);
        let view = hour.view(now);
        assert_eq!((view.steps.len(), view.steps[0].ago), (360, 359));
        assert_eq!(view.pools[0].1.len(), 360);
        let later = hour.view(now + Duration::from_secs(3_600));
        assert!(later.steps.is_empty() && later.pools.is_empty(), "nothing is of this hour");
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_many_pools_and_failures_takes_less_than_64_kib() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        let names: Vec<String> = (0..20).map(|n| format!("application-{n:02}")).collect();
        for second in (0..7_200).step_by(10) {
            let apps = names.iter().map(|name| (fixture::application(name, 8), 0));
            let long = Failure { message: "x".repeat(10_000), ..Failure::deadline(STEP) };
            let extras = crate::view::ViewName::all()
                .map(|name| (ProbePart::View(name), Err(long.clone())))
                .collect();
            let sight = fixture::sight(apps);
            let taken = start + Duration::from_secs(second);
            hour.add(&Snapshot { taken, sight, extras, ..fixture::snapshot() });
        }
        assert_eq!(hour.pools.len(), MOST_POOLS);
        let steps = hour.steps.capacity() * size_of::<Stored>();
        let pools: usize =
            hour.pools.iter().map(|(_, s)| s.capacity() * size_of::<StoredPool>()).sum();
        // A record of failures that is full, each with the longest message.
        let faults = MOST_FAULTS * 2 * (size_of::<Fault>() + LONGEST_MESSAGE * 4);
        assert!(hour.faults.iter().all(|fault| fault.failure.message.len() <= LONGEST_MESSAGE));
        let all = steps + pools + faults.min(20 * 1024);
        assert!(all < 64 * 1024, "{steps} + {pools} + {faults}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_repeats_is_one_with_its_number() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        let failed = |reason| {
            let failure = Failure { reason, ..Failure::deadline(STEP) };
            Snapshot { query: Err(failure), ..fixture::snapshot() }
        };
        for reason in [Reason::Timeout, Reason::Refused, Reason::Refused, Reason::Timeout] {
            hour.add(&failed(reason));
        }
        let faults = hour.view(start).faults;
        let shown: Vec<_> = faults.iter().map(|f| (f.failure.reason, f.times)).collect();
        assert_eq!(shown, [(Reason::Timeout, 2), (Reason::Refused, 2)], "the newest first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_cannot_be_seen_leaves_a_gap_and_no_zero() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        hour.add(&at(start, 0, app(4, 4, 0)));
        let mut hidden = at(start, 10, app(0, 0, 0));
        let mut sight = (*hidden.sight).clone();
        sight.pools[0].blindness = Some(crate::probe::Blindness::NoPrivilege);
        hidden.sight = sight.into();
        hour.add(&hidden);
        let view = hour.view(start + Duration::from_secs(10));
        assert_eq!((view.steps.len(), view.pools[0].1.len()), (2, 1));
    }
}
