//! A temporary PostgreSQL in a temporary folder, removed when the demo ends.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// The time limit for the server's start.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the role, its password and its database.
pub(super) const NAME: &str = "sentinelops";

/// A running server. Dropping it stops the server and removes its folder.
pub(super) struct Server {
    folder: PathBuf,
    port: u16,
    postmaster: Option<Child>,
}

impl Server {
    /// Creates a cluster and starts it.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or it does not start.
    pub(super) async fn start() -> Result<Self> {
        let programs = programs().context(
            "no PostgreSQL server found: install it (`make demo` does, or the package `postgresql`)",
        )?;
        let user = server_user()?;
        let folder = folder(user)?;
        let port = free_port()?;
        let mut server = Self { folder, port, postmaster: None };
        server.init(&programs, user)?;
        server.postmaster = Some(server.launch(&programs, user)?);
        server.wait().await?;
        Ok(server)
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

    fn init(&self, programs: &Path, user: Option<User>) -> Result<()> {
        let mut initdb = command(&programs.join("initdb"), user, &self.folder);
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

    fn launch(&self, programs: &Path, user: Option<User>) -> Result<Child> {
        let log = fs::File::create(self.folder.join("log"))?;
        let mut postgres = command(&programs.join("postgres"), user, &self.folder);
        postgres
            .arg("-D")
            .arg(self.folder.join("data"))
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=30",
            ])
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own: Ctrl-C in the terminal must reach the demo alone, which stops the
            // server last.
            .process_group(0);
        postgres.spawn().context("starting PostgreSQL")
    }

    async fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let config = self.admin();
        while Instant::now() < end {
            if let Some(status) = self.postmaster.as_mut().and_then(|p| p.try_wait().ok()).flatten()
            {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("PostgreSQL ended with {status}: {}", log.trim());
            }
            if config.connect(tokio_postgres::NoTls).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("PostgreSQL did not start within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // SIGQUIT is the immediate shutdown: the data is removed anyway.
            let pid = i32::try_from(postmaster.id()).ok().and_then(Pid::from_raw);
            let asked = pid.is_some_and(|pid| kill_process(pid, Signal::QUIT).is_ok());
            if !asked {
                let _ = postmaster.kill();
            }
            let _ = postmaster.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The user that the server runs as, if not the present one.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

fn command(program: &Path, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGDATA").env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(User { uid, gid }) = user {
        command.gid(gid).uid(uid);
    }
    command
}

/// Returns `postgres` or `nobody` for root, because PostgreSQL refuses to run as root.
fn server_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let user = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let numbers = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            found.then_some(User { uid: numbers.0, gid: numbers.1 })
        })
    };
    let user = user("postgres").or_else(|| user("nobody"));
    user.map(Some)
        .context("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}

/// Creates an empty folder to which only the server's user has access.
fn folder(user: Option<User>) -> Result<PathBuf> {
    let name = format!("db_pool_exporter-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let folder = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder).context("a temporary folder")?;
    if let Some(User { uid, gid }) = user {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).context("a temporary folder")?;
    }
    debug_assert!(fs::metadata(&folder).is_ok_and(|m| m.mode() & 0o077 == 0));
    Ok(folder)
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Returns the folder with the programs of the newest server, in the usual places of packages.
fn programs() -> Option<PathBuf> {
    let parents = ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/usr"];
    let versions = parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten());
    let mut found: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix("pgsql-").unwrap_or(&name).parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    found.sort();
    let elsewhere = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    let elsewhere = elsewhere.into_iter().find(|folder| folder.join("initdb").exists());
    found.pop().map(|(_, folder)| folder).or(elsewhere)
}
