//! Infers an application's pools from its sessions.
//!
//! The server shows sessions, not check-outs. A session that runs a statement or is in a transaction is
//! certainly checked out. So is every session beyond the pool size, because QueuePool closes such a
//! connection at check-in instead of keeping it. All others may be idle in the pool, or checked out
//! without having sent anything yet: what is inferred as checked out is a lower bound.

use std::collections::BTreeMap;
use std::iter::Sum;

use super::{AllowedConnections, Application, ApplicationSettings};
use crate::view::activity::{SessionGroup, SessionState};
use crate::view::key::SessionKey;

/// The sessions of one application_name, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionCounts {
    pub(super) open: u64,
    pub(super) busy: u64,
    /// Sessions with a state that the exporter's role may not see.
    pub(super) hidden: u64,
    pub(super) leaked: u64,
}

impl SessionCounts {
    pub(super) fn add(&mut self, group: &SessionGroup) {
        self.open += group.sessions;
        self.busy += if group.state.is_busy() { group.sessions } else { 0 };
        self.hidden += if group.state == SessionState::Unknown { group.sessions } else { 0 };
        self.leaked += group.leaked;
    }

    /// The number, unless some sessions are hidden: then it would be too small.
    pub(super) fn if_visible(&self, number: u64) -> Option<u64> {
        (self.hidden == 0).then_some(number)
    }

    /// Connections beyond those that a pool keeps; `kept` is 0 for a pool without a limit.
    fn beyond(&self, kept: u64) -> u64 {
        if kept == 0 { 0 } else { self.open.saturating_sub(kept) }
    }
}

impl Sum for SessionCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            open: a.open + b.open,
            busy: a.busy + b.busy,
            hidden: a.hidden + b.hidden,
            leaked: a.leaked + b.leaked,
        })
    }
}

/// Infers every application that has settings, by label set, and removes its sessions from `groups`. A
/// session that several applications select belongs to the first of them.
pub(super) fn select<'g>(
    settings: &[ApplicationSettings],
    groups: &mut Vec<&'g SessionGroup>,
) -> BTreeMap<SessionKey, Application> {
    let mut found = BTreeMap::new();
    for application in settings {
        // A process has one pool for each role and database that it connects to.
        let mut pools: BTreeMap<(&str, &str), BTreeMap<&'g str, SessionCounts>> = BTreeMap::new();
        for group in groups.extract_if(.., |group| application.sessions.holds(group)) {
            let SessionKey { database, user, application } = &group.key;
            let names = pools.entry((database, user)).or_default();
            names.entry(application).or_default().add(group);
        }
        for ((database, user), names) in pools {
            let key = SessionKey::new(database, user, &application.name);
            let names: Vec<SessionCounts> = names.into_values().collect();
            found.entry(key.clone()).or_insert_with(|| infer(application, key, &names));
        }
    }
    found
}

/// Infers the pools behind some sessions. `names`: the sessions of each application_name.
pub(super) fn infer(
    settings: &ApplicationSettings,
    key: SessionKey,
    names: &[SessionCounts],
) -> Application {
    let processes = named_processes(settings, names);
    let instances = settings.instances.max(processes).max(1);
    let all: SessionCounts = names.iter().copied().sum();
    // Where every process has a name of its own, overflow is exact process by process. Otherwise all
    // processes are taken for one large pool: then connections beyond one process's size can hide
    // behind the free room of another, so overflow is a lower bound.
    let is_one_by_one = processes > 0 && processes >= settings.instances;
    let size = u64::from(settings.pool_size);
    let (pools, kept) = if is_one_by_one {
        (names, size)
    } else {
        (std::slice::from_ref(&all), size * u64::from(instances))
    };
    let active: u64 = pools.iter().map(|pool| pool.busy.max(pool.beyond(kept))).sum();
    let overflow = pools.iter().map(|pool| pool.beyond(kept)).sum();
    let mut allowed = allowed(settings, instances, overflow);
    allowed.is_exceeded = allowed.max().is_some_and(|max| all.open > u64::from(max));
    Application {
        key,
        open: all.open,
        active: all.if_visible(active),
        idle: all.if_visible(all.open - active),
        leaked: all.if_visible(all.leaked),
        allowed: Some(allowed),
    }
}

/// The number of processes that have names of their own; 0 where names do not stand for processes.
fn named_processes(settings: &ApplicationSettings, names: &[SessionCounts]) -> u32 {
    if settings.sessions.names_processes() {
        u32::try_from(names.len()).unwrap_or(u32::MAX)
    } else {
        0
    }
}

/// The limits of all processes together. A pool without a size has no limit, whatever its overflow.
fn allowed(settings: &ApplicationSettings, instances: u32, overflow: u64) -> AllowedConnections {
    let size = (settings.pool_size > 0).then_some(settings.pool_size);
    let max_overflow = if size.is_some() { settings.max_overflow } else { None };
    AllowedConnections {
        instances,
        size: size.map(|size| size.saturating_mul(instances)),
        max_overflow: max_overflow.map(|overflow| overflow.saturating_mul(instances)),
        overflow,
        is_exceeded: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::application::{NameMatch, SessionMatch};
    use crate::view::fixture;
    use crate::view::pattern::Pattern;

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

    /// pool_size 5, max_overflow 3, one process: the numbers of SQLAlchemy itself beside the sessions.
    #[test]
    fn one_process_is_as_it_was_measured() {
        let check = |name: &str, open, busy, active, overflow| {
            let app = infer(&settings(5, Some(3), 1), &[seen(open, busy)]);
            let shown = (app.active, app.idle, app.allowed.unwrap().overflow);
            assert_eq!(shown, (Some(active), Some(open - active), overflow), "{name}");
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
    fn what_may_not_be_seen_is_not_shown() {
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
        let group = fixture::session_group;
        let rows = [
            group("u", "a-1", false),
            group("u", "a-2", false),
            group("v", "a-2", false),
            group("u", "b", false),
        ];
        let mut left: Vec<&SessionGroup> = rows.iter().collect();
        let found = select(&[named("first", "a-*"), named("second", "a-2")], &mut left);
        let shown =
            found.iter().map(|(key, app)| (key.user.as_str(), key.application.as_str(), app.open));
        assert_eq!(shown.collect::<Vec<_>>(), [("u", "first", 4), ("v", "first", 2)]);
        assert_eq!(left, [&rows[3]]);
    }
}
