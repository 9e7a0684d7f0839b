//! The result of one poll of an application's processes. Immutable, like a snapshot.

use super::settings::{SourceKey, SourceSettings};
use super::status::{PoolLimitsTold, PoolStatus};
use super::totals::Counts;
use crate::metrics::overflow;

/// The processes of an application that answered a poll, and what kept the others from it.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// The labels of the application.
    pub key: SourceKey,
    /// Its name in the configuration; `None` for the only application of its target.
    pub name: Option<String>,
    /// The processes that answered; each is here once.
    pub processes: Vec<ProcessReport>,
    /// The number of processes that gave no status that can be used.
    pub failed: usize,
    /// Complaints for people, the first of them; each names an address and no secret.
    pub problems: Vec<String>,
    /// The sums over all processes so far.
    pub(super) totals: Counts,
    /// Failures by reason, in the order of the reasons, since the start.
    pub(super) failures: Vec<u64>,
}

/// What an application's pools have counted. `None`: no process counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceEvents {
    /// Check-outs that got a connection.
    pub checkouts: Option<u64>,
    /// Check-outs that timed out.
    pub timeouts: Option<u64>,
    /// Connections opened.
    pub connects: Option<u64>,
    /// Connections closed, for whatever reason.
    pub disconnects: Option<u64>,
    /// Connects that failed.
    pub failed: Option<u64>,
}

/// One process that answered.
#[derive(Clone, Debug)]
pub struct ProcessReport {
    /// The label `instance_id`: the process's own, or its address where it has none.
    pub instance: String,
    /// Its status.
    pub status: PoolStatus,
    /// Connections that its pool keeps; `None` without a limit.
    pub size: Option<u32>,
    /// Connections beyond the size; `None` without a limit.
    pub max_overflow: Option<u32>,
    /// The maximum number of open connections; `None` without a limit.
    pub max: Option<u32>,
}

impl ProcessReport {
    /// Completes the limits that the specification's status leaves out by the configured ones.
    pub(super) fn new(instance: String, status: PoolStatus, settings: &SourceSettings) -> Self {
        let (size, max_overflow, max) = match status.limits {
            PoolLimitsTold::Limited { size, max_overflow, max } => (size, max_overflow, max),
            PoolLimitsTold::SizeOnly(0) | PoolLimitsTold::Unlimited | PoolLimitsTold::Unknown => {
                (None, None, None)
            }
            PoolLimitsTold::SizeOnly(size) => {
                let max = settings.max_overflow.map(|overflow| size.saturating_add(overflow));
                (Some(size), settings.max_overflow, max)
            }
        };
        Self { instance, status, size, max_overflow, max }
    }

    /// Connections that are checked out; `None` where it is not known.
    pub fn active(&self) -> Option<u64> {
        self.status.now.active
    }

    /// Open connections: its own number, or what is checked out and idle.
    pub fn open(&self) -> Option<u64> {
        let now = &self.status.now;
        now.open.or_else(|| now.active?.checked_add(now.idle?))
    }

    /// Open connections above the size.
    pub fn overflow(&self) -> Option<u64> {
        self.status.now.overflow.or_else(|| Some(overflow(self.open()?, self.size?)))
    }

    /// Reports whether its next check-out waits. `false` without a limit, and where nothing is known.
    pub fn is_full(&self) -> bool {
        let max = self.max.filter(|max| *max > 0).map(u64::from);
        self.active().zip(max).is_some_and(|(active, max)| active >= max)
    }
}

impl SourceReport {
    /// Reports whether a process answered.
    pub fn is_up(&self) -> bool {
        !self.processes.is_empty()
    }

    /// Returns the sum of a number over the processes that know it; `None` if none does.
    pub fn sum(&self, number: impl Fn(&ProcessReport) -> Option<u64>) -> Option<u64> {
        let known = self.processes.iter().filter_map(number);
        known.fold(None, |sum, number| Some(sum.unwrap_or(0_u64).saturating_add(number)))
    }

    /// The counters of all processes since the exporter began to read them; they never go back.
    pub fn events(&self) -> SourceEvents {
        let totals = &self.totals;
        let result = |n: usize| totals.checkouts.get(n).copied().flatten();
        let closed = totals.closed.as_ref();
        SourceEvents {
            checkouts: result(0),
            timeouts: result(1),
            connects: totals.connects,
            disconnects: closed.map(|by| by.values().copied().fold(0, u64::saturating_add)),
            failed: totals.failed,
        }
    }

    /// The number of callers that wait for a connection; `None` where no process knows it.
    pub fn waiting(&self) -> Option<u64> {
        self.sum(|process| process.status.now.waiting)
    }

    /// For how long the first of them has waited, in seconds.
    pub fn oldest_wait(&self) -> Option<f64> {
        let waits = self.processes.iter().filter_map(|process| process.status.now.oldest_wait);
        waits.reduce(f64::max)
    }

    /// The number of processes that have nothing left.
    pub fn full_processes(&self) -> usize {
        self.processes.iter().filter(|process| process.is_full()).count()
    }

    /// Returns a sentence for people about what kept processes from answering; `None` if all is well.
    pub fn complaint(&self) -> Option<String> {
        let first = self.problems.first()?;
        let (name, others) = (&self.key.application, self.problems.len() - 1);
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        let effect = if self.is_up() { "" } else { "; the server's view is shown instead" };
        Some(format!("{name}: {first}{more}{effect}"))
    }
}
