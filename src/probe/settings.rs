//! The settings of a target, complete before its first probe.

use std::time::Duration;

use super::kind::TargetKind;
use super::processes::ProcessSettings;
use super::write;
use crate::metrics::Detail;
use crate::pool;
use crate::source::SourceSettings;
use crate::view::{self, View};

/// The name of the target that environment variables describe.
pub(crate) const DEFAULT_TARGET: &str = "default";

/// The times of a target's probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The longest time of one probe. At this deadline its snapshot is published with the results so far.
    pub timeout: Duration,
    /// From one fresh connect to the next; zero for one at each probe, `None` for never.
    pub connect_interval: Option<Duration>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

impl Schedule {
    /// The schedule for an interval when nothing else is configured.
    ///
    /// The time-out is 4/5 of the interval. A probe against a hanging server then ends before the next one is
    /// due, and the interval is kept.
    #[must_use]
    pub(crate) fn every(interval: Duration) -> Self {
        Self { interval, timeout: interval * 4 / 5, connect_interval: Some(Duration::ZERO) }
    }
}

/// Thresholds at which a health check warns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Checked-out connections, in percent of the pool size.
    pub saturation_percent: f64,
    /// Slow statements of the probe, in percent of the window's.
    pub slow_rate_percent: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { saturation_percent: 90.0, slow_rate_percent: 5.0 }
    }
}

/// The settings of a target. A reload leaves a target with equal settings running, its counters included.
#[derive(Clone, PartialEq)]
pub struct TargetSettings {
    /// The label `target`.
    pub name: String,
    /// The user's own labels, for `db_pool_target_info`.
    pub labels: Vec<(String, String)>,
    /// The kind of its server.
    pub kind: TargetKind,
    /// The times of its probes.
    pub schedule: Schedule,
    /// The statement of the probe, `DB_MONITOR_QUERY`.
    pub query: String,
    /// A statement of the exporter that takes longer is slow.
    pub slow_threshold: Duration,
    /// The limit of one statement; `None` for the probe's deadline.
    pub command_timeout: Option<Duration>,
    /// The most connections of the exporter to its server, together with all other targets of that server.
    pub connections_per_server: u32,
    /// Address, login and time-out of its connections.
    pub connect: pool::ConnectSettings,
    /// The rules of the exporter's own pool.
    pub limits: pool::PoolLimits,
    /// The views, and the applications with pools that are inferred from them.
    pub views: view::ViewSettings,
    /// The status that some of these applications serve themselves.
    pub sources: Vec<SourceSettings>,
    /// The processes of a pooler.
    pub processes: ProcessSettings,
    /// The write probe; `None` for off.
    pub write: Option<write::WriteProbeSettings>,
    /// The thresholds of the health checks.
    pub thresholds: Thresholds,
    /// `APP_ENV`, a label of `db_pool_config_info`.
    pub app_env: String,
    /// The detail of its metrics.
    pub detail: Detail,
    /// The target whose server's list of databases it follows from; `None` for one of the configuration.
    pub parent: Option<String>,
}

impl TargetSettings {
    /// The most connections to the target's address. Two are enough beside several processes, each of which has one
    /// more: these are three at the most, even where all of them reach the same process.
    pub(super) fn connections_of_address(&self) -> u32 {
        if self.processes.are_several() {
            self.connections_per_server.min(2)
        } else {
            self.connections_per_server
        }
    }

    /// The views that its kind has and its settings enable.
    pub(super) fn enabled_views(&self) -> impl Iterator<Item = &'static View> {
        let views = self.kind.spec().views.iter().copied();
        views.filter(|view| self.views.enabled.contains(&view.name))
    }

    /// Reports whether the write probe runs.
    pub(super) fn writes(&self) -> bool {
        self.write.is_some() && self.kind.spec().has_transactions
    }
}
