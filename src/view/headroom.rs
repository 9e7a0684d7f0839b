//! What can still be opened: by an ordinary role, as a role with a limit, in a database with one.
//!
//! Counted from the sessions of the same probe. Walsenders do not count. Logins in progress do hold a
//! place, but the server shows them from PostgreSQL 18 on only; before, they make the truth
//! smaller than what is told here.

use std::collections::BTreeMap;

use super::Views;
use super::activity::SessionGroup;
use super::limits::ServerLimits;
use crate::metrics::{Kind, Reading};

/// What can still be opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headroom {
    /// By a role without a limit that is no superuser, in a database without a limit.
    pub ordinary: u64,
    /// As the exporter's own role, and as each role with a limit, in a database without one.
    pub roles: Vec<(String, u64)>,
    /// In the exporter's own database, and in each database with a limit, by an ordinary role
    /// without one.
    pub databases: Vec<(String, u64)>,
}

/// Client connections on the server; `ourselves`: the exporter's own, which the scan leaves out.
pub(super) fn used(groups: &[SessionGroup], ourselves: u64) -> u64 {
    groups.iter().map(|group| group.sessions).sum::<u64>() + ourselves
}

impl Headroom {
    /// From the sessions of a scan; `ourselves` as for `used`.
    pub fn new(limits: &ServerLimits, groups: &[SessionGroup], ourselves: u64) -> Self {
        let own = &limits.own;
        let free = limits.max.saturating_sub(used(groups, ourselves));
        let unreserved = free.saturating_sub(limits.superuser_reserved);
        let ordinary = unreserved.saturating_sub(limits.reserved);
        let own_free = match (own.superuser, own.uses_reserved) {
            (true, _) => free,
            (false, true) => unreserved,
            (false, false) => ordinary,
        };
        let by_role = sums(groups, |g| &g.key.user, &own.role, ourselves);
        let by_database = sums(groups, |g| &g.key.database, &own.database, ourselves);
        let left = |limit: u64, used: Option<&u64>| limit.saturating_sub(*used.unwrap_or(&0));
        let role = |(name, limit): &(String, u64)| {
            let free = if *name == own.role { own_free } else { ordinary };
            (name.clone(), free.min(left(*limit, by_role.get(name.as_str()))))
        };
        let database = |(name, limit): &(String, u64)| {
            (name.clone(), ordinary.min(left(*limit, by_database.get(name.as_str()))))
        };
        let mut roles: Vec<_> = limits.roles.iter().map(role).collect();
        let mut databases: Vec<_> = limits.databases.iter().map(database).collect();
        add(&mut roles, &own.role, own_free);
        add(&mut databases, &own.database, ordinary);
        Self { ordinary, roles, databases }
    }
}

fn sums<'g>(
    groups: &'g [SessionGroup],
    name: impl Fn(&'g SessionGroup) -> &'g str,
    own: &'g str,
    ourselves: u64,
) -> BTreeMap<&'g str, u64> {
    let mut sums = BTreeMap::from([(own, ourselves)]);
    for group in groups {
        *sums.entry(name(group)).or_default() += group.sessions;
    }
    sums
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
        help: "Connections that an ordinary role can still open, where neither it nor the database has a limit.",
        kind: Kind::Gauge,
        labels: &[],
        read: |views, out| out.push([], views.headroom.as_ref().map(|room| room.ordinary)),
    },
    Reading {
        name: "db_pool_server_role_available_connections",
        help: "Connections that can still be opened as this role: the exporter's own, and those with a CONNECTION LIMIT.",
        kind: Kind::Gauge,
        labels: &["user"],
        read: |views, out| {
            let roles = views.headroom.iter().flat_map(|room| &room.roles);
            roles.for_each(|(role, free)| out.push([role], *free));
        },
    },
    Reading {
        name: "db_pool_server_database_available_connections",
        help: "Connections that an ordinary role can still open to this database: the exporter's own, and those with a CONNECTION LIMIT.",
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
        let room = Headroom::new(&limits(false, false), &groups, 2);
        assert_eq!(room.ordinary, 20 - 3 - 2 - 7);
        assert_eq!(room.roles, [("app".to_owned(), 2), ("monitor".to_owned(), 8)]);
        assert_eq!(room.databases, [("db".to_owned(), 3), ("closed".to_owned(), 0)]);
    }

    #[test]
    fn the_own_role_may_use_what_is_reserved_for_it() {
        let own = |superuser, reserved| {
            Headroom::new(&limits(superuser, reserved), &[group("app", "db", 4)], 1).roles[1].1
        };
        assert_eq!((own(false, false), own(false, true), own(true, false)), (10, 12, 15));
    }

    #[test]
    fn more_than_the_limit_leaves_nothing() {
        let room = Headroom::new(&limits(false, false), &[group("app", "db", 19)], 1);
        assert_eq!((room.ordinary, room.roles[0].1, room.databases[0].1), (0, 0, 0));
    }
}
