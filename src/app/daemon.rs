//! The daemon as a function of its listeners, its configuration and a token that stops it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::exposition::Exporter;
use super::fleet::Fleet;
use super::log_queue::LogQueue;
use super::notify::Notifier;
use super::probe_thread::ProbeThread;
use super::reload::{AutoReload, ReloadStatus, Reloader, shown_settings};
use super::settings::DaemonSettings;
use super::version::VERSION;
use crate::api;
use crate::config::{Config, Loader};
use crate::health;
use crate::ondemand::OnDemand;
use crate::probe::Roster;
use crate::web::{self, HttpInstruments, Listener, ServerSettings, Service};

/// The time in which database connections must end at a shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// The parts of a daemon.
pub(crate) struct Daemon {
    /// The flags.
    pub settings: DaemonSettings,
    /// Reads the configuration again at a reload. It has read the one at the start.
    pub loader: Loader,
    /// The configuration at the start.
    pub config: Config,
    /// The service manager, to which the daemon reports its state.
    pub notifier: Notifier,
    /// The queue of log lines, for its metric.
    pub log: LogQueue,
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot listen, or its web configuration is bad.
pub(crate) fn serve(daemon: Daemon, inherited: web::Inherited) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let listeners = web::bind(&daemon.settings.web, inherited)?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(stop_on_signal(stop.clone())?);
        run(listeners, daemon, stop).await
    });
    // A name lookup or the read of a file may still hang in a blocking thread.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Listens for SIGTERM and SIGINT from now on, and cancels `stop` at the first of them.
///
/// # Errors
/// A signal handler cannot be installed.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
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
pub(crate) async fn run(
    listeners: Vec<Listener>,
    daemon: Daemon,
    stop: CancellationToken,
) -> Result<()> {
    let Daemon { settings, loader, config, notifier, log } = daemon;
    let notifier = Arc::new(notifier);
    let tasks = TaskTracker::new();
    let kill = CancellationToken::new();
    let probes = ProbeThread::start()?;
    let roster = Roster::new(tasks.clone(), kill.clone(), config.enabled.into());
    let roster = Arc::new(roster.on(probes.handle()));
    let fleet = Fleet::new(Arc::clone(&roster));
    let status = ReloadStatus::new();
    let (reload, requests) = mpsc::channel(1);
    let shown = Arc::new(ArcSwap::from_pointee(shown_settings(&config.entries)));
    let most = settings.web.probes_at_once();
    let on_demand = Arc::new(OnDemand::new(Arc::clone(&roster), most, tasks.clone(), kill.clone()));
    on_demand.apply(config.auth_modules.clone());
    let instruments = Arc::new(HttpInstruments::new(api::ROUTES));
    let exporter =
        Exporter::new(Arc::clone(&fleet), Arc::clone(&instruments), Arc::clone(&status), log);
    let context =
        context(&settings, fleet.roster(), exporter, &on_demand, Arc::clone(&shown), reload);
    let service = Service::new(settings.web.clone(), api::ROUTES, context, instruments)?;
    log_start(&listeners, &settings.web, &config);
    roster.set_most_probes(config.max_concurrent_probes);
    // A broken file of targets does not keep the others from being watched.
    let _ = status.set_files(&config.target_files);
    fleet.configure(config.targets, config.discover);
    let reloader = Reloader {
        loader: Arc::new(loader),
        folders: config.target_files.folders,
        fleet: Arc::clone(&fleet),
        roster: Arc::clone(&roster),
        on_demand,
        status,
        auto_reload: if settings.auto_reload { AutoReload::On } else { AutoReload::Off },
        production: settings.web.production,
        shown,
        notifier: Arc::clone(&notifier),
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(reloader.run(requests)));
    // Beside the probes: its connections belong to the same pools.
    tasks.spawn_on(stop.clone().run_until_cancelled_owned(fleet.discover()), probes.handle());
    let report = report_to_manager(Arc::clone(&notifier), Arc::clone(&roster));
    tasks.spawn(stop.clone().run_until_cancelled_owned(report));
    tasks.spawn(stop.clone().run_until_cancelled_owned(health::watch(Arc::clone(&roster))));
    web::serve(listeners, service, stop, tasks.clone()).await;
    notifier.stopping();
    end_targets(roster, &tasks, &kill).await;
    drop(probes);
    info!("stopped");
    Ok(())
}

/// Ends all targets: they close their connections; those that do not are cut off.
async fn end_targets(roster: Arc<Roster>, tasks: &TaskTracker, kill: &CancellationToken) {
    roster.apply(Vec::new());
    drop(roster);
    tasks.close();
    if timeout(FAREWELL, tasks.wait()).await.is_err() {
        debug!("some connections did not close in time");
        kill.cancel();
        tasks.wait().await;
    }
}

fn context(
    settings: &DaemonSettings,
    roster: &Arc<Roster>,
    exporter: Exporter,
    on_demand: &Arc<OnDemand>,
    shown: Arc<ArcSwap<Vec<api::Setting>>>,
    reload: api::Reload,
) -> api::Context {
    let for_page = Arc::clone(roster);
    let for_ready = Arc::clone(roster);
    api::Context {
        settings: settings.web.clone(),
        exposition: Arc::new(move |shown, page| exporter.write(&for_page, shown, page)),
        targets: Arc::clone(roster),
        ready: Arc::new(move || for_ready.is_ready()),
        configuration: shown,
        probes: Some(api::Probes { on_demand: Arc::clone(on_demand) }),
        reload: Some(reload),
    }
}

/// The longest time between two updates of the service manager's status line.
const STATUS: Duration = Duration::from_secs(10);

/// Reports to the service manager that the daemon serves, how its targets are, and that it is alive.
async fn report_to_manager(notifier: Arc<Notifier>, roster: Arc<Roster>) {
    notifier.ready();
    let every = notifier.watchdog_interval().unwrap_or(STATUS).min(STATUS);
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let targets = roster.targets();
        let now = Instant::now();
        let up = targets.iter().filter(|target| target.is_up(now) == Some(true)).count();
        notifier.status(&format!("{up} of {} targets are up", targets.len()));
        notifier.watchdog();
    }
}

fn log_start(listeners: &[Listener], web: &ServerSettings, config: &Config) {
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    config.notes.iter().for_each(|note| debug!("{note}"));
    for listener in listeners {
        info!(version = VERSION, address = %listener.address(), "listening");
    }
    if listeners.iter().any(|listener| web.trusts_local_clients_of(listener.address())) {
        warn!(
            "every client on this host is trusted in production. A proxy on this host that adds no header, \
             such as nginx from 1.29.7 with a bare proxy_pass, looks like one: give \
             --web.disable-local-trust, or let the proxy set X-Forwarded-For"
        );
    }
    if !config.enabled {
        info!("monitoring is disabled by DB_MONITOR_ENABLED: no connection is opened");
    }
}
