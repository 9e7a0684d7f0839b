//! What is known of a target before it is probed.

use std::time::Duration;

use super::kind::TargetKind;
use super::write;
use crate::pool;
use crate::view;

/// The name of the target that the variables describe.
pub const DEFAULT_TARGET: &str = "default";

/// When a target is probed, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The deadline of one probe: then a snapshot is published with what is known.
    pub timeout: Duration,
    /// From one fresh connect to the next; zero: at each probe; `None`: never.
    pub connect_interval: Option<Duration>,
    /// From one look at activity to the next, when that is shorter than the interval: between two
    /// probes only slow queries are counted.
    pub sampling: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

impl Schedule {
    /// The schedule for an interval when nothing else is configured.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            timeout: interval,
            connect_interval: Some(Duration::ZERO),
            sampling: interval,
        }
    }
}

/// From where on something of a target is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Checked-out connections, in percent of the pool size.
    pub saturation_percent: f64,
    /// Slow queries, in percent of the window's.
    pub slow_rate_percent: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { saturation_percent: 90.0, slow_rate_percent: 5.0 }
    }
}

/// A target, and how it is probed. Two that are equal are the same target after a reload.
#[derive(Clone, PartialEq)]
pub struct TargetSettings {
    /// The label `target`.
    pub name: String,
    /// The user's own labels, for `db_pool_target_info`.
    pub labels: Vec<(String, String)>,
    /// What kind of server it is.
    pub kind: TargetKind,
    /// When it is probed.
    pub schedule: Schedule,
    /// The statement of the probe, `DB_MONITOR_QUERY`.
    pub query: String,
    /// A statement that takes longer is slow.
    pub slow_threshold: Duration,
    /// The limit of one statement; `None`: the probe's deadline is the limit.
    pub command_timeout: Option<Duration>,
    /// How it is reached.
    pub connect: pool::ConnectSettings,
    /// How our own pool to it behaves.
    pub limits: pool::PoolLimits,
    /// Which views are looked at, and whose pools are inferred from them.
    pub views: view::ViewSettings,
    /// The write probe; `None`: off.
    pub write: Option<write::WriteProbeSettings>,
    /// By what it is judged.
    pub thresholds: Thresholds,
    /// `APP_ENV`, as `db_pool_config_info` shows it.
    pub app_env: String,
}
