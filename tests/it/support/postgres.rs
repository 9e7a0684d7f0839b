//! A real PostgreSQL cluster for one test.
//!
//! The superuser `postgres` logs in over the Unix socket without a password. Over TCP, on 127.0.0.1, every role needs a
//! SCRAM password. If the tests run as root, the server runs as another user, because it refuses to run as root.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio_postgres::{Client, NoTls};

use super::workplace::{self, processes_below, server_user, signal};
use super::{free_port, installed, wait_for};

/// A running cluster. Dropping it ends its processes and removes its folder, also when a test panics.
pub(crate) struct Cluster {
    server: Server,
    folder: PathBuf,
    port: u16,
    postmaster: Mutex<Option<Child>>,
}

/// The settings of a cluster to create.
#[derive(Default)]
pub(crate) struct Builder {
    version: Option<u32>,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

/// An installed PostgreSQL.
#[derive(Clone)]
struct Server {
    major: u32,
    programs: PathBuf,
}

impl Cluster {
    /// A cluster with default settings, of the version that [`Builder::start`] chooses.
    pub(crate) fn start() -> Cluster {
        Cluster::builder().start()
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts, and no other process gets it meanwhile.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The major version.
    pub(crate) fn version(&self) -> u32 {
        self.server.major
    }

    /// The cluster's own folder, which holds the Unix socket, `data` and `log`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A `DATABASE_URL` over TCP to the database `postgres`; names and passwords of plain characters only.
    pub(crate) fn url(&self, user: &str, password: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// A new connection of the superuser, over the Unix socket.
    pub(crate) async fn admin(&self) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).port(self.port).user("postgres").dbname("postgres");
        connect(&config).await.expect("the superuser gets in over the socket")
    }

    /// A new connection over TCP, as a client of the server would make it.
    ///
    /// # Errors
    ///
    /// If the server refuses the connection or does not run.
    pub(crate) async fn client(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let config: tokio_postgres::Config = self.url(user, password).parse()?;
        connect(&config).await
    }

    /// As [`Cluster::client`], to another database.
    pub(crate) async fn client_of(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = self.url(user, password).parse()?;
        connect(config.dbname(database)).await
    }

    /// A new connection of a role over the Unix socket, without a password, which is faster.
    pub(crate) async fn client_at_socket(&self, user: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).port(self.port).user(user).dbname("postgres");
        connect(&config).await.expect("everybody gets in over the socket")
    }

    /// Runs statements as the superuser, each in its own transaction. Returns the rows in psql's unaligned format: one
    /// per line, with `|` between columns.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let mut psql = Command::new(psql_program());
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-d", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder);
        let output = finish(psql, sql.as_bytes());
        text(&output.stdout).trim_end().to_owned()
    }

    /// Creates a role that can log in with this password.
    pub(crate) fn role(&self, name: &str, password: &str) {
        let password = password.replace('\'', "''");
        self.psql(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'"));
    }

    /// A hot standby of this cluster, by pg_basebackup; the cluster needs [`REPLICATION`] in its pg_hba.conf.
    ///
    /// The npm builds have no pg_basebackup. With them the cluster is stopped and its files are copied.
    pub(crate) fn standby(&self) -> Cluster {
        let standby = Cluster {
            folder: workplace::folder(&format!("standby{}", self.server.major)),
            port: free_port(),
            postmaster: Mutex::new(None),
            server: self.server.clone(),
        };
        let data = standby.folder.join("data");
        if self.server.programs.join("pg_basebackup").exists() {
            let mut backup = self.server.program("pg_basebackup", &standby.folder);
            backup.args([
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                "-h",
            ]);
            backup.arg(&self.folder).arg("-D").arg(&data);
            finish(backup, b"");
        } else {
            self.stop();
            copy(&self.folder.join("data"), &data);
            self.start_again();
            let folder = self.folder.display();
            append(
                &data.join("postgresql.conf"),
                &format!("primary_conninfo = 'host={folder} port={} user=postgres'\n", self.port),
            );
            let mut signal = Command::new("touch");
            signal.arg(data.join("standby.signal")).current_dir("/");
            become_server_user(&mut signal);
            finish(signal, b"");
        }
        let folder = standby.folder.display();
        append(
            &data.join("postgresql.conf"),
            &format!("port = {}\nunix_socket_directories = '{folder}'\n", standby.port),
        );
        standby.start_again();
        standby
    }

    /// Stops the server like `pg_ctl stop -m fast`: sessions get an error and are closed. After that, connections are
    /// refused.
    pub(crate) fn stop(&self) {
        self.thaw();
        self.end([(Signal::INT, Duration::from_secs(20)), (Signal::QUIT, QUICK)]);
    }

    /// Stops the server like `pg_ctl stop -m smart --no-wait`: new sessions are refused, and it stops when the last of
    /// the old ones has ended.
    pub(crate) fn shut_down_when_idle(&self) {
        signal(self.postmaster_pid().expect("the server is running"), Signal::TERM);
    }

    /// Reports whether the server has stopped by itself.
    pub(crate) fn has_stopped(&self) -> bool {
        self.locked().as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Ends the server like a crash: sessions are cut without a message.
    pub(crate) fn crash(&self) {
        self.thaw();
        self.end([(Signal::QUIT, QUICK)]);
    }

    /// Starts the server after [`Cluster::stop`] or [`Cluster::crash`], with its data and on its port.
    pub(crate) fn start_again(&self) {
        let mut postmaster = self.locked();
        assert!(postmaster.is_none(), "the server is running");
        *postmaster = Some(self.launch());
    }

    /// Stops and starts.
    pub(crate) fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Makes the server read its configuration files again.
    pub(crate) fn reload(&self) {
        assert_eq!(self.psql("SELECT pg_reload_conf()"), "t");
    }

    /// Freezes the server and all its sessions: TCP connections can still be opened, but nothing answers.
    pub(crate) fn freeze(&self) {
        let postmaster = self.postmaster_pid().expect("the server is running");
        let mut halted = vec![postmaster];
        signal(postmaster, Signal::STOP);
        // The frozen postmaster starts no more children. Search once more for those that it was just starting.
        loop {
            let others: Vec<Pid> =
                self.processes().into_iter().filter(|pid| !halted.contains(pid)).collect();
            if others.is_empty() {
                return;
            }
            others.iter().for_each(|pid| signal(*pid, Signal::STOP));
            halted.extend(others);
        }
    }

    /// Resumes a frozen server; has no effect if it is not frozen.
    pub(crate) fn thaw(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::CONT));
    }

    /// The postmaster and all its children.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        processes_below(&self.folder)
    }

    /// The server's log so far.
    pub(crate) fn log(&self) -> String {
        text(&fs::read(self.folder.join("log")).unwrap_or_default())
    }

    fn postmaster_pid(&self) -> Option<Pid> {
        self.locked().as_ref().map(Pid::from_child)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a postmaster and waits until it accepts connections.
    fn launch(&self) -> Child {
        let data = self.folder.join("data");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("the cluster's folder is writable");
        let mut postmaster = self
            .server
            .program("postgres", &self.folder)
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres can be run");
        wait_for("PostgreSQL to start", Duration::from_secs(60), || {
            if let Some(status) = postmaster.try_wait().expect("the postmaster is a child of ours")
            {
                panic!("PostgreSQL ended with {status}:\n{}", self.log());
            }
            is_ready(&data, postmaster.id()).then_some(())
        });
        postmaster
    }

    /// Sends these signals one after the other until the server has ended, then kills remaining processes.
    fn end<const N: usize>(&self, signals: [(Signal, Duration); N]) {
        let Some(mut postmaster) = self.locked().take() else {
            return;
        };
        for (number, patience) in signals {
            signal(Pid::from_child(&postmaster), number);
            if ends_within(&mut postmaster, patience) {
                break;
            }
        }
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::KILL));
        let _ = postmaster.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Builder {
    /// Adds a setting to postgresql.conf; the last one of a name is effective.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Builder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the major version, from 13 to 18. The default is `TEST_POSTGRES`, or else the operating system's newest.
    pub(crate) fn version(mut self, major: u32) -> Builder {
        self.version = Some(major);
        self
    }

    /// Adds a line to pg_hba.conf, after those added before and ahead of the default lines.
    pub(crate) fn hba(mut self, line: &str) -> Builder {
        self.hba.push(line.to_owned());
        self
    }

    /// Adds a file to the data folder that only the server may read, such as `server.key`.
    pub(crate) fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Builder {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Creates the cluster and waits until it accepts connections.
    pub(crate) fn start(self) -> Cluster {
        let server = Server::find(self.version);
        let cluster = Cluster {
            folder: workplace::folder(&format!("pg{}", server.major)),
            port: free_port(),
            postmaster: Mutex::new(None),
            server,
        };
        self.furnish(&cluster);
        cluster.start_again();
        cluster
    }

    /// Fills the data folder.
    fn furnish(&self, cluster: &Cluster) {
        let data = cluster.folder.join("data");
        copy(&cluster.server.template(), &data);
        append(&data.join("postgresql.conf"), &self.configuration(cluster));
        let hba = format!("{}\n{HBA}", self.hba.join("\n"));
        fs::write(data.join("pg_hba.conf"), hba).expect("the data folder is writable");
        for (name, content) in &self.files {
            let path = data.join(name);
            fs::write(&path, content).expect("the data folder is writable");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
            if let Some(user) = server_user() {
                std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
                    .expect("root may give files away");
            }
        }
    }

    fn configuration(&self, cluster: &Cluster) -> String {
        let port = cluster.port.to_string();
        let folder = cluster.folder.to_str().expect("made of plain characters");
        let ours = [("port", port.as_str()), ("unix_socket_directories", folder)];
        let asked = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut lines = String::from("\n");
        for (name, value) in USUAL.into_iter().chain(ours).chain(asked) {
            writeln!(lines, "{name} = '{}'", value.replace('\'', "''"))
                .expect("a String takes everything");
        }
        lines
    }
}

impl Server {
    fn find(version: Option<u32>) -> Server {
        let wanted = version
            .map(|major| major.to_string())
            .or_else(|| std::env::var("TEST_POSTGRES").ok().filter(|major| !major.is_empty()));
        let key = wanted.clone().unwrap_or_default();
        let cell = slot(&SERVERS, key);
        cell.get_or_init(|| {
            let words: Vec<&str> = ["postgres"].into_iter().chain(wanted.as_deref()).collect();
            let programs = PathBuf::from(installed(&words));
            let mut postgres = Command::new(programs.join("postgres"));
            postgres.arg("--version");
            let line = text(&finish(postgres, b"").stdout);
            let major =
                line.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok());
            Server { major: major.expect("the output has a version"), programs }
        })
        .clone()
    }

    /// A data folder from initdb. It is created once per run and version, because that takes a second or two.
    fn template(&self) -> PathBuf {
        slot(&TEMPLATES, self.major)
            .get_or_init(|| {
                let folder = workplace::folder(&format!("template{}", self.major));
                let data = folder.join("template");
                let mut initdb = self.program("initdb", &folder);
                initdb
                    .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
                    .args(["--locale=C", "--no-sync", "--wal-segsize=1"])
                    .arg(&data);
                finish(initdb, b"");
                data
            })
            .clone()
    }

    /// One of its programs, run as the servers' user and with an empty environment.
    fn program(&self, name: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("LD_LIBRARY_PATH", self.programs.join("../lib"))
            .current_dir(folder);
        become_server_user(&mut command);
        command
    }
}

async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // This task ends with the client. A cut connection shows as an error of the client's next query.
    tokio::spawn(connection);
    Ok(client)
}

fn psql_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| Path::new(&installed(&["postgres"])).join("psql")).clone()
}

/// Runs a program to its end; fails the test if the program fails.
fn finish(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("it was asked for");
    // If the program ended early, its standard error has the reason.
    let _ = pipe.write_all(input);
    drop(pipe);
    let output = child.wait_with_output().expect("the program is a child of ours");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    output
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    cp.args(["-a", "--reflink=auto"]).arg(from).arg(to).current_dir("/");
    become_server_user(&mut cp);
    finish(cp, b"");
}

fn append(path: &Path, lines: &str) {
    File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .expect("the data folder is writable");
}

fn become_server_user(command: &mut Command) {
    if let Some(user) = server_user() {
        command.uid(user.uid).gid(user.gid);
    }
}

/// Reads the server's state from the last line of postmaster.pid, as `pg_ctl -w` does.
fn is_ready(data: &Path, pid: u32) -> bool {
    let content = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = content.lines();
    lines.next() == Some(&pid.to_string())
        && lines.last().is_some_and(|line| line.trim() == "ready")
}

fn ends_within(child: &mut Child, patience: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < patience {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The cell for a key. Filling it blocks only threads that wait for the same key.
fn slot<K: std::hash::Hash + Eq, V>(cells: &Cells<K, V>, key: K) -> Arc<OnceLock<V>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.get_or_insert_default().entry(key).or_default())
}

type Cells<K, V> = Mutex<Option<HashMap<K, Arc<OnceLock<V>>>>>;

static SERVERS: Cells<String, Server> = Mutex::new(None);
static TEMPLATES: Cells<u32, PathBuf> = Mutex::new(None);

const QUICK: Duration = Duration::from_secs(6); // PostgreSQL kills its own stragglers after 5 s

/// Settings of every cluster. The data need not survive the test, so nothing has to reach the disk.
const USUAL: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("password_encryption", "scram-sha-256"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "16MB"),
    ("log_line_prefix", "%m [%p] %u@%d "),
    ("timezone", "UTC"),
];

/// Lets the superuser replicate over the Unix socket.
pub(crate) const REPLICATION: &str = "local replication all trust";

const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
