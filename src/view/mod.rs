//! What the server tells us beside our own pool: one file a view.
//!
//! A file holds a view's type, its SQL chosen by the server's or the extension's version, its READINGS,
//! and a read of the rows. Nothing here asks a server: the probe does, and hands the rows over. What
//! one answer cannot tell (which label sets were there before, which slow queries were counted) is
//! kept in [`Memory`].

pub mod activity;
pub mod application;
pub mod databases;
pub mod limits;
pub mod statements;

mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod headroom;
mod key;
mod memory;
mod name;
mod pattern;
mod series;
mod settings;
mod slow;

pub use crate::metrics::{Usage, UsageSource as Source};
pub use activity::{Activity, RunningQuery};
pub use application::Application;
pub use databases::Databases;
pub use error::ViewError;
pub use headroom::Headroom;
pub use key::SessionKey;
pub use limits::ServerLimits;
pub use memory::{Answers, Memory};
pub use name::{CappedFamily, ViewName};
pub use pattern::Pattern;
pub use settings::ViewSettings;

use crate::metrics::{Kind, Label, Reading};

/// What the views of one probe showed. A view that was not asked or did not answer is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views {
    /// Who is connected and does what.
    pub activity: Option<Activity>,
    /// What limits connections.
    pub limits: Option<ServerLimits>,
    /// What can still be opened; needs activity and limits.
    pub headroom: Option<Headroom>,
    /// Sessions over time.
    pub databases: Option<Databases>,
    /// The statements that take the most time.
    pub statements: Option<Vec<statements::StatementStats>>,
    /// The applications' pools: first those with settings, then all others.
    pub applications: Vec<Application>,
    /// Slow queries counted since the exporter runs, by label set.
    pub slow: Vec<(SessionKey, u64)>,
    /// Label sets for which there was no room, counted snapshot by snapshot.
    pub dropped: Vec<(CappedFamily, u64)>,
}

impl Views {
    /// The application of this name with settings, or the first with settings. Where it has pools of
    /// several roles or to several databases, the one with the most connections.
    pub fn application(&self, name: Option<&str>) -> Option<&Application> {
        let selected = || self.applications.iter().filter(|app| app.allowed.is_some());
        let name = name.or_else(|| Some(selected().next()?.key.application.as_str()))?;
        selected().filter(|app| app.key.application == name).max_by_key(|app| app.open)
    }

    /// The names of the applications with settings of which every slot is in use.
    pub fn saturated(&self) -> impl Iterator<Item = &str> {
        let full = |app: &&Application| app.usage().is_some_and(|usage| usage.is_saturated());
        self.applications.iter().filter(full).map(|app| app.key.application.as_str())
    }

    /// How the pool of [`Self::application`] is used; `None` where that is not known.
    pub fn usage(&self, name: Option<&str>) -> Option<Usage> {
        self.application(name)?.usage()
    }
}

/// The families of [`Views`]; rendered once a snapshot.
pub const READINGS: &[Reading<Views>] = &all::<{ count(TABLES) }>(TABLES);

const TABLES: &[&[Reading<Views>]] = &[
    activity::READINGS,
    slow::READINGS,
    limits::READINGS,
    headroom::READINGS,
    databases::READINGS,
    statements::READINGS,
    application::READINGS,
    DROPPED,
];

const DROPPED: &[Reading<Views>] = &[Reading {
    name: "db_pool_exporter_series_dropped_total",
    help: "Label sets for which there was no room, rolled up into other or left out; counted at each scan.",
    kind: Kind::Counter,
    labels: &["family"],
    read: |views, out| {
        views.dropped.iter().for_each(|(family, n)| out.push([family.label()], *n));
    },
}];

const fn count(tables: &[&[Reading<Views>]]) -> usize {
    let mut sum = 0;
    let mut table = 0;
    while table < tables.len() {
        sum += tables[table].len();
        table += 1;
    }
    sum
}

/// The rows of all tables as one table: a page is written from one.
const fn all<const N: usize>(tables: &[&[Reading<Views>]]) -> [Reading<Views>; N] {
    let mut rows = [DROPPED[0]; N];
    let (mut table, mut row, mut next) = (0, 0, 0);
    while table < tables.len() {
        while row < tables[table].len() {
            rows[next] = tables[table][row];
            next += 1;
            row += 1;
        }
        table += 1;
        row = 0;
    }
    rows
}
