//! Limits the label sets of sessions.
//!
//! Any client chooses its application_name, so without a limit a client could fill Prometheus with
//! series. A set that has been admitted stays as long as it has sessions, because a series that comes
//! and goes is worse than none. Sets beyond the limit are rolled up into `application="other"` of their
//! role and database, and when even those are too many, into one set of `other`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::key::SessionKey;

/// Snapshots for which a vanished series is still shown, at 0. A graph then falls to 0, and `rate()` of
/// the last scrapes has a sample to end at.
pub(super) const RETAINED: u32 = 3;

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
    next: u64,
    rolled: u64,
}

#[derive(Debug)]
struct Member {
    /// The order of admission: when room gets scarce, the oldest members keep theirs.
    order: u64,
    /// The number of snapshots without sessions, up to the last one.
    missing: u32,
    /// True if a scan since the last snapshot has seen sessions.
    here: bool,
}

impl Series {
    /// Allows `limit` label sets, but at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), members: BTreeMap::new(), next: 0, rolled: 0 }
    }

    /// Admits the sets of a scan, and returns the label set of each.
    pub(super) fn admit(&mut self, keys: BTreeSet<SessionKey>) -> Labels {
        let alive = self.by_seniority(keys);
        let (kept, rest) = alive.split_at(fitting(&alive, self.limit));
        let pairs: BTreeSet<SessionKey> = rest.iter().map(SessionKey::rolled_up).collect();
        let fits = kept.len() + pairs.len() <= self.limit;
        let mut labels: Labels = kept.iter().map(|key| (key.clone(), key.clone())).collect();
        for key in rest {
            let label = if fits { key.rolled_up() } else { SessionKey::others() };
            labels.insert(key.clone(), label);
            // A member that has lost its room would otherwise be shown twice: as itself and rolled up.
            self.members.remove(key);
        }
        self.rolled += u64::try_from(rest.len()).unwrap_or(u64::MAX);
        self.remember(labels.values().collect());
        labels
    }

    /// Ends a snapshot: forgets the sets that have been without sessions for too long.
    pub(super) fn age(&mut self) {
        for member in self.members.values_mut() {
            member.missing = if member.here { 0 } else { member.missing + 1 };
            member.here = false;
        }
        self.members.retain(|_, member| member.missing <= RETAINED);
    }

    /// The label sets that are shown.
    pub(super) fn members(&self) -> impl Iterator<Item = &SessionKey> {
        self.members.keys()
    }

    /// The number of sets that were rolled up, added up scan by scan.
    pub(super) fn rolled(&self) -> u64 {
        self.rolled
    }

    /// Sorts members by their admission, and after them the others by name.
    fn by_seniority(&self, keys: BTreeSet<SessionKey>) -> Vec<SessionKey> {
        let mut alive: Vec<SessionKey> = keys.into_iter().collect();
        alive.sort_by_cached_key(|key| self.members.get(key).map_or(u64::MAX, |m| m.order));
        alive
    }

    fn remember(&mut self, shown: BTreeSet<&SessionKey>) {
        for key in shown {
            let next = &mut self.next;
            let member = self.members.entry(key.clone()).or_insert_with(|| {
                *next += 1;
                Member { order: *next, missing: 0, here: true }
            });
            member.here = true;
        }
        // Sets without sessions make room for those that have some.
        while self.members.len() > self.limit {
            let gone = self.members.iter().filter(|(_, member)| !member.here);
            let Some((key, _)) = gone.max_by_key(|(_, member)| member.missing) else { return };
            let key = key.clone();
            self.members.remove(&key);
        }
    }
}

/// The number of sets, from the first, that can be shown beside the sets that the rest is rolled up into.
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
    limit - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: impl IntoIterator<Item = String>) -> BTreeSet<SessionKey> {
        names.into_iter().map(|name| SessionKey::new("db", "app", &name)).collect()
    }

    fn numbered(range: std::ops::Range<u32>) -> BTreeSet<SessionKey> {
        keys(range.map(|n| format!("a{n:05}")))
    }

    fn shown(series: &Series) -> Vec<String> {
        series.members().map(|key| key.application.clone()).collect()
    }

    #[test]
    fn up_to_the_limit_every_set_has_its_own_labels() {
        let mut series = Series::new(100);
        let labels = series.admit(numbered(0..100));
        assert!(labels.iter().all(|(key, label)| key == label));
        assert_eq!((series.members().count(), series.rolled()), (100, 0));
    }

    #[test]
    fn beyond_it_the_newcomers_are_rolled_up_and_counted() {
        let mut series = Series::new(4);
        series.admit(keys(["z".to_owned(), "y".to_owned(), "x".to_owned()]));
        series.age();
        let all = ["a", "b", "x", "y", "z"].map(str::to_owned);
        let labels = series.admit(keys(all));
        assert_eq!(labels[&SessionKey::new("db", "app", "a")].application, "other");
        assert_eq!(labels[&SessionKey::new("db", "app", "z")].application, "z");
        assert_eq!(shown(&series), ["other", "x", "y", "z"]);
        assert_eq!(series.rolled(), 2);
    }

    #[test]
    fn ten_thousand_names_never_make_more_than_the_limit() {
        let mut series = Series::new(100);
        for turn in 0..5 {
            series.admit(numbered(turn * 5_000..turn * 5_000 + 10_000));
            assert!(series.members().count() <= 100);
            series.age();
        }
    }

    #[test]
    fn ten_thousand_roles_become_one_set_of_others() {
        let mut series = Series::new(10);
        let roles = (0..10_000).map(|n| SessionKey::new("db", &format!("r{n}"), ""));
        let labels = series.admit(roles.collect());
        assert_eq!(labels.values().filter(|label| **label == SessionKey::others()).count(), 9_991);
        assert_eq!(series.members().count(), 10);
    }

    #[test]
    fn who_is_gone_is_shown_for_three_more_snapshots() {
        let mut series = Series::new(10);
        series.admit(numbered(0..2));
        series.age();
        for _ in 0..RETAINED {
            series.admit(numbered(0..1));
            series.age();
            assert_eq!(series.members().count(), 2);
        }
        series.admit(numbered(0..1));
        series.age();
        assert_eq!(shown(&series), ["a00000"]);
    }

    #[test]
    fn who_is_gone_makes_room_first() {
        let mut series = Series::new(2);
        series.admit(numbered(0..2));
        series.age();
        let labels = series.admit(numbered(2..4));
        assert!(labels.iter().all(|(key, label)| key == label));
        assert_eq!(shown(&series), ["a00002", "a00003"]);
    }
}
