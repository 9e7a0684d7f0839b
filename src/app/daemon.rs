//! The whole daemon: one function of its listeners, its configuration, and what stops it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::exposition::Exporter;
use super::notify::Notifier;
use super::reload::{Reloader, Status};
use super::settings::DaemonSettings;
use super::version::VERSION;
use crate::api;
use crate::config::{self, Config};
use crate::probe::Roster;
use crate::web::{self, HttpInstruments, Listener, Service};

/// How long connections may take to say goodbye to their servers.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a daemon is made of.
pub struct Daemon {
    /// What it was told by flags.
    pub settings: DaemonSettings,
    /// Where a reload reads variables from.
    pub environment: BTreeMap<String, String>,
    /// What it watches.
    pub config: Config,
    /// Who is told how it is doing.
    pub notifier: Notifier,
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot listen, or its web configuration is bad.
pub fn serve(daemon: Daemon, inherited: web::Inherited) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let listeners = web::bind(&daemon.settings.web, inherited)?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(stop_on_signal(stop.clone())?);
        run(listeners, daemon, stop).await
    });
    // A lookup of a name may still hang in a thread; nobody waits for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Listens for SIGTERM and SIGINT from now on, and cancels `stop` at the first of them.
///
/// # Errors
/// A signal handler cannot be installed.
pub fn stop_on_signal(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("stopping: SIGTERM"),
            _ = interrupt.recv() => info!("stopping: SIGINT"),
        }
        stop.cancel();
    })
}

/// Runs the daemon until `stop`; ends everything that it started.
///
/// # Errors
/// When the web configuration is bad.
pub async fn run(listeners: Vec<Listener>, daemon: Daemon, stop: CancellationToken) -> Result<()> {
    let Daemon { settings, environment, config, notifier } = daemon;
    let notifier = Arc::new(notifier);
    let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
    let roster = Arc::new(Roster::new(tasks.clone(), kill.clone(), config.enabled.into()));
    let status = Status::new();
    let (asks, asked) = mpsc::channel(1);
    let service = service(&settings, &roster, &status, asks)?;
    tell_start(&listeners, &config);
    roster.apply(config.targets);
    let (file, production) = (settings.config_file.clone(), settings.web.production);
    let reloader = Reloader {
        load: Box::new(move || config::load(&environment, file.as_deref())),
        roster: Arc::clone(&roster),
        status,
        production,
        watched: settings.config_file.filter(|_| settings.auto_reload),
        notifier: Arc::clone(&notifier),
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(reloader.run(asked)));
    let telling = tell_manager(Arc::clone(&notifier), Arc::clone(&roster));
    tasks.spawn(stop.clone().run_until_cancelled_owned(telling));
    web::serve(listeners, service, stop, tasks.clone()).await;
    notifier.stopping();
    // The targets' ends close their connections; what does not end by itself is cut off.
    roster.apply(Vec::new());
    drop(roster);
    tasks.close();
    if timeout(FAREWELL, tasks.wait()).await.is_err() {
        debug!("some connections did not close in time");
        kill.cancel();
        tasks.wait().await;
    }
    info!("stopped");
    Ok(())
}

fn service(
    settings: &DaemonSettings,
    roster: &Arc<Roster>,
    status: &Arc<Status>,
    reload: api::Reload,
) -> Result<Arc<Service<api::Context>>> {
    let instruments = Arc::new(HttpInstruments::new(api::ROUTES));
    let exporter = Exporter::new(Arc::clone(&instruments), Arc::clone(status));
    let (all, ready) = (Arc::clone(roster), Arc::clone(roster));
    let context = api::Context {
        settings: settings.web.clone(),
        exposition: Arc::new(move |page| exporter.write(&all, page)),
        targets: Arc::clone(roster),
        ready: Arc::new(move || ready.is_ready()),
        reload: Some(reload),
    };
    Ok(Service::new(settings.web.clone(), api::ROUTES, context, instruments)?)
}

/// How often the service manager's status line is written anew.
const STATUS: Duration = Duration::from_secs(10);

/// Tells the service manager that we serve, how the targets are, and that we live.
async fn tell_manager(notifier: Arc<Notifier>, roster: Arc<Roster>) {
    notifier.ready();
    let every = notifier.watchdog_interval().unwrap_or(STATUS).min(STATUS);
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let (targets, now) = (roster.targets(), Instant::now());
        let up = targets.iter().filter(|target| target.is_up(now) == Some(true)).count();
        notifier.status(&format!("{up} of {} targets are up", targets.len()));
        notifier.watchdog();
    }
}

fn tell_start(listeners: &[Listener], config: &Config) {
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    config.notes.iter().for_each(|note| debug!("{note}"));
    for listener in listeners {
        info!(version = VERSION, address = %listener.address(), "listening");
    }
    if !config.enabled {
        info!("monitoring is disabled by DB_MONITOR_ENABLED: no connection is opened");
    }
}
