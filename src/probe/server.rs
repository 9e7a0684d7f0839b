//! A server: what the targets have in common that reach the same hosts.
//!
//! They share its connections (see [`crate::pool::Budget`]). One of them leads: it keeps a connection also where
//! there are more targets than connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::target::Target;
use crate::pool::ServerAddress;

/// A server with its targets.
#[derive(Default)]
pub(crate) struct Server {
    address: ServerAddress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The targets by name.
    members: BTreeMap<String, Weak<Target>>,
    leader: Option<String>,
}

impl Server {
    /// A server without targets.
    pub(super) fn new(address: ServerAddress) -> Arc<Self> {
        Arc::new(Self { address, state: Mutex::default() })
    }

    /// Its hosts and ports, the label `server`.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its targets, in the order of their names.
    pub(super) fn members(&self) -> Vec<Arc<Target>> {
        self.state().members.values().filter_map(Weak::upgrade).collect()
    }

    fn join(&self, target: &Arc<Target>) {
        self.state().members.insert(target.name().to_owned(), Arc::downgrade(target));
    }

    fn leave(&self, target: &Target) {
        let mut state = self.state();
        let is_same = |member: &Weak<Target>| std::ptr::eq(member.as_ptr(), target);
        if state.members.get(target.name()).is_some_and(is_same) {
            state.members.remove(target.name());
        }
    }

    /// Lets the first target by name lead where nobody does.
    fn elect(&self) {
        let mut state = self.state();
        let State { members, leader } = &mut *state;
        if leader.as_ref().is_none_or(|name| !members.contains_key(name)) {
            *leader = members.keys().next().cloned();
        }
        let leader = leader.clone();
        drop(state);
        for member in self.members() {
            let leads = leader.as_deref() == Some(member.name());
            member.pool().connector().budget().set_leads(leads);
        }
    }
}

/// The servers of all targets.
#[derive(Default)]
pub(super) struct Servers(Mutex<BTreeMap<ServerAddress, Arc<Server>>>);

impl Servers {
    /// The server at an address.
    pub(super) fn at(&self, address: &ServerAddress) -> Arc<Server> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers.entry(address.clone());
        Arc::clone(server.or_insert_with(|| Server::new(address.clone())))
    }

    /// Takes in a change of the targets.
    pub(super) fn change<'t>(
        &self,
        ended: impl IntoIterator<Item = &'t Arc<Target>>,
        started: impl IntoIterator<Item = &'t Arc<Target>>,
    ) {
        ended.into_iter().for_each(|target| target.server().leave(target));
        started.into_iter().for_each(|target| target.server().join(target));
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, server| !server.state().members.is_empty());
        servers.values().for_each(|server| server.elect());
    }

    /// All servers, in the order of their addresses.
    pub(crate) fn all(&self) -> Vec<Arc<Server>> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.values().cloned().collect()
    }
}
