//! The limits of the server, of roles and of databases on connections, and the server's version.
//!
//! Every role may read all of this. The server refuses a connection beyond any of the three limits with
//! the same error, 53300.
//! <https://www.postgresql.org/docs/current/runtime-config-connection.html>

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::column::{ViewError, column, count, text, texts};
use super::dropped::CappedFamily;
use super::memory::Digest;
use super::row::{Answer, Context, Query, View, ViewSource, view_name};
use super::{Views, headroom};
use crate::metrics::{Kind, Reading};

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("limits"),
    doc: "`max_connections`, reserved connections, the CONNECTION LIMIT of roles and databases, and the server's version; with `activity` the headroom",
    since: 0,
    on_by_default: true,
    is_sampled: false,
    source: ViewSource::Sql { ask, read },
    readings: &[READINGS, headroom::READINGS],
};

/// The limits on connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerLimits {
    /// The setting server_version: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The start of the server, in seconds since 1970 by its clock.
    pub started: f64,
    /// True on a standby, and while the server recovers.
    pub in_recovery: bool,
    /// max_connections: all client connections together.
    pub max: u64,
    /// Connections of these that only superusers may use.
    pub superuser_reserved: u64,
    /// Connections of these that only superusers and members of pg_use_reserved_connections may use.
    /// PostgreSQL 16 and later; 0 before.
    pub reserved: u64,
    /// The exporter's own role and database.
    pub own: OwnRole,
    /// Roles with a limit, without superusers: theirs does not apply.
    pub roles: Vec<(String, u64)>,
    /// Of these, the roles that may use the reserved connections.
    pub reserved_roles: BTreeSet<String>,
    /// Databases with a limit.
    pub databases: Vec<(String, u64)>,
    /// The number of limited roles and databases beyond `series_limit`.
    pub left_out: u64,
}

impl Answer for ServerLimits {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        digest.memory.dropped.add(CappedFamily::Roles, self.left_out);
        digest.views.limits = Some(Arc::new(*self));
    }
}

/// The role and the database of the exporter's own connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnRole {
    /// The role that the server counts the connections for.
    pub role: String,
    /// The database.
    pub database: String,
    /// True for a superuser, for whom only max_connections applies.
    pub superuser: bool,
    /// True if it may use the reserved connections.
    pub uses_reserved: bool,
    /// True if it sees the state of other roles' sessions, as a member of pg_read_all_stats.
    pub sees_all: bool,
}

const SQL: &str = "\
    SELECT current_setting('server_version') AS version, \
    extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8 AS started, \
    pg_catalog.pg_is_in_recovery() AS in_recovery, \
    current_setting('max_connections')::int8 AS max, \
    current_setting('superuser_reserved_connections')::int8 AS superuser_reserved, \
    coalesce(current_setting('reserved_connections', true), '0')::int8 AS reserved, \
    session_user::text AS own_role, pg_catalog.current_database()::text AS own_database, \
    coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user), false) AS superuser, \
    coalesce(pg_catalog.pg_has_role(session_user, pg_catalog.to_regrole('pg_use_reserved_connections')::oid, 'USAGE'), false) AS uses_reserved, \
    pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all, \
    ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper ORDER BY oid LIMIT $1) AS role_names, \
    ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper \
    AND pg_catalog.pg_has_role(oid, pg_catalog.to_regrole('pg_use_reserved_connections')::oid, 'USAGE') ORDER BY oid LIMIT $1) AS reserved_roles, \
    ARRAY(SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper ORDER BY oid LIMIT $1) AS role_limits, \
    ARRAY(SELECT datname::text FROM pg_catalog.pg_database WHERE datconnlimit >= 0 ORDER BY oid LIMIT $1) AS database_names, \
    ARRAY(SELECT datconnlimit FROM pg_catalog.pg_database WHERE datconnlimit >= 0 ORDER BY oid LIMIT $1) AS database_limits, \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper) \
    + (SELECT count(*) FROM pg_catalog.pg_database WHERE datconnlimit >= 0) AS limited";

fn ask(context: &Context<'_>) -> Query {
    Query::new(SQL).with(context.settings.row_limit(), Type::INT8)
}

fn read(_: &Context<'_>, rows: &[Row]) -> Result<Box<dyn Answer>, ViewError> {
    let row = rows.first().ok_or(ViewError::NoRow)?;
    let roles = limited(row, "role_names", "role_limits")?;
    let databases = limited(row, "database_names", "database_limits")?;
    let shown = (roles.len() + databases.len()) as u64;
    Ok(Box::new(ServerLimits {
        version: text(row, "version")?,
        started: column(row, "started")?,
        in_recovery: column(row, "in_recovery")?,
        max: count(row, "max")?,
        superuser_reserved: count(row, "superuser_reserved")?,
        reserved: count(row, "reserved")?,
        own: OwnRole {
            role: text(row, "own_role")?,
            database: text(row, "own_database")?,
            superuser: column(row, "superuser")?,
            uses_reserved: column(row, "uses_reserved")?,
            sees_all: column(row, "sees_all")?,
        },
        roles,
        reserved_roles: texts(row, "reserved_roles")?.into_iter().collect(),
        databases,
        left_out: count(row, "limited")?.saturating_sub(shown),
    }))
}

/// Pairs of a name and a limit, from two array columns.
fn limited(
    row: &Row,
    names: &'static str,
    limits: &'static str,
) -> Result<Vec<(String, u64)>, ViewError> {
    let names = texts(row, names)?;
    let limits: Vec<i32> = column(row, limits)?;
    let limits = limits.into_iter().map(|limit| u64::try_from(limit).unwrap_or(0));
    Ok(names.into_iter().zip(limits).collect())
}

/// The families of [`ServerLimits`].
const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_info",
        help: "Always 1; the label has the server's version.",
        kind: Kind::Gauge,
        labels: &["version"],
        read: |views, out| {
            views.limits.iter().for_each(|limits| out.push([&limits.version], 1_u32))
        },
    },
    Reading {
        name: "db_pool_server_start_time_seconds",
        help: "When the server started, in seconds since 1970 by the server's clock.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.started)),
    },
    Reading {
        name: "db_pool_server_in_recovery",
        help: "1 on a standby and while the server recovers, otherwise 0.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.in_recovery)),
    },
    Reading {
        name: "db_pool_server_max_connections",
        help: "The server's max_connections, reserved connections included.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.max)),
    },
    Reading {
        name: "db_pool_server_superuser_reserved_connections",
        help: "Connections of max_connections that only superusers may use.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| {
            out.push([], views.limits.as_ref().map(|limits| limits.superuser_reserved));
        },
    },
    Reading {
        name: "db_pool_server_reserved_connections",
        help: "Connections of max_connections that only superusers and members of pg_use_reserved_connections may use (PostgreSQL 16 and later; 0 before).",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.limits.as_ref().map(|limits| limits.reserved)),
    },
    Reading {
        name: "db_pool_server_role_connection_limit",
        help: "CONNECTION LIMIT of each role that has one, without superusers, whose limit does not apply.",
        kind: Kind::Gauge,
        labels: &["user"],
        read: |views, out| {
            let roles = views.limits.iter().flat_map(|limits| &limits.roles);
            roles.for_each(|(role, limit)| out.push([role], *limit));
        },
    },
    Reading {
        name: "db_pool_server_database_connection_limit",
        help: "CONNECTION LIMIT of each database that has one. Superusers' sessions count towards it, but superusers are not refused.",
        kind: Kind::Gauge,
        labels: &["database"],
        read: |views, out| {
            let databases = views.limits.iter().flat_map(|limits| &limits.databases);
            databases.for_each(|(database, limit)| out.push([database], *limit));
        },
    },
];
