//! The places among the connections of one server, and who gets the next one.
//!
//! All targets of a server share its places. Every rule is in [`State::may_take`]; the rest is a queue. The
//! queue is fair: the one that waits longest among those that may take a place is next. A target that may not
//! take one (it holds its share already) does not hold the others up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::metrics::Purpose;

/// The places of one server.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<State>);

/// A place among the connections, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    holder: HolderId,
    purpose: Purpose,
}

/// A user of the places: a target, or a visitor that is not in the configuration.
pub(super) type HolderId = u64;

/// The sharing rules that a holder is subject to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A target of the configuration.
    Member,
    /// Somebody who opens a connection once and goes: it never changes what the members keep.
    Guest,
    /// It has ended, but connections of it may still exist on the server.
    Ended,
}

#[derive(Debug)]
struct Holder {
    standing: Standing,
    /// It came as a guest.
    is_guest: bool,
    /// The most connections that it allows on the server.
    limit: usize,
    /// It reads the server for all members.
    leads: bool,
    held: Held,
    /// Connections that were given up and may still exist on the server.
    abandoned: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    pool: usize,
    fresh: usize,
}

impl Held {
    fn of(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Pool => &mut self.pool,
            Purpose::Fresh => &mut self.fresh,
        }
    }

    fn all(self) -> usize {
        self.pool + self.fresh
    }
}

#[derive(Debug)]
struct Waiter {
    holder: HolderId,
    purpose: Purpose,
    sender: oneshot::Sender<Place>,
}

#[derive(Debug, Default)]
struct State {
    holders: BTreeMap<HolderId, Holder>,
    queue: VecDeque<Waiter>,
    used: Held,
    next: HolderId,
    /// The limit of the last holders, while there are none.
    last_limit: usize,
}

/// With so few places, a connection that is kept would leave a single one for all others.
const LEAST_TO_KEEP: usize = 2;

/// How the members of a server share its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// One member, or none.
    Alone,
    /// Every member may keep a connection.
    Roomy,
    /// There are more members than connections to keep, or one of several has given a connection up. Only the
    /// leader keeps one.
    Crowded,
}

impl State {
    fn members(&self) -> usize {
        self.holders.values().filter(|holder| holder.standing == Standing::Member).count()
    }

    /// The most connections on the server: the smallest number that a holder allows.
    fn limit(&self) -> usize {
        let holders = self.holders.values().filter(|holder| holder.standing != Standing::Ended);
        holders.map(|holder| holder.limit).min().unwrap_or(self.last_limit)
    }

    fn abandoned(&self) -> usize {
        self.holders.values().map(|holder| holder.abandoned).sum()
    }

    /// The places of guests, also of those that have gone while a connection of theirs may exist.
    fn held_by_guests(&self) -> Held {
        let guests = self.holders.values().filter(|holder| holder.is_guest);
        guests.fold(Held::default(), |sum, holder| Held {
            pool: sum.pool + holder.held.pool,
            fresh: sum.fresh + holder.held.fresh,
        })
    }

    fn sharing(&self) -> Sharing {
        match self.members() {
            0 | 1 => Sharing::Alone,
            // While one target's logins hang, the others give up what they keep. Otherwise its connection would
            // hold the only place for fresh connects, and all others would seem to be down.
            members if members >= self.limit() || self.abandoned() > 0 => Sharing::Crowded,
            _ => Sharing::Roomy,
        }
    }

    /// Reports whether a holder may take a place for this purpose now.
    fn may_take(&self, id: HolderId, purpose: Purpose) -> bool {
        let Some(holder) = self.holders.get(&id) else { return false };
        let limit = self.limit();
        if self.used.all() >= limit {
            return false;
        }
        let (mut held, mut used) = (holder.held, self.used);
        let (held, used) = (*held.of(purpose), *used.of(purpose));
        let sharing = self.sharing();
        let guests = self.held_by_guests();
        if holder.is_guest && sharing == Sharing::Alone {
            // The only member keeps a place for its fresh connect: a visit must not make it fail.
            let is_needed = limit > LEAST_TO_KEEP && self.members() > 0;
            let reserved = usize::from(is_needed && self.used.fresh == guests.fresh);
            return held == 0 && self.used.all() + reserved < limit;
        }
        // One holder must not take the places of all others: each has one for a purpose.
        if held > 0 && sharing != Sharing::Alone {
            return false;
        }
        // The pool and the fresh connects leave each other a place, so that neither prevents the other.
        let most = match (purpose, sharing) {
            (Purpose::Fresh, Sharing::Alone) => guests.fresh + limit.saturating_sub(1).min(1),
            (Purpose::Fresh, Sharing::Roomy) => limit.saturating_sub(self.members()),
            // Nobody keeps one, so that nobody needs a place beside those who come and go.
            (Purpose::Fresh, Sharing::Crowded) if limit <= LEAST_TO_KEEP => limit,
            (Purpose::Pool, _) | (Purpose::Fresh, Sharing::Crowded) => limit.saturating_sub(1),
        };
        used < most
    }

    /// Takes the place for the next waiter that may have one.
    fn next(&mut self) -> Option<Waiter> {
        self.queue.retain(|waiter| !waiter.sender.is_closed());
        let place = self.queue.iter().position(|w| self.may_take(w.holder, w.purpose))?;
        let waiter = self.queue.remove(place)?;
        *self.used.of(waiter.purpose) += 1;
        if let Some(holder) = self.holders.get_mut(&waiter.holder) {
            *holder.held.of(waiter.purpose) += 1;
        }
        Some(waiter)
    }

    /// Forgets a holder that has ended and has no connection left.
    fn forget(&mut self, id: HolderId) {
        let is_over = |holder: &Holder| {
            holder.standing == Standing::Ended && holder.held.all() + holder.abandoned == 0
        };
        if self.holders.get(&id).is_some_and(is_over) {
            self.holders.remove(&id);
        }
    }
}

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a holder that allows this many connections on the server.
    pub(super) fn join(self: &Arc<Self>, limit: usize, standing: Standing) -> HolderId {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.last_limit = limit;
        let is_guest = standing == Standing::Guest;
        let held = Held::default();
        let holder = Holder { standing, is_guest, limit, leads: false, held, abandoned: 0 };
        state.holders.insert(id, holder);
        drop(state);
        self.hand_out();
        id
    }

    /// Ends a holder. Its connections keep their places until the server has closed them.
    pub(super) fn end(self: &Arc<Self>, id: HolderId) {
        let mut state = self.state();
        state.last_limit = state.limit();
        if let Some(holder) = state.holders.get_mut(&id) {
            holder.standing = Standing::Ended;
        }
        state.forget(id);
        drop(state);
        self.hand_out();
    }

    /// Sets whether a holder reads the server for all members.
    pub(super) fn set_leads(self: &Arc<Self>, id: HolderId, leads: bool) {
        if let Some(holder) = self.state().holders.get_mut(&id) {
            holder.leads = leads;
        }
    }

    /// Counts a connection of a holder as given up, or as gone after that.
    pub(super) fn abandon(self: &Arc<Self>, id: HolderId, change: isize) {
        let mut state = self.state();
        if let Some(holder) = state.holders.get_mut(&id) {
            holder.abandoned = holder.abandoned.saturating_add_signed(change);
        }
        state.forget(id);
        drop(state);
        self.hand_out();
    }

    /// Waits for a place; whoever calls limits the wait. A wait that is given up gives its place back.
    pub(super) async fn take(
        self: &Arc<Self>,
        holder: HolderId,
        purpose: Purpose,
    ) -> Option<Place> {
        let (sender, receiver) = oneshot::channel();
        self.state().queue.push_back(Waiter { holder, purpose, sender });
        self.hand_out();
        receiver.await.ok()
    }

    /// Gives the waiting ones what they may have.
    fn hand_out(self: &Arc<Self>) {
        loop {
            // The lock must be free when a place is sent: one that nobody takes is dropped here, and locks it.
            let next = self.state().next();
            let Some(Waiter { holder, purpose, sender }) = next else { return };
            drop(sender.send(Place { places: Arc::clone(self), holder, purpose }));
        }
    }

    /// Reports whether a holder may keep a connection that it does not use.
    pub(super) fn may_keep(&self, id: HolderId) -> bool {
        let state = self.state();
        let Some(holder) = state.holders.get(&id) else { return false };
        match (holder.standing, state.sharing()) {
            (Standing::Guest | Standing::Ended, _) => false,
            (Standing::Member, Sharing::Alone | Sharing::Roomy) => true,
            (Standing::Member, Sharing::Crowded) => holder.leads && state.limit() > LEAST_TO_KEEP,
        }
    }

    /// Reports whether several members share the places.
    pub(super) fn is_shared(&self) -> bool {
        self.state().members() > 1
    }

    /// The number of connections that the pool of a holder may have open if it is alone.
    pub(super) fn pool_size(&self) -> usize {
        self.state().limit().saturating_sub(1)
    }

    /// The connections of a holder that were given up. The first member answers for those of former targets.
    pub(super) fn abandoned(&self, id: HolderId) -> u64 {
        let state = self.state();
        let own = state.holders.get(&id).map_or(0, |holder| holder.abandoned);
        let first = state.holders.iter().find(|(_, holder)| holder.standing == Standing::Member);
        let former = state.holders.values().filter(|holder| holder.standing == Standing::Ended);
        let former = former.map(|holder| holder.abandoned).sum::<usize>();
        let is_first = first.is_some_and(|(first, _)| *first == id);
        (own + if is_first { former } else { 0 }) as u64
    }

    /// Reports whether anybody uses the places, or a connection still has one.
    pub(super) fn is_in_use(&self) -> bool {
        !self.state().holders.is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { places, holder, purpose } = self;
        let mut state = places.state();
        *state.used.of(*purpose) -= 1;
        if let Some(entry) = state.holders.get_mut(holder) {
            *entry.held.of(*purpose) -= 1;
        }
        state.forget(*holder);
        drop(state);
        places.hand_out();
    }
}

#[cfg(test)]
mod tests;
