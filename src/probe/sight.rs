//! The last view of the applications' pools, and the reason why a pool cannot be seen now.
//!
//! The last state that was seen is kept. So when a pool can no longer be seen, its last verdict is shown with its
//! age, and an exhausted pool does not turn healthy. The exporter's own pool proves nothing about an
//! application's, so it is judged only if no session of an application was ever seen and nothing hides them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{Failure, ProbePart, Queried, Snapshot};
use crate::metrics::UsageSource;
use crate::pool::Reason;
use crate::view::application::Unseen;
use crate::view::{Application, Databases, SessionKey, activity};

/// The time for which it is shown that the server ended all sessions of an application.
const ENDED_SHOWN: Duration = Duration::from_secs(60);

/// The last view of the applications' pools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// The pools of the applications that have settings, in their last seen state.
    pub pools: Vec<PoolSight>,
    /// The reason why none of them can be seen now; `None` if nothing hides them.
    pub blindness: Option<Blindness>,
}

/// An application's pools in their last seen state.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSight {
    /// The time and the state of the last sight; `None` if their sessions' states were never visible.
    pub last: Option<(Instant, Application)>,
    /// Its labels.
    pub key: SessionKey,
    /// The number of consecutive probes, up to the last one that saw them, at which a process had nothing
    /// left. Probes that saw nothing are left out.
    pub saturated_in_a_row: usize,
    /// The server ended all sessions a short while ago.
    pub ended: Option<SessionsEnded>,
    /// The reason why these pools cannot be seen now; `None` if nothing hides them.
    pub blindness: Option<Blindness>,
    /// True if its sessions ever fitted two numbers of processes.
    pub was_ambiguous: bool,
    /// True if the last session ended so long ago that the application is no longer shown.
    pub is_gone: bool,
}

/// The server, and not the application, ended all sessions of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionsEnded {
    /// The time at which they ended.
    pub at: Instant,
    /// Their number.
    pub sessions: u64,
}

/// The reason why an application's pool cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// The target cannot be used.
    Down,
    /// The view activity failed; the failure and what can be done about it.
    ViewFailed(String),
    /// A pooler stands between the exporter and the server.
    Pooler,
    /// The exporter's role may not see the sessions' states.
    NoPrivilege,
    /// The sessions do not track what they do.
    NotTracked,
}

impl Blindness {
    /// The reason, for people.
    pub fn reason(&self) -> String {
        match self {
            Self::Down => "the target is down".to_owned(),
            Self::ViewFailed(message) => format!("the view activity failed: {message}"),
            Self::Pooler => "PgBouncer or another pooler stands between, and the sessions on the server are its own: give the exporter the server's own address, or watch the pooler with kind: pgbouncer".to_owned(),
            Self::NoPrivilege => "the exporter's role may not see what its sessions do: GRANT pg_read_all_stats".to_owned(),
            Self::NotTracked => "its sessions have track_activities off, so the server does not know what they do".to_owned(),
        }
    }

    /// Reports whether the kind is the same, whatever a failure says.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Nothing is hidden where the view activity is off, or does not exist for the kind of target: then nobody
    /// wants to see it.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let part = ProbePart::View(activity::VIEW.name);
        let (_, scan) = snapshot.extras.iter().find(|(tried, _)| *tried == part)?;
        let Ok(queried) = &snapshot.query else { return Some(Self::Down) };
        if let Err(failure) = scan {
            return Some(Self::ViewFailed(explained(failure)));
        }
        (ServerPath::of(queried) == Some(ServerPath::Pooled)).then_some(Self::Pooler)
    }
}

/// What stands between the exporter and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPath {
    /// The exporter's sessions are the server's own.
    Direct,
    /// A pooler, which uses sessions of its own.
    Pooled,
}

impl ServerPath {
    /// Returns the path of a connection that answered; `None` where the answer does not show it.
    ///
    /// A server sends the process id of the backend at login. A pooler sends any number of its own, also a
    /// negative one, or none. Not every server knows its own: then it is not above 0.
    pub(super) fn of(queried: &Queried) -> Option<Self> {
        let (at_login, own) = (queried.server.pid, queried.identity.as_ref()?.pid);
        if at_login == 0 || own <= 0 {
            return None;
        }
        Some(if at_login == own { Self::Direct } else { Self::Pooled })
    }

    /// The label `pooler` of `db_pool_target_info`. It is empty while the path is not known.
    pub(super) fn label(path: Option<Self>) -> &'static str {
        match path {
            Some(Self::Direct) => "false",
            Some(Self::Pooled) => "true",
            None => "",
        }
    }
}

fn explained(failure: &Failure) -> String {
    let message = &failure.message;
    if failure.reason == Reason::NoPrivilege {
        format!("{message}: GRANT pg_read_all_stats to the exporter's role")
    } else {
        message.clone()
    }
}

/// The pools that were seen, kept from one probe to the next.
#[derive(Debug, Default)]
pub(super) struct SightMemory {
    pools: BTreeMap<SessionKey, PoolSight>,
    ended: EndedSessions,
}

impl SightMemory {
    /// Takes a probe in and returns what is seen. An application that serves its own status is seen whatever
    /// hides the server's sessions.
    pub(super) fn update(&mut self, snapshot: &Snapshot) -> Sight {
        let blindness = Blindness::of(snapshot);
        let (now, views) = (snapshot.taken, &snapshot.views);
        self.ended.read(now, views.databases.as_deref());
        let is_scanned = blindness.is_none() && views.activity.is_some();
        for pool in self.pools.values_mut() {
            pool.is_gone |= is_scanned;
            pool.blindness = blindness.clone();
        }
        for app in views.applications.iter().filter(|app| app.allowed.is_some()) {
            let is_own = app.source == UsageSource::Endpoint;
            if is_scanned || is_own {
                let pool = self.pools.entry(app.key.clone());
                let pool = pool.or_insert_with(|| PoolSight::new(&app.key));
                pool.see(app, now, &self.ended);
            }
        }
        self.forget();
        Sight { pools: self.pools.values().cloned().collect(), blindness }
    }

    /// Keeps one pool of an application that is gone, so that it stays known that there was one.
    fn forget(&mut self) {
        let (gone, here): (Vec<_>, Vec<_>) = self.pools.values().partition(|pool| pool.is_gone);
        let mut kept: BTreeMap<String, SessionKey> = BTreeMap::new();
        for pool in here.into_iter().chain(gone) {
            kept.entry(pool.key.application.clone()).or_insert_with(|| pool.key.clone());
        }
        self.pools.retain(|key, pool| !pool.is_gone || kept.get(&key.application) == Some(key));
    }
}

/// The sessions that the server ended, from the counters of pg_stat_database.
#[derive(Debug, Default)]
struct EndedSessions {
    /// The counters at the last probe that read them, by database.
    counters: BTreeMap<String, u64>,
    /// Increases of a short while, the oldest first.
    increases: VecDeque<(Instant, String, u64)>,
}

impl EndedSessions {
    fn read(&mut self, now: Instant, databases: Option<&Databases>) {
        for database in databases.iter().flat_map(|databases| &databases.shown) {
            let ended = database.killed + database.fatal;
            let before = self.counters.insert(database.name.clone(), ended).unwrap_or(ended);
            // After a reset of the statistics they begin anew.
            if ended > before {
                self.increases.push_back((now, database.name.clone(), ended - before));
            }
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) > ENDED_SHOWN;
        while self.increases.front().is_some_and(|(at, ..)| is_old(*at)) {
            self.increases.pop_front();
        }
    }

    /// The number of sessions of a database that were ended in the last minute.
    fn lately(&self, database: &str) -> u64 {
        let own = self.increases.iter().filter(|(_, name, _)| name == database);
        own.map(|(_, _, number)| number).sum()
    }
}

impl PoolSight {
    fn new(key: &SessionKey) -> Self {
        Self {
            last: None,
            key: key.clone(),
            saturated_in_a_row: 0,
            ended: None,
            blindness: None,
            was_ambiguous: false,
            is_gone: false,
        }
    }

    /// Returns the present state of the pool; `None` if it cannot be seen now.
    pub fn now(&self) -> Option<&Application> {
        let seen = self.last.as_ref().filter(|_| self.blindness.is_none());
        seen.map(|(_, application)| application)
    }

    fn see(&mut self, app: &Application, now: Instant, ended: &EndedSessions) {
        self.is_gone = false;
        self.blindness = app.unseen.map(|unseen| match unseen {
            Unseen::NoPrivilege => Blindness::NoPrivilege,
            Unseen::NotTracked => Blindness::NotTracked,
        });
        if self.blindness.is_some() {
            return;
        }
        self.saturated_in_a_row = if app.is_saturated() { self.saturated_in_a_row + 1 } else { 0 };
        self.ended = app.vanished.and_then(|vanished| {
            // Otherwise the application closed them itself.
            let is_by_server = ended.lately(&app.key.database) >= vanished.sessions;
            let is_recent = vanished.ago <= ENDED_SHOWN;
            let at = now.checked_sub(vanished.ago)?;
            let found = SessionsEnded { at, sessions: vanished.sessions };
            (is_by_server && is_recent).then_some(found)
        });
        let is_ambiguous = app.allowed.is_some_and(|allowed| allowed.instances.is_ambiguous());
        self.was_ambiguous |= is_ambiguous;
        self.last = Some((now, app.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::ServerIdentity;
    use crate::probe::fixture;

    fn with(scan: Result<(), Failure>) -> Snapshot {
        let extras = vec![(ProbePart::View(activity::VIEW.name), scan)];
        Snapshot { extras, ..fixture::snapshot() }
    }

    fn failure() -> Failure {
        Failure::deadline(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn what_hides_the_sessions_is_named_and_an_unwanted_view_hides_nothing() {
        assert_eq!(Blindness::of(&with(Ok(()))), None);
        let failed = Blindness::of(&with(Err(failure())));
        assert!(matches!(failed, Some(Blindness::ViewFailed(_))), "{failed:?}");
        let down = Snapshot { query: Err(failure()), ..with(Err(failure())) };
        assert_eq!(Blindness::of(&down), Some(Blindness::Down));
        assert_eq!(Blindness::of(&Snapshot { extras: Vec::new(), ..down }), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pooler_sends_a_number_of_its_own() {
        let between = |at_login: i32, own: i32| {
            let mut snapshot = with(Ok(()));
            if let Ok(queried) = &mut snapshot.query {
                queried.server.pid = at_login;
                queried.identity = Some(ServerIdentity {
                    pid: own,
                    started: 1,
                    in_recovery: false,
                    read_only: false,
                    user: "app".to_owned(),
                    database: "db".to_owned(),
                });
            }
            Blindness::of(&snapshot).is_some()
        };
        let seen = [(7, 7), (8, 7), (-8, 7), (0, 7), (7, -1)].map(|(a, b)| between(a, b));
        assert_eq!(seen, [false, true, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_stays_as_it_was_last_seen_and_a_row_goes_on_after_blindness() {
        let full = || {
            let views = crate::view::Views {
                activity: Some(std::sync::Arc::default()),
                applications: vec![fixture::application("shop", 8)],
                ..crate::view::Views::default()
            };
            Snapshot { views, ..with(Ok(())) }
        };
        let mut memory = SightMemory::default();
        memory.update(&full());
        let blind = memory.update(&with(Err(failure())));
        let [pool] = blind.pools.as_slice() else { panic!("{blind:?}") };
        assert!(pool.now().is_none() && pool.last.is_some());
        let again = memory.update(&full());
        assert_eq!(again.pools[0].saturated_in_a_row, 2);
        let empty = Snapshot { views: crate::view::Views::default(), ..full() };
        let views = crate::view::Views {
            activity: Some(std::sync::Arc::default()),
            ..crate::view::Views::default()
        };
        let gone = memory.update(&Snapshot { views, ..empty });
        assert!(gone.pools[0].is_gone, "it is not forgotten that there was one");
    }
}
