//! Counts the label sets that found no room.

use std::collections::{BTreeMap, BTreeSet};

use strum::{IntoStaticStr, VariantArray};

use super::{ViewName, Views, activity, databases, limits, pgbouncer};
use crate::metrics::{Kind, Label, Reading};

/// A family with a limited number of label sets; the label `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum CappedFamily {
    /// `db_pool_server_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_connections")]
    Server,
    /// `db_pool_app_active_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_app_active_connections")]
    Applications,
    /// `db_pool_server_sessions_total`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_sessions_total")]
    Databases,
    /// `db_pool_server_role_connection_limit`, and all that have its label sets.
    #[strum(serialize = "db_pool_server_role_connection_limit")]
    Roles,
    /// `db_pool_pgbouncer_client_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_pgbouncer_client_connections")]
    PoolerPools,
    /// `db_pool_pgbouncer_transactions_total`, and all that have its label sets.
    #[strum(serialize = "db_pool_pgbouncer_transactions_total")]
    PoolerDatabases,
    /// `db_pool_pgbouncer_user_connections`, and all that have its label sets.
    #[strum(serialize = "db_pool_pgbouncer_user_connections")]
    PoolerUsers,
    /// `db_pool_pgbouncer_application_clients`, and all that have its label sets.
    #[strum(serialize = "db_pool_pgbouncer_application_clients")]
    PoolerApplications,
}

/// The number of label sets that found no room, by family, since the target was started.
#[derive(Debug)]
pub(super) struct Dropped(BTreeMap<CappedFamily, u64>);

impl CappedFamily {
    /// The view that the family is read from.
    fn view(self) -> ViewName {
        match self {
            Self::Server | Self::Applications => activity::VIEW.name,
            Self::Databases => databases::VIEW.name,
            Self::Roles => limits::VIEW.name,
            Self::PoolerPools => pgbouncer::pools::VIEW.name,
            Self::PoolerDatabases => pgbouncer::stats::VIEW.name,
            Self::PoolerUsers => pgbouncer::limits::VIEW.name,
            Self::PoolerApplications => pgbouncer::clients::VIEW.name,
        }
    }
}

impl Dropped {
    /// Every family of a view that is read at 0, so that `increase()` sees the first event.
    pub(super) fn new(enabled: &BTreeSet<ViewName>) -> Self {
        let read = CappedFamily::all().filter(|family| enabled.contains(&family.view()));
        Self(read.map(|family| (family, 0)).collect())
    }

    /// Adds the label sets that one reading left out.
    pub(super) fn add(&mut self, family: CappedFamily, sets: u64) {
        *self.0.entry(family).or_default() += sets;
    }

    /// Takes over a total that is counted elsewhere.
    pub(super) fn set(&mut self, family: CappedFamily, total: u64) {
        if let Some(count) = self.0.get_mut(&family) {
            *count = total;
        }
    }

    /// The counts, for a snapshot.
    pub(super) fn totals(&self) -> Vec<(CappedFamily, u64)> {
        self.0.iter().map(|(family, sets)| (*family, *sets)).collect()
    }
}

/// The family of the counter.
pub(super) const READINGS: &[Reading<Views>] = &[Reading {
    name: "db_pool_exporter_series_dropped_total",
    help: "Label sets beyond series_limit: those of db_pool_server_connections and db_pool_pgbouncer_client_connections once while they stay, others at each reading. The former are summed up under application=\"other\" or user=\"other\"; the others are left out.",
    kind: Kind::Counter,
    labels: &["family"],
    read: |views, out| {
        views.dropped.iter().for_each(|(family, sets)| out.push([family.label()], *sets));
    },
}];
