//! The daemon: wires the rooms together, and runs until it is stopped.

mod check;
mod daemon;
mod exposition;
#[cfg(test)]
mod golden;
mod json_writer;
mod log_queue;
mod logfmt;
pub mod logging;
mod notify;
mod otel;
mod process;
mod reload;
mod settings;
pub mod version;

pub use check::{Checked, Finding, check};
pub use daemon::{Daemon, run, serve, stop_on_signal};
pub use exposition::{Exporter, Section, catalogue, metrics_md};
pub use log_queue::LogQueue;
pub use notify::Notifier;
pub use reload::ReloadStatus;
pub use settings::DaemonSettings;
