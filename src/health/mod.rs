//! What we think of a target: pure functions of its last snapshot.
//!
//! Each [`Check`] looks at one thing; the worst decides the [`HealthStatus`]. The thresholds and the names
//! are the specification's own. A snapshot that is too old fails the connection check by itself.

mod check;
mod readings;
mod verdict;

pub use crate::probe::Thresholds;
pub use check::{Check, CheckName, CheckOutcome, Measured};
pub use readings::READINGS;
pub use verdict::{HealthStatus, Verdict, judge, of};

/// When a snapshot is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: tokio::time::Instant,
    /// From one probe to the next.
    pub interval: std::time::Duration,
}
