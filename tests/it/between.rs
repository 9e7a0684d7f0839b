//! A PostgreSQL target with a real PgBouncer between: its pool modes, its own errors, and where the wait is.

mod errors;
mod modes;
mod wait;

use std::time::Duration;

use db_pool_exporter::probe::TargetSettings;
use db_pool_exporter::view::ViewSettings;

use crate::support::pools::{ROLE, connect};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::watch::settings;

/// The URL of the role to a port, with other names where the test needs them.
fn url(port: u16, user: &str, database: &str) -> String {
    let password = ROLE.1.replace(' ', "%20");
    format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// A target with the role [`ROLE`] on this port.
fn through(cluster: &Cluster, port: u16, views: ViewSettings) -> TargetSettings {
    TargetSettings { connect: connect(port), ..settings(cluster, views) }
}

/// The daemon for a URL with a probe a second.
fn daemon(url: &str) -> Program {
    daemon_every(1, url)
}

fn daemon_every(seconds: u32, url: &str) -> Program {
    Program::daemon()
        .env("DATABASE_URL", url)
        .env("DB_MONITOR_INTERVAL", seconds.to_string())
        .env("DB_CONNECT_TIMEOUT", "5")
        .start()
}

const SOON: Duration = Duration::from_secs(20);
