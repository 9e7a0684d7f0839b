//! The open connections, up to a limit: the oldest idle one makes room for a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Phase};

/// All open connections.
pub(super) struct Connections {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    activity: Arc<Activity>,
    close: CancellationToken,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), open: Mutex::default() })
    }

    /// Gives a slot to a connection that was just accepted; `None` if all others are busy.
    pub(super) fn admit(self: &Arc<Self>) -> Option<ConnectionSlot> {
        if self.lock().entries.len() >= self.limit && !self.shed() {
            return None;
        }
        let mut open = self.lock();
        open.next_id += 1;
        let id = open.next_id;
        let activity = Arc::new(Activity::new());
        let close = CancellationToken::new();
        open.entries.insert(id, Entry { activity: Arc::clone(&activity), close: close.clone() });
        Some(ConnectionSlot { connections: Arc::clone(self), id, activity, close })
    }

    /// Closes the oldest idle connection, or else the oldest without a complete request header.
    /// Returns false if all are answering.
    pub(super) fn shed(&self) -> bool {
        let mut open = self.lock();
        let oldest = open
            .entries
            .iter()
            .filter_map(|(id, entry)| match entry.activity.now() {
                (Phase::Idle, since) => Some((0, since, *id)),
                (Phase::Handshake | Phase::Header, since) => Some((1, since, *id)),
                (Phase::Answering, _) => None,
            })
            .min();
        let Some((_, _, id)) = oldest else { return false };
        if let Some(entry) = open.entries.remove(&id) {
            entry.close.cancel();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one connection, free again when dropped.
pub(super) struct ConnectionSlot {
    connections: Arc<Connections>,
    id: u64,
    pub(super) activity: Arc<Activity>,
    /// Cancelled when the slot is needed for another connection.
    pub(super) close: CancellationToken,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::activity::Protocol;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_makes_room() {
        let connections = Connections::new(2);
        let first = connections.admit().unwrap();
        first.activity.established(Protocol::Http1);
        let _busy = first.activity.begin();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let second = connections.admit().unwrap();
        second.activity.established(Protocol::Http1);
        let third = connections.admit().unwrap();
        assert!(second.close.is_cancelled() && !first.close.is_cancelled());
        third.activity.established(Protocol::Http1);
        let _busy = third.activity.begin();
        assert!(connections.admit().is_none());
        drop(first);
        assert!(connections.admit().is_some());
    }
}
