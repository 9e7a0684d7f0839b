//! Who is connected, and what they do: one scan of pg_stat_activity.
//!
//! The scan costs the server 4 to 7 microseconds a session, so there is one a probe, and everything
//! else is derived from its rows. Sessions that are alike come as one row; a slow query's session has a row
//! of its own, so that it can be told apart from the next one. clock_timestamp() and not now(): a
//! transaction that is older than the view's must not look younger.
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::Views;
use super::error::{ViewError, column};
use super::key::SessionKey;
use crate::metrics::{Kind, Label, Reading, Samples};

/// The application_name that the exporter gives itself.
pub const OURSELVES: &str = "db_pool_exporter";

/// What a session does; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SessionState {
    /// Runs a statement, waits for a lock, or for its client to take the answer.
    Active,
    /// Waits for the client's next command, outside of a transaction.
    Idle,
    /// Waits for the client's next command, inside of a transaction.
    IdleInTransaction,
    /// Likewise, and the transaction has failed.
    IdleInTransactionAborted,
    /// Calls a function by the fast path.
    Fastpath,
    /// track_activities is off in this session.
    Disabled,
    /// Logs in; told from PostgreSQL 18 on.
    Starting,
    /// The exporter's role may not see it: it needs pg_read_all_stats.
    Unknown,
}

impl SessionState {
    /// As the server writes it; NULL is what the role may not see.
    fn new(text: Option<&str>) -> Self {
        match text {
            Some("active") => Self::Active,
            Some("idle") => Self::Idle,
            Some("idle in transaction") => Self::IdleInTransaction,
            Some("idle in transaction (aborted)") => Self::IdleInTransactionAborted,
            Some("fastpath function call") => Self::Fastpath,
            Some("disabled") => Self::Disabled,
            Some("starting") => Self::Starting,
            Some(_) | None => Self::Unknown,
        }
    }

    /// Whether a pool has certainly lent such a session out.
    pub fn is_busy(self) -> bool {
        match self {
            Self::Active
            | Self::IdleInTransaction
            | Self::IdleInTransactionAborted
            | Self::Fastpath => true,
            Self::Idle | Self::Disabled | Self::Starting | Self::Unknown => false,
        }
    }
}

/// Sessions that are alike, or one whose query is slow: a row of the scan.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionGroup {
    /// Whose they are.
    pub key: SessionKey,
    /// Whether they are in the database that the exporter is connected to.
    pub own_database: bool,
    /// Whether they have the role that the exporter has.
    pub own_role: bool,
    /// What they do.
    pub state: SessionState,
    /// What kind of thing active ones wait for.
    pub waits_for: Option<String>,
    /// How many they are.
    pub sessions: u64,
    /// The age of the oldest transaction.
    pub transaction: Option<Duration>,
    /// The age of the oldest query of those that are active.
    pub query: Option<Duration>,
    /// How long the longest of those idle in transaction have been so.
    pub idle_in_transaction: Option<Duration>,
    /// How many are idle in transaction beyond the threshold.
    pub leaked: u64,
    /// The one query that is slow.
    pub slow: Option<SlowQuery>,
}

/// A query that is slow: still running, and started long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowQuery {
    /// Its backend's process id.
    pub pid: i32,
    /// When it began, in microseconds since 1970 by the server's clock.
    pub started: i64,
    /// What exactly it waits for.
    pub wait_event: Option<String>,
    /// Its text, when it is to be shown.
    pub text: Option<String>,
}

/// What the scan's statement asks with.
pub struct Question<'a> {
    /// An active session whose query is older is slow, in seconds.
    pub slow: f64,
    /// A session idle in transaction for longer is a leak, in seconds.
    pub leak: f64,
    /// Backends of the exporter itself, which are left out.
    pub ourselves: &'a [i32],
}

impl Question<'_> {
    /// For [`sql`].
    pub fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 3] {
        [
            (&self.slow, Type::FLOAT8),
            (&self.leak, Type::FLOAT8),
            (&self.ourselves, Type::INT4_ARRAY),
        ]
    }
}

/// The scan's statement; `text` is what is shown of a slow query's text.
pub fn sql(show_query_text: bool) -> String {
    let text = match show_query_text {
        true => "max(CASE WHEN s.slow IS NOT NULL THEN left(s.query, 4096) END)",
        false => "NULL::text",
    };
    // EXTRACT returns numeric since 14, hence the casts. Without pg_read_all_stats, backend_type of
    // other roles' sessions is NULL; background workers among those have no role.
    format!(
        "SELECT s.database, s.role, s.application, s.own_database, s.own_role, s.state, s.waits_for, \
         s.slow, count(*)::int8, \
         max(extract(epoch FROM s.clock - s.xact_start))::float8, \
         max(CASE WHEN s.state = 'active' THEN extract(epoch FROM s.clock - s.query_start) END)::float8, \
         max(CASE WHEN s.state LIKE 'idle in%' THEN extract(epoch FROM s.clock - s.state_change) END)::float8, \
         count(*) FILTER (WHERE s.state LIKE 'idle in%' AND s.state_change < s.clock - $2 * interval '1 second')::int8, \
         (extract(epoch FROM max(s.query_start)) * 1000000)::int8, max(s.wait_event), {text} \
         FROM (SELECT a.datname::text AS database, a.usename::text AS role, \
         a.application_name::text AS application, \
         coalesce(a.datname = pg_catalog.current_database(), false) AS own_database, \
         coalesce(a.usename = session_user, false) AS own_role, a.state::text AS state, \
         CASE WHEN a.state = 'active' THEN a.wait_event_type::text END AS waits_for, \
         a.wait_event::text AS wait_event, a.query, \
         CASE WHEN a.state = 'active' AND a.query_start < pg_catalog.clock_timestamp() - $1 * interval '1 second' \
         THEN a.pid END AS slow, a.xact_start, a.query_start, a.state_change, \
         pg_catalog.clock_timestamp() AS clock FROM pg_catalog.pg_stat_activity a \
         WHERE a.pid <> pg_catalog.pg_backend_pid() AND a.pid <> ALL ($3) \
         AND (a.backend_type = 'client backend' \
         OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL))) s \
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
}

/// Reads the scan's rows.
///
/// # Errors
/// A column that is not as expected.
pub fn read(rows: &[Row]) -> Result<Vec<SessionGroup>, ViewError> {
    rows.iter().map(group).collect()
}

fn group(row: &Row) -> Result<SessionGroup, ViewError> {
    let name = |n| Ok(column::<Option<&str>>(row, n)?.unwrap_or_default().to_owned());
    let age = |n| Ok(column::<Option<f64>>(row, n)?.map(seconds));
    let count = |n| Ok(u64::try_from(column::<i64>(row, n)?).unwrap_or(0));
    let key = SessionKey { database: name(0)?, user: name(1)?, application: name(2)? };
    let slow = match column::<Option<i32>>(row, 7)? {
        Some(pid) => Some(SlowQuery {
            pid,
            started: column::<Option<i64>>(row, 13)?.unwrap_or_default(),
            wait_event: column(row, 14)?,
            text: column(row, 15)?,
        }),
        None => None,
    };
    Ok(SessionGroup {
        key,
        own_database: column(row, 3)?,
        own_role: column(row, 4)?,
        state: SessionState::new(column(row, 5)?),
        waits_for: column(row, 6)?,
        sessions: count(8)?,
        transaction: age(9)?,
        query: age(10)?,
        idle_in_transaction: age(11)?,
        leaked: count(12)?,
        slow,
    })
}

/// The server's clock may step back: then an age is 0.
fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age).unwrap_or_default()
}

/// What the sessions of a label set do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStats {
    /// How many are in each state, in the order of [`SessionState`].
    pub states: [u64; SessionState::ALL.len()],
    /// The age of the oldest transaction.
    pub transaction: Option<Duration>,
    /// The age of the oldest query that is running.
    pub query: Option<Duration>,
    /// How long the longest has been idle in transaction.
    pub idle_in_transaction: Option<Duration>,
    /// Queries that run for longer than the threshold.
    pub slow: u64,
    /// Sessions that are idle in transaction beyond the threshold.
    pub leaked: u64,
}

impl SessionStats {
    /// Adds a row of the scan.
    pub fn add(&mut self, group: &SessionGroup) {
        self.states[group.state as usize] += group.sessions;
        self.transaction = self.transaction.max(group.transaction);
        self.query = self.query.max(group.query);
        self.idle_in_transaction = self.idle_in_transaction.max(group.idle_in_transaction);
        self.slow += u64::from(group.slow.is_some());
        self.leaked += group.leaked;
    }

    /// How many are in a state.
    pub fn count(&self, state: SessionState) -> u64 {
        self.states[state as usize]
    }

    /// How many there are.
    pub fn open(&self) -> u64 {
        self.states.iter().sum()
    }

    /// How many a pool has certainly lent out.
    pub fn busy(&self) -> u64 {
        SessionState::ALL
            .iter()
            .filter(|state| state.is_busy())
            .map(|state| self.count(*state))
            .sum()
    }

    /// Whether it can be told what they do: not when the role may not see a single one.
    pub fn are_visible(&self) -> bool {
        self.open() == 0 || self.count(SessionState::Unknown) < self.open()
    }
}

/// The sessions of a target, by label set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// Every label set that is shown, also those whose sessions are gone.
    pub sets: Vec<(SessionKey, SessionStats)>,
    /// Active sessions that wait, by database and by what kind of thing they wait for.
    pub waiting: Vec<(String, String, u64)>,
    /// The queries that are slow now, the oldest first.
    pub running: Vec<RunningQuery>,
    /// Client connections on the server, the exporter's own included.
    pub used: u64,
}

impl Activity {
    /// Whether there are sessions whose state the exporter's role may not see.
    pub fn hides(&self) -> bool {
        self.sets.iter().any(|(_, sessions)| sessions.count(SessionState::Unknown) > 0)
    }
}

/// A query that is slow now.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningQuery {
    /// Whose it is; not rolled up.
    pub key: SessionKey,
    /// What is known of it.
    pub slow: SlowQuery,
    /// Since when it runs, at the time of the scan.
    pub age: Duration,
    /// What its session does: active.
    pub state: SessionState,
    /// What kind of thing it waits for.
    pub waits_for: Option<String>,
}

impl RunningQuery {
    /// Of a row of the scan; `None` when it is not slow.
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
        help: "Client connections to the server, by state; the exporter's own to this target are left out. Unknown are those that the exporter's role may not see.",
        kind: Kind::Gauge,
        labels: &["database", "user", "application", "state"],
        read: |views, out| sets(views, |key, sessions| states(key, sessions, out)),
    },
    Reading {
        name: "db_pool_server_waiting_connections",
        help: "Active connections that wait, by the kind of what they wait for.",
        kind: Kind::Gauge,
        labels: &["database", "wait_event_type"],
        read: |views, out| {
            let waiting = views.activity.iter().flat_map(|activity| &activity.waiting);
            waiting.for_each(|(database, kind, n)| out.push([database, kind], *n));
        },
    },
    Reading {
        name: "db_pool_server_oldest_transaction_seconds",
        help: "Age of the oldest open transaction.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.transaction),
    },
    Reading {
        name: "db_pool_server_oldest_query_seconds",
        help: "Age of the oldest query that is running.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.query),
    },
    Reading {
        name: "db_pool_server_longest_idle_in_transaction_seconds",
        help: "Time since the last statement of the session that has been idle in its transaction for longest.",
        kind: Kind::Gauge,
        labels: BY_SET,
        read: |views, out| ages(views, out, |sessions| sessions.idle_in_transaction),
    },
    Reading {
        name: "db_pool_server_running_slow_queries",
        help: "Queries that have been running for longer than DB_MONITOR_SLOW_QUERY_THRESHOLD.",
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
        help: "Client connections on the server, the exporter's own included.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.activity.as_ref().map(|activity| activity.used)),
    },
];

fn sets(views: &Views, mut each: impl FnMut(&SessionKey, &SessionStats)) {
    let sets = views.activity.iter().flat_map(|activity| &activity.sets);
    sets.for_each(|(key, sessions)| each(key, sessions));
}

/// 0 when nobody has one; nothing when it cannot be seen.
fn ages(views: &Views, out: &mut Samples<'_>, age: impl Fn(&SessionStats) -> Option<Duration>) {
    sets(views, |key, sessions| {
        let age = age(sessions).unwrap_or_default();
        out.push(key.labels(), sessions.are_visible().then_some(age));
    });
}

/// The usual states always, the rare ones while there are any; only unknown where nothing is seen.
fn states(key: &SessionKey, sessions: &SessionStats, out: &mut Samples<'_>) {
    for state in SessionState::ALL {
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
        let n = sessions.count(*state);
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
        assert_eq!((hidden.open(), hidden.busy()), (3, 0));
        assert!(SessionStats::default().are_visible());
    }

    #[test]
    fn states_are_read_as_the_server_writes_them() {
        let check = |text, state| assert_eq!(SessionState::new(text), state);
        check(Some("idle in transaction (aborted)"), SessionState::IdleInTransactionAborted);
        check(Some("fastpath function call"), SessionState::Fastpath);
        check(Some("a new one"), SessionState::Unknown);
        check(None, SessionState::Unknown);
        for (n, state) in SessionState::ALL.iter().enumerate() {
            assert_eq!(*state as usize, n, "the order of ALL is that of the variants");
        }
    }
}
