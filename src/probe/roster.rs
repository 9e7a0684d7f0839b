//! The targets that run, and how a reload changes them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::{Company, Pace};
use super::run::run;
use super::server::Servers;
use super::settings::TargetSettings;
use super::target::Target;
use crate::pool::{Budgets, ConnectMemory, ServerAddress, Visit};

/// The targets that run. Readers see one list; a change replaces it as a whole.
pub struct Roster {
    targets: ArcSwap<Vec<Entry>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    is_probing: AtomicBool,
    /// True if the roster probes the targets with tasks of its own; false with [`Probing::ByCaller`].
    spawns: bool,
    budgets: Budgets,
    servers: Servers,
    pace: Arc<Pace>,
    /// The runtime of everything that it spawns; `None` for that of the caller.
    runtime: Option<Handle>,
}

/// The switch for all targets of a roster: `DB_MONITOR_ENABLED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Each at its interval.
    On,
    /// Not at all.
    Off,
    /// Not by the roster: whoever holds it probes each target once.
    ByCaller,
}

impl From<bool> for Probing {
    fn from(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

#[derive(Clone)]
struct Entry {
    target: Arc<Target>,
    stop: CancellationToken,
    is_probed: bool,
}

impl Roster {
    /// An empty roster. `tasks` and `stop` track and end everything that it spawns.
    pub fn new(tasks: TaskTracker, stop: CancellationToken, probing: Probing) -> Self {
        let is_probing = AtomicBool::new(probing != Probing::Off);
        let spawns = probing != Probing::ByCaller;
        Self {
            targets: ArcSwap::default(),
            tasks,
            stop,
            is_probing,
            spawns,
            budgets: Budgets::default(),
            servers: Servers::default(),
            pace: Pace::new(Pace::default_most()),
            runtime: None,
        }
    }

    /// The same roster, which runs everything that it spawns on this runtime.
    #[must_use]
    pub(crate) fn on(self, runtime: &Handle) -> Self {
        Self { runtime: Some(runtime.clone()), ..self }
    }

    /// Runs work on the runtime of the probes, until it has ended or the roster's `stop`. Work that opens
    /// connections belongs there.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.stop.clone().run_until_cancelled_owned(work);
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(work, runtime),
            None => self.tasks.spawn(work),
        };
    }

    /// The pace of the probes.
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Changes the number of probes that start at once; `None` for that of the processors.
    pub(crate) fn set_most_probes(&self, most: Option<u32>) {
        let most = most.and_then(|most| usize::try_from(most).ok());
        self.pace.set_most(most.unwrap_or_else(Pace::default_most));
    }

    /// Reports whether the targets are probed.
    pub(crate) fn is_probing(&self) -> bool {
        self.is_probing.load(Ordering::Relaxed)
    }

    /// Switches probing on or off; takes effect at the next [`Roster::apply`].
    pub(crate) fn set_probing(&self, probing: Probing) {
        self.is_probing.store(probing != Probing::Off, Ordering::Relaxed);
    }

    /// The targets that run, in the order of the configuration.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        self.targets.load().iter().map(|entry| Arc::clone(&entry.target)).collect()
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        targets.iter().find(|e| e.target.name() == name).map(|e| Arc::clone(&e.target))
    }

    /// Reports whether every target was probed at least once, with or without success.
    pub(crate) fn is_ready(&self) -> bool {
        let targets = self.targets.load();
        // Those that follow from a list of databases come and go: the daemon stays ready meanwhile.
        let mut own = targets.iter().filter(|entry| entry.target.settings().parent.is_none());
        !self.is_probing() || own.all(|entry| entry.target.published().is_some())
    }

    /// A share in the connections of the server that these settings reach, for one probe that is not in the
    /// configuration.
    pub(crate) fn visit(&self, settings: &TargetSettings) -> Visit {
        let address = ServerAddress::new(&settings.connect.dsn.hosts);
        self.budgets.visit(&address, settings.connections_per_server)
    }

    /// Replaces the targets. A target with equal settings goes on, with its pool and its counters. The
    /// others end, and close their connections; new ones start.
    pub fn apply(&self, settings: Vec<TargetSettings>) {
        let before = self.targets.load_full();
        let running: HashMap<&str, &Entry> =
            before.iter().map(|entry| (entry.target.name(), entry)).collect();
        let kept = |settings: &TargetSettings| {
            let entry = running.get(settings.name.as_str());
            entry.copied().filter(|entry| self.is_running(entry, settings))
        };
        let names: HashSet<&str> =
            settings.iter().filter_map(|settings| Some(kept(settings)?.target.name())).collect();
        let ended = before.iter().filter(|entry| !names.contains(entry.target.name()));
        let ended: Vec<&Entry> = ended.collect();
        // The ends come first: a target that returns under another name takes over the permits.
        for entry in &ended {
            entry.stop.cancel();
            entry.target.pool().connector().budget().end();
        }
        let mut started = Vec::new();
        let after = settings.into_iter().map(|settings| {
            kept(&settings).cloned().unwrap_or_else(|| {
                let entry = self.make(settings);
                started.push(entry.clone());
                entry
            })
        });
        let after: Vec<Entry> = after.collect();
        self.servers.change(ended.iter().map(|e| &e.target), started.iter().map(|e| &e.target));
        let now = Instant::now();
        started.iter().for_each(|entry| self.start(entry, started.len(), now));
        self.release();
        self.targets.store(Arc::new(after));
    }

    fn is_running(&self, entry: &Entry, settings: &TargetSettings) -> bool {
        entry.is_probed == self.is_probing() && entry.target.settings() == settings
    }

    fn make(&self, settings: TargetSettings) -> Entry {
        let address = ServerAddress::new(&settings.connect.dsn.hosts);
        let budget = self.budgets.share(&address, settings.connections_of_address());
        let server = self.servers.at(&address);
        let _runtime = self.runtime.as_ref().map(Handle::enter);
        let memory = ConnectMemory::new(settings.connect.credentials.clone());
        let (tasks, stop) = (self.tasks.clone(), self.stop.clone());
        let target = Target::on(server, settings, budget, tasks, stop, memory);
        Entry { target, stop: self.stop.child_token(), is_probed: self.is_probing() }
    }

    fn start(&self, entry: &Entry, started: usize, now: Instant) {
        if entry.is_probed && self.spawns {
            let target = Arc::clone(&entry.target);
            let interval = target.settings().schedule.interval;
            let on_server = target.server().members().len();
            let waits_for_it = on_server > 1 && target.server().is_led_by(target.name());
            let among = Company { started, on_server, waits_for_it };
            let moments = self.pace.moments(target.name(), among, interval, now);
            let probing = run(target, Arc::clone(&self.pace), moments);
            self.spawn(entry.stop.clone().run_until_cancelled_owned(probing).map(drop));
        }
    }

    /// Closes the connections that targets kept, where these are too many for that now.
    fn release(&self) {
        for target in self.servers.all().iter().flat_map(|server| server.members()) {
            if !target.pool().connector().budget().may_keep() {
                self.spawn(async move { target.pool().release_idle().await });
            }
        }
    }
}
