//! Turns at a server: one probe on demand at a time.
//!
//! Two Prometheus servers scrape at the same moment, and each of their probes needs more than one of the server's few
//! connections. One after the other, both succeed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::dsn::{DEFAULT_PORT, Host};

/// The turns at all servers that are being probed on demand now.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Server, Weak<Turn<()>>>>);

/// The hosts of a target with their ports, in a fixed order.
type Server = Vec<(String, u16)>;

impl Turns {
    /// Waits for the turn at a server; the caller limits the wait.
    pub(super) async fn take(&self, hosts: &[Host]) -> OwnedMutexGuard<()> {
        self.of(hosts).lock_owned().await
    }

    fn of(&self, hosts: &[Host]) -> Arc<Turn<()>> {
        let mut server: Server =
            hosts.iter().map(|host| (host.show(), host.port.unwrap_or(DEFAULT_PORT))).collect();
        server.sort();
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&server).and_then(Weak::upgrade) {
            return turn;
        }
        // Nothing remains of a server that nobody probes: there can be many.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(server, Arc::downgrade(&turn));
        turn
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
