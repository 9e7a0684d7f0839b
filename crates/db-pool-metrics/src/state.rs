//! A pool at one moment: how many connections there are, and its limits.

use std::time::Duration;

use crate::{Kind, Reading, Samples, Usage};

/// The numbers of a pool, all of one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolState {
    /// Connections that are checked out.
    pub active: u64,
    /// Connections that are open and not checked out.
    pub idle: u64,
    /// Connections that are open, in use or not.
    pub open: u64,
    /// Connections that are being opened.
    pub connecting: u64,
    /// Check-outs that wait for a free slot.
    pub pending: u64,
    /// Connections that the client gave up but that may still exist on the server.
    pub abandoned: u64,
    /// The number of connections that the pool keeps; 0 without a limit.
    pub size: u32,
    /// The number of connections allowed above the size; `None` without a limit.
    pub max_overflow: Option<u32>,
    /// The largest number of open connections; `None` without a limit.
    pub max: Option<u32>,
    /// The longest time that a check-out waits for a slot.
    pub timeout: Duration,
    /// The age at which a connection is replaced; `None` means never.
    pub recycle: Option<Duration>,
}

impl PoolState {
    /// The number of open connections above the size.
    pub fn overflow(&self) -> u64 {
        crate::overflow(self.open, self.size)
    }

    /// The connections that are checked out, in percent of the size; see [`Usage::utilization_percent`].
    pub fn utilization_percent(&self) -> Option<f64> {
        Usage::from(self).utilization_percent()
    }

    /// The connections that are checked out, as a part of size and overflow; see [`Usage::saturation_ratio`].
    pub fn saturation_ratio(&self) -> Option<f64> {
        Usage::from(self).saturation_ratio()
    }
}

/// The families of [`PoolState`]; read at each scrape.
pub const POOL_STATE_READINGS: &[Reading<PoolState>] = &[
    gauge(
        "db_pool_active_connections",
        "Connections that are checked out of the pool.",
        |s, out| out.push([], s.active),
    ),
    gauge(
        "db_pool_idle_connections",
        "Open connections of the pool that are not checked out.",
        |s, out| out.push([], s.idle),
    ),
    gauge("db_pool_open_connections", "Open connections of the pool, in use or not.", |s, out| {
        out.push([], s.open)
    }),
    gauge("db_pool_connecting_connections", "Connections that the pool is opening.", |s, out| {
        out.push([], s.connecting)
    }),
    gauge(
        "db_pool_overflow_connections",
        "Open connections of the pool above its size; never below 0, unlike SQLAlchemy's overflow().",
        |s, out| out.push([], s.overflow()),
    ),
    gauge(
        "db_pool_pending_requests",
        "Check-outs that wait for a free slot of the pool.",
        |s, out| out.push([], s.pending),
    ),
    gauge(
        "db_pool_abandoned_connections",
        "Connections that were given up but may still exist on the server; they count against the client's connection limit until the server has closed them.",
        |s, out| out.push([], s.abandoned),
    ),
    gauge(
        "db_pool_utilization_percent",
        "Checked-out connections in percent of the pool's size; over 100 in overflow, absent without a limit.",
        |s, out| out.push([], s.utilization_percent()),
    ),
    gauge(
        "db_pool_saturation_ratio",
        "Checked-out connections as a part of the pool's size and overflow; at 1 the next check-out waits; absent without a limit.",
        |s, out| out.push([], s.saturation_ratio()),
    ),
    gauge(
        "db_pool_size",
        "The number of connections that the pool keeps, as configured (SQLAlchemy's pool_size); 0 means no limit.",
        |s, out| out.push([], s.size),
    ),
    gauge(
        "db_pool_max_overflow",
        "The number of connections allowed above the size, as configured (max_overflow); +Inf without a limit.",
        |s, out| out.push([], s.max_overflow.map_or(f64::INFINITY, f64::from)),
    ),
    gauge(
        "db_pool_max_connections",
        "The size and the overflow of the pool together, as configured; +Inf without a limit.",
        |s, out| out.push([], s.max.map_or(f64::INFINITY, f64::from)),
    ),
    gauge(
        "db_pool_timeout_seconds",
        "The longest time that a check-out waits for a slot, as configured (pool_timeout).",
        |s, out| out.push([], s.timeout),
    ),
    gauge(
        "db_pool_recycle_seconds",
        "The age at which a connection is replaced, as configured (pool_recycle); -1 means never.",
        |s, out| out.push([], s.recycle.map_or(-1.0, |r| r.as_secs_f64())),
    ),
];

/// A gauge without labels of its own.
const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&PoolState, &mut Samples<'_>),
) -> Reading<PoolState> {
    Reading { name, help, kind: Kind::Gauge, labels: &[], read }
}
