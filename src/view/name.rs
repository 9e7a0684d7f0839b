//! The views by name, as labels tell them.

use strum::{IntoStaticStr, VariantArray};

/// A view; the labels `probe`, `query` and `view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ViewName {
    /// Who is connected and does what: pg_stat_activity.
    Activity,
    /// How many may connect.
    Limits,
    /// Sessions over time: pg_stat_database, from PostgreSQL 14 on.
    Databases,
    /// The statements that take the most time: pg_stat_statements.
    Statements,
}

/// A family that has at most so many label sets; the label `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum CappedFamily {
    /// `db_pool_server_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_connections")]
    Server,
    /// `db_pool_app_active_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_app_active_connections")]
    Applications,
    /// `db_pool_server_sessions_total`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_sessions_total")]
    Databases,
    /// `db_pool_server_role_connection_limit`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_role_connection_limit")]
    Roles,
}
