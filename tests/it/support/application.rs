//! A real application with SQLAlchemy and asyncpg; its pool has pool_size 5 and max_overflow 3.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

use super::postgres::Cluster;
use super::{installed, workplace};

/// A running application; dropping it kills it.
pub(crate) struct Application {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The status of SQLAlchemy's pool, as it reports it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) checkedin: u64,
    pub(crate) checkedout: u64,
    /// Open connections minus pool_size: negative at first.
    pub(crate) overflow: i64,
}

impl Application {
    /// Starts an application that connects as this role with this application_name.
    pub(crate) fn start(cluster: &Cluster, role: (&str, &str), name: &str) -> Application {
        let url = cluster.url(role.0, role.1).replace("postgresql://", "postgresql+asyncpg://");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/app.py");
        let mut child = Command::new(installed(&["python"]))
            .arg("-u")
            .arg(program)
            .args([&url, name])
            .env_clear()
            .current_dir(workplace::folder("application"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be run");
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        Application { child, input, output }
    }

    /// Sends a command; returns the pool's status after it.
    pub(crate) fn tell(&mut self, command: &str) -> Status {
        writeln!(self.input, "{command}").expect("the application reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the application answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line:?}"))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
