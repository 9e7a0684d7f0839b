//! The views by name, as labels tell them.

use crate::metrics::Label;

/// A view; the labels `probe`, `query` and `view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Who is connected and does what: pg_stat_activity.
    Activity,
    /// How many may connect.
    Limits,
    /// Sessions over time: pg_stat_database, from PostgreSQL 14 on.
    Databases,
    /// The statements that take the most time: pg_stat_statements.
    Statements,
}

impl Label for Name {
    const ALL: &'static [Self] = &[Self::Activity, Self::Limits, Self::Databases, Self::Statements];

    fn label(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Limits => "limits",
            Self::Databases => "databases",
            Self::Statements => "statements",
        }
    }
}

/// A family that has at most so many label sets; the label `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `db_pool_server_connections`, and all that have its label sets.
    Server,
    /// `db_pool_app_active_connections`, and all that have its label sets.
    Applications,
    /// `db_pool_server_sessions_total`, and all that have its label sets.
    Databases,
    /// `db_pool_server_role_connection_limit`, and all that have its label sets.
    Roles,
}

impl Label for Family {
    const ALL: &'static [Self] = &[Self::Server, Self::Applications, Self::Databases, Self::Roles];

    fn label(self) -> &'static str {
        match self {
            Self::Server => "db_pool_server_connections",
            Self::Applications => "db_pool_app_active_connections",
            Self::Databases => "db_pool_server_sessions_total",
            Self::Roles => "db_pool_server_role_connection_limit",
        }
    }
}
