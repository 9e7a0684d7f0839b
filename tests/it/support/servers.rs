//! Real applications with several worker processes, which serve the status of their pools: FastAPI and Flask with
//! SQLAlchemy, pool 3 + 2 in each of four workers, and a time-out of one second.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;

use super::checks::file;
use super::pools::ROLE;
use super::postgres::Cluster;
use super::{free_port, installed, wait_for, workplace};

/// The number of worker processes.
pub(crate) const WORKERS: usize = 4;

/// The application server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// FastAPI under uvicorn.
    Uvicorn,
    /// Flask under gunicorn, with threads.
    Gunicorn,
}

/// A running application server; dropping it kills it with its workers.
pub(crate) struct Workers {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// What the application itself knows, and SQLAlchemy's text of its pool; of all workers the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) active: u64,
    pub(crate) idle: u64,
    pub(crate) overflow: u64,
    /// Threads or tasks that have asked for a connection and do not have it yet.
    pub(crate) asking: u64,
    pub(crate) ok: u64,
    pub(crate) timeouts: u64,
    pub(crate) returned: u64,
}

#[derive(Deserialize)]
struct Facts {
    asking: u64,
    ok: u64,
    timeouts: u64,
    returned: u64,
    status: String,
}

impl Server {
    fn arguments(self, port: u16) -> Vec<String> {
        let (port, workers) = (port.to_string(), WORKERS.to_string());
        let bind = format!("127.0.0.1:{port}");
        let words: Vec<&str> = match self {
            Self::Uvicorn => {
                let app = "fastapi_app:app";
                vec!["uvicorn", app, "--port", &port, "--workers", &workers, "--no-access-log"]
            }
            Self::Gunicorn => {
                vec!["gunicorn", "flask_app:app", "-b", &bind, "-w", &workers, "--threads", "12"]
            }
        };
        words.into_iter().map(str::to_owned).collect()
    }
}

impl Workers {
    /// Starts a server, and waits until each of its workers has a socket.
    pub(crate) fn start(server: Server, cluster: &Cluster) -> Workers {
        let (folder, port) = (workplace::folder("workers"), free_port());
        fs::create_dir(folder.join("truth")).expect("the folder is ours");
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        let url = |driver| {
            let password = ROLE.1.replace(' ', "%20");
            let address = format!("127.0.0.1:{}/postgres", cluster.port());
            format!("postgresql+{driver}://{}:{password}@{address}", ROLE.0)
        };
        let paths = ["integrations/python/tests/servers", "integrations/python"].map(file);
        let child = Command::new(python())
            .arg("-m")
            .args(server.arguments(port))
            .env("POOL_TIMEOUT", "1")
            .env("PYTHONPATH", paths.join(":"))
            .env("POOLS", folder.join("pools"))
            .env("TRUTH", folder.join("truth"))
            .env("SYNC_URL", url("psycopg"))
            .env("ASYNC_URL", url("asyncpg"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("python can be run");
        let mut workers = Workers { child, folder, port };
        workers.wait(&BTreeSet::new());
        workers
    }

    /// The directory of the sockets.
    pub(crate) fn pools(&self) -> PathBuf {
        self.folder.join("pools")
    }

    /// Waits until there are as many workers as there should be, none of them one of `besides`.
    pub(crate) fn wait(&mut self, besides: &BTreeSet<i32>) -> BTreeSet<i32> {
        wait_for("the workers", Duration::from_secs(60), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("the server ended with {status}:\n{log}");
            }
            let pids = self.pids();
            (pids.len() == WORKERS && pids.is_disjoint(besides)).then_some(pids)
        })
    }

    /// The workers with a socket on which somebody listens.
    pub(crate) fn pids(&self) -> BTreeSet<i32> {
        let entries = fs::read_dir(self.pools()).into_iter().flatten().filter_map(Result::ok);
        let sockets = entries.map(|entry| entry.path()).filter(|path| {
            path.extension().is_some_and(|end| end == "sock") && UnixStream::connect(path).is_ok()
        });
        sockets
            .filter_map(|path| path.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok())
            .collect()
    }

    /// Lets this many clients ask at once for work of this many seconds; returns the answers' codes.
    pub(crate) fn burst(
        &self,
        clients: usize,
        seconds: f64,
    ) -> Vec<std::thread::JoinHandle<Option<u16>>> {
        let port = self.port;
        let client = move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
            let head = format!("GET /work?seconds={seconds} HTTP/1.1\r\nHost: x\r\n");
            stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.split(' ').nth(1)?.parse().ok()
        };
        (0..clients).map(|_| std::thread::spawn(client)).collect()
    }

    /// What the application knows, over all workers; `None` if one does not answer.
    pub(crate) fn truth(&self) -> Option<Truth> {
        let mut sum = Truth::default();
        for pid in self.pids() {
            let mut stream = UnixStream::connect(self.folder.join(format!("truth/{pid}"))).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            let facts: Facts = serde_json::from_str(&text).ok()?;
            // Pool size: 3  Connections in pool: 0 Current Overflow: 2 Current Checked out connections: 5
            let words = facts.status.split(|c: char| !c.is_ascii_digit() && c != '-');
            let numbers: Vec<i64> = words.filter_map(|word| word.parse().ok()).collect();
            let [_, idle, overflow, active] = numbers[..] else { panic!("{}", facts.status) };
            let count = |number: i64| u64::try_from(number).unwrap_or(0);
            sum.active += count(active);
            sum.idle += count(idle);
            sum.overflow += count(overflow);
            sum.asking += facts.asking;
            sum.ok += facts.ok;
            sum.timeouts += facts.timeouts;
            sum.returned += facts.returned;
        }
        Some(sum)
    }

    /// Kills one worker.
    pub(crate) fn kill(&self, pid: i32) {
        let pid = Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it is ours");
    }

    /// Replaces all workers.
    pub(crate) fn restart(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("it is ours");
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The one environment that has the servers.
fn python() -> String {
    let all = installed(&["pool-status"]);
    let has_servers = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import uvicorn, gunicorn, fastapi, flask"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    all.lines().find(has_servers).expect("an environment with the servers").to_owned()
}
