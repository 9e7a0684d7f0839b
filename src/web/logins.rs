//! The queue of passwords that wait to be hashed.
//!
//! bcrypt is slow on purpose, so a flood of wrong passwords could delay every other login. Therefore one hash
//! runs at a time, on a separate thread. The queue is short, each client has a small share of it, and the
//! client with the fewest recent failures comes first: a valid login waits for the hash that is running, but
//! not for the flood. A password that finds the queue full is refused. That, and hanging up while waiting,
//! count as failures too: a flood from many addresses is mostly refused, and would otherwise rank equal to
//! a client that comes for the first time. At its start such a flood is nothing but clients that come for the
//! first time, so a client that has logged in before, and has not failed since, comes before those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::access::Peer;

/// The maximum number of waiting passwords, in all and of one client.
const MOST_WAITING: usize = 32;
const MOST_OF_ONE: usize = 4;

/// The time without a failure after which a client is forgotten, the time after which failures count half,
/// and the most clients that are remembered.
const MEMORY: Duration = Duration::from_secs(60);
const HALF_LIFE: Duration = Duration::from_secs(15);
const MOST_REMEMBERED: usize = 1024;

/// A client, as failures and places in the queue are counted: an IPv4 address, or a /64 network of IPv6. A
/// single machine can use any address of its /64 network (RFC 4291, 2.5.1: interface identifiers have 64
/// bits), so counting single addresses would let it evade the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u16; 4]),
    Unix,
}

impl Source {
    fn of(peer: Peer) -> Self {
        match peer {
            Peer::Tcp(IpAddr::V4(address)) => Self::V4(address.octets()),
            Peer::Tcp(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
            Peer::Unix => Self::Unix,
        }
    }
}

/// The queue.
#[derive(Default)]
pub(super) struct LoginQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_running: bool,
    waiting: Vec<Waiter>,
    failures: HashMap<Source, Failures>,
    /// Clients that have logged in, and when they last did.
    successes: HashMap<Source, Instant>,
}

/// The order among clients that wait: the smallest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It has logged in, and has no failure that is remembered.
    Known,
    /// Its failures; 0 for a client that comes for the first time.
    Failures(u32),
}

struct Waiter {
    source: Source,
    /// Dropped when the waiter is refused.
    turn: oneshot::Sender<Turn>,
}

struct Failures {
    count: u32,
    /// The time from which the next halving of `count` is reckoned.
    halved: Instant,
    last: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self { count: 0, halved: now, last: now }
    }

    /// The failures that still count. At least 1 until the client is forgotten, so that it never ranks
    /// equal to one that comes for the first time.
    fn weight(&self, now: Instant) -> u32 {
        let mut decayed = Self { ..*self };
        decayed.decay(now);
        if now.duration_since(self.last) < MEMORY { decayed.count } else { 0 }
    }

    fn add(&mut self, now: Instant) {
        self.decay(now);
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    /// Ends after a few rounds: entries older than the memory are removed, or count 1 and stay so.
    fn decay(&mut self, now: Instant) {
        while self.count > 1 && now.duration_since(self.halved) >= HALF_LIFE {
            self.count = self.count.div_ceil(2);
            self.halved += HALF_LIFE;
        }
        if self.count <= 1 {
            self.halved = now;
        }
    }
}

/// The right to hash a password; the next one begins when it is dropped.
pub(super) struct Turn {
    queue: Arc<LoginQueue>,
    source: Source,
}

impl Turn {
    /// Records that the password was wrong. Called before the turn is dropped, so that the choice of the
    /// next one takes it into account.
    pub(super) fn failed(&self) {
        self.queue.lock().count_failure(self.source);
    }

    /// Records that the password was right.
    pub(super) fn succeeded(&self) {
        self.queue.lock().count_success(self.source);
    }
}

/// Counts a wait that ends without a turn: refused, displaced by another client, or the client hung up,
/// in which case the future is dropped.
struct Wait<'a> {
    queue: &'a LoginQueue,
    source: Source,
    has_turn: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.has_turn {
            self.queue.lock().count_failure(self.source);
        }
    }
}

impl LoginQueue {
    /// Waits for a turn; `None` if the queue is full for this client.
    pub(super) async fn turn(self: &Arc<Self>, peer: Peer) -> Option<Turn> {
        let source = Source::of(peer);
        let mut wait = Wait { queue: self, source, has_turn: false };
        // The lock is released before the wait: the running hash takes it to pass the turn on.
        let waiting = {
            let mut state = self.lock();
            if !state.is_running {
                state.is_running = true;
                wait.has_turn = true;
                return Some(Turn { queue: Arc::clone(self), source });
            }
            state.enqueue(source)
        };
        let turn = waiting?.await.ok();
        wait.has_turn = turn.is_some();
        turn
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_failure(&mut self, source: Source) {
        let now = Instant::now();
        self.failures.retain(|_, failures| now.duration_since(failures.last) < MEMORY);
        if self.failures.len() >= MOST_REMEMBERED && !self.failures.contains_key(&source) {
            let oldest =
                self.failures.iter().min_by_key(|(_, f)| f.last).map(|(source, _)| *source);
            oldest.map(|source| self.failures.remove(&source));
        }
        self.failures.entry(source).or_insert(Failures::new(now)).add(now);
    }

    fn count_success(&mut self, source: Source) {
        if self.successes.len() >= MOST_REMEMBERED && !self.successes.contains_key(&source) {
            let oldest =
                self.successes.iter().min_by_key(|(_, at)| **at).map(|(source, _)| *source);
            oldest.map(|source| self.successes.remove(&source));
        }
        self.successes.insert(source, Instant::now());
    }

    fn enqueue(&mut self, source: Source) -> Option<oneshot::Receiver<Turn>> {
        // Clients that have gone must not fill the queue.
        self.waiting.retain(|waiter| !waiter.turn.is_closed());
        let of_one = self.waiting.iter().filter(|waiter| waiter.source == source).count();
        if of_one >= MOST_OF_ONE {
            return None;
        }
        if self.waiting.len() >= MOST_WAITING {
            // A full queue makes room for a client with fewer failures than the worst one in it. Otherwise a
            // flood from eight clients, with four passwords each, would lock everybody else out.
            let worst = (0..self.waiting.len()).max_by_key(|at| {
                self.waiting.get(*at).map(|waiter| self.standing(waiter.source))
            })?;
            if self.standing(self.waiting.get(worst)?.source) <= self.standing(source) {
                return None;
            }
            self.waiting.remove(worst);
        }
        let (turn, waiting) = oneshot::channel();
        self.waiting.push(Waiter { source, turn });
        Some(waiting)
    }

    /// Removes and returns the next waiter: the oldest one of the client with the best standing.
    fn next(&mut self) -> Option<Waiter> {
        self.waiting.retain(|waiter| !waiter.turn.is_closed());
        let at = (0..self.waiting.len())
            .min_by_key(|at| self.waiting.get(*at).map(|waiter| self.standing(waiter.source)))?;
        Some(self.waiting.remove(at))
    }

    /// A success counts only while no failure is remembered. Otherwise one right password would carry a flood
    /// of wrong ones from the same address before everybody else.
    fn standing(&self, source: Source) -> Standing {
        match self.failures_of(source) {
            0 if self.successes.contains_key(&source) => Standing::Known,
            failures => Standing::Failures(failures),
        }
    }

    fn failures_of(&self, source: Source) -> u32 {
        self.failures.get(&source).map_or(0, |found| found.weight(Instant::now()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.is_running = false;
        if let Some(waiter) = state.next() {
            state.is_running = true;
            let turn = Self { queue: Arc::clone(&self.queue), source: waiter.source };
            // `send` gives the turn back if the waiter has just gone. It is then dropped here, which enters this
            // function again and takes the lock: hence the lock is released before.
            drop(state);
            drop(waiter.turn.send(turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::yield_now;
    use tokio_util::task::TaskTracker;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::Tcp(Ipv4Addr::new(192, 0, 2, last).into())
    }

    impl LoginQueue {
        fn failed(&self, peer: Peer) {
            self.lock().count_failure(Source::of(peer));
        }
    }

    #[tokio::test]
    async fn a_client_without_failures_comes_before_a_flood() {
        let queue = Arc::new(LoginQueue::default());
        let running = queue.turn(peer(1)).await.expect("nobody waits");
        queue.failed(peer(1));
        let wait = |last| {
            let queue = Arc::clone(&queue);
            TaskTracker::new().spawn(async move { queue.turn(peer(last)).await })
        };
        let flood: Vec<_> = (0..10).map(|_| wait(1)).collect();
        yield_now().await;
        let valid = wait(2);
        yield_now().await;
        drop(running);
        let turn = valid.await.unwrap().expect("it is next");
        assert_eq!(queue.lock().waiting.len(), MOST_OF_ONE, "the rest of the flood was refused");
        drop(turn);
        let mut hashed = 0;
        for one in flood {
            hashed += usize::from(one.await.unwrap().is_some());
        }
        assert_eq!(hashed, MOST_OF_ONE);
        assert!(!queue.lock().is_running);
    }

    #[tokio::test]
    async fn a_full_queue_makes_room_for_a_client_without_failures() {
        let queue = Arc::new(LoginQueue::default());
        let _running = queue.turn(peer(0)).await.expect("nobody waits");
        for last in 1..=8 {
            queue.failed(peer(last));
            for _ in 0..MOST_OF_ONE {
                let queue = Arc::clone(&queue);
                TaskTracker::new().spawn(async move { queue.turn(peer(last)).await.is_some() });
            }
        }
        yield_now().await;
        assert_eq!(queue.lock().waiting.len(), MOST_WAITING);
        queue.failed(peer(9));
        assert!(queue.turn(peer(9)).await.is_none(), "no better than the others");
        let valid = TaskTracker::new().spawn({
            let queue = Arc::clone(&queue);
            async move { queue.turn(peer(100)).await.is_some() }
        });
        yield_now().await;
        assert!(!valid.is_finished() && queue.lock().waiting.len() == MOST_WAITING);
    }

    #[tokio::test]
    async fn a_waiter_that_goes_passes_its_turn_on() {
        let queue = Arc::new(LoginQueue::default());
        let running = queue.turn(peer(1)).await.expect("nobody waits");
        let gone = TaskTracker::new().spawn({
            let queue = Arc::clone(&queue);
            async move { queue.turn(peer(2)).await }
        });
        yield_now().await;
        gone.abort();
        let _ = gone.await;
        drop(running);
        assert!(queue.turn(peer(3)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_and_limited() {
        let queue = LoginQueue::default();
        for n in 0..=u8::MAX {
            for last in 0..8 {
                queue.failed(Peer::Tcp(Ipv4Addr::new(10, 0, last, n).into()));
            }
        }
        assert_eq!(queue.lock().failures.len(), MOST_REMEMBERED);
        tokio::time::advance(MEMORY).await;
        queue.failed(peer(1));
        assert_eq!(queue.lock().failures.len(), 1);
    }

    #[tokio::test]
    async fn a_client_that_has_logged_in_comes_before_newcomers_until_it_fails() {
        for (fails, first) in [(false, peer(9)), (true, peer(2))] {
            let queue = Arc::new(LoginQueue::default());
            queue.turn(peer(9)).await.expect("nobody waits").succeeded();
            if fails {
                queue.failed(peer(9));
            }
            let running = queue.turn(peer(1)).await.expect("nobody waits");
            let wait = |peer| {
                let queue = Arc::clone(&queue);
                TaskTracker::new().spawn(async move { queue.turn(peer).await })
            };
            let waits: Vec<_> = [peer(2), peer(3), peer(9)].into_iter().map(wait).collect();
            yield_now().await;
            assert_eq!(queue.lock().waiting.len(), waits.len());
            let next = queue.lock().next().expect("three wait");
            assert_eq!(next.source, Source::of(first), "fails: {fails}");
            drop(running);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn successes_are_limited() {
        let queue = LoginQueue::default();
        for n in 0..=u8::MAX {
            for last in 0..8 {
                let peer = Peer::Tcp(Ipv4Addr::new(10, 0, last, n).into());
                queue.lock().count_success(Source::of(peer));
            }
        }
        assert_eq!(queue.lock().successes.len(), MOST_REMEMBERED);
    }

    /// Sends wrong passwords one after the other; hangs up when its patience ends.
    async fn attack(queue: Arc<LoginQueue>, from: Peer, patience: Duration) {
        loop {
            let turn = tokio::time::timeout(patience, queue.turn(from)).await.ok().flatten();
            if let Some(turn) = turn {
                tokio::time::sleep(Duration::from_millis(50)).await;
                turn.failed();
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_comes_before_a_flood_from_many_addresses() {
        for patience in [Duration::from_secs(10), Duration::from_millis(10)] {
            let queue = Arc::new(LoginQueue::default());
            let attackers: Vec<_> = (1..=200)
                .map(|last| {
                    let attack = attack(Arc::clone(&queue), peer(last), patience);
                    TaskTracker::new().spawn(attack)
                })
                .collect();
            // The first passwords of 32 attackers are as good as any, and take 50 ms each.
            tokio::time::sleep(Duration::from_secs(2)).await;
            for newcomer in 201..=220 {
                let started = Instant::now();
                let turn = queue.turn(peer(newcomer)).await;
                assert!(turn.is_some(), "{newcomer} was refused, patience {patience:?}");
                assert!(started.elapsed() <= Duration::from_millis(50), "{:?}", started.elapsed());
                drop(turn);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            attackers.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_half_after_a_while_but_never_nothing_before_they_are_forgotten() {
        let queue = LoginQueue::default();
        (0..8).for_each(|_| queue.failed(peer(1)));
        let mut weights = Vec::new();
        for _ in 0..5 {
            weights.push(queue.lock().failures_of(Source::of(peer(1))));
            tokio::time::advance(HALF_LIFE).await;
        }
        assert_eq!(weights, [8, 4, 2, 1, 0]);
    }
}
