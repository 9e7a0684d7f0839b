//! Limits the number of label sets of sessions, at once and over time.
//!
//! Every client chooses its own application_name, so without a limit a client could fill Prometheus with
//! series. The rules:
//!
//! - At most `series_limit` sets are shown at once.
//! - At most as many new sets are admitted in an hour. Otherwise names that change every second would make a
//!   new series each, although few exist at once.
//! - An admitted set stays while it has sessions and for [`RETAINED`] after that, because rates and alerts
//!   over a series with gaps are wrong.
//! - Of the sets that wait for admission, the one that has waited longest is next, so that a short-lived name
//!   does not displace a long-lived one.
//! - All others are rolled up into `application="other"` of their role and database. If even those are too
//!   many, they become one set with `other` in all labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::key::SessionKey;

/// The time for which a vanished series is still shown, at 0. So a graph falls to 0 instead of ending, an
/// alert with `for:` does not start anew when a job pauses, and `increase()` loses nothing.
pub(super) const RETAINED: Duration = Duration::from_secs(600);

/// The time in which `limit` new sets may be admitted.
const HOUR: Duration = Duration::from_secs(3_600);

/// The label set that each set's numbers are added to.
pub(super) type Labels = HashMap<SessionKey, SessionKey>;

/// The label set that a session's numbers are added to.
pub(super) fn label<'l>(labels: &'l Labels, key: &'l SessionKey) -> &'l SessionKey {
    labels.get(key).unwrap_or(key)
}

/// The label sets of a target.
#[derive(Debug)]
pub(super) struct Series {
    limit: usize,
    members: BTreeMap<SessionKey, Member>,
    /// The sets that have sessions but no room, and the start of their wait.
    waiting: BTreeMap<SessionKey, Instant>,
    /// A token bucket for admissions, in units of time. It fills with the time that passes, up to an hour; an
    /// admission costs an hour divided by `limit`.
    credit: Duration,
    refilled: Option<Instant>,
    next: u64,
    rolled: u64,
}

#[derive(Debug)]
struct Member {
    /// The order of admission: when room gets scarce, the oldest members keep theirs.
    order: u64,
    /// When it last had sessions.
    seen: Instant,
}

impl Series {
    /// Allows `limit` label sets, but at least one.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            members: BTreeMap::new(),
            waiting: BTreeMap::new(),
            credit: HOUR,
            refilled: None,
            next: 0,
            rolled: 0,
        }
    }

    /// Admits the sets of a scan, and returns the label set of each.
    pub(super) fn admit(&mut self, keys: BTreeSet<SessionKey>, now: Instant) -> Labels {
        self.members.retain(|_, member| now.duration_since(member.seen) <= RETAINED);
        self.refill(now);
        let alive = self.by_seniority(keys);
        let known = alive.iter().filter(|key| self.members.contains_key(*key)).count();
        let affordable = known + self.affordable();
        // Two limits for the sets that are kept. Newcomers may only use the room beside the sets that are gone
        // but still shown, or each new name would end the series of an old one early. Known members may use
        // that room as well: a series with sessions is worth more than one at 0.
        let beside_gone = fitting(&alive, self.limit.saturating_sub(self.gone(&alive)));
        let room = beside_gone.max(fitting(&alive, self.limit).min(known)).min(affordable);
        let (kept, rest) = alive.split_at(room);
        let pairs: BTreeSet<SessionKey> = rest.iter().map(SessionKey::rolled_up).collect();
        let fits = kept.len() + pairs.len() <= self.limit;
        let mut labels: Labels = kept.iter().map(|key| (key.clone(), key.clone())).collect();
        for key in rest {
            let label = if fits { key.rolled_up() } else { SessionKey::others() };
            labels.insert(key.clone(), label);
            // A member that has lost its room would otherwise be shown twice: as itself and rolled up.
            self.members.remove(key);
        }
        self.wait(rest, now);
        let admitted = u32::try_from(kept.len().saturating_sub(known)).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_sub(self.cost() * admitted);
        self.remember(labels.values().collect(), now);
        labels
    }

    /// The label sets that are shown.
    pub(super) fn members(&self) -> impl Iterator<Item = &SessionKey> {
        self.members.keys()
    }

    /// The number of sets that found no room, each counted once while it stays.
    pub(super) fn rolled(&self) -> u64 {
        self.rolled
    }

    fn refill(&mut self, now: Instant) {
        let before = self.refilled.replace(now).unwrap_or(now);
        self.credit = (self.credit + now.duration_since(before)).min(HOUR);
    }

    /// Returns the time that the admission of one set costs.
    fn cost(&self) -> Duration {
        HOUR / u32::try_from(self.limit).unwrap_or(u32::MAX)
    }

    /// Returns the number of sets that may be admitted now.
    fn affordable(&self) -> usize {
        let cost = self.cost().as_nanos().max(1);
        usize::try_from(self.credit.as_nanos() / cost).unwrap_or(usize::MAX)
    }

    /// Returns the number of members without sessions, which are still shown. The sets of what is rolled
    /// up are not counted.
    fn gone(&self, alive: &[SessionKey]) -> usize {
        let mut here: BTreeSet<SessionKey> = alive.iter().map(SessionKey::rolled_up).collect();
        here.insert(SessionKey::others());
        here.extend(alive.iter().cloned());
        self.members.keys().filter(|key| !here.contains(*key)).count()
    }

    /// Sorts members by their admission, and after them the others by the time that they have waited.
    fn by_seniority(&self, keys: BTreeSet<SessionKey>) -> Vec<SessionKey> {
        let mut alive: Vec<SessionKey> = keys.into_iter().collect();
        alive.sort_by_cached_key(|key| {
            let order = self.members.get(key).map_or(u64::MAX, |member| member.order);
            let since = self.waiting.get(key).copied();
            (order, since.is_none(), since)
        });
        alive
    }

    fn wait(&mut self, rest: &[SessionKey], now: Instant) {
        let mut waiting = BTreeMap::new();
        for key in rest {
            let since = self.waiting.remove(key);
            self.rolled += u64::from(since.is_none());
            waiting.insert(key.clone(), since.unwrap_or(now));
        }
        self.waiting = waiting;
    }

    fn remember(&mut self, shown: BTreeSet<&SessionKey>, now: Instant) {
        for key in shown {
            let next = &mut self.next;
            let member = self.members.entry(key.clone()).or_insert_with(|| {
                *next += 1;
                Member { order: *next, seen: now }
            });
            member.seen = now;
        }
        // The rolled-up sets need room too. The set that has been gone for longest makes room first; sets
        // with sessions are never removed here, because `admit` has already limited their number.
        while self.members.len() > self.limit {
            let gone = self.members.iter().filter(|(_, member)| member.seen < now);
            let Some((key, _)) = gone.min_by_key(|(_, member)| member.seen) else { return };
            let key = key.clone();
            self.members.remove(&key);
        }
    }
}

/// Returns the number of sets, counted from the first, that fit beside the rolled-up sets of the rest.
///
/// Goes from the last set to the first: with each set that is rolled up, one series is freed, and one
/// is needed if it is the first of its role and database. The first count that fits keeps the most.
/// If none fits, all but one are kept, and the rest becomes one set of `other`.
fn fitting(alive: &[SessionKey], limit: usize) -> usize {
    if alive.len() <= limit {
        return alive.len();
    }
    let mut pairs = BTreeSet::new();
    for (kept, key) in alive.iter().enumerate().rev() {
        pairs.insert((&key.database, &key.user));
        if kept + pairs.len() <= limit {
            return kept;
        }
    }
    limit.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Series, and the time of its scans.
    struct Scans {
        series: Series,
        now: Instant,
    }

    impl Scans {
        fn new(limit: usize) -> Self {
            Self { series: Series::new(limit), now: Instant::now() }
        }

        fn after(&mut self, pause: Duration, keys: BTreeSet<SessionKey>) -> Labels {
            self.now += pause;
            self.series.admit(keys, self.now)
        }

        fn shown(&self) -> Vec<&str> {
            self.series.members().map(|key| key.application.as_str()).collect()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn keys<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeSet<SessionKey> {
        names.into_iter().map(|name| SessionKey::new("db", "app", name)).collect()
    }

    fn numbered(range: std::ops::Range<u32>) -> BTreeSet<SessionKey> {
        range.map(|n| SessionKey::new("db", "app", &format!("a{n:05}"))).collect()
    }

    #[test]
    fn up_to_the_limit_every_set_has_its_own_labels() {
        let mut scans = Scans::new(100);
        let labels = scans.after(SECOND, numbered(0..100));
        assert!(labels.iter().all(|(key, label)| key == label));
        assert_eq!((scans.shown().len(), scans.series.rolled()), (100, 0));
    }

    #[test]
    fn beyond_it_the_newcomers_are_rolled_up_and_counted_once() {
        let mut scans = Scans::new(4);
        scans.after(SECOND, keys(["z", "y", "x"]));
        for _ in 0..3 {
            let labels = scans.after(SECOND, keys(["a", "b", "x", "y", "z"]));
            assert_eq!(labels[&SessionKey::new("db", "app", "a")].application, "other");
            assert_eq!(labels[&SessionKey::new("db", "app", "z")].application, "z");
            assert_eq!(scans.shown(), ["other", "x", "y", "z"]);
            assert_eq!(scans.series.rolled(), 2);
        }
    }

    #[test]
    fn ten_thousand_names_never_make_more_than_the_limit() {
        let mut scans = Scans::new(100);
        for turn in 0..5 {
            scans.after(SECOND, numbered(turn * 5_000..turn * 5_000 + 10_000));
            assert!(scans.shown().len() <= 100);
        }
    }

    #[test]
    fn names_that_come_and_go_make_no_more_series_over_time() {
        let mut scans = Scans::new(100);
        let mut ever = BTreeSet::new();
        for turn in 0..3_600 {
            let labels = scans.after(SECOND, numbered(turn * 40..turn * 40 + 40));
            ever.extend(labels.into_values());
            assert!(scans.shown().len() <= 100);
        }
        assert!((100..=201).contains(&ever.len()), "{} in an hour", ever.len());
    }

    #[test]
    fn a_name_that_stays_is_admitted_before_those_that_come_and_go() {
        let mut scans = Scans::new(10);
        scans.after(SECOND, numbered(0..1_000));
        let mut admitted = None;
        for turn in 1..1_200 {
            let mut names = numbered(turn * 1_000..turn * 1_000 + 5);
            names.extend(keys(["web"]));
            let labels = scans.after(SECOND, names);
            let is_shown = labels[&SessionKey::new("db", "app", "web")].application == "web";
            admitted = admitted.or(is_shown.then_some(turn));
        }
        assert!(admitted.is_some_and(|turn| turn <= 610), "{admitted:?}");
        assert!(scans.shown().contains(&"web"));
    }

    #[test]
    fn ten_thousand_roles_become_one_set_of_others() {
        let mut scans = Scans::new(10);
        let roles = (0..10_000).map(|n| SessionKey::new("db", &format!("r{n}"), ""));
        let labels = scans.after(SECOND, roles.collect());
        assert_eq!(labels.values().filter(|label| **label == SessionKey::others()).count(), 9_991);
        assert_eq!(scans.shown().len(), 10);
    }

    #[test]
    fn who_is_gone_is_shown_for_ten_more_minutes_and_keeps_its_room() {
        let mut scans = Scans::new(2);
        scans.after(SECOND, keys(["a", "b"]));
        scans.after(RETAINED, keys(["a"]));
        assert_eq!(scans.shown(), ["a", "b"]);
        scans.after(SECOND, keys(["a"]));
        assert_eq!(scans.shown(), ["a"]);
    }

    #[test]
    fn a_newcomer_waits_until_one_that_is_gone_is_not_shown_any_more() {
        let mut scans = Scans::new(3);
        scans.after(SECOND, keys(["a", "b", "c"]));
        let before = scans.after(SECOND, keys(["a", "new"]));
        assert_eq!(before[&SessionKey::new("db", "app", "new")].application, "other");
        let after = scans.after(RETAINED + SECOND * 600, keys(["a", "new"]));
        assert_eq!(after[&SessionKey::new("db", "app", "new")].application, "new");
    }
}
