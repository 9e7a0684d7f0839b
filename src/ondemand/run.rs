//! One probe on demand, from its turn at the server to the end of its connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::checked::CheckedResolver;
use super::{NoProbe, OnDemand};
use crate::pool::{ConnectMemory, Visit};
use crate::probe::{SampleSeries, Target, TargetSettings, publish_series};

/// The longest wait, before the answer, for the server to close the connections. It is part of `--timeout-offset`.
const CLOSING: Duration = Duration::from_millis(200);

const ONCE: SampleSeries = SampleSeries { count: 1, pause: Duration::ZERO };

/// What a probe needs.
pub(super) struct Plan {
    pub(super) settings: TargetSettings,
    pub(super) memory: ConnectMemory,
    /// The lookup of an address' name; `None` where nothing is to be checked.
    pub(super) checked: Option<Arc<CheckedResolver>>,
    pub(super) disclosure: Disclosure,
}

/// The parts of a failure that the client may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disclosure {
    /// All of it: the target is in the configuration.
    Full,
    /// Phases and reasons, not the words of whatever answered at an address that the client chose.
    Reasons,
}

/// A probe that has ended. Dropped, it closes its connections.
pub(crate) struct OnDemandProbe {
    /// The target, whose snapshot is published; `None` once it is closed.
    target: Option<Arc<Target>>,
    disclosure: Disclosure,
    /// Tracks its connections.
    own: TaskTracker,
    /// Tracks everything of the daemon.
    all: TaskTracker,
    _share: Visit,
    _turn: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl OnDemand {
    /// Probes until the deadline, on the thread of the probes. `place`: one of the probes on demand that may run at once.
    pub(super) async fn run(
        &self,
        plan: Plan,
        place: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<OnDemandProbe, NoProbe> {
        let Plan { mut settings, memory, checked, disclosure } = plan;
        let time = deadline.saturating_duration_since(Instant::now());
        let turn = timeout_at(deadline, self.turns.take(&settings.connect.dsn.hosts)).await;
        let turn = turn.map_err(|_| NoProbe::Busy)?;
        let left = deadline.saturating_duration_since(Instant::now());
        // The database would seem to be down because another probe took the time.
        if left < time / 2 {
            return Err(NoProbe::Busy);
        }
        settings.schedule.timeout = left;
        let share = self.roster.visit(&settings);
        let budget = Arc::clone(share.budget());
        let own = TaskTracker::new();
        let target = Target::alone(settings, budget, own.clone(), self.stop.clone(), memory);
        // From here on the connections are closed, whatever happens to this future.
        let mut probe = OnDemandProbe {
            target: Some(Arc::clone(&target)),
            disclosure,
            own,
            all: self.tasks.clone(),
            _share: share,
            _turn: turn,
            _place: place,
        };
        publish_series(&target, ONCE, |_| ()).await;
        drop(target);
        if checked.is_some_and(|checked| checked.has_refused()) {
            probe.close().await;
            return Err(NoProbe::NotAllowed);
        }
        Ok(probe)
    }
}

impl OnDemandProbe {
    /// The target with its snapshot.
    pub(crate) fn target(&self) -> &Arc<Target> {
        self.target.as_ref().expect("it is taken only when it is closed")
    }

    /// The parts of a failure that the client may read.
    pub(crate) fn disclosure(&self) -> Disclosure {
        self.disclosure
    }

    /// Closes the connections, and waits a moment until the server has closed them too.
    async fn close(&mut self) {
        self.end();
        let _ = timeout(CLOSING, self.own.wait()).await;
    }

    /// Runs a function on the target, then closes the connections.
    pub(crate) async fn finish<T>(mut self, read: impl FnOnce(&Self) -> T) -> T {
        let result = read(&self);
        self.close().await;
        result
    }

    /// Drops the target, and with it its pool and its idle connections.
    fn end(&mut self) {
        self.target = None;
        self.own.close();
    }
}

impl Drop for OnDemandProbe {
    fn drop(&mut self) {
        self.end();
        // A server that does not close a connection is waited for elsewhere, so that the daemon's end knows of it.
        let own = self.own.clone();
        if !own.is_empty() {
            self.all.spawn(async move { own.wait().await });
        }
    }
}
