//! One pass over one target, again and again, and what it learned.
//!
//! A [`Target`] owns our pool to a database. [`once`] probes it: a fresh connect, because pooled
//! connections stay good while new ones fail, and a statement through the pool. `run` does that at
//! the interval and publishes each [`Snapshot`] whole; whoever reads takes the last one and never
//! waits. A snapshot takes the [`Window`] of the last minutes along. [`Roster`] holds the targets that
//! run.

mod baseline;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod history;
mod instruments;
mod kind;
mod once;
mod read;
mod roster;
mod run;
mod settings;
mod snapshot;
mod target;
mod tell;
pub mod write;

pub use baseline::{Baseline, Since};
pub use history::{CAPACITY, History, ProbeSample, SPAN, Window};
pub use instruments::{OwnQuery, ProbeInstruments, READINGS as INSTRUMENT_READINGS, WriteStep};
pub use kind::{KindSpec, TargetKind};
pub use once::once;
pub use roster::Roster;
pub use run::publish_once;
pub use settings::{DEFAULT_TARGET, Schedule, TargetSettings, Thresholds};
pub use snapshot::{
    Connected, Failure, ProbePart, Published, Queried, READINGS as SNAPSHOT_READINGS, STALE,
    Snapshot,
};
pub use target::{READINGS as TARGET_READINGS, Target};
pub use tell::hint;
