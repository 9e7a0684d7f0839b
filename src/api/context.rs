//! The context from which all answers are made.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::Setting;
use crate::metrics::Page;
use crate::ondemand::OnDemand;
use crate::probe::{Roster, Target};
use crate::web::ServerSettings;

/// Sends requests to reload; each is answered with the outcome.
pub type Reload = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// Writes what a client asks for onto a page.
pub type Exposition = Arc<dyn Fn(&Shown, &mut Page<'_>) + Send + Sync>;

/// The part of the metrics that a client asks for.
#[derive(Clone)]
pub enum Shown {
    /// All targets, and the exporter itself.
    Everything,
    /// These targets alone, in the order of the configuration.
    Targets(Vec<Arc<Target>>),
}

/// The parts of the daemon that `/probe` uses.
pub struct Probes {
    /// Probes targets on demand.
    pub(crate) on_demand: Arc<OnDemand>,
}

/// The parts of the daemon that the answers use.
pub struct Context {
    /// The settings of the web server: paths and prefixes for links.
    pub settings: ServerSettings,
    /// Writes the families of `/metrics`.
    pub exposition: Exposition,
    /// Reports whether every target was probed once.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The targets.
    pub targets: Arc<Roster>,
    /// The effective configuration, which the status page shows.
    pub configuration: Arc<ArcSwap<Vec<Setting>>>,
    /// Probes on demand; `None` without `/probe`.
    pub probes: Option<Probes>,
    /// Asks for a reload; `None` if nothing can be reloaded.
    pub reload: Option<Reload>,
}
