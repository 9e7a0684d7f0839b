//! Limits how many connections to a server exist at a time, as the server counts them.
//!
//! A permit is held by the task that drives a connection, until the server has closed its side, and
//! not by the user of the connection. So a connect that was given up keeps its permit while its
//! backend may still exist, and an exporter that times out cannot fill the server up. (Measured
//! without it: with logins stuck in the server, one abandoned connect after the other took all of
//! `max_connections`.)

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dsn::{DEFAULT_PORT, Host};
use crate::metrics::{Gauge, Purpose};

/// A place among the connections. The attempts of one connect (its hosts, with and without TLS) share it,
/// because they follow each other; it is freed with the last of them.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// The permits of one target.
///
/// The pool and the fresh connects have separate permits, so that a stuck pool never prevents the attempt of
/// a fresh connect, nor the other way round.
pub struct Budget {
    size: usize,
    pool: Arc<Semaphore>,
    fresh: Arc<Semaphore>,
    pub(super) abandoned: Gauge,
    pids: Mutex<Vec<i32>>,
    is_leased: AtomicBool,
}

impl Budget {
    /// `pool` permits for the pool and one for fresh connects.
    pub fn new(pool: usize) -> Arc<Self> {
        Arc::new(Self {
            size: pool,
            pool: Arc::new(Semaphore::new(pool)),
            fresh: Arc::new(Semaphore::new(FRESH)),
            abandoned: Gauge::new(),
            pids: Mutex::default(),
            is_leased: AtomicBool::new(false),
        })
    }

    /// The daemon's limit for a target: three connections, two of them in the pool. The documentation promises
    /// this number to administrators who plan `max_connections`.
    pub fn daemon() -> Arc<Self> {
        Self::new(2)
    }

    /// The number of connections that the pool may have open.
    pub fn pool_size(&self) -> usize {
        self.size
    }

    /// The number of connections that were given up and may still exist on the server.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.value()
    }

    /// The process ids of our connections' backends, as the server reported them.
    pub fn pids(&self) -> Vec<i32> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lists a backend as ours until the result is dropped.
    pub(super) fn list(self: &Arc<Self>, pid: i32) -> Listed {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
        Listed { budget: Arc::clone(self), pid }
    }

    /// Waits for a permit; the caller limits the wait. `None` once the budget is closed.
    pub(super) async fn permit(&self, purpose: Purpose) -> Option<Permit> {
        let semaphore = match purpose {
            Purpose::Pool => &self.pool,
            Purpose::Fresh => &self.fresh,
        };
        Arc::clone(semaphore).acquire_owned().await.ok().map(Arc::new)
    }

    /// Reports whether a target uses it.
    fn is_leased(&self) -> bool {
        self.is_leased.load(Ordering::Acquire)
    }

    /// The number of permits that are taken.
    fn taken(&self) -> usize {
        self.size + FRESH - self.pool.available_permits() - self.fresh.available_permits()
    }
}

/// Permits for fresh connects.
const FRESH: usize = 1;

/// A backend that is listed as ours while this exists.
pub(super) struct Listed {
    budget: Arc<Budget>,
    pid: i32,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut pids = self.budget.pids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = pids.iter().position(|pid| *pid == self.pid) {
            pids.swap_remove(place);
        }
    }
}

/// The budgets of all servers.
///
/// A budget belongs to a server, not to a target: it is kept while permits are taken, whatever the
/// configuration says meanwhile. A target that returns after a reload, or comes back under another
/// name, continues with the permits that its predecessor's connections still hold.
#[derive(Default)]
pub(crate) struct Budgets {
    servers: Mutex<BTreeMap<Server, Vec<Arc<Budget>>>>,
}

/// All hosts of a target with their ports, in a fixed order.
type Server = Vec<(String, u16)>;

impl Budgets {
    /// Takes a budget of this server that no other target uses: the one with most permits taken.
    pub(crate) fn lease(&self, hosts: &[Host]) -> Lease {
        let mut server: Server =
            hosts.iter().map(|host| (host.show(), host.port.unwrap_or(DEFAULT_PORT))).collect();
        // The order of hosts in a URL does not change the servers that it reaches.
        server.sort();
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // A budget with taken permits must stay even without a target: its connections still exist on the
        // server. Without this rule, each reload against a stuck server would add three connections.
        servers.retain(|_, budgets| {
            budgets.retain(|budget| budget.is_leased() || budget.taken() > 0);
            !budgets.is_empty()
        });
        let budgets = servers.entry(server).or_default();
        // The one with the most taken permits, so that a target that returns inherits its own connections
        // and cannot start afresh beside them.
        let unused = budgets.iter().filter(|budget| !budget.is_leased());
        let budget = unused.max_by_key(|budget| budget.taken()).cloned().unwrap_or_else(|| {
            budgets.push(Budget::daemon());
            Arc::clone(&budgets[budgets.len() - 1])
        });
        budget.is_leased.store(true, Ordering::Release);
        Lease(budget)
    }
}

/// A target's use of a budget, until [`Lease::end`].
pub(crate) struct Lease(Arc<Budget>);

impl Lease {
    /// The permits.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.0
    }

    /// Ends the use; another target may lease the budget. Its connections keep their permits
    /// until the server has closed them.
    pub(crate) fn end(&self) {
        self.0.is_leased.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<Host> {
        crate::dsn::parse(url).unwrap_or_default().hosts
    }

    #[tokio::test]
    async fn a_budget_is_used_again_by_whoever_reaches_its_server() {
        let budgets = Budgets::default();
        let first = budgets.lease(&hosts("postgresql://a,b:5433/x"));
        let permit = first.budget().permit(Purpose::Fresh).await;
        let second = budgets.lease(&hosts("postgresql://a,b:5433/y"));
        assert!(!Arc::ptr_eq(first.budget(), second.budget()), "two targets that run at once");
        second.end();
        first.end();
        let other = budgets.lease(&hosts("postgresql://a/x"));
        let again = budgets.lease(&hosts("postgresql://b:5433,a/z"));
        assert!(Arc::ptr_eq(first.budget(), again.budget()), "its permits are still taken");
        assert!(!Arc::ptr_eq(first.budget(), other.budget()), "another server");
        again.end();
        drop(permit);
        let anew = budgets.lease(&hosts("postgresql://a,b:5433/x"));
        assert!(!Arc::ptr_eq(first.budget(), anew.budget()), "nothing was left of it");
        assert_eq!(budgets.servers.lock().unwrap().values().flatten().count(), 2);
    }
}
