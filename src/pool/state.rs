//! The pool at this moment: how many connections there are, and how near the limit that is.
//!
//! SQLAlchemy's `overflow()` starts at minus the pool size and counts open connections; here it is
//! what is open above the pool size, never below 0.

use std::time::Duration;

use super::Pool;
use crate::metrics::{Kind, Reading};

/// What is true of a pool now; whoever asks gets numbers of one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Checked out.
    pub active: u64,
    /// Open and not checked out.
    pub idle: u64,
    /// Open.
    pub open: u64,
    /// Being opened.
    pub connecting: u64,
    /// Check-outs that wait for a free slot.
    pub pending: u64,
    /// Given up, but perhaps still there on the server.
    pub abandoned: u64,
    /// Connections that the pool keeps; 0 without a limit.
    pub size: u32,
    /// Connections beyond it; `None` without a limit.
    pub max_overflow: Option<u32>,
    /// Both together; `None` without a limit.
    pub max: Option<u32>,
    /// How long a check-out waits.
    pub timeout: Duration,
    /// The age at which a connection is replaced; `None` means never.
    pub recycle: Option<Duration>,
}

impl Pool {
    /// The pool at this moment.
    pub fn state(&self) -> State {
        let open = self.manager.opened();
        let active = self.gauges.active.value().min(open);
        State {
            active,
            idle: open - active,
            open,
            connecting: self.connector().connecting(),
            pending: self.gauges.pending.value(),
            abandoned: self.connector().budget().abandoned(),
            size: self.limits.size,
            max_overflow: self.limits.max_overflow,
            max: self.limits.max(),
            timeout: self.limits.timeout,
            recycle: self.limits.recycle,
        }
    }
}

impl State {
    /// Open above the pool size.
    pub fn overflow(&self) -> u64 {
        if self.size == 0 { 0 } else { self.open.saturating_sub(u64::from(self.size)) }
    }

    /// Checked out, in percent of the pool size; `None` without a limit.
    pub fn utilization_percent(&self) -> Option<f64> {
        self.max?;
        Some(self.active as f64 / f64::from(self.size) * 100.0)
    }

    /// Checked out, as a part of all that there may be; `None` without a limit.
    pub fn saturation_ratio(&self) -> Option<f64> {
        Some(self.active as f64 / f64::from(self.max?))
    }
}

/// The families of [`State`]; read at each scrape.
pub const STATE_READINGS: &[Reading<State>] = &[
    gauge(
        "db_pool_active_connections",
        "Connections checked out of the exporter's own probe pool.",
        |s, out| out.push([], s.active),
    ),
    gauge(
        "db_pool_idle_connections",
        "Open connections of the exporter's own probe pool that are not checked out.",
        |s, out| out.push([], s.idle),
    ),
    gauge(
        "db_pool_open_connections",
        "Open connections of the exporter's own probe pool.",
        |s, out| out.push([], s.open),
    ),
    gauge(
        "db_pool_connecting_connections",
        "Connections that the exporter's own probe pool is opening.",
        |s, out| out.push([], s.connecting),
    ),
    gauge(
        "db_pool_overflow_connections",
        "Open connections of the exporter's own probe pool above its size; never below 0.",
        |s, out| out.push([], s.overflow()),
    ),
    gauge(
        "db_pool_pending_requests",
        "Check-outs that wait for a free slot of the exporter's own probe pool.",
        |s, out| out.push([], s.pending),
    ),
    gauge(
        "db_pool_abandoned_connections",
        "Connections of the exporter that were given up but may still be there on the server; they keep their place among the at most 3.",
        |s, out| out.push([], s.abandoned),
    ),
    gauge(
        "db_pool_utilization_percent",
        "Checked-out connections of the exporter's own probe pool in percent of its size; over 100 in overflow, absent without a limit.",
        |s, out| out.push([], s.utilization_percent()),
    ),
    gauge(
        "db_pool_saturation_ratio",
        "Checked-out connections of the exporter's own probe pool as a part of size and overflow; at 1 the next check-out waits; absent without a limit.",
        |s, out| out.push([], s.saturation_ratio()),
    ),
    gauge(
        "db_pool_size",
        "Connections that the pool keeps, as configured by DB_POOL_SIZE; 0 means no limit.",
        |s, out| out.push([], s.size),
    ),
    gauge(
        "db_pool_max_overflow",
        "Connections beyond the size, as configured by DB_MAX_OVERFLOW; +Inf without a limit.",
        |s, out| out.push([], s.max_overflow.map_or(f64::INFINITY, f64::from)),
    ),
    gauge(
        "db_pool_max_connections",
        "Size and overflow together, as configured; +Inf without a limit.",
        |s, out| out.push([], s.max.map_or(f64::INFINITY, f64::from)),
    ),
    gauge(
        "db_pool_timeout_seconds",
        "How long a check-out waits, as configured by DB_POOL_TIMEOUT.",
        |s, out| out.push([], s.timeout),
    ),
    gauge(
        "db_pool_recycle_seconds",
        "The age at which a connection is replaced, as configured by DB_POOL_RECYCLE; -1 means never.",
        |s, out| out.push([], s.recycle.map_or(-1.0, |r| r.as_secs_f64())),
    ),
];

/// A gauge without labels of its own.
const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&State, &mut crate::metrics::Samples<'_>),
) -> Reading<State> {
    Reading { name, help, kind: Kind::Gauge, labels: &[], read }
}
