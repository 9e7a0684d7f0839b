//! What a pool obeys: SQLAlchemy QueuePool's parameters, by its rules.

use std::time::Duration;

/// The limits and habits of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLimits {
    /// Connections that the pool keeps; 0 means no limit at all, as in SQLAlchemy.
    pub size: u32,
    /// Connections beyond it, closed at check-in; `None` means no limit.
    pub max_overflow: Option<u32>,
    /// How long a check-out waits for a slot. Opening and pinging are not in it.
    pub timeout: Duration,
    /// At check-out, an older connection is replaced; `None` means never.
    pub recycle: Option<Duration>,
    /// Whether an idle connection is tested at check-out.
    pub pre_ping: bool,
    /// How long that test may take (SQLAlchemy has no limit here).
    pub ping_timeout: Duration,
    /// Whether the connection used last goes out first.
    pub use_lifo: bool,
    /// Whether every check-out and check-in is logged, and every statement.
    pub echo: bool,
    /// Whether every statement is logged.
    pub echo_statements: bool,
}

impl PoolLimits {
    /// Connections that there may be at a time; `None` without a limit.
    pub fn max(&self) -> Option<u32> {
        let overflow = self.max_overflow?;
        (self.size > 0).then(|| self.size.saturating_add(overflow))
    }
}
