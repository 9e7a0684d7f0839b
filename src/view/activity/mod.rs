//! The client sessions of the server: one scan of pg_stat_activity.
//!
//! The scan costs the server 4 to 7 microseconds a session, so there is one a probe, and everything
//! else is derived from its rows. Sessions that are alike come as one row. A session with a slow query
//! has a row of its own, so that the query can be recognized at the next scan. The statement uses
//! clock_timestamp() rather than now(), because now() is the start of our own transaction: a statement
//! that began after it would have a negative age.
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>

mod processors;
mod sessions;
mod state;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

pub use processors::DatabaseLoad;
pub use sessions::{Activity, RunningQuery, SessionStats};
pub use state::SessionState;
pub(super) use waits::Waits;

use super::column::{ViewError, age, column, count, text, text_if_any};
use super::key::SessionKey;
use super::memory::{Digest, Memory};
use super::row::{Answer, Context, Query, View, ViewSource, view_name};
use super::settings::ViewSettings;
use super::slow;

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("activity"),
    doc: "client sessions by state, user and application, from `pg_stat_activity`; slow queries, the applications' pools and (with `limits`) the headroom follow from it",
    since: 0,
    on_by_default: true,
    is_sampled: true,
    source: ViewSource::Sql { ask, read },
    readings: &[sessions::READINGS, processors::READINGS, slow::READINGS],
};

/// The `application_name` of the exporter's own connections.
pub(crate) const EXPORTER_NAME: &str = "db_pool_exporter";

/// One row of the scan: sessions that agree in all fields below, or a single session with a slow query.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionGroup {
    /// Their database, user and application_name.
    pub key: SessionKey,
    /// True if they are in the database that the exporter is connected to.
    pub own_database: bool,
    /// True if they have the exporter's own role.
    pub own_role: bool,
    /// The client's address; `None` for a Unix socket, and where the exporter's role may not see it.
    pub address: Option<String>,
    /// Their state.
    pub state: SessionState,
    /// The wait_event_type of active sessions; `None` for those that do not wait.
    pub waits_for: Option<String>,
    /// The number of sessions.
    pub sessions: u64,
    /// The age of the oldest transaction.
    pub transaction: Option<Duration>,
    /// The age of the oldest query of the active sessions.
    pub query: Option<Duration>,
    /// The longest time that one of them has been idle in transaction.
    pub idle_in_transaction: Option<Duration>,
    /// The number of sessions that are idle in transaction beyond the leak threshold.
    pub leaked: u64,
    /// The slow query, in a row of its own.
    pub slow: Option<SlowQuery>,
}

impl SessionGroup {
    /// Reports whether these are sessions of an exporter, this one or another. They belong to no application's
    /// pool.
    pub fn is_exporter(&self) -> bool {
        self.key.application == EXPORTER_NAME
    }
}

/// A query that is still running and started longer ago than the threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowQuery {
    /// The process id of its backend.
    pub pid: i32,
    /// Its start in microseconds since 1970, by the server's clock. With the pid it identifies the query.
    pub started: i64,
    /// The wait_event of its backend.
    pub wait_event: Option<String>,
    /// Its text; `None` unless `show_query_text` is on.
    pub text: Option<String>,
}

/// The rows of one scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// The time of its answer.
    pub(super) at: Instant,
    pub(super) groups: Vec<SessionGroup>,
    /// Open connections of the exporter's own pool, which the scan leaves out.
    pub(super) own_open: u64,
}

impl Scan {
    /// Client connections on the server, the exporter's own included.
    pub(super) fn used(&self) -> u64 {
        self.groups.iter().map(|group| group.sessions).sum::<u64>() + self.own_open
    }
}

impl Answer for Scan {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        let Digest { settings, memory, views, scan, .. } = digest;
        let (labels, applications) = memory.take(settings, &self);
        memory.applications.begin_anew();
        views.activity = Some(Arc::new(Activity::new(&self, &labels, memory)));
        views.applications = applications;
        *scan = Some(*self);
    }

    fn sample(self: Box<Self>, settings: &ViewSettings, memory: &mut Memory) {
        memory.take(settings, &self);
        memory.keep(*self);
    }
}

/// The characters of a statement that are kept. The server does not cut it: on a text that is not in the
/// encoding of the database at hand, that can fail.
const LONGEST_TEXT: usize = 4_096;

/// The processes that are no clients although they have a role and a database: parallel workers.
///
/// Since PostgreSQL 17 the first max_connections numbers of backends are those of clients. Before, a
/// parallel worker that the exporter's role may not see looks like a client.
const NO_CLIENTS: &str = "\
    SELECT pg_catalog.pg_stat_get_backend_pid(b.id) FROM pg_catalog.pg_stat_get_backend_idset() AS b(id) \
    WHERE pg_catalog.current_setting('server_version_num')::int4 >= 170000 \
    AND b.id > pg_catalog.current_setting('max_connections')::int4";

fn ask(context: &Context<'_>) -> Query {
    let text = if context.settings.show_query_text {
        "max(CASE WHEN s.slow_pid IS NOT NULL THEN s.query END COLLATE \"C\")"
    } else {
        "NULL::text"
    };
    // EXTRACT returns numeric since 14, hence the casts. Without pg_read_all_stats, backend_type of
    // other roles' sessions is NULL; background workers among those have no role, and everybody may see
    // which are walsenders.
    let sql = format!(
        "SELECT s.database, s.role, s.application, s.own_database, s.own_role, s.address, s.state, s.waits_for, \
         s.slow_pid, count(*)::int8 AS sessions, \
         max(extract(epoch FROM s.clock - s.xact_start))::float8 AS transaction_age, \
         max(CASE WHEN s.state = 'active' THEN extract(epoch FROM s.clock - s.query_start) END)::float8 AS query_age, \
         max(CASE WHEN s.state LIKE 'idle in%' THEN extract(epoch FROM s.clock - s.state_change) END)::float8 AS idle_age, \
         count(*) FILTER (WHERE s.state LIKE 'idle in%' AND s.state_change < s.clock - $2 * interval '1 second')::int8 AS leaked, \
         (extract(epoch FROM max(s.query_start)) * 1000000)::int8 AS started, \
         max(s.wait_event) AS wait_event, {text} AS query_text \
         FROM (SELECT a.datname::text COLLATE \"C\" AS database, a.usename::text COLLATE \"C\" AS role, \
         a.application_name::text COLLATE \"C\" AS application, \
         coalesce(a.datname = pg_catalog.current_database(), false) AS own_database, \
         coalesce(a.usename = session_user, false) AS own_role, \
         pg_catalog.host(a.client_addr) AS address, a.state::text AS state, \
         CASE WHEN a.state = 'active' THEN a.wait_event_type::text END AS waits_for, \
         a.wait_event::text AS wait_event, a.query, \
         CASE WHEN a.state = 'active' AND a.query_start < pg_catalog.clock_timestamp() - $1 * interval '1 second' \
         THEN a.pid END AS slow_pid, a.xact_start, a.query_start, a.state_change, \
         pg_catalog.clock_timestamp() AS clock FROM pg_catalog.pg_stat_activity a \
         WHERE a.pid <> pg_catalog.pg_backend_pid() AND a.pid <> ALL ($3) \
         AND (a.backend_type = 'client backend' \
         OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL \
         AND a.pid <> ALL (ARRAY(SELECT w.pid FROM pg_catalog.pg_stat_get_wal_senders() w)) \
         AND a.pid <> ALL (ARRAY({NO_CLIENTS}))))) s \
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"
    );
    Query::new(sql)
        .with(context.settings.slow_threshold.as_secs_f64(), Type::FLOAT8)
        .with(context.settings.leak_threshold.as_secs_f64(), Type::FLOAT8)
        .with(context.own_pids.to_vec(), Type::INT4_ARRAY)
}

fn read(context: &Context<'_>, rows: &[Row]) -> Result<Box<dyn Answer>, ViewError> {
    let groups = rows.iter().map(group).collect::<Result<_, _>>()?;
    Ok(Box::new(Scan { at: Instant::now(), groups, own_open: context.own_open }))
}

fn group(row: &Row) -> Result<SessionGroup, ViewError> {
    Ok(SessionGroup {
        key: SessionKey {
            database: text(row, "database")?,
            user: text(row, "role")?,
            application: text(row, "application")?,
        },
        own_database: column(row, "own_database")?,
        own_role: column(row, "own_role")?,
        address: text_if_any(row, "address")?,
        state: SessionState::parse(text_if_any(row, "state")?.as_deref()),
        waits_for: text_if_any(row, "waits_for")?,
        sessions: count(row, "sessions")?,
        transaction: age(row, "transaction_age")?,
        query: age(row, "query_age")?,
        idle_in_transaction: age(row, "idle_age")?,
        leaked: count(row, "leaked")?,
        slow: slow_query(row)?,
    })
}

fn slow_query(row: &Row) -> Result<Option<SlowQuery>, ViewError> {
    let Some(pid) = column(row, "slow_pid")? else { return Ok(None) };
    Ok(Some(SlowQuery {
        pid,
        started: column::<Option<i64>>(row, "started")?.unwrap_or_default(),
        wait_event: text_if_any(row, "wait_event")?,
        text: text_if_any(row, "query_text")?.map(|text| text.chars().take(LONGEST_TEXT).collect()),
    }))
}
