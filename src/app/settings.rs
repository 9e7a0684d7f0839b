//! The daemon's own settings: the flags. Settings of targets are in the configuration.

use std::path::PathBuf;

use super::logging;
use crate::web;

/// The daemon's own settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DaemonSettings {
    /// The configuration file; `None`: variables and defaults alone.
    pub config_file: Option<PathBuf>,
    /// A change of the configuration file causes a reload.
    pub auto_reload: bool,
    /// The web server.
    pub web: web::ServerSettings,
    /// The log.
    pub log: logging::LogSettings,
}
