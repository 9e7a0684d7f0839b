//! A temporary PostgreSQL in a temporary folder, removed when the demo ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::programs::{self, User, command, free_port};

/// The time limit for the server's start, and for its stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the role, its password and its database.
pub(super) const NAME: &str = "sentinelops";

/// The pause between two looks at a program.
const LOOK: Duration = Duration::from_millis(50);

const SETTINGS: [&str; 4] =
    ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=50", "log_min_messages=warning"];

/// A running server and the demo's folder. Dropping it stops the server and removes the folder.
pub(super) struct Server {
    folder: PathBuf,
    port: u16,
    programs: PathBuf,
    user: Option<User>,
    postmaster: Option<Child>,
}

impl Server {
    /// Creates a cluster and starts it.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or it does not start.
    pub(super) async fn start(environment: &BTreeMap<String, String>) -> Result<Self> {
        let programs = programs::postgres(environment).context(
            "no PostgreSQL server found: install it (`make demo` does, or the package `postgresql`), or put \
             its folder with `initdb` and `postgres` into PATH",
        )?;
        let user = User::of_servers()?;
        let folder = folder(user)?;
        let port = free_port()?;
        let mut server = Self { folder, port, programs, user, postmaster: None };
        server.init()?;
        server.launch()?;
        server.wait().await?;
        Ok(server)
    }

    /// The demo's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The user that servers run as.
    pub(super) fn user(&self) -> Option<User> {
        self.user
    }

    /// The port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The application's `DATABASE_URL`.
    pub(super) fn url(&self) -> String {
        format!("postgresql+asyncpg://{NAME}:{NAME}@127.0.0.1:{}/{NAME}?ssl=disable", self.port)
    }

    /// Returns settings to connect as the superuser, over the socket in the folder.
    pub(super) fn admin(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).port(self.port).user("postgres").dbname("postgres");
        config
    }

    /// Reports whether the server comes with pg_stat_statements, which must be loaded at its start.
    pub(super) fn counts_statements(&self) -> bool {
        self.programs.parent().is_some_and(|parent| {
            let libraries = ["lib", "lib/postgresql"].map(|folder| parent.join(folder));
            libraries.iter().any(|folder| folder.join("pg_stat_statements.so").exists())
        })
    }

    /// Stops the server as a restart does: its sessions are ended.
    ///
    /// # Errors
    /// It does not stop.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(mut postmaster) = self.postmaster.take() else { return Ok(()) };
        signal(&postmaster, Signal::INT);
        let end = Instant::now() + PATIENCE;
        while ended(&mut postmaster).is_none() {
            if Instant::now() > end {
                self.postmaster = Some(postmaster);
                bail!("PostgreSQL did not stop within {} s", PATIENCE.as_secs());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Starts the server again after [`Self::stop`].
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        self.wait().await
    }

    fn init(&self) -> Result<()> {
        let mut initdb = command(&self.programs.join("initdb"), self.user, &self.folder);
        initdb.args([
            "-U",
            "postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let output = initdb.arg("-D").arg(self.folder.join("data")).output().context("initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log = File::create(self.folder.join("log"))?;
        let mut postgres = command(&self.programs.join("postgres"), self.user, &self.folder);
        postgres.arg("-D").arg(self.folder.join("data"));
        for setting in SETTINGS {
            postgres.args(["-c", setting]);
        }
        if self.counts_statements() {
            postgres.args(["-c", "shared_preload_libraries=pg_stat_statements"]);
        }
        postgres
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .stdout(log.try_clone()?)
            .stderr(log);
        self.postmaster = Some(postgres.spawn().context("starting PostgreSQL")?);
        Ok(())
    }

    async fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let config = self.admin();
        while Instant::now() < end {
            if let Some(status) = self.postmaster.as_mut().and_then(ended) {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("PostgreSQL ended with {status}: {}", log.trim());
            }
            if config.connect(tokio_postgres::NoTls).await.is_ok() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("PostgreSQL did not start within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // SIGQUIT is the immediate shutdown: the data is removed anyway.
            if !signal(&postmaster, Signal::QUIT) {
                let _ = postmaster.kill();
            }
            let _ = postmaster.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn signal(child: &Child, signal: Signal) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}

/// Creates an empty folder to which only the servers' user has access.
fn folder(user: Option<User>) -> Result<PathBuf> {
    let name = format!("db_pool_exporter-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let folder = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder).context("a temporary folder")?;
    if let Some(user) = user {
        user.owns(&folder).context("a temporary folder")?;
    }
    debug_assert!(fs::metadata(&folder).is_ok_and(|m| m.mode() & 0o077 == 0));
    Ok(folder)
}
