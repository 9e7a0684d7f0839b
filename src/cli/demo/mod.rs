//! `demo`: a temporary PostgreSQL, a sample application, and the daemon that watches both.

mod application;
mod server;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::server::Server;
use super::{Command, flags};
use crate::app::{self, Daemon, LogQueue, Notifier, logging};
use crate::config;
use crate::text::printable;
use crate::web::{self, Listener};

/// Runs until Ctrl-C.
pub(super) fn run(mut command: Command) -> ExitCode {
    flags::on_loopback(&mut command);
    let log = match logging::init(command.settings.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("demo: the log cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("a runtime").and_then(|runtime| {
        let result = runtime.block_on(live(command, log));
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn live(command: Command, log: LogQueue) -> Result<()> {
    let stop = CancellationToken::new();
    TaskTracker::new().spawn(app::stop_on_signal(stop.clone())?);
    // Ports are bound before the server starts, so that a port in use is reported at once.
    let listeners = web::bind(&command.settings.web, web::Inherited::empty())?;
    eprintln!("demo: starting a PostgreSQL ...");
    // Declared before its clients, so that it is dropped after them.
    let server = tokio::select! {
        server = Server::start() => server?,
        () = stop.cancelled() => return Ok(()),
    };
    application::prepare(&server).await?;
    let tasks = TaskTracker::new();
    let pool = application::pool(server.port()).await?;
    let application = application::run(pool.clone(), tasks.clone());
    let application = stop.clone().run_until_cancelled_owned(application);
    let environment = variables(&server);
    let config = config::load(&environment, None).map_err(|p| anyhow::anyhow!("{p}"))?;
    announce(&listeners, &command, &server);
    let (settings, notifier) = (command.settings, Notifier::default());
    let daemon = Daemon { settings, environment, config, notifier, log };
    let (_, ran) = tokio::join!(application, app::run(listeners, daemon, stop.clone()));
    eprintln!("demo: of the application's pool, {}", application::summary(&pool));
    ran
}

/// Returns the variables of the application, which the daemon reads too.
fn variables(server: &Server) -> BTreeMap<String, String> {
    [
        ("DATABASE_URL", server.url()),
        ("DB_POOL_SIZE", application::SIZE.to_string()),
        ("DB_MAX_OVERFLOW", application::OVERFLOW.to_string()),
        ("DB_MONITOR_INSTANCES", "1".to_owned()),
        ("DB_MONITOR_INTERVAL", "2".to_owned()),
        ("DB_MONITOR_SLOW_QUERY_SAMPLING", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn announce(listeners: &[Listener], command: &Command, server: &Server) {
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
            "\n  status page   {place}/\n  metrics       {place}{metrics}\n  \
             health        {place}/api/v1/health\n  pool status   {place}/api/v1/database/pool/status"
        );
    }
    let port = server.port();
    eprintln!(
        "\n  PostgreSQL    127.0.0.1:{port}, role, password and database `sentinelops`\n  \
         application   a pool of {} connections and {} of overflow; in turns quiet, busy, overloaded, leaking\n\n\
         Ctrl-C stops everything and removes all files.\n",
        application::SIZE,
        application::OVERFLOW
    );
}
