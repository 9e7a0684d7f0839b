//! The result of a scan: sessions by label set, waits, and slow queries that run now.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use strum::VariantArray;

use super::processors::{self, DatabaseLoad};
use super::{Scan, SessionGroup, SessionState, SlowQuery};
use crate::metrics::{Kind, Label, Reading, Samples};
use crate::view::Views;
use crate::view::key::SessionKey;
use crate::view::memory::Memory;
use crate::view::series::{Labels, label};

/// The sessions of one label set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStats {
    /// The number of sessions in each state, in the order of [`SessionState`].
    pub states: [u64; SessionState::VARIANTS.len()],
    /// The age of the oldest transaction.
    pub transaction: Option<Duration>,
    /// The age of the oldest running query.
    pub query: Option<Duration>,
    /// The longest time that a session has been idle in transaction.
    pub idle_in_transaction: Option<Duration>,
    /// Running queries above the threshold.
    pub slow: u64,
    /// Sessions that are idle in transaction beyond the leak threshold.
    pub leaked: u64,
}

impl SessionStats {
    /// Adds a row of the scan.
    pub(crate) fn add(&mut self, group: &SessionGroup) {
        self.states[group.state as usize] += group.sessions;
        self.transaction = self.transaction.max(group.transaction);
        self.query = self.query.max(group.query);
        self.idle_in_transaction = self.idle_in_transaction.max(group.idle_in_transaction);
        self.slow += u64::from(group.slow.is_some());
        self.leaked += group.leaked;
    }

    /// The number of sessions in a state.
    pub(crate) fn count(&self, state: SessionState) -> u64 {
        self.states[state as usize]
    }

    /// The number of sessions that are certainly checked out of their pools.
    pub(crate) fn busy(&self) -> u64 {
        SessionState::VARIANTS.iter().filter(|s| s.is_busy()).map(|s| self.count(*s)).sum()
    }

    /// The number of sessions in all states.
    pub(crate) fn open(&self) -> u64 {
        self.states.iter().sum()
    }

    /// Reports whether the exporter's role may see the state of at least one session.
    pub(crate) fn are_visible(&self) -> bool {
        self.open() == 0 || self.count(SessionState::Unknown) < self.open()
    }
}

/// The client sessions of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// Every label set that is shown, also sets with sessions that have all ended a short while ago.
    pub sets: Vec<(SessionKey, SessionStats)>,
    /// The number of waiting active sessions, by database and wait_event_type.
    pub waiting: Vec<(String, String, u64)>,
    /// Active sessions by database, also those that wait for nothing.
    pub loads: Vec<DatabaseLoad>,
    /// The slow queries that run now, the oldest first.
    pub running: Vec<RunningQuery>,
    /// Client connections on the server, the exporter's own included.
    pub used: u64,
}

impl Activity {
    pub(super) fn new(scan: &Scan, labels: &Labels, memory: &mut Memory) -> Self {
        let members = memory.series.members().map(|key| (key.clone(), SessionStats::default()));
        let mut sets: BTreeMap<SessionKey, SessionStats> = members.collect();
        for group in &scan.groups {
            sets.entry(label(labels, &group.key).clone()).or_default().add(group);
        }
        let mut running: Vec<RunningQuery> =
            scan.groups.iter().filter_map(RunningQuery::new).collect();
        running.sort_by_key(|running| Reverse(running.age));
        Self {
            waiting: memory.waits.count(scan.at, &scan.groups, labels, &sets),
            loads: processors::loads(&scan.groups, labels, &sets),
            sets: sets.into_iter().collect(),
            running,
            used: scan.used(),
        }
    }

    /// Reports whether the exporter's role may not see the state of some sessions.
    pub(crate) fn hides(&self) -> bool {
        self.sets.iter().any(|(_, sessions)| sessions.count(SessionState::Unknown) > 0)
    }
}

/// A slow query that runs now.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningQuery {
    /// Its session's database, user and application_name, even where these have no series of their own.
    pub key: SessionKey,
    /// Its pid, start, wait event and text.
    pub slow: SlowQuery,
    /// Time from its start to the scan.
    pub age: Duration,
    /// Its session's state: active.
    pub state: SessionState,
    /// Its session's wait_event_type.
    pub waits_for: Option<String>,
}

impl RunningQuery {
    /// Reads a row of the scan; `None` when it is not a slow query.
    pub fn new(group: &SessionGroup) -> Option<Self> {
        Some(Self {
            key: group.key.clone(),
            slow: group.slow.clone()?,
            age: group.query.unwrap_or_default(),
            state: group.state,
            waits_for: group.waits_for.clone(),
        })
    }
}

const BY_SET: &[&str] = &["database", "user", "application"];

/// The families of [`Activity`].
pub(super) const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_connections",
        help: "Client connections to the server by state, without the exporter's own to this target. State unknown: the exporter's role may not see it and needs pg_read_all_stats; before PostgreSQL 17 such parallel workers are among them.",
        kind: Kind::Gauge,
        labels: &["database", "user", "application", "state"],
        read: |views, out| sets(views, |key, sessions| states(key, sessions, out)),
    },
    Reading {
        name: "db_pool_server_waiting_connections",
        help: "Active connections that wait, by wait_event_type. Sessions that the exporter's role may not see are missing.",
        kind: Kind::Gauge,
        labels: &["database", "wait_event_type"],
        read: |views, out| {
            let waiting = views.activity.iter().flat_map(|activity| &activity.waiting);
            waiting.for_each(|(database, kind, n)| out.push([database, kind], *n));
        },
    },
    Reading {
        name: "db_pool_server_oldest_transaction_seconds",
        help: "Age of the oldest open transaction; 0 when none is open.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.transaction),
    },
    Reading {
        name: "db_pool_server_oldest_query_seconds",
        help: "Age of the oldest running query; 0 when none is running.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.query),
    },
    Reading {
        name: "db_pool_server_longest_idle_in_transaction_seconds",
        help: "Longest time that a session has been idle in transaction, since its last statement; 0 when none is.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.idle_in_transaction),
    },
    Reading {
        name: "db_pool_server_running_slow_queries",
        help: "Queries that have been running for longer than DB_MONITOR_SLOW_QUERY_THRESHOLD at the moment of the probe.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| {
            sets(views, |key, sessions| {
                let slow = sessions.are_visible().then_some(sessions.slow);
                out.push(key.labels(), slow);
            });
        },
    },
    Reading {
        name: "db_pool_server_used_connections",
        help: "Client connections on the server, the exporter's own included. Logins in progress are missing before PostgreSQL 18, though each holds a connection slot.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.activity.as_ref().map(|activity| activity.used)),
    },
];

fn sets(views: &Views, mut each: impl FnMut(&SessionKey, &SessionStats)) {
    let sets = views.activity.iter().flat_map(|activity| &activity.sets);
    sets.for_each(|(key, sessions)| each(key, sessions));
}

/// Writes 0 where no session has such an age, and nothing where it cannot be seen.
fn ages(views: &Views, out: &mut Samples<'_>, age: impl Fn(&SessionStats) -> Option<Duration>) {
    sets(views, |key, sessions| {
        let age = age(sessions).unwrap_or_default();
        out.push(key.labels(), sessions.are_visible().then_some(age));
    });
}

/// Writes the usual states always and the rare ones only while there are such sessions. Where no state
/// can be seen, only `unknown` is written: 0 active would be false.
fn states(key: &SessionKey, sessions: &SessionStats, out: &mut Samples<'_>) {
    for state in SessionState::all() {
        let usual = match state {
            SessionState::Active
            | SessionState::Idle
            | SessionState::IdleInTransaction
            | SessionState::IdleInTransactionAborted => sessions.are_visible(),
            SessionState::Fastpath
            | SessionState::Disabled
            | SessionState::Starting
            | SessionState::Unknown => false,
        };
        let n = sessions.count(state);
        out.push(key.labels_and(state.label()), (usual || n > 0).then_some(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_seen_is_unknown_and_not_zero() {
        let mut hidden = SessionStats::default();
        hidden.states[SessionState::Unknown as usize] = 3;
        assert!(!hidden.are_visible());
        assert_eq!(hidden.open(), 3);
        assert!(SessionStats::default().are_visible());
    }
}
