//! The targets that run now, and how that changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::run::run;
use super::settings::TargetSettings;
use super::target::Target;
use crate::pool::Budget;

/// The targets that run. Readers take the list as it is; a change replaces it whole.
pub struct Roster {
    targets: ArcSwap<Vec<Entry>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    probing: AtomicBool,
}

#[derive(Clone)]
struct Entry {
    target: Arc<Target>,
    stop: CancellationToken,
    is_probed: bool,
}

impl Roster {
    /// An empty one. `tasks` and `stop`: for all that is spawned; `probing`: whether its targets are
    /// probed at all.
    pub fn new(tasks: TaskTracker, stop: CancellationToken, probing: bool) -> Self {
        Self { targets: ArcSwap::default(), tasks, stop, probing: AtomicBool::new(probing) }
    }

    /// Whether targets are probed at all.
    pub fn is_probing(&self) -> bool {
        self.probing.load(Ordering::Relaxed)
    }

    /// Whether targets are probed at all, from the next [`Roster::apply`] on.
    pub fn set_probing(&self, probing: bool) {
        self.probing.store(probing, Ordering::Relaxed);
    }

    /// The targets that run, in their order.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.targets.load().iter().map(|entry| Arc::clone(&entry.target)).collect()
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        targets.iter().find(|e| e.target.name() == name).map(|e| Arc::clone(&e.target))
    }

    /// Whether every target was probed once, whatever came out.
    pub fn is_ready(&self) -> bool {
        !self.is_probing() || self.targets.load().iter().all(|e| e.target.published().is_some())
    }

    /// Makes the targets be these. Equal ones go on with their pools and counters; the others end,
    /// with their connections, or begin.
    pub fn apply(&self, settings: Vec<TargetSettings>) {
        let (before, probing) = (self.targets.load_full(), self.is_probing());
        let is_same =
            |e: &Entry, s: &TargetSettings| e.is_probed == probing && e.target.settings() == s;
        let kept = |s: &TargetSettings| before.iter().find(|e| is_same(e, s)).cloned();
        let after: Vec<Entry> = settings
            .into_iter()
            .map(|s| kept(&s).unwrap_or_else(|| self.start(s, &before)))
            .collect();
        let lives = |entry: &Entry| after.iter().any(|e| Arc::ptr_eq(&e.target, &entry.target));
        before.iter().filter(|entry| !lives(entry)).for_each(|entry| entry.stop.cancel());
        self.targets.store(Arc::new(after));
    }

    fn start(&self, settings: TargetSettings, before: &[Entry]) -> Entry {
        let stop = self.stop.child_token();
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
