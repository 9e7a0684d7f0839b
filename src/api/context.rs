//! The context from which all answers are made.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::Setting;
use crate::metrics::Page;
use crate::probe::Roster;
use crate::web::ServerSettings;

/// Sends requests to reload; each is answered with the outcome.
pub type Reload = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// The parts of the daemon that the answers use.
pub struct Context {
    /// The settings of the web server: paths and prefixes for links.
    pub settings: ServerSettings,
    /// Writes all families of `/metrics`.
    pub exposition: Arc<dyn Fn(&mut Page<'_>) + Send + Sync>,
    /// Reports whether every target was probed once.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The targets.
    pub targets: Arc<Roster>,
    /// The effective configuration, which the status page shows.
    pub configuration: Arc<ArcSwap<Vec<Setting>>>,
    /// Asks for a reload; `None` if nothing can be reloaded.
    pub reload: Option<Reload>,
}
