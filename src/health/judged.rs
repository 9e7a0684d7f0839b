//! The judged pool in numbers: one pool, under one source.
//!
//! A number that is not known is `None`, while a limit that is known stays: a pool that cannot be seen still
//! has the limits that it had.

use super::saturation::PoolVerdict;
use crate::metrics::UsageSource as Source;
use crate::probe::Snapshot;
use crate::view::{Application, Usage};

/// The pool that decides the check `pool_saturation`.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPool {
    /// Whose pool it is, and from where that is known.
    pub source: Source,
    /// The application; `None` for the exporter's own pool, and where none was ever seen.
    pub application: Option<String>,
    /// Connections that are certainly checked out; `None` where that is not known, likewise below.
    pub active: Option<u64>,
    /// Open connections that are not certainly checked out.
    pub idle: Option<u64>,
    /// Open connections.
    pub open: Option<u64>,
    /// Open connections above the size; also `None` for a pool without overflow.
    pub overflow: Option<u64>,
    /// The limits; `None` where nothing is known of them.
    pub limits: Option<JudgedLimits>,
    /// The number of processes, and whether it is more than a guess; `None` for the exporter's own pool.
    pub instances: Option<(u32, bool)>,
    /// What the fullest process has checked out in percent of its size.
    pub utilization_percent: Option<f64>,
    /// What the fullest process has checked out as a part of what it may open.
    pub saturation_ratio: Option<f64>,
}

/// Limits that are known; `None` in them is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedLimits {
    /// Connections that the pools keep.
    pub size: Option<u32>,
    /// Connections beyond the size; 0 for a pool without overflow.
    pub max_overflow: Option<u32>,
    /// The maximum number of open connections.
    pub max: Option<u32>,
}

impl JudgedPool {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        source: Source::Unknown,
        application: None,
        active: None,
        idle: None,
        open: None,
        overflow: None,
        limits: None,
        instances: None,
        utilization_percent: None,
        saturation_ratio: None,
    };

    /// The pool that is judged in a snapshot. `deciding`: the worst application's verdict.
    pub(super) fn new(snapshot: Option<&Snapshot>, deciding: Option<&PoolVerdict<'_>>) -> Self {
        let Some(snapshot) = snapshot else { return Self::UNKNOWN };
        match deciding {
            Some(verdict) => Self::of_application(verdict),
            None if snapshot.sight.blindness.is_some() => Self::UNKNOWN,
            None => Self::own(&snapshot.usage),
        }
    }

    fn own(usage: &Usage) -> Self {
        Self {
            source: usage.source,
            active: Some(usage.active),
            idle: Some(usage.idle),
            open: Some(usage.open),
            overflow: Some(usage.overflow),
            limits: Some(JudgedLimits {
                size: usage.size,
                max_overflow: usage.max_overflow,
                max: usage.max,
            }),
            utilization_percent: usage.utilization_percent(),
            saturation_ratio: usage.saturation_ratio(),
            ..Self::UNKNOWN
        }
    }

    fn of_application(verdict: &PoolVerdict<'_>) -> Self {
        let pool = verdict.pool;
        let allowed = pool.last.as_ref().and_then(|(_, app)| app.allowed);
        let known = Self {
            application: Some(pool.key.application.clone()),
            limits: allowed.map(|allowed| JudgedLimits {
                size: allowed.size,
                // 0, not none: such a pool opens nothing beyond its size.
                max_overflow: if allowed.process.closes_overflow() {
                    allowed.max_overflow
                } else {
                    Some(0)
                },
                max: allowed.max,
            }),
            instances: allowed.map(|a| (a.instances.number, a.instances.is_known())),
            ..Self::UNKNOWN
        };
        match pool.now() {
            None => known,
            Some(_) if pool.is_gone => Self { source: Source::Activity, ..known.none_open() },
            Some(app) => Self { source: app.source, ..known.seen(app) },
        }
    }

    fn seen(self, app: &Application) -> Self {
        Self {
            active: app.active,
            idle: app.idle,
            open: Some(app.open),
            overflow: app.allowed.and_then(|allowed| allowed.overflow),
            utilization_percent: app.utilization_percent(),
            saturation_ratio: app.saturation_ratio(),
            ..self
        }
    }

    fn none_open(self) -> Self {
        let none = Some(0);
        Self { active: none, idle: none, open: none, overflow: none, ..self }
    }
}
