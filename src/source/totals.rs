//! The counters of an application over all its processes: sums of the daemon's own, which never go back.
//!
//! A process counts from its own start, and takes its counters with it when it ends. To a sum is added what
//! a process has counted since it was last seen. Of one that has started since the daemon began to look,
//! that is everything. Of one that was there before, it is nothing at first: after a restart of the daemon,
//! whatever was added already would otherwise be added again.

use std::collections::{BTreeMap, HashMap};

use super::histogram::BucketCounts;
use crate::metrics::{CHECKOUT, CONNECT, QUERY};

/// Counters of vanished processes are kept for as many; the one that was seen least recently goes first.
const REMEMBERED: usize = 4096;

/// The maximum number of reasons of closed connections; further ones are `other`.
const REASONS: usize = 24;

/// The reasons that are shown from the start, so that `increase()` sees the first of each.
const KNOWN: [&str; 10] = [
    "overflow",
    "returned",
    "recycled",
    "invalidated",
    "ping_failed",
    "broken",
    "cancelled",
    "detached",
    "disposed",
    "abandoned",
];

/// The reason under which closes are counted that have too many different reasons, or reasons that are not
/// valid names.
const OTHER: &str = "other";

/// The counters of one process since its start, or sums of them. `None`: not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Check-outs by result: ok, time-out, error, cancelled. Shorter where fewer results are known.
    pub(super) checkouts: Vec<Option<u64>>,
    /// Connections opened.
    pub(super) connects: Option<u64>,
    /// Connects that failed.
    pub(super) failed: Option<u64>,
    /// Connections closed, by reason.
    pub(super) closed: Option<BTreeMap<String, u64>>,
    /// Times that check-outs waited.
    pub(super) waits: Option<BucketCounts>,
    /// Times of connects.
    pub(super) connect_times: Option<BucketCounts>,
    /// Times from check-outs to check-ins.
    pub(super) uses: Option<BucketCounts>,
}

impl Counts {
    /// Reports whether a counter is smaller than it was before.
    fn fell_since(&self, before: &Self) -> bool {
        let fell = |now: Option<u64>, then: Option<u64>| now.zip(then).is_some_and(|(n, t)| n < t);
        let fell_times = |now: &Option<BucketCounts>, then: &Option<BucketCounts>| {
            now.as_ref().zip(then.as_ref()).is_some_and(|(now, then)| now.fell_since(then))
        };
        let closed = |counts: &Self| {
            counts
                .closed
                .as_ref()
                .map(|closed| closed.values().copied().fold(0, u64::saturating_add))
        };
        self.checkouts.iter().zip(&before.checkouts).any(|(now, then)| fell(*now, *then))
            || fell(self.connects, before.connects)
            || fell(self.failed, before.failed)
            || fell(closed(self), closed(before))
            || fell_times(&self.waits, &before.waits)
            || fell_times(&self.connect_times, &before.connect_times)
            || fell_times(&self.uses, &before.uses)
    }

    /// Adds what was counted since `before`.
    fn add_since(&mut self, now: &Self, before: Option<&Self>) {
        if self.checkouts.len() < now.checkouts.len() {
            self.checkouts.resize(now.checkouts.len(), None);
        }
        for (n, (sum, count)) in self.checkouts.iter_mut().zip(&now.checkouts).enumerate() {
            let then = before.and_then(|before| before.checkouts.get(n).copied().flatten());
            add(sum, *count, then);
        }
        add(&mut self.connects, now.connects, before.and_then(|before| before.connects));
        add(&mut self.failed, now.failed, before.and_then(|before| before.failed));
        self.add_closed(now, before);
        let times = |counts: Option<&BucketCounts>| counts.cloned();
        add_times(
            &mut self.waits,
            now.waits.as_ref(),
            times(before.and_then(|b| b.waits.as_ref())),
            CHECKOUT,
        );
        add_times(
            &mut self.connect_times,
            now.connect_times.as_ref(),
            times(before.and_then(|b| b.connect_times.as_ref())),
            CONNECT,
        );
        add_times(
            &mut self.uses,
            now.uses.as_ref(),
            times(before.and_then(|b| b.uses.as_ref())),
            QUERY,
        );
    }

    fn add_closed(&mut self, now: &Self, before: Option<&Self>) {
        let Some(closed) = &now.closed else { return };
        // The specification's application names no reason: then the ten are no zeros, but unknown.
        let is_named = closed.keys().any(|reason| reason != OTHER) || closed.is_empty();
        let sums = self.closed.get_or_insert_default();
        if is_named {
            for reason in KNOWN {
                sums.entry(reason.to_owned()).or_insert(0);
            }
        }
        for (reason, count) in closed {
            let then = before.and_then(|before| before.closed.as_ref()?.get(reason)).unwrap_or(&0);
            let is_room = sums.contains_key(reason) || sums.len() < REASONS;
            let reason = if is_room && is_name(reason) { reason.as_str() } else { OTHER };
            let sum = sums.entry(reason.to_owned()).or_insert(0);
            *sum = sum.saturating_add(count.saturating_sub(*then));
        }
    }
}

fn is_name(reason: &str) -> bool {
    !reason.is_empty()
        && reason.len() <= 32
        && reason.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn add(sum: &mut Option<u64>, now: Option<u64>, before: Option<u64>) {
    if let Some(now) = now {
        let sum = sum.get_or_insert(0);
        *sum = sum.saturating_add(now.saturating_sub(before.unwrap_or(0)));
    }
}

fn add_times(
    sum: &mut Option<BucketCounts>,
    now: Option<&BucketCounts>,
    before: Option<BucketCounts>,
    bounds: &'static [f64],
) {
    if let Some(now) = now {
        sum.get_or_insert_with(|| BucketCounts::empty(bounds)).add_since(now, before.as_ref());
    }
}

/// A process at one poll.
pub(super) struct Seen<'s> {
    /// The identity of the process among the others.
    pub(super) instance: &'s str,
    /// When its counters started, in seconds since 1970; `None` if it does not tell.
    pub(super) started_at: Option<f64>,
    /// Its counters.
    pub(super) counts: &'s Counts,
}

/// A process's counters fell although it says that it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WentBack;

/// The sums of one application's processes.
#[derive(Debug)]
pub(super) struct Totals {
    sums: Counts,
    /// When the daemon began to look, in seconds since 1970.
    began: f64,
    seen: HashMap<String, Before>,
    polls: u64,
}

#[derive(Debug)]
struct Before {
    started_at: Option<f64>,
    counts: Counts,
    poll: u64,
}

impl Totals {
    /// Starts at 0. `began`: now, in seconds since 1970.
    pub(super) fn new(began: f64) -> Self {
        Self { sums: Counts::default(), began, seen: HashMap::new(), polls: 0 }
    }

    /// The sums so far.
    pub(super) fn sums(&self) -> &Counts {
        &self.sums
    }

    /// Begins the next poll.
    pub(super) fn next_poll(&mut self) {
        self.polls += 1;
        if self.seen.len() > REMEMBERED {
            let mut polls: Vec<u64> = self.seen.values().map(|before| before.poll).collect();
            polls.sort_unstable();
            let cut = polls.get(polls.len() - REMEMBERED).copied().unwrap_or(0);
            self.seen.retain(|_, before| before.poll >= cut);
        }
    }

    /// Adds what a process has counted since it was last seen.
    ///
    /// # Errors
    /// [`WentBack`]; then nothing is added, and the sums go on from the smaller numbers.
    pub(super) fn add(&mut self, process: &Seen<'_>) -> Result<(), WentBack> {
        let Seen { instance, started_at, counts } = *process;
        let now = Before { started_at, counts: counts.clone(), poll: self.polls };
        let before = self.seen.insert(instance.to_owned(), now);
        let same = before.filter(|before| before.started_at == started_at);
        match same {
            Some(before) if !counts.fell_since(&before.counts) => {
                self.sums.add_since(counts, Some(&before.counts));
            }
            // Without a time of start, counters that fell are those of a new process.
            Some(_) if started_at.is_none() => self.sums.add_since(counts, None),
            Some(_) => {
                self.sums.add_since(counts, Some(counts));
                return Err(WentBack);
            }
            None if started_at.is_some_and(|started| started >= self.began) => {
                self.sums.add_since(counts, None);
            }
            None => self.sums.add_since(counts, Some(counts)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ok: u64) -> Counts {
        let closed = [("overflow".to_owned(), ok)].into();
        Counts {
            checkouts: vec![Some(ok)],
            connects: Some(ok),
            closed: Some(closed),
            ..Counts::default()
        }
    }

    fn seen<'s>(instance: &'s str, started_at: f64, counts: &'s Counts) -> Seen<'s> {
        Seen { instance, started_at: Some(started_at), counts }
    }

    fn ok(totals: &Totals) -> Option<u64> {
        totals.sums().checkouts.first().copied().flatten()
    }

    #[test]
    fn restarts_and_ends_of_processes_do_not_make_the_sum_fall() {
        let mut totals = Totals::new(100.0);
        let mut poll = |all: &[(&str, f64, u64)]| {
            totals.next_poll();
            for (instance, started, number) in all {
                totals.add(&seen(instance, *started, &counts(*number))).unwrap();
            }
            ok(&totals).unwrap()
        };
        assert_eq!(poll(&[("a", 50.0, 1000)]), 0, "counted before the daemon looked");
        assert_eq!(poll(&[("a", 50.0, 1010), ("b", 101.0, 7)]), 17, "b is new");
        assert_eq!(poll(&[("b", 101.0, 8)]), 18, "a is gone");
        assert_eq!(poll(&[("c", 102.0, 2), ("b", 101.0, 8)]), 20, "c took a's place");
        assert_eq!(poll(&[("a", 50.0, 1015)]), 25, "a was only unreachable");
        assert_eq!(poll(&[("a", 103.0, 3)]), 28, "the same name, another start");
    }

    #[test]
    fn a_process_that_counts_back_adds_nothing_and_is_reported() {
        let mut totals = Totals::new(100.0);
        totals.add(&seen("a", 100.0, &counts(10))).unwrap();
        assert_eq!(totals.add(&seen("a", 100.0, &counts(4))), Err(WentBack));
        assert_eq!(ok(&totals), Some(10));
        totals.add(&seen("a", 100.0, &counts(5))).unwrap();
        assert_eq!(ok(&totals), Some(11));
    }

    #[test]
    fn without_a_time_of_start_counters_that_fall_are_a_new_process() {
        let mut totals = Totals::new(100.0);
        let mut poll = |number| {
            let counts = counts(number);
            totals.add(&Seen { instance: "http://a/", started_at: None, counts: &counts }).unwrap();
            ok(&totals).unwrap()
        };
        assert_eq!([poll(500), poll(503), poll(2), poll(4)], [0, 3, 5, 7]);
    }

    #[test]
    fn reasons_are_few_and_the_known_ones_start_at_0() {
        let mut totals = Totals::new(0.0);
        let names = |n: u8| format!("reason_{}", char::from(b'a' + n));
        let many: BTreeMap<String, u64> = (0..26).map(|n| (names(n), 1)).collect();
        let bad = [("Not a name".to_owned(), 5)].into_iter().chain(many).collect();
        let counts = Counts { closed: Some(bad), ..Counts::default() };
        totals.add(&seen("a", 1.0, &counts)).unwrap();
        let closed = totals.sums().closed.clone().unwrap();
        assert!(closed.len() <= REASONS + 1, "{closed:?}");
        assert_eq!((closed["overflow"], closed.values().sum::<u64>()), (0, 31));
    }

    #[test]
    fn the_memory_of_vanished_processes_is_bounded() {
        let mut totals = Totals::new(0.0);
        for n in 0..REMEMBERED + 100 {
            totals.next_poll();
            totals.add(&seen(&n.to_string(), 1.0, &counts(1))).unwrap();
        }
        assert!(totals.seen.len() <= REMEMBERED + 1);
        assert_eq!(ok(&totals), Some(u64::try_from(REMEMBERED + 100).unwrap()));
    }
}
