//! How many may connect: to the server, as a role, to a database; and what server it is.
//!
//! Everything here may be read by every role. All three limits refuse with the same error, 53300.
//! <https://www.postgresql.org/docs/current/runtime-config-connection.html>

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::Views;
use super::error::{ViewError, column};
use crate::metrics::{Kind, Reading};

/// What limits connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerLimits {
    /// As the server names it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// As a number: 150018.
    pub version_number: i32,
    /// When it started, in seconds since 1970 by its clock.
    pub started: f64,
    /// Whether it is a standby, or still recovering.
    pub in_recovery: bool,
    /// All client connections together.
    pub max: u64,
    /// Of these, for superusers only.
    pub superuser_reserved: u64,
    /// Of these, for superusers and pg_use_reserved_connections; from 16 on, 0 before.
    pub reserved: u64,
    /// Who the exporter is on the server.
    pub own: OwnRole,
    /// Roles with a limit, that are not superusers: those ignore theirs.
    pub roles: Vec<(String, u64)>,
    /// Databases with a limit.
    pub databases: Vec<(String, u64)>,
    /// Roles and databases that have a limit too, but were left out: there are too many.
    pub left_out: u64,
}

/// Who the exporter is on the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnRole {
    /// Its role, by which its connections are counted.
    pub role: String,
    /// Its database.
    pub database: String,
    /// Whether no limit but the server's holds for it.
    pub superuser: bool,
    /// Whether it may take reserved connections.
    pub uses_reserved: bool,
    /// Whether it sees what other roles' sessions do.
    pub sees_all: bool,
}

/// The statement.
pub const SQL: &str = "\
    SELECT current_setting('server_version'), current_setting('server_version_num')::int4, \
    extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8, pg_catalog.pg_is_in_recovery(), \
    current_setting('max_connections')::int8, current_setting('superuser_reserved_connections')::int8, \
    coalesce(current_setting('reserved_connections', true), '0')::int8, \
    session_user::text, pg_catalog.current_database()::text, \
    coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user), false), \
    coalesce(pg_catalog.pg_has_role(session_user, pg_catalog.to_regrole('pg_use_reserved_connections')::oid, 'USAGE'), false), \
    pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
    ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper ORDER BY oid LIMIT $1), \
    ARRAY(SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper ORDER BY oid LIMIT $1), \
    ARRAY(SELECT datname::text FROM pg_catalog.pg_database WHERE datconnlimit >= 0 ORDER BY oid LIMIT $1), \
    ARRAY(SELECT datconnlimit FROM pg_catalog.pg_database WHERE datconnlimit >= 0 ORDER BY oid LIMIT $1), \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper) \
    + (SELECT count(*) FROM pg_catalog.pg_database WHERE datconnlimit >= 0)";

/// For [`SQL`]: at most so many roles, and so many databases.
pub fn parameters(most: &i64) -> [(&(dyn ToSql + Sync), Type); 1] {
    [(most, Type::INT8)]
}

/// Reads the statement's row.
///
/// # Errors
/// No row, or a column that is not as expected.
pub fn read(rows: &[Row]) -> Result<ServerLimits, ViewError> {
    let row = rows.first().ok_or(ViewError::Empty)?;
    let count = |n| Ok(u64::try_from(column::<i64>(row, n)?).unwrap_or(0));
    let roles = limited(row, 12)?;
    let databases = limited(row, 14)?;
    let told = (roles.len() + databases.len()) as u64;
    Ok(ServerLimits {
        version: column(row, 0)?,
        version_number: column(row, 1)?,
        started: column(row, 2)?,
        in_recovery: column(row, 3)?,
        max: count(4)?,
        superuser_reserved: count(5)?,
        reserved: count(6)?,
        own: OwnRole {
            role: column(row, 7)?,
            database: column(row, 8)?,
            superuser: column(row, 9)?,
            uses_reserved: column(row, 10)?,
            sees_all: column(row, 11)?,
        },
        roles,
        databases,
        left_out: count(16)?.saturating_sub(told),
    })
}

/// Names in one column, their limits in the next.
fn limited(row: &Row, first: usize) -> Result<Vec<(String, u64)>, ViewError> {
    let names: Vec<String> = column(row, first)?;
    let limits: Vec<i32> = column(row, first + 1)?;
    let limits = limits.into_iter().map(|limit| u64::try_from(limit).unwrap_or(0));
    Ok(names.into_iter().zip(limits).collect())
}

/// The families of [`ServerLimits`].
pub(super) const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_info",
        help: "1, with the server's version.",
        kind: Kind::Gauge,
        labels: &["version"],
        read: |views, out| {
            views.limits.iter().for_each(|limits| out.push([&limits.version], 1_u32))
        },
    },
    Reading {
        name: "db_pool_server_start_time_seconds",
        help: "When the server started, in seconds since 1970 by its clock.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.started)),
    },
    Reading {
        name: "db_pool_server_in_recovery",
        help: "1 on a standby, and while the server recovers.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.in_recovery)),
    },
    Reading {
        name: "db_pool_server_max_connections",
        help: "Client connections that the server allows, max_connections.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.max)),
    },
    Reading {
        name: "db_pool_server_superuser_reserved_connections",
        help: "Of these, reserved for superusers.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| {
            out.push([], views.limits.as_ref().map(|limits| limits.superuser_reserved));
        },
    },
    Reading {
        name: "db_pool_server_reserved_connections",
        help: "Of these, reserved for roles with pg_use_reserved_connections (PostgreSQL 16 and later).",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.reserved)),
    },
    Reading {
        name: "db_pool_server_role_connection_limit",
        help: "CONNECTION LIMIT of roles that have one and are no superusers.",
        kind: Kind::Gauge,
        labels: &["user"],
        read: |views, out| {
            let roles = views.limits.iter().flat_map(|limits| &limits.roles);
            roles.for_each(|(role, limit)| out.push([role], *limit));
        },
    },
    Reading {
        name: "db_pool_server_database_connection_limit",
        help: "CONNECTION LIMIT of databases that have one; superusers' sessions count, but are not refused.",
        kind: Kind::Gauge,
        labels: &["database"],
        read: |views, out| {
            let databases = views.limits.iter().flat_map(|limits| &limits.databases);
            databases.for_each(|(database, limit)| out.push([database], *limit));
        },
    },
];
