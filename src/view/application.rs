//! An application's connection pool, as the server's sessions let infer it.
//!
//! The server shows sessions, not check-outs. What is open is exact. What is lent out is a lower bound: a
//! session that runs something or is in a transaction certainly is, and so are all beyond what the
//! pools keep; a check-out that has sent nothing yet looks idle. Overflow is exact for one process,
//! and a lower bound for several that cannot be told apart. Who waits for a connection is invisible.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Views;
use super::activity::{OURSELVES, SessionGroup, SessionState};
use super::key::SessionKey;
use super::pattern::Pattern;
use crate::metrics::{Kind, Reading, Samples, Usage, UsageSource as Source};

/// An application whose pool is watched, and what its pool may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSettings {
    /// The label `application`.
    pub name: String,
    /// Which sessions are its.
    pub sessions: SessionMatch,
    /// Connections that the pool of one process keeps; 0 means no limit.
    pub pool_size: u32,
    /// Connections beyond it; `None` means no limit.
    pub max_overflow: Option<u32>,
    /// How many processes have such a pool. More of them are counted where their names tell.
    pub instances: u32,
}

impl Default for ApplicationSettings {
    /// The sessions of the exporter's own role in its own database.
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            sessions: SessionMatch::default(),
            pool_size: 20,
            max_overflow: Some(10),
            instances: 1,
        }
    }
}

/// Which sessions belong to an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// Those with such an application_name; `None`: with any but the exporter's own.
    pub application_name: Option<Pattern>,
    /// Those of this role.
    pub user: NameMatch,
    /// Those in this database.
    pub database: NameMatch,
}

/// Whose sessions, by role or by database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// The exporter's own.
    #[default]
    SameAsExporter,
    /// Anybody's.
    Any,
    /// Those with such a name.
    Like(Pattern),
}

impl NameMatch {
    fn matches(&self, name: &str, is_own: bool) -> bool {
        match self {
            Self::SameAsExporter => is_own,
            Self::Any => true,
            Self::Like(pattern) => pattern.matches(name),
        }
    }
}

impl SessionMatch {
    /// Whether the sessions of a row belong to it.
    pub fn holds(&self, group: &SessionGroup) -> bool {
        let SessionKey { database, user, application } = &group.key;
        let named = match &self.application_name {
            Some(pattern) => pattern.matches(application),
            None => application != OURSELVES,
        };
        named
            && self.user.matches(user, group.own_role)
            && self.database.matches(database, group.own_database)
    }

    /// Whether one name stands for one process or more, so that processes can be counted by name.
    fn names_processes(&self) -> bool {
        self.application_name.as_ref().is_some_and(Pattern::is_open)
    }
}

/// What is known of an application's pool, all its processes together.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its labels; `application` is the name in its settings if it has any.
    pub key: SessionKey,
    /// Open connections.
    pub open: u64,
    /// Checked out, at least; `None` when the exporter's role may not see what sessions do.
    pub active: Option<u64>,
    /// Open and, for all that can be seen, not checked out.
    pub idle: Option<u64>,
    /// Idle in transaction beyond the threshold.
    pub leaked: Option<u64>,
    /// What its pool may be; `None` for applications that have no settings.
    pub allowed: Option<AllowedConnections>,
}

/// What an application's pools may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedConnections {
    /// Processes: as configured, or more where their names tell.
    pub instances: u32,
    /// Connections that their pools keep; `None` without a limit.
    pub size: Option<u32>,
    /// Connections beyond; `None` without a limit.
    pub max_overflow: Option<u32>,
    /// Open above the size.
    pub overflow: u64,
    /// Whether more is open than that: the settings are wrong, and no ratio is told.
    pub is_exceeded: bool,
}

impl AllowedConnections {
    /// All that may be open; `None` without a limit.
    pub fn max(&self) -> Option<u32> {
        Some(self.size?.saturating_add(self.max_overflow?))
    }
}

impl Application {
    /// In the vocabulary of all pools; `None` without settings, or when it cannot be seen.
    /// Without limits when these are exceeded, so that nobody makes a ratio of them.
    pub fn usage(&self) -> Option<Usage> {
        let allowed = self.allowed?;
        let limited = !allowed.is_exceeded;
        Some(Usage {
            active: self.active?,
            idle: self.idle?,
            open: self.open,
            overflow: allowed.overflow,
            size: allowed.size.filter(|_| limited),
            max_overflow: allowed.max_overflow.filter(|_| limited),
            max: allowed.max().filter(|_| limited),
            source: Source::Activity,
        })
    }

    /// Makes it be one without any session.
    pub(super) fn empty(&mut self) {
        self.open = 0;
        self.active = Some(0);
        self.idle = Some(0);
        self.leaked = Some(0);
        if let Some(allowed) = &mut self.allowed {
            allowed.overflow = 0;
            allowed.is_exceeded = false;
        }
    }

    /// Without settings: what is seen, and no more.
    pub(super) fn unselected(key: SessionKey, seen: SessionCounts) -> Self {
        let visible = |n| seen.is_visible().then_some(n);
        Self {
            key,
            open: seen.open,
            active: visible(seen.busy),
            idle: visible(seen.open - seen.busy),
            leaked: visible(seen.leaked),
            allowed: None,
        }
    }
}

/// Sessions of one application_name, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionCounts {
    open: u64,
    busy: u64,
    hidden: u64,
    leaked: u64,
}

impl SessionCounts {
    pub(super) fn add(&mut self, group: &SessionGroup) {
        self.open += group.sessions;
        self.busy += if group.state.is_busy() { group.sessions } else { 0 };
        self.hidden += if group.state == SessionState::Unknown { group.sessions } else { 0 };
        self.leaked += group.leaked;
    }

    fn is_visible(self) -> bool {
        self.hidden == 0
    }
}

impl std::iter::Sum for SessionCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            open: a.open + b.open,
            busy: a.busy + b.busy,
            hidden: a.hidden + b.hidden,
            leaked: a.leaked + b.leaked,
        })
    }
}

/// The applications that have settings, by label set; what belongs to them is taken out of `groups`.
pub(super) fn select<'g>(
    settings: &[ApplicationSettings],
    groups: &mut Vec<&'g SessionGroup>,
) -> BTreeMap<SessionKey, Application> {
    let mut found = BTreeMap::new();
    for application in settings {
        let mut pools: BTreeMap<(&str, &str), BTreeMap<&'g str, SessionCounts>> = BTreeMap::new();
        groups.retain(|group| {
            let is_its = application.sessions.holds(group);
            if is_its {
                let SessionKey { database, user, application } = &group.key;
                let names = pools.entry((database, user)).or_default();
                names.entry(application).or_default().add(group);
            }
            !is_its
        });
        for ((database, user), names) in pools {
            let key = SessionKey::new(database, user, &application.name);
            let names: Vec<SessionCounts> = names.into_values().collect();
            found.entry(key.clone()).or_insert_with(|| infer(application, key, &names));
        }
    }
    found
}

/// The pool behind the sessions; `names`: those of each application_name.
pub(super) fn infer(
    settings: &ApplicationSettings,
    key: SessionKey,
    names: &[SessionCounts],
) -> Application {
    let processes = match settings.sessions.names_processes() {
        true => u32::try_from(names.len()).unwrap_or(u32::MAX),
        false => 0,
    };
    let instances = settings.instances.max(processes).max(1);
    let all: SessionCounts = names.iter().copied().sum();
    // Where every process has a name of its own, each is judged for itself, otherwise all as one.
    let told_apart = processes > 0 && processes >= settings.instances;
    let (pools, kept) = match told_apart {
        true => (names, u64::from(settings.pool_size)),
        false => (std::slice::from_ref(&all), u64::from(settings.pool_size) * u64::from(instances)),
    };
    let beyond = |pool: &SessionCounts| match settings.pool_size {
        0 => 0,
        _ => pool.open.saturating_sub(kept),
    };
    let active: u64 = pools.iter().map(|pool| pool.busy.max(beyond(pool))).sum();
    let many = |limit: u32| limit.saturating_mul(instances);
    let mut allowed = AllowedConnections {
        instances,
        size: Some(settings.pool_size).filter(|size| *size > 0).map(many),
        max_overflow: settings.max_overflow.filter(|_| settings.pool_size > 0).map(many),
        overflow: pools.iter().map(beyond).sum(),
        is_exceeded: false,
    };
    allowed.is_exceeded = allowed.max().is_some_and(|max| all.open > u64::from(max));
    let visible = |n| all.is_visible().then_some(n);
    Application {
        key,
        open: all.open,
        active: visible(active),
        idle: visible(all.open - active),
        leaked: visible(all.leaked),
        allowed: Some(allowed),
    }
}

const LABELS: &[&str] = &["database", "user", "application", "source"];

const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&Views, &mut Samples<'_>),
) -> Reading<Views> {
    Reading { name, help, kind: Kind::Gauge, labels: LABELS, read }
}

/// The families of [`Application`].
pub(super) const READINGS: &[Reading<Views>] = &[
    gauge(
        "db_pool_app_active_connections",
        "Connections that the application has checked out; of source activity, at least so many.",
        |views, out| each(views, out, |app| app.active.map(to_f64)),
    ),
    gauge(
        "db_pool_app_idle_connections",
        "Connections of the application that are open and not known to be checked out.",
        |views, out| each(views, out, |app| app.idle.map(to_f64)),
    ),
    gauge("db_pool_app_open_connections", "Open connections of the application.", |views, out| {
        each(views, out, |app| Some(to_f64(app.open)))
    }),
    gauge(
        "db_pool_app_leaked_connections",
        "Connections of the application that have been idle in a transaction for longer than the leak threshold.",
        |views, out| each(views, out, |app| app.leaked.map(to_f64)),
    ),
    gauge(
        "db_pool_app_overflow_connections",
        "Open connections of the application above its pool size, all instances together.",
        |views, out| each(views, out, |app| Some(to_f64(app.allowed?.overflow))),
    ),
    gauge(
        "db_pool_app_size",
        "Connections that the application's pools keep, all instances together; absent without a limit.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.size?))),
    ),
    gauge(
        "db_pool_app_max_connections",
        "Connections that the application's pools may have open, all instances together; +Inf without a limit.",
        |views, out| {
            each(views, out, |app| Some(app.allowed?.max().map_or(f64::INFINITY, f64::from)));
        },
    ),
    gauge(
        "db_pool_app_utilization_percent",
        "Checked out, in percent of the pool size; over 100 in overflow, absent without a limit or when more is open than configured.",
        |views, out| each(views, out, |app| app.usage()?.utilization_percent()),
    ),
    gauge(
        "db_pool_app_saturation_ratio",
        "Checked out, as a part of pool size and overflow; at 1 the next check-out waits. Absent without a limit or when more is open than configured.",
        |views, out| each(views, out, |app| app.usage()?.saturation_ratio()),
    ),
    gauge(
        "db_pool_app_instances",
        "Processes that share the application's limits: as configured, or more where application_name tells.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.instances))),
    ),
];

fn each(views: &Views, out: &mut Samples<'_>, value: impl Fn(&Application) -> Option<f64>) {
    for app in &views.applications {
        out.push(app.key.labels_and(Source::Activity.label()), value(app));
    }
}

fn to_f64(n: u64) -> f64 {
    n as f64
}

/// After so long idle in a transaction, a session counts as leaked, unless settings say otherwise.
pub const LEAK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    fn settings(size: u32, overflow: Option<u32>, instances: u32) -> ApplicationSettings {
        ApplicationSettings {
            pool_size: size,
            max_overflow: overflow,
            instances,
            ..ApplicationSettings::default()
        }
    }

    fn seen(open: u64, busy: u64) -> SessionCounts {
        SessionCounts { open, busy, hidden: 0, leaked: 0 }
    }

    fn infer(settings: &ApplicationSettings, names: &[SessionCounts]) -> Application {
        super::infer(settings, SessionKey::new("db", "app", "x"), names)
    }

    /// pool_size 5, max_overflow 3, one process: what SQLAlchemy itself told beside the sessions.
    #[test]
    fn one_process_is_as_it_was_measured() {
        let check = |name: &str, open, busy, active, overflow| {
            let app = infer(&settings(5, Some(3), 1), &[seen(open, busy)]);
            let told = (app.active, app.idle, app.allowed.unwrap().overflow);
            assert_eq!(told, (Some(active), Some(open - active), overflow), "{name}");
        };
        check("engine made, unused", 0, 0, 0, 0);
        check("all idle after a burst", 5, 0, 0, 0);
        check("3 busy", 5, 3, 3, 0);
        check("8 busy, with waiters or without", 8, 8, 8, 3);
        check("4 of 8 returned, a waiter got one and sent nothing", 8, 4, 4, 3);
        check("6 out, no statement", 6, 0, 1, 1);
        check("8 open, 2 busy", 8, 2, 3, 3);
    }

    #[test]
    fn without_limits_there_is_no_overflow_and_no_ratio() {
        let app = infer(&settings(0, Some(3), 2), &[seen(9, 4)]);
        let usage = app.usage().unwrap();
        assert_eq!((usage.active, usage.overflow, usage.size, usage.max), (4, 0, None, None));
        let app = infer(&settings(5, None, 1), &[seen(9, 1)]);
        let usage = app.usage().unwrap();
        assert_eq!((usage.active, usage.overflow, usage.size, usage.max), (4, 4, Some(5), None));
        assert_eq!(usage.utilization_percent(), None);
    }

    #[test]
    fn more_than_allowed_means_wrong_settings_and_no_ratio() {
        let app = infer(&settings(5, Some(3), 1), &[seen(9, 2)]);
        let allowed = app.allowed.unwrap();
        assert!(allowed.is_exceeded);
        assert_eq!(allowed.max(), Some(8));
        assert_eq!(app.usage().unwrap().saturation_ratio(), None);
        let two = infer(&settings(5, Some(3), 2), &[seen(9, 2)]);
        assert!(!two.allowed.unwrap().is_exceeded);
        assert_eq!(two.usage().unwrap().saturation_ratio(), Some(2.0 / 16.0));
    }

    #[test]
    fn what_may_not_be_seen_is_not_told() {
        let hidden = SessionCounts { open: 7, busy: 0, hidden: 7, leaked: 0 };
        let app = infer(&settings(5, Some(3), 1), &[hidden]);
        assert_eq!((app.open, app.active, app.usage()), (7, None, None));
        assert_eq!(app.allowed.unwrap().overflow, 2);
    }

    #[test]
    fn processes_with_names_of_their_own_are_judged_one_by_one() {
        let mut settings = settings(5, Some(3), 2);
        settings.sessions.application_name = Some(Pattern::new("x-*"));
        let app = infer(&settings, &[seen(8, 1), seen(2, 2)]);
        let allowed = app.allowed.unwrap();
        assert_eq!((app.active, allowed.overflow, allowed.instances), (Some(3 + 2), 3, 2));
        // Three are seen where two were configured.
        let app = infer(&settings, &[seen(5, 0), seen(5, 0), seen(5, 0)]);
        assert_eq!((app.allowed.unwrap().instances, app.active), (3, Some(0)));
        // One name for several processes: as one pool of all.
        let app = infer(&settings, &[seen(8, 1)]);
        assert_eq!((app.allowed.unwrap().overflow, app.active), (0, Some(1)));
    }

    fn group(user: &str, application: &str, own: bool) -> SessionGroup {
        SessionGroup {
            key: SessionKey::new("db", user, application),
            own_database: own,
            own_role: own,
            ..fixture::group("", SessionState::Idle, 2)
        }
    }

    #[test]
    fn by_default_an_application_has_the_exporters_role_and_database() {
        let matching = SessionMatch::default();
        assert!(matching.holds(&group("app", "", true)));
        assert!(matching.holds(&group("app", "psql", true)));
        assert!(!matching.holds(&group("app", OURSELVES, true)));
        assert!(!matching.holds(&group("else", "", false)));
    }

    #[test]
    fn sessions_belong_to_the_first_application_that_they_match() {
        let named = |name: &str, pattern: &str| ApplicationSettings {
            name: name.to_owned(),
            sessions: SessionMatch {
                application_name: Some(Pattern::new(pattern)),
                user: NameMatch::Any,
                database: NameMatch::Like(Pattern::new("d*")),
            },
            ..ApplicationSettings::default()
        };
        let rows = [
            group("u", "a-1", false),
            group("u", "a-2", false),
            group("v", "a-2", false),
            group("u", "b", false),
        ];
        let mut left: Vec<&SessionGroup> = rows.iter().collect();
        let found = select(&[named("first", "a-*"), named("second", "a-2")], &mut left);
        let told =
            found.iter().map(|(key, app)| (key.user.as_str(), key.application.as_str(), app.open));
        assert_eq!(told.collect::<Vec<_>>(), [("u", "first", 4), ("v", "first", 2)]);
        assert_eq!(left, [&rows[3]]);
    }
}
