//! The servers of the demo, and the exporter's configuration for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::bouncer::Bouncer;
use super::crew::{ORDERS, REPORTS, REPORTS_LIMIT, SHOP};
use super::database;
use super::prometheus::{Prometheus, Scrape, reachable};
use super::screen::Screen;
use super::script::Script;
use super::server::{NAME, Server};
use crate::cli::Command;
use crate::text::printable;
use crate::web::Listener;

/// The time from one probe to the next in a day of the usual length.
const INTERVAL: Duration = Duration::from_secs(2);

/// The servers of the demo. Dropping it ends them, and removes all files.
pub(super) struct Stage {
    pub(super) prometheus: Option<Prometheus>,
    pub(super) bouncer: Option<Bouncer>,
    /// The folder for the statuses of applications.
    pub(super) status: PathBuf,
    /// The exporter's configuration file.
    pub(super) configuration: PathBuf,
    // Fields are dropped in their order: the database is the last.
    pub(super) server: Server,
}

impl Stage {
    /// Starts the servers; PgBouncer, Prometheus and Alertmanager where they are installed.
    ///
    /// # Errors
    /// There is no PostgreSQL, or it does not start.
    pub(super) async fn start(
        command: &Command,
        listeners: &[Listener],
        script: &Script,
        screen: Screen,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self> {
        screen.say("demo: starting a PostgreSQL ...");
        let server = Server::start(environment).await?;
        database::prepare(&server).await?;
        let bouncer = or_nothing(Bouncer::start(&server, environment).await, screen);
        if bouncer.is_none() {
            screen.say("demo: no PgBouncer here. To see one: install `pgbouncer`, or run scripts/setup.sh pgbouncer");
        }
        let status = server.folder().join("status");
        fs::create_dir(&status).context("a folder for statuses")?;
        let configuration = server.folder().join("db_pool_exporter.yml");
        let text = configured(&server, bouncer.as_ref(), &status, script);
        fs::write(&configuration, text).context("the configuration")?;
        let prometheus = match scrape(command, listeners, script) {
            Some(scrape) => {
                screen.say("demo: starting a Prometheus, if there is one ...");
                let started = Prometheus::start(server.folder(), &scrape, environment).await;
                or_nothing(started, screen)
            }
            None => None,
        };
        if prometheus.is_none() {
            screen.say(
                "demo: no Prometheus here, so no alerts. To see them: install `prometheus` and \
                 `prometheus-alertmanager`, or run scripts/setup.sh prometheus",
            );
        } else if prometheus.as_ref().and_then(Prometheus::alertmanager).is_none() {
            screen.say("demo: no Alertmanager here. To see one: install `prometheus-alertmanager`");
        }
        Ok(Self { prometheus, bouncer, status, configuration, server })
    }
}

/// The demo goes on without a server that does not start.
fn or_nothing<T>(started: Result<Option<T>>, screen: Screen) -> Option<T> {
    started.unwrap_or_else(|error| {
        screen.say(&format!("demo: {}", printable(&format!("{error:#}"))));
        None
    })
}

fn scrape(command: &Command, listeners: &[Listener], script: &Script) -> Option<Scrape> {
    let web = &command.settings.web;
    let addresses = listeners.iter().map(|listener| listener.address().to_string());
    Some(Scrape {
        exporter: addresses.into_iter().find_map(|address| reachable(&address))?,
        path: format!("{}{}", web.prefix(), web.telemetry_path),
        interval: script.scaled(INTERVAL / 2, Duration::from_millis(500)),
        factor: script.factor(),
    })
}

/// The exporter's configuration file.
fn configured(
    server: &Server,
    bouncer: Option<&Bouncer>,
    status: &Path,
    script: &Script,
) -> String {
    let interval = script.scaled(INTERVAL, Duration::from_secs(1));
    let leak = Duration::from_secs_f64(60.0 / script.factor());
    let mut text = format!(
        "# The demo's own configuration. Times are shorter than in production.\ntargets:\n  default:\n    \
         url: {}\n    interval: {}ms\n    timeout: {}ms\n    slow_query_sampling: {}ms\n    leak_threshold: {}ms\n    show_query_text: true\n    pool: {{ size: {}, max_overflow: {} }}\n    \
         write_probe: {{ enabled: true }}\n",
        server.url(),
        interval.as_millis(),
        // All of the interval: a busy machine is no trouble that the demo wants to show.
        interval.as_millis(),
        (interval / 4).as_millis(),
        leak.as_millis(),
        SHOP.0,
        SHOP.1
    );
    if server.counts_statements() {
        text.push_str("    views: { statements: { top: 10 } }\n");
    }
    let _ = write!(
        text,
        "    applications:\n      shop: {{ match: {{ application_name: \"shop-*\", user: {NAME} }}, instances: 1 }}\n      \
         orders-api: {{ match: {{ application_name: orders-api, user: {NAME} }}, pool: fixed, max: {ORDERS}, status_dir: '{}' }}\n      \
         reports: {{ match: {{ application_name: reports, user: {REPORTS} }}, pool_size: {REPORTS_LIMIT}, max_overflow: 0, instances: 1 }}\n      \
         jobs: {{ match: {{ application_name: jobs, user: {NAME} }}, pool_size: 2, max_overflow: 0 }}\n",
        status.display()
    );
    if let Some(bouncer) = bouncer {
        let url = bouncer.console();
        let interval = interval.as_millis();
        let _ = writeln!(
            text,
            "  pgbouncer: {{ kind: pgbouncer, url: \"{url}\", interval: {interval}ms }}"
        );
    }
    text
}
