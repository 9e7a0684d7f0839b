//! Application processes with real connection pools of several libraries, which answer with their pool's status.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;

use super::checks::file;
use super::forwarder::Forwarder;
use super::pools::ROLE;
use super::postgres::{Builder, Cluster};
use super::{installed, wait_for, workplace};

/// The pool library of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// SQLAlchemy's QueuePool, with asyncpg.
    Asyncpg,
    /// SQLAlchemy's QueuePool, with psycopg in threads.
    Psycopg,
    /// psycopg_pool: minimum and maximum.
    PsycopgPool,
    /// node-postgres: minimum and maximum.
    NodePg,
}

/// The settings of a process to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) library: Library,
    /// Its application_name.
    pub(crate) name: &'a str,
    /// pool_size and max_overflow, or minimum and maximum.
    pub(crate) limits: (u32, u32),
    /// The last byte of its address, 127.0.0.x.
    pub(crate) address: u8,
    /// The port of 127.0.0.1 to which it connects; `None` is the cluster's.
    pub(crate) port: Option<u16>,
}

/// A running process; dropping it kills it, and its sessions end.
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    _forwarder: Option<Forwarder>,
}

/// The status of a pool, as its library reports it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct PoolStatus {
    /// Checked out.
    pub(crate) out: u64,
    /// Open, checked out or not.
    pub(crate) open: u64,
    /// Tasks that wait for a connection.
    pub(crate) waiting: u64,
    /// Tasks that got no connection before their time-out.
    pub(crate) timeouts: u64,
    /// After `trace`: the changes since the last one.
    #[serde(default)]
    pub(crate) trace: Vec<Change>,
}

/// A change of a pool's status: seconds since 1970, then out, open and waiting.
pub(crate) type Change = (f64, u64, u64, u64);

/// A cluster that accepts clients from all loopback addresses, with the role of the processes.
pub(crate) fn cluster(builder: Builder) -> Cluster {
    let cluster = builder.hba("host all all 127.0.0.0/8 scram-sha-256").start();
    cluster.role(ROLE.0, ROLE.1);
    cluster
}

impl Plan<'_> {
    /// A process of SQLAlchemy and asyncpg, pool 5 + 3, from 127.0.0.1.
    pub(crate) const USUAL: Plan<'static> =
        Plan { library: Library::Asyncpg, name: "", limits: (5, 3), address: 1, port: None };
}

impl Worker {
    /// Starts a process, which opens no connection yet.
    pub(crate) fn start(cluster: &Cluster, plan: Plan<'_>) -> Worker {
        let port = plan.port.unwrap_or(cluster.port());
        let forwarder = (plan.address != 1)
            .then(|| Forwarder::start(Ipv4Addr::new(127, 0, 0, plan.address), port));
        let port = forwarder.as_ref().map_or(port, Forwarder::port);
        let password = ROLE.1.replace(' ', "%20");
        let url = format!("postgresql://{}:{password}@127.0.0.1:{port}/postgres", ROLE.0);
        let mut child = program(plan.library)
            .args([&url, plan.name, &plan.limits.0.to_string(), &plan.limits.1.to_string()])
            .env_clear()
            .current_dir(workplace::folder("worker"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process can be run");
        let input = child.stdin.take().expect("it was asked for");
        let answers = lines(child.stdout.take().expect("it was asked for"));
        Worker { child, input, answers, _forwarder: forwarder }
    }

    /// Starts several processes of one plan.
    pub(crate) fn several(cluster: &Cluster, count: usize, plan: Plan<'_>) -> Vec<Worker> {
        (0..count).map(|_| Worker::start(cluster, plan)).collect()
    }

    /// Sends a command; returns the pool's status after it.
    pub(crate) fn tell(&mut self, command: &str) -> PoolStatus {
        writeln!(self.input, "{command}").expect("the process reads");
        let line = self.answers.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|error| panic!("{command}: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line:?}"))
    }

    /// Waits until its status satisfies a condition.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&PoolStatus) -> bool) -> PoolStatus {
        wait_for(what, PATIENCE, || Some(self.tell("status")).filter(|status| fits(status)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(library: Library) -> Command {
    static PROGRAMS: OnceLock<(String, String)> = OnceLock::new();
    let (python, node) = PROGRAMS.get_or_init(|| (installed(&["python"]), installed(&["node"])));
    let name = match library {
        Library::Asyncpg => "asyncpg",
        Library::Psycopg => "psycopg",
        Library::PsycopgPool => "psycopg_pool",
        Library::NodePg => {
            let mut command = Command::new("node");
            command.args([&file("tests/node/pools.mjs"), node]);
            return command;
        }
    };
    let mut command = Command::new(python);
    command.args(["-u", &file("tests/python/pools.py"), name]);
    command
}

/// The lines of an output, so that waiting for one has a limit.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.try_for_each(|line| sender.send(line))
    });
    receiver
}

const PATIENCE: Duration = Duration::from_secs(60);
