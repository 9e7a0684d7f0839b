//! The settings of an application: its sessions, and the limits of its pools.

use crate::view::activity::SessionGroup;
use crate::view::key::SessionKey;
use crate::view::pattern::Pattern;

/// An application with settings: its sessions are selected, and its pools' limits are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationSettings {
    /// The label `application`; `None` for the role of its sessions.
    pub name: Option<String>,
    /// Selects its sessions.
    pub sessions: SessionMatch,
    /// The pool of one process.
    pub pool: ProcessPool,
    /// The number of processes, each with such a pool; `None` where it is to be learned from the sessions.
    pub instances: Option<u32>,
}

impl ApplicationSettings {
    /// Returns the labels of sessions that are selected.
    pub(in crate::view) fn key(&self, group: &SessionGroup) -> SessionKey {
        let SessionKey { database, user, .. } = &group.key;
        SessionKey::new(database, user, self.name.as_deref().unwrap_or(user)).kept_apart()
    }
}

/// The pool of one process: its library's rules, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessPool {
    /// SQLAlchemy's QueuePool: connections above the size are closed at check-in.
    Sqlalchemy {
        /// Connections that it keeps; 0 means no limit at all.
        size: u32,
        /// Connections beyond the size; `None` means no limit.
        max_overflow: Option<u32>,
    },
    /// A pool with a minimum and a maximum, without overflow: HikariCP, pgx, psycopg_pool, deadpool,
    /// node-postgres, sqlx.
    Fixed {
        /// Connections that it keeps open even when all are idle.
        min: u32,
        /// Connections that it opens at most.
        max: u32,
    },
}

impl Default for ProcessPool {
    fn default() -> Self {
        Self::Sqlalchemy { size: 20, max_overflow: Some(10) }
    }
}

impl ProcessPool {
    /// Returns the number of connections that can rest idle in it; `None` without a limit.
    pub fn size(&self) -> Option<u32> {
        match *self {
            Self::Sqlalchemy { size, .. } => (size > 0).then_some(size),
            Self::Fixed { max, .. } => Some(max),
        }
    }

    /// Returns the number of connections above the size; `None` without a limit, and where there is no
    /// overflow.
    pub fn max_overflow(&self) -> Option<u32> {
        match *self {
            // A pool without a size has no limit at all, whatever its overflow.
            Self::Sqlalchemy { size, max_overflow } => max_overflow.filter(|_| size > 0),
            Self::Fixed { .. } => None,
        }
    }

    /// Returns the maximum number of open connections; `None` without a limit.
    pub fn max(&self) -> Option<u32> {
        match *self {
            Self::Sqlalchemy { .. } => Some(self.size()?.saturating_add(self.max_overflow()?)),
            Self::Fixed { max, .. } => Some(max),
        }
    }

    /// Returns the number of connections that stay open even when all are idle; `None` for pools that
    /// open connections only when they are needed.
    pub fn min(&self) -> Option<u32> {
        match *self {
            Self::Sqlalchemy { .. } => None,
            Self::Fixed { min, .. } => Some(min),
        }
    }

    /// Reports whether connections above the size are closed at check-in, so that what is open above it
    /// is checked out.
    pub fn closes_overflow(&self) -> bool {
        matches!(self, Self::Sqlalchemy { .. })
    }
}

/// Selects sessions; all three conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// The application_name; `None` for any. Sessions of exporters never match.
    pub application_name: Option<Pattern>,
    /// The role.
    pub user: NameMatch,
    /// The database.
    pub database: NameMatch,
}

/// Selects roles or databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// The role, or the database, of the exporter's own connections.
    #[default]
    SameAsExporter,
    /// Any.
    Any,
    /// Those with a name that matches.
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
    /// Reports whether the sessions of a row of the scan are selected.
    pub(crate) fn holds(&self, group: &SessionGroup) -> bool {
        let SessionKey { database, user, application } = &group.key;
        !group.is_exporter()
            && self.application_name.as_ref().is_none_or(|pattern| pattern.matches(application))
            && self.user.matches(user, group.own_role)
            && self.database.matches(database, group.own_database)
    }

    /// Reports whether one name stands for one process or a few, so that names can be counted to count
    /// processes.
    pub(super) fn names_processes(&self) -> bool {
        self.application_name.as_ref().is_some_and(Pattern::is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::activity::EXPORTER_NAME;
    use crate::view::fixture;

    #[test]
    fn by_default_an_application_has_the_exporters_role_and_database() {
        let matching = SessionMatch::default();
        let group = fixture::session_group;
        assert!(matching.holds(&group("app", "", true)));
        assert!(matching.holds(&group("app", "psql", true)));
        assert!(!matching.holds(&group("app", EXPORTER_NAME, true)));
        assert!(!matching.holds(&group("else", "", false)));
    }
}
