//! The daemon: wires the rooms together, and lives until it is told to stop.

mod exposition;
mod notify;
mod process;

pub use exposition::{Exporter, VERSION, catalogue, metrics_md};
pub use notify::Notifier;
