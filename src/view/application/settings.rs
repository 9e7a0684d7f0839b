//! The settings of an application: its sessions, and the limits of its pools.

use crate::view::activity::{EXPORTER_NAME, SessionGroup};
use crate::view::key::SessionKey;
use crate::view::pattern::Pattern;

/// An application with settings: its sessions are selected, and its pools' limits are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSettings {
    /// The label `application`.
    pub name: String,
    /// Selects its sessions.
    pub sessions: SessionMatch,
    /// Connections that the pool of one process keeps; 0 means no limit.
    pub pool_size: u32,
    /// Connections beyond the pool size; `None` means no limit.
    pub max_overflow: Option<u32>,
    /// The number of processes, each with such a pool. Where processes have names of their own and more
    /// of them are seen, the larger number is used.
    pub instances: u32,
}

impl Default for ApplicationSettings {
    /// The sessions of the exporter's own role in its own database, as one process.
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

/// Selects sessions; all three conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// The application_name; `None` for any but the exporter's own.
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
        let named = match &self.application_name {
            Some(pattern) => pattern.matches(application),
            None => application != EXPORTER_NAME,
        };
        named
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
