//! The views: queries about the server's sessions, limits, databases and statements. Each has its own file.
//!
//! A view's file holds its [`View`] constant, its SQL, its result type, the reading of the rows, and its
//! metrics. To add a view, write its file, list its constant in `VIEWS`, and add a field to [`Views`]. This
//! room sends nothing: the probe runs the statements and passes the rows to the view. State that outlives one
//! answer (label sets that were shown before, slow queries that have been counted) is kept in [`Memory`].

pub mod activity;
pub mod application;
pub mod databases;
pub mod limits;
pub mod pgbouncer;
pub mod statements;

mod column;
mod counters;
mod dropped;
mod extension;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod headroom;
mod key;
mod memory;
mod pattern;
mod row;
mod sampling;
mod series;
mod settings;
mod shared;
mod slow;

pub use crate::metrics::Usage;
pub use activity::{Activity, RunningQuery};
pub use application::Application;
pub use column::ViewError;
pub use counters::{COUNTER_READINGS, Counters};
pub use databases::Databases;
pub use dropped::CappedFamily;
pub use extension::Extension;
pub use headroom::{Headroom, TightLimit, Tightest};
pub use key::SessionKey;
pub use limits::ServerLimits;
pub use memory::{Digest, Memory};
pub use pattern::Pattern;
pub use pgbouncer::Console;
pub use row::{Answer, Context, Query, ReadConsole, ReadRows, View, ViewName, ViewSource};
pub use sampling::Sampling;
pub use settings::ViewSettings;
pub use shared::ReadBy;
pub(crate) use shared::{OwnNames, ReadingNeeds, ServerReading, SharedScan};

use std::sync::Arc;

use crate::metrics::Reading;

/// The views of a PostgreSQL server, in the order in which they are read and shown.
pub(crate) const VIEWS: &[&View] =
    &[&activity::VIEW, &limits::VIEW, &databases::VIEW, &statements::VIEW];

pub(crate) use pgbouncer::CONSOLE_VIEWS;

/// The views of all kinds of targets.
pub(crate) fn all_views() -> impl Iterator<Item = &'static View> {
    VIEWS.iter().chain(CONSOLE_VIEWS).copied()
}

/// The views of one probe, a field for each. A view that was not read, or failed, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views {
    /// Client sessions.
    pub activity: Option<Arc<Activity>>,
    /// The server's limits.
    pub limits: Option<Arc<ServerLimits>>,
    /// The connections that can still be opened; needs `activity` and `limits`.
    pub headroom: Option<Arc<Headroom>>,
    /// Sessions over time, by database.
    pub databases: Option<Arc<Databases>>,
    /// Who has read the four above, if that was another target of the server.
    pub read_by: Option<ReadBy>,
    /// The statements that take the most time.
    pub statements: Option<Vec<statements::StatementStats>>,
    /// The applications' pools: first those with settings, then all others.
    pub applications: Vec<Application>,
    /// True if this probe or an earlier scan has seen a session of an application with settings.
    pub applications_were_seen: bool,
    /// The processes of a pooler; empty for a server.
    pub consoles: Vec<Console>,
    /// Slow queries counted since the target was started, by label set.
    pub slow: Vec<(SessionKey, u64)>,
    /// Label sets that found no room, counted since the target was started.
    pub dropped: Vec<(CappedFamily, u64)>,
}

impl Views {
    /// Returns the application of this name, or the first one if `name` is `None`. Only applications with
    /// settings count. If the application has several pools, in different databases or with different roles,
    /// returns the one with the most open connections.
    pub(crate) fn application(&self, name: Option<&str>) -> Option<&Application> {
        let selected = || self.applications.iter().filter(|app| app.allowed.is_some());
        let name = name.or_else(|| Some(selected().next()?.key.application.as_str()))?;
        selected().filter(|app| app.key.application == name).max_by_key(|app| app.open)
    }

    /// The usage of `Self::application`; `None` where it is not known.
    pub fn usage(&self, name: Option<&str>) -> Option<Usage> {
        self.application(name)?.usage()
    }
}

/// The families of [`Views`], view by view; rendered once a snapshot.
pub fn readings() -> impl Iterator<Item = &'static Reading<Views>> {
    all_views().flat_map(|view| view.readings).chain(DERIVED).copied().flatten()
}

/// The families that follow from several views.
const DERIVED: &[&[Reading<Views>]] = &[application::READINGS, dropped::READINGS];
