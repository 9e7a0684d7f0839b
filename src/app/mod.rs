//! The daemon: wires the rooms together, and runs until it is stopped.

mod check;
mod daemon;
mod detail;
mod drill;
mod exposition;
mod fleet;
#[cfg(test)]
mod golden;
mod json_writer;
mod log_queue;
mod logfmt;
pub(crate) mod logging;
mod notify;
mod otel;
mod probe_thread;
mod process;
mod reload;
mod settings;
mod size;
pub(crate) mod version;

pub(crate) use check::{Finding, check};
pub(crate) use daemon::{Daemon, run, serve, stop_on_signal};
pub(crate) use drill::{DrillPlan, Drilled, drill};
pub use exposition::{Section, catalogue, metrics_md};
pub(crate) use log_queue::LogQueue;
pub(crate) use notify::Notifier;
pub(crate) use settings::DaemonSettings;
pub(crate) use size::{LiveRequest, LiveTarget, look};
