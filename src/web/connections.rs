//! The open connections, up to a limit. The least valuable one makes room for a new one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::activity::{Activity, Worth};

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
    peer: Peer,
    activity: Arc<Activity>,
    close: CancellationToken,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), open: Mutex::default() })
    }

    /// Gives a slot to a connection that was just accepted; `None` if all others are busy.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<ConnectionSlot> {
        if self.lock().entries.len() >= self.limit && !self.shed() {
            return None;
        }
        let mut open = self.lock();
        open.next_id += 1;
        let id = open.next_id;
        let activity = Arc::new(Activity::new());
        let close = CancellationToken::new();
        let entry = Entry { peer, activity: Arc::clone(&activity), close: close.clone() };
        open.entries.insert(id, entry);
        Some(ConnectionSlot { connections: Arc::clone(self), id, activity, close })
    }

    /// Closes one connection of the client with the most connections: the one of least worth, of those
    /// the one that has taken the fewest answers, of those the oldest. Returns false if all are being
    /// answered.
    ///
    /// So one client cannot push out others, and a scraper that is between two scrapes stays.
    pub(super) fn shed(&self) -> bool {
        let mut open = self.lock();
        let of_peer = open.count_by_peer();
        let newest_kept = open.newest_kept();
        let sheddable = open.entries.iter().filter_map(|(id, entry)| {
            let (worth, answered, since) = entry.activity.worth()?;
            let is_crowd = worth == Worth::Proven && newest_kept.is_some_and(|kept| *id > kept);
            let worth = if is_crowd { Worth::Crowd } else { worth };
            Some((Reverse(of_peer.get(&entry.peer).copied()), worth, answered, since, *id))
        });
        let Some((.., id)) = sheddable.min() else { return false };
        if let Some(entry) = open.entries.remove(&id) {
            entry.close.cancel();
        }
        true
    }

    /// Closes the connection with the answer that has made no progress for the longest time, if that time is
    /// long enough to suspect that its client reads nothing. Called when a request waits for a place.
    pub(super) fn cut_stalled(&self) {
        let open = self.lock();
        let stalled = open.entries.values().filter(|entry| !entry.close.is_cancelled());
        let stalled = stalled.filter_map(|entry| Some((entry.activity.stalled_since()?, entry)));
        if let Some((_, entry)) = stalled.min_by_key(|(since, _)| *since) {
            entry.close.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The idle connections that are kept for having taken an answer: the oldest, so that a flood cannot take
/// the place of a scraper that was there before it.
const KEPT: usize = 64;

impl Open {
    fn count_by_peer(&self) -> HashMap<Peer, usize> {
        let mut counts = HashMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.peer).or_default() += 1;
        }
        counts
    }

    /// The newest of the connections that are kept; `None` if all proven ones are.
    fn newest_kept(&self) -> Option<u64> {
        let is_proven = |entry: &Entry| {
            entry.activity.worth().is_some_and(|(worth, ..)| worth == Worth::Proven)
        };
        let proven = self.entries.iter().filter(|(_, entry)| is_proven(entry));
        let mut ids: Vec<u64> = proven.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.get(KEPT - 1).copied()
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
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::web::activity::{Protocol, Stage};

    fn admit(connections: &Arc<Connections>, peer: u8) -> ConnectionSlot {
        let peer = Peer::Tcp(Ipv4Addr::new(192, 0, 2, peer).into());
        let slot = connections.admit(peer).expect("there is room");
        slot.activity.started();
        slot.activity.established(Protocol::Http1);
        slot
    }

    fn answer(slot: &ConnectionSlot) {
        slot.activity.begin().succeed();
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_makes_room() {
        let connections = Connections::new(2);
        let first = admit(&connections, 1);
        let _busy = first.activity.begin();
        advance(Duration::from_secs(1)).await;
        let second = admit(&connections, 1);
        let third = admit(&connections, 1);
        assert!(second.close.is_cancelled() && !first.close.is_cancelled());
        let _busy = third.activity.begin();
        assert!(connections.admit(Peer::Unix).is_none());
        drop(first);
        assert!(connections.admit(Peer::Unix).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_and_newcomers_outlive_clients_that_wait() {
        let connections = Connections::new(3);
        let scraper = admit(&connections, 1);
        answer(&scraper);
        scraper.activity.flushed();
        advance(Duration::from_secs(60)).await;
        let body = admit(&connections, 1);
        let waiting = body.activity.begin();
        waiting.enter(Stage::Body);
        let silent = admit(&connections, 1);
        let fresh = admit(&connections, 1);
        assert!(body.close.is_cancelled() && !silent.close.is_cancelled());
        drop(fresh);
        advance(Duration::from_secs(1)).await;
        let _fresh = admit(&connections, 1);
        let mut last = admit(&connections, 1);
        assert!(silent.close.is_cancelled());
        for _ in 0..10 {
            last = admit(&connections, 1);
            assert!(!scraper.close.is_cancelled());
        }
        drop(last);
    }

    #[tokio::test(start_paused = true)]
    async fn many_idle_connections_do_not_push_out_newcomers() {
        let connections = Connections::new(KEPT + 10);
        let proven: Vec<_> = (0..KEPT + 9)
            .map(|_| {
                let slot = admit(&connections, 1);
                answer(&slot);
                slot.activity.flushed();
                slot
            })
            .collect();
        let newcomer = admit(&connections, 1);
        for _ in 0..9 {
            let _another = admit(&connections, 1);
        }
        assert!(!newcomer.close.is_cancelled());
        assert!(proven.iter().take(KEPT).all(|slot| !slot.close.is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_with_the_most_connections_makes_room() {
        let connections = Connections::new(4);
        let other = admit(&connections, 2);
        let many: Vec<_> = (0..3).map(|_| admit(&connections, 1)).collect();
        many.iter().for_each(answer);
        let _next = admit(&connections, 1);
        assert!(!other.close.is_cancelled());
        assert_eq!(many.iter().filter(|slot| slot.close.is_cancelled()).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_without_progress_is_cut() {
        let connections = Connections::new(4);
        let (slow, quick) = (admit(&connections, 1), admit(&connections, 1));
        let (stuck, taken) = (slow.activity.begin(), quick.activity.begin());
        stuck.enter(Stage::Sending);
        taken.enter(Stage::Sending);
        connections.cut_stalled();
        assert!(!slow.close.is_cancelled());
        advance(Duration::from_secs(1)).await;
        taken.progress();
        connections.cut_stalled();
        connections.cut_stalled();
        assert!(slow.close.is_cancelled() && !quick.close.is_cancelled());
    }
}
