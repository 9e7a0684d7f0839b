//! The targets that run, and how a reload changes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::run::run;
use super::settings::TargetSettings;
use super::target::Target;
use crate::pool::{Budgets, Lease};

/// The targets that run. Readers see one list; a change replaces it as a whole.
pub struct Roster {
    targets: ArcSwap<Vec<Entry>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    is_probing: AtomicBool,
    /// True if the roster probes the targets with tasks of its own; false with [`Probing::ByCaller`].
    spawns: bool,
    budgets: Budgets,
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
    lease: Arc<Lease>,
    is_probed: bool,
}

impl Roster {
    /// An empty roster. `tasks` and `stop` track and end everything that it spawns.
    pub fn new(tasks: TaskTracker, stop: CancellationToken, probing: Probing) -> Self {
        let is_probing = AtomicBool::new(probing != Probing::Off);
        let spawns = probing != Probing::ByCaller;
        let budgets = Budgets::default();
        Self { targets: ArcSwap::default(), tasks, stop, is_probing, spawns, budgets }
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
        !self.is_probing() || self.targets.load().iter().all(|e| e.target.published().is_some())
    }

    /// Replaces the targets. A target with equal settings goes on, with its pool and its counters. The
    /// others end, and close their connections; new ones start.
    pub fn apply(&self, settings: Vec<TargetSettings>) {
        let before = self.targets.load_full();
        // The ends come first: a target that returns under another name takes over the permits.
        for entry in before.iter() {
            if !settings.iter().any(|settings| self.is_running(entry, settings)) {
                entry.stop.cancel();
                entry.lease.end();
            }
        }
        let after = settings.into_iter().map(|settings| {
            let running = before.iter().find(|entry| self.is_running(entry, &settings));
            running.cloned().unwrap_or_else(|| self.start(settings))
        });
        self.targets.store(Arc::new(after.collect()));
    }

    fn is_running(&self, entry: &Entry, settings: &TargetSettings) -> bool {
        entry.is_probed == self.is_probing() && entry.target.settings() == settings
    }

    fn start(&self, settings: TargetSettings) -> Entry {
        let stop = self.stop.child_token();
        let lease = Arc::new(self.budgets.lease(&settings.connect.dsn.hosts));
        let budget = Arc::clone(lease.budget());
        let target = Target::new(settings, budget, self.tasks.clone(), self.stop.clone());
        let is_probed = self.is_probing();
        if is_probed && self.spawns {
            let probing = run(Arc::clone(&target));
            self.tasks.spawn(stop.clone().run_until_cancelled_owned(probing));
        }
        Entry { target, stop, lease, is_probed }
    }
}
