//! The targets that run, and how a reload changes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::run::run;
use super::settings::TargetSettings;
use super::target::Target;
use crate::pool::Budget;

/// The targets that run. Readers see one list; a change replaces it as a whole.
pub struct Roster {
    targets: ArcSwap<Vec<Entry>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    is_probing: AtomicBool,
}

/// Whether the targets of a roster are probed: `DB_MONITOR_ENABLED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Each at its interval.
    On,
    /// Not at all.
    Off,
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
        let is_probing = AtomicBool::new(probing == Probing::On);
        Self { targets: ArcSwap::default(), tasks, stop, is_probing }
    }

    /// Reports whether the targets are probed.
    pub fn is_probing(&self) -> bool {
        self.is_probing.load(Ordering::Relaxed)
    }

    /// Switches probing on or off; takes effect at the next [`Roster::apply`].
    pub fn set_probing(&self, probing: Probing) {
        self.is_probing.store(probing == Probing::On, Ordering::Relaxed);
    }

    /// The targets that run, in the order of the configuration.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.targets.load().iter().map(|entry| Arc::clone(&entry.target)).collect()
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        targets.iter().find(|e| e.target.name() == name).map(|e| Arc::clone(&e.target))
    }

    /// Reports whether every target was probed at least once, with or without success.
    pub fn is_ready(&self) -> bool {
        !self.is_probing() || self.targets.load().iter().all(|e| e.target.published().is_some())
    }

    /// Replaces the targets. A target with equal settings goes on, with its pool and its counters. The
    /// others end, and close their connections; new ones start.
    pub fn apply(&self, settings: Vec<TargetSettings>) {
        let before = self.targets.load_full();
        let after: Vec<Entry> = settings
            .into_iter()
            .map(|settings| match self.running(&before, &settings) {
                Some(entry) => entry.clone(),
                None => self.start(settings, &before),
            })
            .collect();
        for entry in before.iter() {
            if !after.iter().any(|kept| Arc::ptr_eq(&kept.target, &entry.target)) {
                entry.stop.cancel();
            }
        }
        self.targets.store(Arc::new(after));
    }

    fn running<'e>(&self, entries: &'e [Entry], settings: &TargetSettings) -> Option<&'e Entry> {
        let is_probing = self.is_probing();
        let mut entries = entries.iter();
        entries.find(|e| e.is_probed == is_probing && e.target.settings() == settings)
    }

    fn start(&self, settings: TargetSettings, before: &[Entry]) -> Entry {
        let stop = self.stop.child_token();
        // A changed target takes over the permits of its predecessor, whose connections may be open
        // for a while: together they stay within the limit.
        let predecessor = before.iter().find(|entry| entry.target.name() == settings.name);
        let budget = predecessor.map(|entry| Arc::clone(entry.target.pool().connector().budget()));
        let budget = budget.unwrap_or_else(Budget::daemon);
        let target = Target::new(settings, budget, self.tasks.clone(), self.stop.clone());
        let is_probed = self.is_probing();
        if is_probed {
            let probing = run(Arc::clone(&target));
            self.tasks.spawn(stop.clone().run_until_cancelled_owned(probing));
        }
        Entry { target, stop, is_probed }
    }
}
