//! Which views are looked at, and how.

use std::time::Duration;

use super::application;
use super::name::ViewName;
use super::statements;

/// Which views are looked at, and how. The default is what holds without any configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSettings {
    /// pg_stat_activity: connections, slow queries, applications, and with `limits` headroom.
    pub activity: bool,
    /// What limits connections.
    pub limits: bool,
    /// pg_stat_database, from PostgreSQL 14 on.
    pub databases: bool,
    /// pg_stat_statements; `None`: off.
    pub statements: Option<statements::StatementsSettings>,
    /// A query that runs for longer is slow: DB_MONITOR_SLOW_QUERY_THRESHOLD.
    pub slow_threshold: Duration,
    /// A session idle in transaction for longer is a leak.
    pub leak_threshold: Duration,
    /// How many queries are remembered, slow ones and statements each: DB_QUERY_CACHE_SIZE.
    pub query_cache_size: usize,
    /// Whether slow queries are shown with their texts.
    pub show_query_text: bool,
    /// The applications whose pools are watched. Who matches several is of the first.
    pub applications: Vec<application::ApplicationSettings>,
    /// At most so many label sets of database, user and application.
    pub series_limit: usize,
}

impl Default for ViewSettings {
    fn default() -> Self {
        Self {
            activity: true,
            limits: true,
            databases: true,
            statements: None,
            slow_threshold: Duration::from_secs(1),
            leak_threshold: application::LEAK,
            query_cache_size: 1200,
            show_query_text: false,
            applications: vec![application::ApplicationSettings::default()],
            series_limit: 100,
        }
    }
}

impl ViewSettings {
    /// None at all.
    pub fn off() -> Self {
        Self { activity: false, limits: false, databases: false, ..Self::default() }
    }

    /// Whether a view is looked at.
    pub fn wants(&self, view: ViewName) -> bool {
        match view {
            ViewName::Activity => self.activity,
            ViewName::Limits => self.limits,
            ViewName::Databases => self.databases,
            ViewName::Statements => self.statements.is_some(),
        }
    }

    /// [`Self::series_limit`] as a statement's parameter.
    pub fn most(&self) -> i64 {
        i64::try_from(self.series_limit).unwrap_or(i64::MAX)
    }
}
