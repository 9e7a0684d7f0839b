//! A PgBouncer in front of the demo's PostgreSQL, if one is installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::programs::{Running, command, find, free_port};
use super::server::{NAME, Server};

/// The role that reads the console, and its password.
const STATS: &str = "stats";

/// The time limit for the start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running PgBouncer. Dropping it ends it.
pub(super) struct Bouncer {
    port: u16,
    _running: Running,
}

impl Bouncer {
    /// Starts a PgBouncer; `None` if none is installed.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start(
        server: &Server,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>> {
        let Some(program) = find(&["pgbouncer"], environment) else { return Ok(None) };
        let port = free_port()?;
        let folder = server.folder();
        let settings = folder.join("pgbouncer.ini");
        let users = folder.join("users.txt");
        fs::write(&settings, text(server.port(), port, &users)).context("pgbouncer.ini")?;
        fs::write(&users, format!("\"{NAME}\" \"{NAME}\"\n\"{STATS}\" \"{STATS}\"\n"))?;
        if let Some(user) = server.user() {
            user.owns(&settings)?;
            user.owns(&users)?;
        }
        let mut pgbouncer = command(&program, server.user(), folder);
        pgbouncer.arg("-q").arg(&settings);
        let log = folder.join("pgbouncer.log");
        let mut running = Running::start(pgbouncer, &log).context("starting PgBouncer")?;
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if running.has_ended() || Instant::now() > end {
                let log = fs::read_to_string(&log).unwrap_or_default();
                bail!("PgBouncer did not start: {}", log.lines().last().unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(Self { port, _running: running }))
    }

    /// The port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the console.
    pub(super) fn console(&self) -> String {
        format!("postgresql://{STATS}:{STATS}@127.0.0.1:{}/pgbouncer?sslmode=disable", self.port)
    }
}

/// The configuration: a pool of three connections, which a burst of clients finds too small.
fn text(server: u16, port: u16, users: &Path) -> String {
    format!(
        "[databases]\n{NAME} = host=127.0.0.1 port={server} dbname={NAME}\n\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
         auth_file = {}\nstats_users = {STATS}\npool_mode = transaction\ndefault_pool_size = 3\n\
         max_client_conn = 40\nserver_idle_timeout = 10\n",
        users.display()
    )
}
