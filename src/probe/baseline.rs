//! The reset point for the counters in the JSON. Prometheus counters are never reset.

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::pool::Totals;

/// The counters at the last reset; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The time of the reset; `None` before the first.
    pub at: Option<Instant>,
    /// The events in the exporter's own pool.
    pub totals: Totals,
    /// The slow probe statements.
    pub slow: u64,
}

/// The counters since a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The events in the exporter's own pool.
    pub totals: Totals,
    /// The slow probe statements.
    pub slow: u64,
    /// The mean time of the window's fresh connects; `None` if there are none.
    pub mean_connect: Option<Duration>,
    /// The mean time of the window's statements; `None` if there are none.
    pub mean_query: Option<Duration>,
}

impl Snapshot {
    /// Subtracts a baseline. All counters are 0 when the snapshot is older than the baseline.
    pub(crate) fn since(&self, baseline: &Baseline) -> Since {
        let now = &self.totals;
        let then = &baseline.totals;
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
