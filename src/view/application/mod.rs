//! An application's connection pools, inferred from the server's sessions.
//!
//! The number of open connections is exact. The number of checked-out ones is a lower bound (see
//! `infer.rs`), and what may be checked out as well is shown beside it. Saturation depends on the number
//! of processes (see `instances.rs`), and it is that of the fullest process where processes can be shown
//! apart. Waiting for a connection happens inside the application and cannot be seen from here.

mod cell;
mod infer;
mod instances;
mod readings;
mod retained;
mod settings;
mod totals;

use std::time::Duration;

#[cfg(any(test, feature = "testing"))]
pub(super) use infer::of_one_cell;
pub use instances::{Evidence, Instances};
pub(super) use readings::{LABELS, READINGS};
pub(super) use retained::{Applications, Sample, selected_by};
pub use settings::{ApplicationSettings, NameMatch, ProcessPool, SessionMatch};
pub(crate) use totals::Sums;
pub use totals::{ApplicationCounters, ApplicationTotals};

use super::key::SessionKey;
use crate::metrics::{Usage, UsageSource};

/// An application's pools, all its processes together, as its sessions show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its labels; `application` is the name in its settings, or the role, if it has settings.
    pub key: SessionKey,
    /// Its sessions on the server, or its own status.
    pub source: UsageSource,
    /// Callers that wait for a connection; `None` where only its sessions are known.
    pub waiting: Option<u64>,
    /// For how long the first of them has waited.
    pub oldest_wait: Option<Duration>,
    /// Open connections.
    pub open: u64,
    /// Connections that are certainly checked out. `None` where the state of some sessions is not known
    /// (see [`Self::unseen`]); likewise below.
    pub active: Option<u64>,
    /// Open connections that are not certainly checked out.
    pub idle: Option<u64>,
    /// Idle sessions that may be checked out as well: by a holder in autocommit between two statements,
    /// or by a check-out that has sent nothing yet.
    pub uncertain: Option<u64>,
    /// Connections that are idle in a transaction.
    pub in_transaction: Option<u64>,
    /// Connections that are idle in transaction beyond the leak threshold.
    pub leaked: Option<u64>,
    /// The reason why the state of some sessions is not known; `None` if all are known.
    pub unseen: Option<Unseen>,
    /// The number of processes and their limits; `None` for applications without settings. So are all
    /// fields below, but for `recent` and `vanished`.
    pub allowed: Option<AllowedConnections>,
    /// The fullest process, or group of processes that cannot be told apart. It decides the ratios.
    pub fullest: Option<Fullest>,
    /// All processes taken for one pool.
    pub mean: Option<Fullest>,
    /// The number of processes that have nothing left.
    pub saturated_instances: Option<u32>,
    /// True if sessions show which process they belong to. Otherwise the free room of one process can hide that
    /// another one is full.
    pub are_told_apart: bool,
    /// The samples of the last minute.
    pub recent: Recent,
    /// The samples since the probe before this one.
    pub since_probe: Recent,
    /// For how long a process has had nothing left; `None` while none is full.
    pub saturated_for: Option<Duration>,
    /// Its processes one by one, the fullest first; empty where they cannot be told apart.
    pub processes: Vec<ProcessUsage>,
    /// For how long the whole limit of a known number of processes has been open, although less is
    /// certainly checked out.
    pub whole_limit_open_for: Option<Duration>,
    /// Set for a while after all sessions ended between two samples.
    pub vanished: Option<Vanished>,
}

/// The reason why the state of a session is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// The exporter's role needs pg_read_all_stats.
    NoPrivilege,
    /// track_activities is off in the session.
    NotTracked,
}

/// The number of connections that an application's pools may open, all its processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedConnections {
    /// The number of processes, and the evidence for it.
    pub instances: Instances,
    /// The pool of one process.
    pub process: ProcessPool,
    /// Connections that their pools keep; `None` without a limit.
    pub size: Option<u32>,
    /// Connections beyond the size; `None` without a limit, and for pools without overflow.
    pub max_overflow: Option<u32>,
    /// The maximum number of open connections; `None` without a limit.
    pub max: Option<u32>,
    /// Open above the size; `None` for pools without overflow.
    pub overflow: Option<u64>,
    /// More is open than the configured limits allow: they are wrong.
    pub exceeded: Option<Exceeded>,
}

impl AllowedConnections {
    /// Returns a sentence for people where the configured limits are exceeded, with what would fit.
    pub fn explain_exceeded(&self) -> Option<String> {
        let Exceeded { open, allowed, processes, fits } = self.exceeded?;
        let plural = |n: u32| if n == 1 { "process" } else { "processes" };
        let process = plural(processes);
        let (pool, settings) = match self.process {
            ProcessPool::Sqlalchemy { size, max_overflow } => {
                let overflow = max_overflow.unwrap_or(0);
                (format!("{size} + {overflow}"), "DB_POOL_SIZE or DB_MAX_OVERFLOW")
            }
            ProcessPool::Fixed { max, .. } => (format!("at most {max}"), "max"),
        };
        Some(format!(
            "{open} open, the settings allow {allowed} ({processes} {process} of {pool}): {fits} {}? set \
             DB_MONITOR_INSTANCES, {settings}",
            plural(fits)
        ))
    }
}

/// More is open than the configured limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Open connections.
    pub open: u64,
    /// The number of connections that the settings allow.
    pub allowed: u64,
    /// The number of processes that `allowed` is for.
    pub processes: u32,
    /// The number of processes that would fit.
    pub fits: u32,
}

/// One process, or some that cannot be told apart, beside their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fullest {
    /// Connections that are certainly checked out.
    pub active: u64,
    /// Open connections.
    pub open: u64,
    /// The number of processes behind these sessions.
    pub processes: u32,
    /// Connections that their pools keep; `None` without a limit.
    pub size: Option<u64>,
    /// Connections that they may open; `None` without a limit.
    pub max: Option<u64>,
}

impl Fullest {
    /// Returns what is checked out in percent of the size, over 100 in overflow; `None` without a limit.
    pub fn utilization_percent(&self) -> Option<f64> {
        self.max?;
        let size = self.size.filter(|size| *size > 0)?;
        Some(self.active as f64 / size as f64 * 100.0)
    }

    /// Returns what is checked out as a part of all that may be open; `None` without a limit.
    pub fn saturation_ratio(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0)?;
        Some(self.active as f64 / max as f64)
    }
}

/// One process of an application, or some that share a name and a client address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Its application_name, or the name that its own status gives it.
    pub name: String,
    /// Its client address; `None` for a Unix socket, and where it is not known.
    pub address: Option<String>,
    /// What it has of its limits.
    pub usage: Fullest,
}

/// The most processes that are listed one by one.
pub const MOST_PROCESSES: usize = 32;

/// An application over some time, as it was sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// The time of connections that were certainly checked out, added up.
    pub active: Duration,
    /// The most connections that were certainly checked out at once.
    pub peak: u64,
    /// The time in which a process, or all of them, had nothing left.
    pub saturated: Duration,
    /// The time that the samples stand for.
    pub sampled: Duration,
}

/// All sessions of an application have ended between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// The number of sessions before.
    pub sessions: u64,
    /// The time since they ended.
    pub ago: Duration,
}

impl Application {
    /// Returns the application's pools as one pool; `None` without settings, or where they cannot be
    /// seen.
    pub fn usage(&self) -> Option<Usage> {
        let allowed = self.allowed?;
        Some(Usage {
            active: self.active?,
            idle: self.idle?,
            open: self.open,
            overflow: allowed.overflow.unwrap_or(0),
            size: allowed.size,
            max_overflow: allowed.max_overflow,
            max: allowed.max,
            source: self.source,
        })
    }

    /// Returns what is checked out of the fullest process in percent of its size.
    pub fn utilization_percent(&self) -> Option<f64> {
        self.fullest?.utilization_percent()
    }

    /// Returns what is checked out of the fullest process as a part of what it may open.
    pub fn saturation_ratio(&self) -> Option<f64> {
        self.fullest?.saturation_ratio()
    }

    /// Reports whether a process has nothing left, so that its next check-out waits.
    pub fn is_saturated(&self) -> bool {
        self.saturated_instances.is_some_and(|number| number > 0)
    }
}
