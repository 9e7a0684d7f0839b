//! The headroom: connections that can still be opened by an ordinary role, as a role with a limit, and in
//! a database with a limit.
//!
//! Counted from the sessions of the same probe. Walsenders do not count towards max_connections. A login
//! in progress does, but only PostgreSQL 18 and later show it: before, the headroom can be smaller than
//! shown here.

use std::collections::BTreeMap;

use super::Views;
use super::activity::{Scan, SessionGroup};
use super::limits::ServerLimits;
use crate::metrics::{Kind, Reading};

/// The number of connections that can still be opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headroom {
    /// For a non-superuser without CONNECTION LIMIT, in a database without one.
    pub ordinary: u64,
    /// For the exporter's own role and for each role with a limit, in a database without one.
    pub roles: Vec<(String, u64)>,
    /// In the exporter's own database and in each database with a limit, for an ordinary role without
    /// one.
    pub databases: Vec<(String, u64)>,
}

impl Headroom {
    /// Subtracts the sessions of a scan from the limits of the same probe.
    pub(super) fn new(limits: &ServerLimits, scan: &Scan) -> Self {
        let own = &limits.own;
        let free = limits.max.saturating_sub(scan.used());
        let unreserved = free.saturating_sub(limits.superuser_reserved);
        let ordinary = unreserved.saturating_sub(limits.reserved);
        let own_free = match (own.superuser, own.uses_reserved) {
            (true, _) => free,
            (false, true) => unreserved,
            (false, false) => ordinary,
        };
        let by_role = sums(scan, &own.role, |group| &group.key.user);
        let roles = limits.roles.iter().map(|(role, limit)| {
            let free = if *role == own.role {
                own_free
            } else if limits.reserved_roles.contains(role) {
                unreserved
            } else {
                ordinary
            };
            (role.clone(), free.min(limit.saturating_sub(used(&by_role, role))))
        });
        let mut roles: Vec<_> = roles.collect();
        add(&mut roles, &own.role, own_free);
        let by_database = sums(scan, &own.database, |group| &group.key.database);
        let databases = limits.databases.iter().map(|(database, limit)| {
            (database.clone(), ordinary.min(limit.saturating_sub(used(&by_database, database))))
        });
        let mut databases: Vec<_> = databases.collect();
        add(&mut databases, &own.database, ordinary);
        Self { ordinary, roles, databases }
    }
}

/// The least that is left, and the limit that leaves no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tightest {
    /// Connections that can still be opened.
    pub free: u64,
    /// The limit.
    pub limit: TightLimit,
}

/// A limit on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TightLimit {
    /// max_connections, less what is reserved.
    Server,
    /// The CONNECTION LIMIT of an application's role.
    Role(String),
    /// The CONNECTION LIMIT of an application's database.
    Database(String),
}

impl Views {
    /// Returns what is left to ordinary roles, or to an application with settings by its role or its
    /// database if that is less; `None` where the headroom is not known.
    pub fn tightest(&self) -> Option<Tightest> {
        let headroom = self.headroom.as_ref()?;
        let mut least = Tightest { free: headroom.ordinary, limit: TightLimit::Server };
        for app in self.applications.iter().filter(|app| app.allowed.is_some()) {
            let role = headroom.roles.iter().find(|(role, _)| *role == app.key.user);
            let database = headroom.databases.iter().find(|(name, _)| *name == app.key.database);
            if let Some((role, free)) = role.filter(|(_, free)| *free < least.free) {
                least = Tightest { free: *free, limit: TightLimit::Role(role.clone()) };
            }
            if let Some((database, free)) = database.filter(|(_, free)| *free < least.free) {
                least = Tightest { free: *free, limit: TightLimit::Database(database.clone()) };
            }
        }
        Some(least)
    }
}

/// Sessions by name. `own`: the name that the exporter's own connections count for.
fn sums<'s>(
    scan: &'s Scan,
    own: &'s str,
    name: impl Fn(&'s SessionGroup) -> &'s str,
) -> BTreeMap<&'s str, u64> {
    let mut sums = BTreeMap::from([(own, scan.own_open)]);
    for group in &scan.groups {
        *sums.entry(name(group)).or_default() += group.sessions;
    }
    sums
}

fn used(sums: &BTreeMap<&str, u64>, name: &str) -> u64 {
    sums.get(name).copied().unwrap_or(0)
}

fn add(list: &mut Vec<(String, u64)>, name: &str, free: u64) {
    if !list.iter().any(|(known, _)| known == name) {
        list.push((name.to_owned(), free));
    }
}

/// The families of [`Headroom`].
pub(super) const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_available_connections",
        help: "Connections that a non-superuser can still open where neither the role nor the database has a CONNECTION LIMIT. Before PostgreSQL 18 it is too large by the logins in progress, which the server does not show.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.headroom.as_ref().map(|room| room.ordinary)),
    },
    Reading {
        name: "db_pool_server_role_available_connections",
        help: "Connections that this role can still open, in a database without a limit: the exporter's own role, and each role with a CONNECTION LIMIT.",
        kind: Kind::Gauge,
        labels: &["user"],
        read: |views, out| {
            let roles = views.headroom.iter().flat_map(|room| &room.roles);
            roles.for_each(|(role, free)| out.push([role], *free));
        },
    },
    Reading {
        name: "db_pool_server_database_available_connections",
        help: "Connections that a non-superuser without a CONNECTION LIMIT can still open to this database: the exporter's own database, and each database with a limit.",
        kind: Kind::Gauge,
        labels: &["database"],
        read: |views, out| {
            let databases = views.headroom.iter().flat_map(|room| &room.databases);
            databases.for_each(|(database, free)| out.push([database], *free));
        },
    },
];

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::view::activity::SessionState;
    use crate::view::fixture;
    use crate::view::key::SessionKey;
    use crate::view::limits::OwnRole;

    fn group(user: &str, database: &str, sessions: u64) -> SessionGroup {
        SessionGroup {
            key: SessionKey::new(database, user, ""),
            ..fixture::group("", SessionState::Idle, sessions)
        }
    }

    fn scan(groups: impl Into<Vec<SessionGroup>>, own_open: u64) -> Scan {
        Scan { at: Instant::now(), groups: groups.into(), own_open }
    }

    fn limits(superuser: bool, uses_reserved: bool) -> ServerLimits {
        let own = OwnRole {
            role: "monitor".to_owned(),
            database: "db".to_owned(),
            superuser,
            uses_reserved,
            sees_all: true,
        };
        ServerLimits {
            max: 20,
            superuser_reserved: 3,
            reserved: 2,
            own,
            roles: vec![("app".to_owned(), 6)],
            databases: vec![("db".to_owned(), 9), ("closed".to_owned(), 0)],
            ..ServerLimits::default()
        }
    }

    #[test]
    fn what_is_left_is_the_smallest_of_the_limits() {
        let groups = [group("app", "db", 4), group("admin", "else", 1)];
        let room = Headroom::new(&limits(false, false), &scan(groups, 2));
        assert_eq!(room.ordinary, 20 - 3 - 2 - 7);
        assert_eq!(room.roles, [("app".to_owned(), 2), ("monitor".to_owned(), 8)]);
        assert_eq!(room.databases, [("db".to_owned(), 3), ("closed".to_owned(), 0)]);
    }

    #[test]
    fn the_own_role_may_use_what_is_reserved_for_it() {
        let own = |superuser, reserved| {
            let limits = limits(superuser, reserved);
            Headroom::new(&limits, &scan([group("app", "db", 4)], 1)).roles[1].1
        };
        assert_eq!((own(false, false), own(false, true), own(true, false)), (10, 12, 15));
    }

    #[test]
    fn a_limited_role_may_use_what_is_reserved_for_it() {
        let mut limits = limits(false, false);
        limits.roles = vec![("app".to_owned(), 90), ("vip".to_owned(), 90)];
        limits.reserved_roles.insert("vip".to_owned());
        let room = Headroom::new(&limits, &scan([group("app", "db", 4)], 1));
        assert_eq!((room.roles[0].1, room.roles[1].1), (10, 12));
    }

    #[test]
    fn more_than_the_limit_leaves_nothing() {
        let room = Headroom::new(&limits(false, false), &scan([group("app", "db", 19)], 1));
        assert_eq!((room.ordinary, room.roles[0].1, room.databases[0].1), (0, 0, 0));
    }
}
