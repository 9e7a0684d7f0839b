//! What the daemon is told by flags; what it is told about targets is in the configuration.

use std::path::PathBuf;

use super::logging;
use crate::web;

/// The daemon's own settings.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSettings {
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// Whether a changed file is read again by itself.
    pub auto_reload: bool,
    /// The web side.
    pub web: web::ServerSettings,
    /// The log.
    pub log: logging::LogSettings,
}
