//! The processes of a pooler that share an address, each asked apart.
//!
//! With `so_reuseport`, several PgBouncer processes listen on one port, and a connection reaches any one of them. Each
//! has pools, waits and counters of its own, and a console at its own Unix socket. So the target's own pool says
//! whether the address answers, and each process has one more connection for its views.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::read::{self, Extras, Scope};
use super::settings::TargetSettings;
use super::snapshot::{Failure, ProbePart};
use super::target::{Target, connect_settings};
use crate::dsn::{Address, DEFAULT_PORT, Dsn, Host};
use crate::pool::{Budget, ConnectSettings, Connector, Pool, PoolInstruments, PoolLimits, Reason};
use crate::view::pgbouncer::{PEERS, Peer, Table, WaitingSeconds, peers};
use crate::view::{Answer, Memory, Views};

/// The way in which the processes of a target are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProcessSettings {
    /// The target is one process, or is taken for one.
    #[default]
    One,
    /// By SHOW PEERS, which PgBouncer has since 1.19.
    Peers,
    /// At these addresses.
    Listed(Vec<ProcessAddress>),
}

impl ProcessSettings {
    /// Reports whether the views are read from several processes.
    pub(crate) fn are_several(&self) -> bool {
        *self != Self::One
    }
}

/// A process and the address of its console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessAddress {
    /// The label `process`.
    pub name: String,
    /// The folder of its Unix socket, or its host.
    pub address: Address,
    /// Its port; `None` for the port of the target's URL.
    pub port: Option<u16>,
}

impl ProcessAddress {
    /// Reads the folder of a Unix socket or a host, with or without a port; `None` if it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let of = |address, port| Some(Self { name: text.to_owned(), address, port });
        if text.parse::<IpAddr>().is_ok() {
            return of(Address::Name(text.to_owned()), None);
        }
        let (place, port) = match text.rsplit_once(':') {
            Some((place, port)) => (place, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (text, None),
        };
        if place.starts_with(['/', '@']) {
            return of(Address::Unix(PathBuf::from(place)), port);
        }
        let name = place.trim_start_matches('[').trim_end_matches(']');
        let is_name =
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "/@,?".contains(c));
        if is_name { of(Address::Name(name.to_owned()), port) } else { None }
    }

    /// The address of a peer, as SHOW PEERS or SHOW CONFIG has it.
    fn of_peer(peer: &Peer) -> Self {
        let address = if peer.host.starts_with(['/', '@']) {
            Address::Unix(PathBuf::from(&peer.host))
        } else {
            Address::Name(peer.host.clone())
        };
        Self { name: peer.id.to_string(), address, port: peer.port }
    }

    fn host(&self, dsn: &Dsn) -> Host {
        let port = dsn.hosts.first().and_then(|host| host.port).unwrap_or(DEFAULT_PORT);
        let (address, port) = (self.address.clone(), Some(self.port.unwrap_or(port)));
        Host { address, hostaddr: None, port }
    }
}

/// A process of a target.
struct Process {
    address: ProcessAddress,
    pool: Arc<Pool>,
    memory: Mutex<Memory>,
    /// True if it has answered the last probe. One that has not is not sampled before the next.
    answered: Mutex<bool>,
}

/// The processes of a target.
pub(super) struct ProcessSet {
    running: Mutex<Vec<Arc<Process>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The answers of one process.
struct Visited {
    process: Arc<Process>,
    answers: Vec<Box<dyn Answer>>,
    extras: Extras,
}

impl ProcessSet {
    pub(super) fn new(
        settings: &TargetSettings,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let set = Self { running: Mutex::default(), tasks, stop };
        if let ProcessSettings::Listed(listed) = &settings.processes {
            set.replace(settings, listed);
        }
        set
    }

    /// Reads the views of all processes, side by side.
    pub(super) async fn read(
        &self,
        target: &Target,
        deadline: Instant,
        refused: Option<Failure>,
    ) -> (Views, Extras) {
        let found = self.discover(target, deadline, refused).await;
        let visited = self.visit(target, deadline, Scope::Probe).await;
        let settings = &target.settings().views;
        let mut views = target.remember(|memory| memory.digest(settings, Vec::new()));
        // Without a process, the console of the address itself is the one that is down.
        if !visited.is_empty() {
            views.consoles.clear();
        }
        let mut extras = none_failed(target);
        for Visited { process, answers, extras: own } in visited {
            let digested = process.remember(|memory| memory.digest(settings, answers));
            add(&mut views, digested, &process.address.name);
            for (part, result) in own {
                process.take(&result);
                let result = result.map_err(|failure| failure.at(&process.address.name));
                merge(&mut extras, part, result);
            }
        }
        if let Err(failure) = found {
            extras.iter_mut().for_each(|(_, result)| *result = Err(failure.clone()));
        }
        (views, extras)
    }

    /// Samples all processes that have answered the last probe. Returns the failures.
    pub(super) async fn sample(&self, target: &Target, deadline: Instant) -> Extras {
        let settings = &target.settings().views;
        let mut failed = Extras::new();
        let mut is_sampled = false;
        for Visited { process, answers, extras } in
            self.visit(target, deadline, Scope::Sample).await
        {
            is_sampled |= !answers.is_empty();
            process.remember(|memory| memory.sample(settings, answers));
            failed.extend(extras);
        }
        if is_sampled {
            target.remember(|memory| memory.sampling().take_now(Instant::now()));
        }
        failed
    }

    /// The time that clients have waited, by process.
    pub(super) fn waiting(&self) -> Vec<(Option<String>, WaitingSeconds)> {
        let shown = self.running().into_iter().map(|process| {
            let waiting = process.remember(Memory::waiting);
            (Some(process.address.name.clone()), waiting)
        });
        shown.collect()
    }

    async fn visit(&self, target: &Target, deadline: Instant, scope: Scope) -> Vec<Visited> {
        let processes = self.running().into_iter();
        let asked = processes.filter(|process| scope == Scope::Probe || process.has_answered());
        let visits = asked.map(async |process| {
            let (answers, extras) =
                read::visit(target, (&process.pool, &process.memory), deadline, scope).await;
            Visited { answers, extras, process }
        });
        join_all(visits).await
    }

    /// Asks for the peers, if they are to be discovered.
    async fn discover(
        &self,
        target: &Target,
        deadline: Instant,
        refused: Option<Failure>,
    ) -> Result<(), Failure> {
        if target.settings().processes != ProcessSettings::Peers {
            return Ok(());
        }
        if let Some(failure) = refused {
            return Err(failure);
        }
        let limit = target.settings().schedule.timeout;
        let asked = timeout_at(deadline, ask(target, deadline)).await;
        let found = asked.unwrap_or_else(|_| Err(Failure::deadline(limit)))?;
        self.replace(target.settings(), &found);
        Ok(())
    }

    /// Replaces the processes. One with an equal address goes on, with its connection and its counters.
    fn replace(&self, settings: &TargetSettings, addresses: &[ProcessAddress]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let next = addresses.iter().map(|address| {
            let known = running.iter().find(|process| process.address == *address);
            known.cloned().unwrap_or_else(|| self.start(settings, address.clone()))
        });
        *running = next.collect();
    }

    fn start(&self, settings: &TargetSettings, address: ProcessAddress) -> Arc<Process> {
        let connect = connect_settings(settings);
        let mut dsn = (*connect.dsn).clone();
        dsn.hosts = vec![address.host(&dsn)];
        let connect = ConnectSettings { dsn: Arc::new(dsn), ..connect };
        let instruments = Arc::new(PoolInstruments::new());
        let (tasks, stop) = (self.tasks.clone(), self.stop.clone());
        let connector =
            Connector::new(connect, Budget::new(1), Arc::clone(&instruments), tasks, stop);
        let limits = PoolLimits { size: 1, max_overflow: Some(0), ..settings.limits.clone() };
        Arc::new(Process {
            address,
            pool: Pool::new(connector, limits, instruments),
            memory: Mutex::new(Memory::new(&settings.views)),
            answered: Mutex::new(true),
        })
    }

    fn running(&self) -> Vec<Arc<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Process {
    fn remember<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_answered(&self) -> bool {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, result: &Result<(), Failure>) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = result.is_ok();
    }
}

/// Asks the target's own console for its peers.
async fn ask(target: &Target, deadline: Instant) -> Result<Vec<ProcessAddress>, Failure> {
    let mut connection = target.pool().check_out().await.map_err(Failure::from)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let mut shown = Vec::new();
    for command in PEERS {
        let answer = connection.simple(command, left).await.map_err(Failure::from);
        shown.push(Table::of(&answer.map_err(no_peers)?));
    }
    connection.release(left).await;
    let found: Vec<ProcessAddress> = peers(&shown).iter().map(ProcessAddress::of_peer).collect();
    if found.is_empty() {
        return Err(Failure::no_peers("it has no peers"));
    }
    Ok(found)
}

fn no_peers(failure: Failure) -> Failure {
    let message = failure.message.clone();
    if failure.reason == Reason::WrongKind { Failure::no_peers(&message) } else { failure }
}

impl Failure {
    fn no_peers(text: &str) -> Self {
        let message = format!(
            "SHOW PEERS: {text}: PgBouncer has peers since 1.19, in its section [peers]; list the processes under `processes` instead"
        );
        Self::new(Reason::Other, message)
    }

    /// The same failure, with the name of its process.
    fn at(self, process: &str) -> Self {
        let message = format!("process {process}: {}", self.message);
        Self { message, ..self }
    }
}

/// A result of each view that a probe reads.
fn none_failed(target: &Target) -> Extras {
    read::enabled(target).map(|view| (ProbePart::View(view.name), Ok(()))).collect()
}

/// A view has failed if it has for any process.
fn merge(extras: &mut Extras, part: ProbePart, result: Result<(), Failure>) {
    if let Some((_, merged)) = extras.iter_mut().find(|(other, _)| *other == part)
        && merged.is_ok()
    {
        *merged = result;
    }
}

/// Adds a process to the views of the target.
fn add(views: &mut Views, of_process: Views, name: &str) {
    views.consoles.extend(of_process.consoles.into_iter().map(|console| console.of_process(name)));
    for (family, dropped) in of_process.dropped {
        match views.dropped.iter_mut().find(|(other, _)| *other == family) {
            Some((_, sum)) => *sum += dropped,
            None => views.dropped.push((family, dropped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_a_folder_or_a_host_and_perhaps_a_port() {
        let unix = |path: &str| Address::Unix(PathBuf::from(path));
        let name = |name: &str| Address::Name(name.to_owned());
        let check = |text: &str, address: Address, port| {
            let found = ProcessAddress::parse(text);
            let expected = ProcessAddress { name: text.to_owned(), address, port };
            assert_eq!(found, Some(expected));
        };
        check("/run/pgbouncer-1", unix("/run/pgbouncer-1"), None);
        check("/run/pgbouncer-1:6433", unix("/run/pgbouncer-1"), Some(6433));
        check("10.0.0.5:6433", name("10.0.0.5"), Some(6433));
        check("bouncer-1", name("bouncer-1"), None);
        check("[::1]:6433", name("::1"), Some(6433));
        check("::1", name("::1"), None);
        for text in ["", "a:b", "a:0", "a:70000", "a b", "http://a/b"] {
            assert_eq!(ProcessAddress::parse(text), None, "{text}");
        }
    }
}
