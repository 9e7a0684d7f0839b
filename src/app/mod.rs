//! The daemon: wires the rooms together, and lives until it is told to stop.

mod exposition;
pub mod logging;
mod process;
mod settings;
pub mod version;

use std::collections::BTreeMap;

pub use exposition::{Exporter, VERSION, catalogue, metrics_md};
pub use settings::Settings;

use crate::config::Config;

/// Serves until it is told to stop. `environment` is what the configuration is read from again.
///
/// # Errors
/// What keeps it from serving.
pub fn serve(
    _settings: Settings,
    _environment: BTreeMap<String, String>,
    config: Config,
) -> anyhow::Result<()> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    config.notes.iter().for_each(|note| tracing::debug!("{note}"));
    anyhow::bail!("serving is not part of this build")
}
