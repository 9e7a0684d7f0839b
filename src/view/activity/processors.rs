//! Active sessions that wait for nothing: they run on a processor, or are ready to run.
//!
//! The server's operating system does not show which of the two. While there are no more of them than the
//! server has cores, both are the same. Parallel workers are no client sessions and are not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SessionGroup, SessionState, SessionStats};
use crate::metrics::{Kind, Reading};
use crate::view::Views;
use crate::view::key::SessionKey;
use crate::view::series::{Labels, label};

/// The active sessions of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseLoad {
    /// The database.
    pub database: String,
    /// Active sessions that wait for nothing.
    pub on_cpu: u64,
    /// Active sessions that wait for a lock.
    pub locked: u64,
    /// The age of the oldest query that waits for a lock; zero if none does.
    pub longest_locked: Duration,
}

/// Counts the active sessions of each database. A database is shown, also with 0, while some of its sessions
/// may be seen.
pub(super) fn loads(
    groups: &[SessionGroup],
    labels: &Labels,
    sets: &BTreeMap<SessionKey, SessionStats>,
) -> Vec<DatabaseLoad> {
    let mut loads: BTreeMap<String, DatabaseLoad> = BTreeMap::new();
    for (key, _) in sets.iter().filter(|(key, s)| !key.database.is_empty() && s.are_visible()) {
        loads.entry(key.database.clone()).or_default();
    }
    for group in groups.iter().filter(|group| group.state == SessionState::Active) {
        let load = loads.entry(label(labels, &group.key).database.clone()).or_default();
        match group.waits_for.as_deref() {
            None => load.on_cpu += group.sessions,
            Some("Lock") => {
                load.locked += group.sessions;
                load.longest_locked = load.longest_locked.max(group.query.unwrap_or_default());
            }
            Some(_) => {}
        }
    }
    let named = loads.into_iter().map(|(database, load)| DatabaseLoad { database, ..load });
    named.collect()
}

/// The families of [`DatabaseLoad`].
pub(super) const READINGS: &[Reading<Views>] = &[Reading {
    name: "db_pool_server_on_cpu_connections",
    help: "Active connections that wait for nothing: they run on one of the server's processors, or are ready to. Above the number of its cores, sessions wait for a processor. Sessions that the exporter's role may not see, and parallel workers, are missing.",
    kind: Kind::Gauge,
    labels: &["database"],
    read: |views, out| {
        let loads = views.activity.iter().flat_map(|activity| &activity.loads);
        loads.for_each(|load| out.push([load.database.as_str()], load.on_cpu));
    },
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::group;

    fn active(application: &str, waits_for: Option<&str>, sessions: u64) -> SessionGroup {
        SessionGroup {
            waits_for: waits_for.map(str::to_owned),
            query: Some(Duration::from_secs(sessions)),
            ..group(application, SessionState::Active, sessions)
        }
    }

    fn count(groups: &[SessionGroup]) -> Vec<DatabaseLoad> {
        let mut sets: BTreeMap<SessionKey, SessionStats> = BTreeMap::new();
        groups.iter().for_each(|group| sets.entry(group.key.clone()).or_default().add(group));
        loads(groups, &Labels::new(), &sets)
    }

    #[test]
    fn on_cpu_are_active_sessions_without_a_wait_and_nothing_else() {
        let groups = [
            active("web", None, 3),
            active("web", Some("Lock"), 2),
            active("job", Some("Lock"), 1),
            active("web", Some("IO"), 7),
            active("web", Some("Client"), 7),
            group("web", SessionState::IdleInTransaction, 9),
            group("web", SessionState::Idle, 9),
        ];
        let expected = DatabaseLoad {
            database: "db".to_owned(),
            on_cpu: 3,
            locked: 3,
            longest_locked: Duration::from_secs(2),
        };
        assert_eq!(count(&groups), [expected]);
    }

    #[test]
    fn an_idle_database_has_0_and_one_that_may_not_be_seen_has_nothing() {
        let idle = count(&[group("web", SessionState::Idle, 4)]);
        assert_eq!(idle.iter().map(|load| load.on_cpu).collect::<Vec<_>>(), [0]);
        assert_eq!(count(&[group("web", SessionState::Unknown, 4)]), []);
    }
}
