//! The kinds of targets. Each kind has one row, a [`KindSpec`], with everything that differs between them.
//!
//! To add a kind, add a row here. Other rooms read the fields of the row and never compare the kind itself.

use strum::{IntoStaticStr, VariantArray};

use crate::view::{CONSOLE_VIEWS, VIEWS, View};

/// The kind of a target; its label is the word in the configuration and in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum TargetKind {
    /// A PostgreSQL database.
    Postgres,
    /// PgBouncer's console.
    PgBouncer,
}

impl TargetKind {
    /// The row of this kind.
    pub(crate) fn spec(self) -> &'static KindSpec {
        match self {
            Self::Postgres => &POSTGRES,
            Self::PgBouncer => &PGBOUNCER,
        }
    }
}

/// The properties of a kind of target.
pub struct KindSpec {
    /// The product's name, for the status page.
    pub product: &'static str,
    /// The database for a URL that names none. `None` applies libpq's rule: the database has the user's name.
    pub default_database: Option<&'static str>,
    /// The statement of the pre-ping, in the simple protocol.
    pub ping: &'static str,
    /// The statement of the probe, unless the target has one of its own.
    pub default_query: &'static str,
    /// True if `query` in `defaults:` applies to this kind.
    pub takes_shared_query: bool,
    /// True if statements run in transactions. Without them there is no write probe either.
    pub has_transactions: bool,
    /// True if it is a pooler's console: it answers no SELECT, and a pooler can have several processes.
    pub is_console: bool,
    /// True if its views show the sessions of applications. Such a target watches one application by default.
    pub shows_applications: bool,
    /// The views that it has, in the order in which they are read.
    pub views: &'static [&'static View],
}

const POSTGRES: KindSpec = KindSpec {
    product: "PostgreSQL",
    default_database: None,
    // The cheapest round trip: the server answers an empty statement without parsing anything.
    ping: "",
    default_query: "SELECT 1",
    takes_shared_query: true,
    has_transactions: true,
    is_console: false,
    shows_applications: true,
    views: VIEWS,
};

/// PgBouncer's console answers only SHOW commands, only in the simple protocol, and rejects the empty
/// statement.
const PGBOUNCER: KindSpec = KindSpec {
    product: "PgBouncer",
    default_database: Some("pgbouncer"),
    ping: "SHOW VERSION",
    default_query: "SHOW VERSION",
    takes_shared_query: false,
    has_transactions: false,
    is_console: true,
    shows_applications: false,
    views: CONSOLE_VIEWS,
};
