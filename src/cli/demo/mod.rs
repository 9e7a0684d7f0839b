//! `demo`: a throwaway PostgreSQL, an application with a life of its own, and the daemon watching
//! both. Everything is gone when it ends.

mod application;
mod server;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::server::Server;
use super::Command;
use crate::app::{self, Daemon, Notifier, logging};
use crate::config;
use crate::web::{self, Listener};

/// Runs until Ctrl-C.
pub(super) fn run(command: Command) -> ExitCode {
    logging::init(command.settings.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("a runtime").and_then(|runtime| {
        let result = runtime.block_on(live(command));
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn live(command: Command) -> Result<()> {
    let stop = stop_on_signal()?;
    // The first one in is the last one out: the server outlives its clients.
    let listeners = web::bind(&command.settings.web, web::Inherited::empty())?;
    eprintln!("demo: starting a PostgreSQL ...");
    let server = tokio::select! {
        server = Server::start() => server?,
        () = stop.cancelled() => return Ok(()),
    };
    application::prepare(&server).await?;
    let tasks = TaskTracker::new();
    let application = application::live(server.port(), tasks.clone());
    let application = stop.clone().run_until_cancelled_owned(application);
    let environment = variables(&server);
    let config = config::load(&environment, None).map_err(|p| anyhow::anyhow!("{p}"))?;
    tell(&listeners, &command, &server);
    let daemon =
        Daemon { settings: command.settings, environment, config, notifier: Notifier::default() };
    let (lived, ran) = tokio::join!(application, app::run(listeners, daemon, stop.clone()));
    lived.unwrap_or(Ok(()))?;
    ran
}

fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let stopping = stop.clone();
    TaskTracker::new().spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}

/// What the application's environment file would say.
fn variables(server: &Server) -> BTreeMap<String, String> {
    [
        ("DATABASE_URL", server.url()),
        ("DB_POOL_SIZE", application::SIZE.to_string()),
        ("DB_MAX_OVERFLOW", application::OVERFLOW.to_string()),
        ("DB_MONITOR_INTERVAL", "2".to_owned()),
        ("DB_MONITOR_SLOW_QUERY_SAMPLING", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn tell(listeners: &[Listener], command: &Command, server: &Server) {
    let prefix = command.settings.web.prefix();
    for listener in listeners {
        let address = listener.address().to_string();
        let place = match address.rsplit_once(':') {
            Some(("[::]" | "0.0.0.0", port)) => format!("http://127.0.0.1:{port}{prefix}"),
            _ if address.starts_with("unix") => address,
            _ => format!("http://{address}{prefix}"),
        };
        let metrics = &command.settings.web.telemetry_path;
        eprintln!(
            "\n  the page      {place}/\n  the metrics   {place}{metrics}\n  \
             the health    {place}/api/v1/health\n  pool status   {place}/api/v1/database/pool/status"
        );
    }
    let port = server.port();
    eprintln!(
        "\n  PostgreSQL    127.0.0.1:{port}, role, password and database `sentinelops`\n  \
         the application borrows from a pool of {} and {} more: quiet, busy, too much, a leak, by turns\n\n\
         Ctrl-C ends everything and leaves nothing behind.\n",
        application::SIZE,
        application::OVERFLOW
    );
}
