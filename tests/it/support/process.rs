//! A program that a test runs, usually the daemon.
//!
//! Its environment has only PATH and the variables that the test sets, so that the developer's own PG* and DB_*
//! variables do not change a result. The address on which it listens is read from /proc, not from its log.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use procfs::net::TcpState;
use procfs::process::FDTarget;
use rustix::process::{Pid, Signal};

use super::{wait_for, workplace};

/// A running program; dropping it kills it and removes its folder.
pub(crate) struct Program {
    child: Child,
    folder: PathBuf,
}

/// The settings of a program to run.
pub(crate) struct Builder {
    command: Command,
    folder: PathBuf,
    /// Standard error; `None`: a file in the folder.
    errors: Option<Stdio>,
}

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) output: String,
    /// What it has written to standard error.
    pub(crate) log: String,
}

impl Program {
    /// This project's program, listening on a free port of 127.0.0.1.
    pub(crate) fn daemon() -> Builder {
        Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
            .env("DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0")
    }

    /// Any other program.
    pub(crate) fn at(path: impl AsRef<OsStr>) -> Builder {
        let folder = workplace::folder("program");
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&folder)
            .stdin(Stdio::null());
        Builder { command, folder, errors: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its own working directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until it listens for TCP connections; returns the first address.
    pub(crate) fn address(&mut self) -> SocketAddr {
        wait_for("an address to listen on", LIMIT, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the program ended with {status}:\n{}", self.log());
            }
            listening(self.child.id())
        })
    }

    /// Its standard error so far.
    pub(crate) fn log(&self) -> String {
        read(&self.folder.join("stderr"))
    }

    /// Its standard output so far.
    pub(crate) fn output(&self) -> String {
        read(&self.folder.join("stdout"))
    }

    /// Waits for a line with `words` on standard error; returns it.
    pub(crate) fn logged(&self, words: &str) -> String {
        wait_for(&format!("{words:?} in the log"), LIMIT, || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_owned)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        workplace::signal(self.pid(), signal);
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the program to end", LIMIT, || {
            self.child.try_wait().expect("the program is a child of ours")
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Builder {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Builder {
        self.command.env(name, value);
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Builder {
        self.command.arg(argument);
        self
    }

    /// Standard error goes there instead of into a file, so [`Program::log`] stays empty.
    pub(crate) fn errors_to(mut self, errors: impl Into<Stdio>) -> Builder {
        self.errors = Some(errors.into());
        self
    }

    /// Runs the program to its end.
    pub(crate) fn run(self) -> Ended {
        let mut program = self.start();
        let code = program.end().code().expect("it was not killed");
        Ended { code, output: program.output(), log: program.log() }
    }

    pub(crate) fn start(mut self) -> Program {
        let file = |name| File::create(self.folder.join(name)).expect("the folder is writable");
        let errors = self.errors.take().unwrap_or_else(|| file("stderr").into());
        let child = self
            .command
            .stdout(file("stdout"))
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Program { child, folder: self.folder }
    }
}

fn listening(pid: u32) -> Option<SocketAddr> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let sockets: HashSet<u64> = process
        .fd()
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|fd| if let FDTarget::Socket(inode) = fd.target { Some(inode) } else { None })
        .collect();
    let entries = [procfs::net::tcp(), procfs::net::tcp6()];
    entries
        .into_iter()
        .filter_map(Result::ok)
        .flatten()
        .find(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| entry.local_address)
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

const LIMIT: Duration = Duration::from_secs(30);
