//! The settings of the views, with their defaults.

use std::collections::BTreeSet;
use std::time::Duration;

use super::application::ApplicationSettings;
use super::row::{View, ViewName};
use super::statements::StatementsSettings;
use super::{CONSOLE_VIEWS, VIEWS};

/// The views that are read, and their options.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSettings {
    /// The views that are read, as far as the kind of target has them.
    pub enabled: BTreeSet<ViewName>,
    /// The options of the view `statements`.
    pub statements: StatementsSettings,
    /// A query that runs for longer is slow: DB_MONITOR_SLOW_QUERY_THRESHOLD.
    pub slow_threshold: Duration,
    /// The time between two samples of activity: DB_MONITOR_SLOW_QUERY_SAMPLING.
    pub sampling: Duration,
    /// A session that is idle in transaction for longer counts as leaked.
    pub leak_threshold: Duration,
    /// The number of slow queries, and of statements, that are remembered: DB_QUERY_CACHE_SIZE. With 0,
    /// neither is counted.
    pub query_cache_size: usize,
    /// Shows slow queries with their texts, which can hold personal data.
    pub show_query_text: bool,
    /// The applications with inferred pools. A session that several of them select belongs to the first.
    pub applications: Vec<ApplicationSettings>,
    /// The maximum number of label sets of database, user and application.
    pub series_limit: usize,
}

impl Default for ViewSettings {
    fn default() -> Self {
        let enabled = VIEWS.iter().filter(|view| view.on_by_default);
        Self {
            enabled: enabled.map(|view| view.name).collect(),
            statements: StatementsSettings::default(),
            slow_threshold: Duration::from_secs(1),
            sampling: Duration::from_secs(1),
            leak_threshold: Duration::from_secs(60),
            query_cache_size: 1200,
            show_query_text: false,
            applications: vec![ApplicationSettings::default()],
            series_limit: 100,
        }
    }
}

impl ViewSettings {
    /// The defaults, without any view.
    pub fn off() -> Self {
        Self { enabled: BTreeSet::new(), ..Self::default() }
    }

    /// The same settings, with one view more.
    pub fn with(mut self, view: ViewName) -> Self {
        self.enabled.insert(view);
        self
    }

    /// Reports whether these are the views of a pooler's console.
    pub(super) fn is_console(&self) -> bool {
        CONSOLE_VIEWS.iter().any(|view| self.enabled.contains(&view.name))
    }

    /// The defaults for a target with these views, as far as they are on by default.
    pub fn of(views: &[&View]) -> Self {
        let enabled = views.iter().filter(|view| view.on_by_default);
        Self { enabled: enabled.map(|view| view.name).collect(), ..Self::default() }
    }

    /// [`Self::series_limit`] as the parameter of a LIMIT.
    pub(crate) fn row_limit(&self) -> i64 {
        i64::try_from(self.series_limit).unwrap_or(i64::MAX)
    }
}
