//! A view is one row: its name, where it exists, how it is read, and its metrics.
//!
//! The labels `view`, `query` and `probe`, the keys under `views:`, and the reference pages follow
//! from the rows in [`VIEWS`](super::VIEWS) and [`CONSOLE_VIEWS`](super::CONSOLE_VIEWS). This room sends nothing: the probe asks the server and
//! hands the rows over.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::column::ViewError;
use super::extension::Extension;
use super::memory::{Digest, Memory};
use super::pgbouncer::ConsoleAnswers;
use super::settings::ViewSettings;
use super::{Views, all_views};
use crate::metrics::{Label, Reading};

/// A part of the server that the exporter reads at every probe.
pub struct View {
    /// Its name in labels and in the configuration.
    pub name: ViewName,
    /// One sentence for the reference pages.
    pub doc: &'static str,
    /// The first major version of the server that has it; 0 for all.
    pub since: u32,
    /// True if it is read unless it is switched off, false if it must be switched on.
    pub on_by_default: bool,
    /// True if it is also read between two probes, every `slow_query_sampling`.
    pub is_sampled: bool,
    /// The way it is read.
    pub source: ViewSource,
    /// Its metric families, table by table, in the order of the exposition.
    pub readings: &'static [&'static [Reading<Views>]],
}

impl View {
    /// Reports whether a server of this major version has the view. Where the version is not known,
    /// the attempt decides.
    pub(crate) fn exists_in(&self, major: Option<u32>) -> bool {
        major.is_none_or(|major| major >= self.since)
    }
}

/// The name of a view; a value of the labels `view`, `query` and `probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewName {
    pub(super) label: &'static str,
    /// The key that switches the view on or off.
    pub key: &'static str,
}

/// Names a view. A macro, because the key is made at compile time.
macro_rules! view_name {
    ($name:literal) => {
        $crate::view::ViewName { label: $name, key: concat!("views.", $name) }
    };
}
pub(super) use view_name;

impl Label for ViewName {
    fn all() -> impl Iterator<Item = Self> {
        all_views().map(|view| view.name)
    }

    fn label(self) -> &'static str {
        self.label
    }
}

/// A way to read a view. Another protocol is another variant here, and another arm in `probe/read.rs`.
pub enum ViewSource {
    /// One statement in a read-only transaction.
    Sql {
        /// Makes the statement.
        ask: fn(&Context<'_>) -> Query,
        /// Reads its rows.
        read: ReadRows,
    },
    /// One statement that reads an extension, which is looked up first in the same transaction.
    Extension {
        /// The extension's name.
        name: &'static str,
        /// Makes the statement.
        ask: fn(&Context<'_>, &Extension) -> Query,
        /// Reads its rows.
        read: ReadRows,
    },
    /// Commands of a pooler's console, each sent by itself in the simple protocol.
    Console {
        /// Chooses the commands for a console with this `server_version`. The first one is essential; others that
        /// the console does not have are left out.
        ask: fn(&Context<'_>, &str) -> Vec<&'static str>,
        /// Reads the answers.
        read: ReadConsole,
    },
}

/// Reads the answers to a view's console commands.
pub type ReadConsole = fn(&Context<'_>, &ConsoleAnswers) -> Result<Box<dyn Answer>, ViewError>;

/// Reads the rows of a view's statement.
pub type ReadRows = fn(&Context<'_>, &[Row]) -> Result<Box<dyn Answer>, ViewError>;

/// The surroundings of a view when it makes its statement and when it reads the rows.
pub struct Context<'a> {
    /// The settings of all views of the target.
    pub settings: &'a ViewSettings,
    /// The memory of the views.
    pub memory: &'a Memory,
    /// Process ids of the exporter's own backends for this target.
    pub own_pids: &'a [i32],
    /// Open connections of the exporter's own pool.
    pub own_open: u64,
}

/// A statement with its parameters. Their types are given, so that nothing has to be prepared: behind
/// PgBouncer a prepared statement can meet another server connection.
pub struct Query {
    /// The text, with `$1`, `$2` and so on.
    pub sql: Cow<'static, str>,
    parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Query {
    /// A statement without parameters.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    /// Adds the next parameter.
    pub fn with(mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> Self {
        self.parameters.push((Box::new(value), of));
        self
    }

    /// The parameters, as the client library takes them.
    pub(crate) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let parameters = self.parameters.iter();
        parameters.map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone())).collect()
    }
}

/// The content that a view has read. All answers of one probe are digested together, in the order of the
/// table.
pub trait Answer: Send + Sync {
    /// Puts the view's share into the snapshot.
    fn digest(self: Box<Self>, digest: &mut Digest<'_>);

    /// Takes in a reading between two probes. Only sampled views do anything here.
    fn sample(self: Box<Self>, settings: &ViewSettings, memory: &mut Memory) {
        let _ = (settings, memory);
    }
}
