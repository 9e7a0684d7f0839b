//! The open connections, at most so many: the oldest idle one makes room for a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Phase};

/// All open connections.
pub(super) struct Roster {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Slot>,
}

struct Slot {
    activity: Arc<Activity>,
    close: CancellationToken,
}

impl Roster {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), open: Mutex::default() })
    }

    /// A place for a connection that was just accepted; `None`: all the others are busy.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        if self.lock().slots.len() >= self.limit && !self.shed() {
            return None;
        }
        let mut open = self.lock();
        open.next += 1;
        let (activity, close) = (Arc::new(Activity::new()), CancellationToken::new());
        let id = open.next;
        let slot = Slot { activity: Arc::clone(&activity), close: close.clone() };
        open.slots.insert(id, slot);
        Some(Place { roster: Arc::clone(self), id, activity, close })
    }

    /// Closes the oldest idle connection, or else the oldest that has not yet said what it wants.
    pub(super) fn shed(&self) -> bool {
        let mut open = self.lock();
        let oldest = open
            .slots
            .iter()
            .filter_map(|(id, slot)| match slot.activity.now() {
                (Phase::Idle, since) => Some((0, since, *id)),
                (Phase::Handshake | Phase::Header, since) => Some((1, since, *id)),
                (Phase::Answering, _) => None,
            })
            .min();
        let Some((_, _, id)) = oldest else { return false };
        if let Some(slot) = open.slots.remove(&id) {
            slot.close.cancel();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the roster, free again when dropped.
pub(super) struct Place {
    roster: Arc<Roster>,
    id: u64,
    pub(super) activity: Arc<Activity>,
    /// Cancelled when the place is needed for another.
    pub(super) close: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.lock().slots.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_makes_room() {
        let roster = Roster::new(2);
        let first = roster.admit().unwrap();
        first.activity.established(false);
        let _busy = first.activity.begin();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let second = roster.admit().unwrap();
        second.activity.established(false);
        let third = roster.admit().unwrap();
        assert!(second.close.is_cancelled() && !first.close.is_cancelled());
        third.activity.established(false);
        let _busy = third.activity.begin();
        assert!(roster.admit().is_none());
        drop(first);
        assert!(roster.admit().is_some());
    }
}
