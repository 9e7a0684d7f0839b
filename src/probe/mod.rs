//! Probes targets, and publishes what each probe learned.
//!
//! A [`Target`] owns the exporter's pool to a database. [`once`] probes it: a fresh connect, because
//! pooled connections stay good while new ones fail, a statement through the pool, and the views. `run`
//! does that at the interval and publishes each [`Snapshot`] as a whole; readers take the last one and
//! never wait. A snapshot holds the [`Window`] of the last minutes. [`Roster`] holds the running targets.

mod baseline;
mod console;
mod databases;
mod endpoint;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod hint;
mod history;
mod hour;
mod instruments;
mod kind;
mod log;
mod marks;
mod once;
mod pace;
mod pooling;
mod processes;
mod read;
mod roster;
mod route;
mod run;
mod server;
mod session;
mod settings;
mod sight;
mod snapshot;
mod target;
pub mod write;

pub use baseline::{Baseline, Since};
pub(crate) use databases::{DiscoverSettings, ListedDatabase, list_databases};
pub(crate) use hint::{hint, with_keys_of};
pub(crate) use history::SPAN;
pub use history::{History, ProbeSample, Window};
pub(crate) use hour::{Fault, HourView, PoolStep, STEP, STEPS, Step, phase_names};
pub use instruments::{OwnQuery, ProbeInstruments, READINGS as INSTRUMENT_READINGS, WriteStep};
pub use kind::{KindSpec, TargetKind};
pub(crate) use marks::Mark;
pub use once::{FreshConnect, once};
pub(crate) use pace::READINGS as PACE_READINGS;
pub use processes::{ProcessAddress, ProcessSettings};
pub use roster::{Probing, Roster};
pub use route::PooledDatabase;
pub(crate) use run::{SampleSeries, publish_series};
pub use session::SessionFault;
pub(crate) use settings::DEFAULT_TARGET;
pub use settings::{Schedule, TargetSettings, Thresholds};
pub use sight::{Blindness, PoolSight, ServerPath, SessionsEnded, Sight};

pub(crate) use snapshot::STALE;
pub use snapshot::{
    Connected, Failure, ProbePart, Published, Queried, READINGS as SNAPSHOT_READINGS, Snapshot,
};
pub(crate) use target::READINGS as TARGET_READINGS;
pub use target::Target;
