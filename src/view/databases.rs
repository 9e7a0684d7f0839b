//! Sessions over time, by database: pg_stat_database, which counts them from PostgreSQL 14 on.
//!
//! Killing a session on the server counts as killed, a client that died as abandoned, a crash of the
//! backend as fatal. The times lag by one report of each session.
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW>

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::Views;
use super::error::{ViewError, column};
use crate::metrics::{Kind, Reading, Samples};

/// The first version that counts sessions.
pub const SINCE: u32 = 14;

/// The databases of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Databases {
    /// Those that are told, the oldest first.
    pub told: Vec<Database>,
    /// How many were left out, because there are too many.
    pub left_out: u64,
}

/// What happened in a database since its statistics were reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Sessions that were established.
    pub sessions: u64,
    /// Of these, ended by the loss of the client's connection.
    pub abandoned: u64,
    /// Of these, ended by a fatal error.
    pub fatal: u64,
    /// Of these, ended by an operator.
    pub killed: u64,
    /// Time that sessions spent in all.
    pub session_time: Duration,
    /// Time in which they ran something.
    pub active_time: Duration,
    /// Time in which they were idle in a transaction.
    pub idle_in_transaction_time: Duration,
}

/// The statement.
pub const SQL: &str = "\
    SELECT datname::text, sessions, sessions_abandoned, sessions_fatal, sessions_killed, \
    session_time, active_time, idle_in_transaction_time, count(*) OVER () \
    FROM pg_catalog.pg_stat_database WHERE datid <> 0 AND datname IS NOT NULL ORDER BY datid LIMIT $1";

/// For [`SQL`]: at most so many databases.
pub fn parameters(most: &i64) -> [(&(dyn ToSql + Sync), Type); 1] {
    [(most, Type::INT8)]
}

/// Reads the statement's rows.
///
/// # Errors
/// A column that is not as expected.
pub fn read(rows: &[Row]) -> Result<Databases, ViewError> {
    let told: Vec<Database> = rows.iter().map(database).collect::<Result<_, _>>()?;
    let all = rows.first().map_or(Ok(0), |row| column::<i64>(row, 8))?;
    let left_out = u64::try_from(all).unwrap_or(0).saturating_sub(told.len() as u64);
    Ok(Databases { told, left_out })
}

fn database(row: &Row) -> Result<Database, ViewError> {
    let count = |n| Ok(u64::try_from(column::<i64>(row, n)?).unwrap_or(0));
    let time = |n| {
        let ms: f64 = column(row, n)?;
        Ok(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default())
    };
    Ok(Database {
        name: column(row, 0)?,
        sessions: count(1)?,
        abandoned: count(2)?,
        fatal: count(3)?,
        killed: count(4)?,
        session_time: time(5)?,
        active_time: time(6)?,
        idle_in_transaction_time: time(7)?,
    })
}

/// The families of [`Databases`].
pub(super) const READINGS: &[Reading<Views>] = &[
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
        help: "Time that sessions spent connected to a database.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.session_time)),
    },
    Reading {
        name: "db_pool_server_active_seconds_total",
        help: "Time that sessions spent running statements.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.active_time)),
    },
    Reading {
        name: "db_pool_server_idle_in_transaction_seconds_total",
        help: "Time that sessions spent idle in a transaction.",
        kind: Kind::Counter,
        labels: &["database"],
        read: |views, out| each(views, |db| out.push([&db.name], db.idle_in_transaction_time)),
    },
];

fn each(views: &Views, each: impl FnMut(&Database)) {
    views.databases.iter().flat_map(|databases| &databases.told).for_each(each);
}

fn ended(db: &Database, out: &mut Samples<'_>) {
    out.push([&db.name, "abandoned"], db.abandoned);
    out.push([&db.name, "fatal"], db.fatal);
    out.push([&db.name, "killed"], db.killed);
}
