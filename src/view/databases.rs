//! Sessions over time, by database: pg_stat_database, which counts sessions since PostgreSQL 14.
//!
//! A session that an operator ends counts as killed, one that lost its client as abandoned, a crash of the
//! backend as fatal. The times lag: each session reports its own about once a second while it runs
//! statements, and an idle one not until its next statement.
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW>

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Views;
use super::column::{ViewError, count, milliseconds, text};
use super::dropped::CappedFamily;
use super::memory::Digest;
use super::row::{Answer, Context, Query, View, ViewSource, view_name};
use crate::metrics::{Kind, Reading, Samples};

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("databases"),
    doc: "sessions over time by database, from `pg_stat_database` (PostgreSQL 14 and later)",
    since: 14,
    on_by_default: true,
    is_sampled: false,
    source: ViewSource::Sql { ask, read },
    readings: &[READINGS],
};

/// The databases of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Databases {
    /// Those that are shown, the oldest first.
    pub shown: Vec<Database>,
    /// The number of databases beyond `series_limit`.
    pub left_out: u64,
}

impl Answer for Databases {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        digest.memory.dropped.add(CappedFamily::Databases, self.left_out);
        digest.views.databases = Some(Arc::new(*self));
    }
}

/// The sessions of a database since its statistics were reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Sessions that were established.
    pub sessions: u64,
    /// Sessions that ended because the connection to the client was lost.
    pub abandoned: u64,
    /// Sessions that ended by a fatal error.
    pub fatal: u64,
    /// Sessions that an operator ended.
    pub killed: u64,
    /// Time that all sessions together spent connected.
    pub session_time: Duration,
    /// Time in which they ran statements.
    pub active_time: Duration,
    /// Time in which they were idle in a transaction.
    pub idle_in_transaction_time: Duration,
}

fn ask(context: &Context<'_>) -> Query {
    let sql = "SELECT datname::text AS name, sessions, sessions_abandoned, sessions_fatal, \
               sessions_killed, session_time, active_time, idle_in_transaction_time, \
               count(*) OVER () AS databases FROM pg_catalog.pg_stat_database \
               WHERE datid <> 0 AND datname IS NOT NULL ORDER BY datid LIMIT $1";
    Query::new(sql).with(context.settings.row_limit(), Type::INT8)
}

fn read(_: &Context<'_>, rows: &[Row]) -> Result<Box<dyn Answer>, ViewError> {
    let shown: Vec<Database> = rows.iter().map(database).collect::<Result<_, _>>()?;
    let all = rows.first().map_or(Ok(0), |row| count(row, "databases"))?;
    let left_out = all.saturating_sub(shown.len() as u64);
    Ok(Box::new(Databases { shown, left_out }))
}

fn database(row: &Row) -> Result<Database, ViewError> {
    Ok(Database {
        name: text(row, "name")?,
        sessions: count(row, "sessions")?,
        abandoned: count(row, "sessions_abandoned")?,
        fatal: count(row, "sessions_fatal")?,
        killed: count(row, "sessions_killed")?,
        session_time: milliseconds(row, "session_time")?,
        active_time: milliseconds(row, "active_time")?,
        idle_in_transaction_time: milliseconds(row, "idle_in_transaction_time")?,
    })
}

/// The families of [`Databases`].
const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_sessions_total",
        help: "Sessions established to a database (PostgreSQL 14 and later).",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.sessions)),
    },
    Reading {
        name: "db_pool_server_sessions_ended_total",
        help: "Sessions that ended otherwise than by their client's wish: abandoned (the client was lost), fatal (an error), killed (by an operator).",
        kind: Kind::Counter,
        labels: &["database", "reason"],
        read: |views, out| each(views, |db| ended(db, out)),
    },
    Reading {
        name: "db_pool_server_session_seconds_total",
        help: "Time that sessions spent connected to a database, all sessions together. A session reports its time when it runs statements, so that of idle sessions lags.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.session_time)),
    },
    Reading {
        name: "db_pool_server_active_seconds_total",
        help: "Time that sessions spent running statements, all sessions together.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.active_time)),
    },
    Reading {
        name: "db_pool_server_idle_in_transaction_seconds_total",
        help: "Time that sessions spent idle in a transaction, all sessions together.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.idle_in_transaction_time)),
    },
];

fn each(views: &Views, each: impl FnMut(&Database)) {
    views.databases.iter().flat_map(|databases| &databases.shown).for_each(each);
}

fn ended(db: &Database, out: &mut Samples<'_>) {
    out.push([&db.name, "abandoned"], db.abandoned);
    out.push([&db.name, "fatal"], db.fatal);
    out.push([&db.name, "killed"], db.killed);
}
