//! The daemon: wires the rooms together, and lives until it is told to stop.

mod exposition;
mod process;

pub use exposition::{Exporter, VERSION, catalogue, metrics_md};
