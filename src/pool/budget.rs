//! How many connections to one target there may be at a moment, as the server counts them.
//!
//! A permit is held by the task that drives a connection, until the server has closed its side: not
//! by whoever uses the connection. A connect that was given up therefore keeps its permit while its
//! backend may still be there, and an exporter that times out cannot fill the server up
//! (measured: with logins stuck in the server, one abandoned connect after the other takes all of
//! `max_connections`).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Gauge, Purpose};

/// A place among the connections; shared by the attempts of one connect, freed with the last.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// The permits of one target.
///
/// Their split is fixed, so that a stuck pool never keeps a fresh connect from being tried, nor the
/// other way round.
pub struct Budget {
    size: usize,
    pool: Arc<Semaphore>,
    fresh: Arc<Semaphore>,
    pub(super) abandoned: Gauge,
    pids: Mutex<Vec<i32>>,
}

impl Budget {
    /// So many for the pool, and one for fresh connects.
    pub fn new(pool: usize) -> Arc<Self> {
        Arc::new(Self {
            size: pool,
            pool: Arc::new(Semaphore::new(pool)),
            fresh: Arc::new(Semaphore::new(1)),
            abandoned: Gauge::new(),
            pids: Mutex::default(),
        })
    }

    /// What a daemon allows itself: three, two of them in the pool.
    pub fn daemon() -> Arc<Self> {
        Self::new(2)
    }

    /// Connections that the pool may have open at a time.
    pub fn pool_size(&self) -> usize {
        self.size
    }

    /// Connections that were given up and may still be there on the server.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.value()
    }

    /// The backends of our connections, as the server told their process ids.
    pub fn pids(&self) -> Vec<i32> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lists a backend as ours until the answer is dropped.
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
}

/// A backend that is ours while this lives.
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
