//! Counts slow queries: each query that a scan saw above the threshold, once.
//!
//! A query is identified by its pid and start time; a pid alone is used again by later queries of the same
//! session. Every query that runs for longer than the threshold plus one sampling interval is counted. A
//! shorter one is counted only if a scan hits it after it became slow, with the probability (duration -
//! threshold) / interval. No query is counted twice: a query that cannot be remembered is not counted,
//! because the next scan would count it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Views;
use super::activity::SessionGroup;
use super::key::SessionKey;
use super::series::{Labels, label};
use crate::metrics::{Kind, Reading};

/// The slow queries of the last scans, and the number of all by label set.
#[derive(Debug)]
pub(super) struct SlowQueryCounter {
    capacity: usize,
    /// The number of the last scan.
    turn: u64,
    /// Counts all sightings, so that each has a [`Turn`] of its own.
    place: u64,
    /// The last sighting of each query. `last` and `order` hold the same pairs; a change of one is a change of
    /// both.
    last: HashMap<Query, Turn>,
    /// The queries by their last sighting, so that the one unseen for longest is found without a search.
    order: BTreeMap<Turn, Query>,
    totals: BTreeMap<SessionKey, u64>,
    /// The label sets that a snapshot has shown. The first one shows 0, because `increase()` cannot see
    /// a rise before a series' first sample.
    shown: BTreeSet<SessionKey>,
}

/// Pid and start time of a query.
type Query = (i32, i64);
/// A sighting of a query: the number of the scan, and its place among all sightings.
type Turn = (u64, u64);

impl SlowQueryCounter {
    /// Remembers at most `capacity` queries. With 0 nothing is counted.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            turn: 0,
            place: 0,
            last: HashMap::new(),
            order: BTreeMap::new(),
            totals: BTreeMap::new(),
            shown: BTreeSet::new(),
        }
    }

    /// Reports whether anything is counted.
    pub(super) fn is_counting(&self) -> bool {
        self.capacity > 0
    }

    /// Counts the slow queries of a scan that no scan has seen before.
    pub(super) fn count(&mut self, groups: &[SessionGroup], labels: &Labels) {
        self.turn += 1;
        let slow = groups.iter().filter_map(|group| Some((&group.key, group.slow.as_ref()?)));
        let slow: Vec<(&SessionKey, Query)> =
            slow.map(|(key, s)| (key, (s.pid, s.started))).collect();
        // Known queries are renewed first. Otherwise a new query could displace one that still runs, and the
        // next scan would count that one again.
        let (known, new): (Vec<_>, Vec<_>) =
            slow.into_iter().partition(|(_, query)| self.last.contains_key(query));
        known.into_iter().for_each(|(_, query)| self.touch(query));
        for (key, query) in new {
            if self.make_room() {
                self.touch(query);
                let label = label(labels, key);
                *self.totals.entry(label.clone()).or_default() += 1;
            }
        }
    }

    /// Returns the count of a label set for a snapshot: 0 for the first one that shows it.
    pub(super) fn show(&mut self, label: &SessionKey) -> u64 {
        if self.shown.insert(label.clone()) { 0 } else { self.total(label) }
    }

    /// The count of a label set.
    fn total(&self, label: &SessionKey) -> u64 {
        self.totals.get(label).copied().unwrap_or(0)
    }

    /// Forgets the counts of label sets that are not shown, if there are more than `most` counts.
    pub(super) fn prune(&mut self, most: usize, is_shown: impl Fn(&SessionKey) -> bool) {
        if self.totals.len() > most {
            self.totals.retain(|key, _| is_shown(key));
        }
        self.shown.retain(is_shown);
    }

    /// Marks a query as seen by this scan.
    fn touch(&mut self, query: Query) {
        if let Some(before) = self.last.remove(&query) {
            self.order.remove(&before);
        }
        self.place += 1;
        let turn = (self.turn, self.place);
        self.last.insert(query, turn);
        self.order.insert(turn, query);
    }

    /// Makes room for one query by forgetting the one that has been unseen for longest. Returns false if
    /// this scan has seen all of them.
    fn make_room(&mut self) -> bool {
        if self.last.len() < self.capacity {
            return true;
        }
        // A query that this scan has seen still runs and must not be forgotten. The others have ended, so they
        // cannot be counted again.
        match self.order.first_key_value() {
            Some((turn, _)) if turn.0 < self.turn => {
                if let Some((_, query)) = self.order.pop_first() {
                    self.last.remove(&query);
                }
                true
            }
            Some(_) | None => false,
        }
    }
}

/// The family of the counter.
pub(super) const READINGS: &[Reading<Views>] = &[Reading {
    name: "db_pool_server_slow_queries_total",
    help: "Queries seen running for longer than DB_MONITOR_SLOW_QUERY_THRESHOLD, each counted once. Complete only for queries that run for the threshold plus one sampling interval (slow_query_sampling); of shorter ones only those that a scan happens to see are counted.",
    kind: Kind::Counter,
    labels: &["database", "user", "application"],
    read: |views, out| views.slow.iter().for_each(|(key, n)| out.push(key.labels(), *n)),
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    fn scan(queries: &[Query]) -> Vec<SessionGroup> {
        queries.iter().map(|(pid, started)| fixture::slow(*pid, *started)).collect()
    }

    /// The count after each of the scans.
    fn counted(capacity: usize, scans: &[&[Query]]) -> Vec<u64> {
        let mut seen = SlowQueryCounter::new(capacity);
        let mut after = |queries: &&[Query]| {
            seen.count(&scan(queries), &Labels::new());
            assert!(seen.last.len() <= capacity && seen.last.len() == seen.order.len());
            seen.total(&SessionKey::new("db", "app", ""))
        };
        scans.iter().map(&mut after).collect()
    }

    #[test]
    fn a_query_counts_once_however_often_it_is_seen() {
        assert_eq!(counted(9, &[&[(1, 5)], &[(1, 5)], &[(1, 6)], &[(2, 6), (1, 6)]]), [1, 1, 2, 3]);
    }

    #[test]
    fn the_one_unseen_for_longest_is_forgotten_and_never_one_that_runs() {
        assert_eq!(counted(2, &[&[(1, 1)], &[(2, 1)], &[(1, 1), (3, 1)], &[(1, 1)]]), [1, 2, 3, 3]);
        assert_eq!(counted(1, &[&[(1, 1), (2, 1)], &[(1, 1), (2, 1)], &[(2, 1)]]), [1, 1, 2]);
    }

    #[test]
    fn without_memory_nothing_is_counted() {
        assert_eq!(counted(0, &[&[(1, 1)], &[(1, 1)]]), [0, 0]);
    }
}
