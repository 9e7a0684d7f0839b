//! From where on events and averages are told where they can be reset: the JSON, never a metric.

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::pool::Totals;

/// What had happened at the last reset; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// When it was set.
    pub at: Option<Instant>,
    /// The events of our own pool until then.
    pub totals: Totals,
    /// The slow probe statements until then.
    pub slow: u64,
}

/// What happened since a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The events of our own pool.
    pub totals: Totals,
    /// The slow probe statements.
    pub slow: u64,
    /// The mean time of the window's fresh connects; `None` without any.
    pub mean_connect: Option<Duration>,
    /// The mean time of the window's statements; `None` without any.
    pub mean_query: Option<Duration>,
}

impl Snapshot {
    /// What happened since a baseline; nothing, when the snapshot is older than it.
    pub fn since(&self, baseline: &Baseline) -> Since {
        let (now, then) = (&self.totals, &baseline.totals);
        Since {
            totals: Totals {
                checkouts: now.checkouts.saturating_sub(then.checkouts),
                checkins: now.checkins.saturating_sub(then.checkins),
                connects: now.connects.saturating_sub(then.connects),
                disconnects: now.disconnects.saturating_sub(then.disconnects),
                failed: now.failed.saturating_sub(then.failed),
                timeouts: now.timeouts.saturating_sub(then.timeouts),
            },
            slow: self.slow.saturating_sub(baseline.slow),
            mean_connect: self.window.mean_connect(baseline.at),
            mean_query: self.window.mean_query(baseline.at),
        }
    }
}
