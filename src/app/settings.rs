//! What the daemon is told by flags.

use std::path::PathBuf;

use super::logging;
use crate::http;

/// The daemon's own settings; those of targets are in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// Whether a changed file is read again by itself.
    pub auto_reload: bool,
    /// The web side.
    pub web: http::Settings,
    /// The log.
    pub log: logging::Settings,
}
