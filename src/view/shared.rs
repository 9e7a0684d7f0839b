//! What one target reads of a server for all targets of that server.
//!
//! The reading is immutable and shared. Each target finds its own applications in the scans: a scan of another
//! target's connection knows only whose role and database *that* connection has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Scan, SessionGroup};
use super::application::{NameMatch, selected_by};
use super::settings::ViewSettings;
use super::{
    Activity, Databases, Headroom, ServerLimits, ViewName, Views, activity, databases, limits,
};

/// The views that are the same for all targets of a server.
const OF_SERVER: [ViewName; 3] = [activity::VIEW.name, limits::VIEW.name, databases::VIEW.name];

impl ViewName {
    /// Reports whether the view is the same for all targets of a server.
    pub(crate) fn is_of_server(self) -> bool {
        OF_SERVER.contains(&self)
    }
}

/// The views of a server, as one of its targets has read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerReading {
    activity: Option<Arc<Activity>>,
    limits: Option<Arc<ServerLimits>>,
    headroom: Option<Arc<Headroom>>,
    databases: Option<Arc<Databases>>,
}

/// The target that has read the server, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadBy {
    /// Its name.
    pub target: String,
    /// When it had read it.
    pub at: Instant,
}

/// The settings on which a reading depends. Targets share one only if theirs are equal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReadingNeeds {
    views: Vec<ViewName>,
    slow_threshold: Duration,
    leak_threshold: Duration,
    shows_text: bool,
}

impl ViewSettings {
    /// The settings on which a reading of the server depends; `None` where the sessions are not read.
    pub(crate) fn reading_needs(&self) -> Option<ReadingNeeds> {
        let views = self.enabled.iter().filter(|view| view.is_of_server()).copied();
        self.enabled.contains(&activity::VIEW.name).then(|| ReadingNeeds {
            views: views.collect(),
            slow_threshold: self.slow_threshold,
            leak_threshold: self.leak_threshold,
            shows_text: self.show_query_text,
        })
    }
}

impl Views {
    /// The part that is the same for all targets of the server.
    pub(crate) fn of_server(&self) -> ServerReading {
        ServerReading {
            activity: self.activity.clone(),
            limits: self.limits.clone(),
            headroom: self.headroom.clone(),
            databases: self.databases.clone(),
        }
    }

    /// Takes the server's part from another target's reading.
    pub(crate) fn take_over(&mut self, reading: &ServerReading, read_by: ReadBy) {
        let ServerReading { activity, limits, headroom, databases } = reading.clone();
        (self.activity, self.limits) = (activity, limits);
        (self.headroom, self.databases) = (headroom, databases);
        self.read_by = Some(read_by);
    }

    /// The part that the target shows on `/metrics`: what another target has read is shown by that one.
    pub(crate) fn shown(&self) -> Self {
        let mut shown = self.clone();
        if shown.read_by.is_some() {
            (shown.activity, shown.limits, shown.headroom, shown.databases) =
                (None, None, None, None);
            shown.slow.clear();
        }
        shown
    }
}

/// A scan of the sessions, for the other targets of the server.
#[derive(Debug)]
pub(crate) struct SharedScan {
    scan: Scan,
    /// The places of the groups of each database: with a hundred targets, not every one looks at all.
    by_database: HashMap<String, Vec<usize>>,
    /// The interval of the samples.
    pub(super) interval: Duration,
}

/// The role and the database of a target's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnNames {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl SharedScan {
    pub(super) fn new(scan: Scan, interval: Duration) -> Self {
        let mut by_database: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, group) in scan.groups.iter().enumerate() {
            by_database.entry(group.key.database.clone()).or_default().push(place);
        }
        Self { scan, by_database, interval }
    }

    /// When the server answered.
    pub(super) fn at(&self) -> Instant {
        self.scan.at
    }

    /// The sessions of a target's applications, as a scan of its own would show them.
    pub(super) fn seen_by(&self, settings: &ViewSettings, own: &OwnNames) -> Scan {
        let apps = &settings.applications;
        let is_own = |app: &super::application::ApplicationSettings| {
            app.sessions.database == NameMatch::SameAsExporter
        };
        let groups = &self.scan.groups;
        let candidates: Vec<&SessionGroup> = if apps.iter().all(is_own) {
            let places = self.by_database.get(&own.database).into_iter().flatten();
            places.map(|place| &groups[*place]).collect()
        } else {
            groups.iter().collect()
        };
        let groups = candidates.into_iter().map(|group| SessionGroup {
            own_database: group.key.database == own.database,
            own_role: group.key.user == own.user,
            ..group.clone()
        });
        let groups = groups.filter(|group| selected_by(apps, group).is_some()).collect();
        Scan { at: self.scan.at, groups, own_open: 0 }
    }
}
