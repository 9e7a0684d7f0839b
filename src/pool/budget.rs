//! Limits how many connections to a server exist at a time, as the server counts them.
//!
//! A permit is held by the task that drives a connection, until the server has closed its side, and
//! not by the user of the connection. So a connect that was given up keeps its permit while its
//! backend may still exist, and an exporter that times out cannot fill the server up. (Measured
//! without it: with logins stuck in the server, one abandoned connect after the other took all of
//! `max_connections`.)
//!
//! The permits belong to the server, and all targets that reach it share them (see [`super::places`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::places::{HolderId, Place, Places, Standing};
use crate::dsn::{DEFAULT_PORT, Host};
use crate::metrics::{Gauge, GaugeGuard, Purpose};

/// A place among the connections. The attempts of one connect (its hosts, with and without TLS) share it,
/// because they follow each other; it is freed with the last of them.
pub(super) type Permit = Arc<Place>;

/// The most connections on a server, unless another number is configured. The documentation promises this
/// number to administrators who plan `max_connections`.
pub(crate) const CONNECTIONS_PER_SERVER: u32 = 3;

/// The longest time that the only target of a server waits for a permit. It is long enough for a connection
/// that is closing. A longer wait would be useless, because an abandoned connection can hold its permit for
/// minutes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A target's share in the connections of its server.
///
/// The pool and the fresh connects have separate permits, so that a stuck pool never prevents the attempt of
/// a fresh connect, nor the other way round.
pub struct Budget {
    server: Arc<Connections>,
    holder: HolderId,
}

/// The connections of the exporter to one server.
#[derive(Default)]
struct Connections {
    places: Arc<Places>,
    /// Connections that are open in the pools of its targets.
    pooled: Gauge,
    pids: Mutex<Vec<i32>>,
}

impl Budget {
    /// A server of its own, with `pool` permits for the pool and one for fresh connects.
    pub fn new(pool: usize) -> Arc<Self> {
        Self::of(&Arc::default(), pool + 1, Standing::Member)
    }

    /// A server of its own, with the daemon's limit: three connections, two of them in the pool.
    pub fn daemon() -> Arc<Self> {
        Self::new(2)
    }

    fn of(server: &Arc<Connections>, limit: usize, standing: Standing) -> Arc<Self> {
        let holder = server.places.join(limit, standing);
        Arc::new(Self { server: Arc::clone(server), holder })
    }

    /// The number of connections that the pool may have open.
    pub fn pool_size(&self) -> usize {
        self.server.places.pool_size()
    }

    /// The number of connections that were given up and may still exist on the server.
    pub fn abandoned(&self) -> u64 {
        self.server.places.abandoned(self.holder)
    }

    /// The process ids of the backends of all the exporter's connections to the server, as it reported them.
    pub fn pids(&self) -> Vec<i32> {
        self.server.pids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of connections to the server that are open in pools, of all its targets.
    pub fn pooled(&self) -> u64 {
        self.server.pooled.value()
    }

    /// Reports whether the target may keep a connection between two probes. Otherwise it opens, uses and closes
    /// one at each probe.
    pub fn may_keep(&self) -> bool {
        self.server.places.may_keep(self.holder)
    }

    /// Reports whether other targets share the connections.
    pub(super) fn is_shared(&self) -> bool {
        self.server.places.is_shared()
    }

    /// Sets whether the target reads the server for all others, which needs a connection all the time.
    pub(crate) fn set_leads(&self, leads: bool) {
        self.server.places.set_leads(self.holder, leads);
    }

    /// Ends the target's share. Its connections keep their permits until the server has closed them.
    pub(crate) fn end(&self) {
        self.server.places.end(self.holder);
    }

    /// The longest time to wait for a permit, of the time for a connect. Who shares, or visits, waits for others.
    pub(super) fn patience(&self, timeout: Duration) -> Duration {
        if self.is_shared() || !self.may_keep() { timeout * 3 / 4 } else { PATIENCE.min(timeout) }
    }

    /// The permits that the target's pool uses: those of the pool for connections that are kept, those of fresh
    /// connects for one that is opened for a single probe.
    pub(super) fn purpose_of_pool(&self) -> Purpose {
        if self.may_keep() { Purpose::Pool } else { Purpose::Fresh }
    }

    /// Counts a pooled connection until the result is dropped.
    pub(super) fn count_pooled(&self) -> GaugeGuard {
        self.server.pooled.inc_guard()
    }

    /// Counts a connection as given up until the result is dropped.
    pub(super) fn abandon(&self) -> Abandoned {
        self.server.places.abandon(self.holder, 1);
        Abandoned { places: Arc::clone(&self.server.places), holder: self.holder }
    }

    /// Lists a backend as ours until the result is dropped.
    pub(super) fn list(&self, pid: i32) -> Listed {
        self.server.pids.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
        Listed { server: Arc::clone(&self.server), pid }
    }

    /// Waits for a permit; the caller limits the wait. `None` once the budget is closed.
    pub(super) async fn permit(&self, purpose: Purpose) -> Option<Permit> {
        self.server.places.take(self.holder, purpose).await.map(Arc::new)
    }
}

/// A connection that counts as given up while this exists.
pub(super) struct Abandoned {
    places: Arc<Places>,
    holder: HolderId,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.places.abandon(self.holder, -1);
    }
}

/// A backend that is listed as ours while this exists.
pub(super) struct Listed {
    server: Arc<Connections>,
    pid: i32,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut pids = self.server.pids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = pids.iter().position(|pid| *pid == self.pid) {
            pids.swap_remove(place);
        }
    }
}

/// The connections of all servers.
///
/// They belong to a server, not to a target: they are kept while permits are taken, whatever the
/// configuration says meanwhile. A target that returns after a reload, or comes back under another
/// name, continues with the permits that its predecessor's connections still hold.
#[derive(Default)]
pub(crate) struct Budgets {
    servers: Mutex<BTreeMap<ServerAddress, Arc<Connections>>>,
}

/// All hosts of a target with their ports, in a fixed order. Targets with the same address share a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerAddress(Vec<(String, u16)>);

impl ServerAddress {
    /// The address that these hosts are.
    pub fn new(hosts: &[Host]) -> Self {
        let mut hosts: Vec<_> =
            hosts.iter().map(|host| (host.show(), host.port.unwrap_or(DEFAULT_PORT))).collect();
        // The order of hosts in a URL does not change the servers that it reaches.
        hosts.sort();
        Self(hosts)
    }
}

impl std::fmt::Display for ServerAddress {
    /// `host:port`, several of them with commas; the label `server`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (host, port)) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            if host.contains(':') {
                write!(f, "[{host}]:{port}")?;
            } else {
                write!(f, "{host}:{port}")?;
            }
        }
        Ok(())
    }
}

impl Budgets {
    /// A target's share in the connections of its server, until [`Budget::end`]. `limit`: the most
    /// connections that it allows there; of several targets the smallest number counts.
    pub(crate) fn share(&self, address: &ServerAddress, limit: u32) -> Arc<Budget> {
        self.of(address, limit, Standing::Member)
    }

    /// A share for a connection that is opened once, beside those of the server's targets.
    pub(crate) fn visit(&self, address: &ServerAddress, limit: u32) -> Visit {
        Visit(self.of(address, limit, Standing::Guest))
    }

    fn of(&self, address: &ServerAddress, limit: u32, standing: Standing) -> Arc<Budget> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // Connections with taken permits must stay even without a target: they still exist on the server.
        // Without this rule, each reload against a stuck server would add three connections.
        servers.retain(|other, server| other == address || server.places.is_in_use());
        let server = servers.entry(address.clone()).or_default();
        Budget::of(server, usize::try_from(limit).unwrap_or(usize::MAX), standing)
    }
}

/// A share that ends when it is dropped.
pub(crate) struct Visit(Arc<Budget>);

impl Visit {
    /// The permits.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> ServerAddress {
        ServerAddress::new(&crate::dsn::parse(url).unwrap_or_default().hosts)
    }

    fn is_same(a: &Budget, b: &Budget) -> bool {
        Arc::ptr_eq(&a.server, &b.server)
    }

    #[tokio::test]
    async fn connections_belong_to_a_server_and_outlive_its_targets() {
        let budgets = Budgets::default();
        let server = address("postgresql://a,b:5433/x");
        let first = budgets.share(&server, 3);
        let permit = first.permit(Purpose::Fresh).await;
        let second = budgets.share(&address("postgresql://b:5433,a/y"), 3);
        assert!(is_same(&first, &second), "whatever the database and the order of hosts");
        let other = budgets.share(&address("postgresql://a/x"), 3);
        assert!(!is_same(&first, &other), "another server");
        first.end();
        second.end();
        let again = budgets.share(&server, 3);
        assert!(is_same(&first, &again), "its permits are still taken");
        again.end();
        drop(permit);
        other.end();
        let anew = budgets.share(&server, 3);
        assert_eq!(budgets.servers.lock().unwrap().len(), 1, "nothing was left of the other");
        drop(budgets.visit(&server, 3));
        anew.end();
        assert!(!anew.server.places.is_in_use());
    }

    #[test]
    fn a_server_is_shown_with_all_its_hosts_and_ports() {
        let shown = |url| address(url).to_string();
        assert_eq!(shown("postgresql://db/x"), "db:5432");
        assert_eq!(shown("postgresql://[::1]:5433,a/x"), "[::1]:5433,a:5432");
    }
}
