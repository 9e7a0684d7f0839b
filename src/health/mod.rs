//! Judges a target by its last snapshot, in pure functions.
//!
//! Each [`Check`] judges one thing; the worst decides the [`HealthStatus`]. The specification gives the
//! names and the thresholds. A snapshot that is too old fails the connection check, whatever it holds.

mod advice;
mod bottleneck;
mod check;
mod endpoints;
mod hint;
mod judged;
mod mark;
mod pooler;
mod readings;
mod saturation;
mod server;
mod verdict;
mod words;

pub use crate::probe::Thresholds;
pub(crate) use advice::{advice, runbook};
pub(crate) use bottleneck::{
    Bottleneck, Neighbours, READINGS as BOTTLENECK_READINGS, of as bottleneck,
};
pub use check::{Check, CheckName, CheckOutcome, Measured};
pub(crate) use hint::hint;
pub(crate) use judged::JudgedPool;
pub(crate) use mark::{mark, watch};
pub(crate) use readings::READINGS;
pub use verdict::{HealthStatus, Verdict};
pub(crate) use verdict::{judge, of};

/// The time at which a snapshot is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time now.
    pub now: tokio::time::Instant,
    /// The interval of the target's probes.
    pub interval: std::time::Duration,
}
