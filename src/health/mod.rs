//! What we think of a target: pure functions of its last snapshot.
//!
//! Each [`Check`] looks at one thing; the worst decides the [`Status`]. The thresholds and the names
//! are the specification's own. A snapshot that is too old fails the connection check by itself.

mod check;
mod readings;
mod verdict;

pub use check::{Check, Kind, Measured, Outcome};
pub use readings::READINGS;
pub use verdict::{Status, Verdict, judge, of};

/// From where on something is worth a warning.
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

/// When a snapshot is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: tokio::time::Instant,
    /// From one probe to the next.
    pub interval: std::time::Duration,
}
