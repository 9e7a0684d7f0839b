//! The gets that have no connection yet, and what each of them waits for.
//!
//! bb8 opens connections in tasks of their own and does not say for which caller. Its rule is: there is a
//! connect for each waiting get as long as the pool has room, and what arrives goes to the get that has
//! waited longest. The board follows the same rule: with n connects under way, the n gets that came
//! first wait for a connect, and all others for a slot.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The gets without a connection and the connects under way.
#[derive(Default)]
pub(super) struct Board(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    last: u64,
    /// In the order of arrival, and so of `id`.
    gets: Vec<Pending>,
    connects: usize,
    /// Connects that bb8 has decided on but whose tasks have not run yet.
    reserved: usize,
    /// The number of gets in [`Part::Connect`]; never more than `connects` and `reserved`.
    assigned: usize,
}

struct Pending {
    id: u64,
    arrived: Instant,
    part: Part,
    since: Instant,
    /// Time in [`Part::Slot`] before `since`.
    waited: Duration,
}

/// The stage in which a get waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A slot: all are taken.
    Slot,
    /// A connection that is being opened.
    Connect,
    /// To be woken: the connection that was opened for it is in the pool.
    Delivered,
    /// The connect for it failed. bb8 tries again or not, but no lack of slots is the reason.
    Failed,
    /// The test of a connection that it has taken from the pool.
    Test,
}

/// The end of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectEnd {
    /// The connection goes to the pool.
    Opened,
    /// The manager returned an error.
    Failed,
    /// Its future was dropped.
    Dropped,
}

/// The end of a get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GetEnd {
    /// With a connection.
    Served,
    /// With an error, or its future was dropped.
    Unserved,
}

/// The times of a get that has ended.
pub(super) struct Times {
    /// The time without a slot.
    pub(super) waited: Duration,
    /// From the call to the end.
    pub(super) whole: Duration,
    /// The stage in which it ended.
    pub(super) last: Part,
    /// When it ended.
    pub(super) at: Instant,
}

/// The board at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    /// Gets that wait for a slot.
    pub(super) waiting: u64,
    /// The longest time that one of them has waited for it; zero without a waiting get.
    pub(super) oldest: Duration,
    /// Connects under way.
    pub(super) connecting: u64,
}

impl Board {
    /// Adds a get; returns its id.
    pub(super) fn arrive(&self) -> u64 {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.last += 1;
        let id = inner.last;
        let (part, waited) = (Part::Slot, Duration::ZERO);
        inner.gets.push(Pending { id, arrived: now, part, since: now, waited });
        inner.assign(now);
        id
    }

    /// Removes a get.
    pub(super) fn leave(&self, id: u64, end: GetEnd) -> Times {
        let now = Instant::now();
        let mut inner = self.lock();
        let place = inner.place(id).expect("it arrived, and leaves once");
        let last = inner.gets[place].part;
        inner.enter(place, Part::Test, now);
        if end == GetEnd::Served {
            inner.taken(last, now);
        }
        let get = inner.gets.remove(place);
        if last == Part::Failed && end == GetEnd::Served {
            // It took another's connection, so the next attempt of its own connect is for the next in line.
            inner.move_first(Part::Slot, Part::Failed, now);
        }
        if inner.gets.is_empty() {
            // A connect may never begin, for instance when bb8 has given up a series of attempts.
            inner.reserved = 0;
        }
        inner.assign(now);
        Times { waited: get.waited, whole: now - get.arrived, last, at: now }
    }

    /// A get was not served at once. If the pool has room, bb8 has decided to connect: the time until
    /// the task of the connect runs is no wait for a slot.
    pub(super) fn queued(&self, id: u64, room: impl FnOnce() -> u32) {
        let mut inner = self.lock();
        let (free, approved) = (room() as usize, inner.connects + inner.reserved);
        let Some(place) = inner.place(id) else { return };
        let get = &mut inner.gets[place];
        match get.part {
            Part::Slot if free > approved => {
                get.since = Instant::now();
                inner.reserved += 1;
                inner.assign(Instant::now());
            }
            Part::Connect => get.waited = Duration::ZERO,
            Part::Slot | Part::Delivered | Part::Failed | Part::Test => {}
        }
    }

    /// A connect of the pool begins.
    pub(super) fn connect_begins(&self) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.reserved = inner.reserved.saturating_sub(1);
        inner.connects += 1;
        inner.assign(now);
    }

    /// A connect of the pool ends.
    pub(super) fn connect_ends(&self, end: ConnectEnd) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.connects = inner.connects.saturating_sub(1);
        if inner.assigned > inner.connects + inner.reserved {
            let part = match end {
                ConnectEnd::Opened => Part::Delivered,
                ConnectEnd::Failed => Part::Failed,
                ConnectEnd::Dropped => Part::Slot,
            };
            inner.move_first(Part::Connect, part, now);
        }
    }

    /// A get has taken a connection and tests it. Returns the time of it.
    pub(super) fn test_begins(&self, id: u64) -> Instant {
        self.enter(id, Part::Test)
    }

    /// The connection of a get failed its test; the get looks for another one.
    pub(super) fn test_fails(&self, id: u64) {
        self.enter(id, Part::Slot);
    }

    /// The queue now.
    pub(super) fn queue(&self) -> Queue {
        let now = Instant::now();
        let inner = self.lock();
        let mut queue = Queue { connecting: inner.connects as u64, ..Queue::default() };
        for get in inner.gets.iter().filter(|get| get.part == Part::Slot) {
            queue.waiting += 1;
            queue.oldest = queue.oldest.max(get.waited + (now - get.since));
        }
        queue
    }

    fn enter(&self, id: u64, part: Part) -> Instant {
        let now = Instant::now();
        let mut inner = self.lock();
        if let Some(place) = inner.place(id) {
            let last = inner.gets[place].part;
            inner.enter(place, part, now);
            if part == Part::Test {
                inner.taken(last, now);
            }
            inner.assign(now);
        }
        now
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn place(&self, id: u64) -> Option<usize> {
        self.gets.binary_search_by_key(&id, |get| get.id).ok()
    }

    fn enter(&mut self, place: usize, part: Part, now: Instant) {
        let get = &mut self.gets[place];
        if get.part == Part::Slot {
            get.waited += now - get.since;
        }
        self.assigned -= usize::from(get.part == Part::Connect);
        self.assigned += usize::from(part == Part::Connect);
        get.part = part;
        get.since = now;
    }

    /// A get has taken a connection from the pool. bb8 serves whoever asks first, so it may be one that was
    /// opened for a get that is still to be woken. That one then waits like all others.
    fn taken(&mut self, by: Part, now: Instant) {
        if !matches!(by, Part::Delivered | Part::Test) {
            self.move_first(Part::Delivered, Part::Slot, now);
        }
    }

    /// Moves the first get of one part to another. Reports whether there was one.
    fn move_first(&mut self, from: Part, to: Part, now: Instant) -> bool {
        let first = self.gets.iter().position(|get| get.part == from);
        if let Some(place) = first {
            self.enter(place, to, now);
        }
        first.is_some()
    }

    /// Assigns the connects that no get waits for yet to the oldest waiting gets.
    fn assign(&mut self, now: Instant) {
        while self.assigned < self.connects + self.reserved {
            // Failed gets come last: the connect of a new get must not be taken for another's second attempt.
            let found = self.move_first(Part::Slot, Part::Connect, now)
                || self.move_first(Part::Failed, Part::Connect, now);
            if !found {
                return;
            }
        }
    }
}
