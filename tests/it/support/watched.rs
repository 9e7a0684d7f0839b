//! A PgBouncer whose console is watched.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::postgres::Cluster;
use super::process::Program;
use super::{free_port, installed, wait_for, workplace};

/// PgBouncer whose console is watched: the databases `shop` and `bill` of a cluster with the role `app`, the console's
/// users `stats` and `admin`, and `ghost`, a role that the cluster does not have. Nobody needs a password.
pub(crate) struct Watched {
    program: Program,
    folder: PathBuf,
    port: u16,
}

/// The password of the role `app` in the cluster.
pub(crate) const PASSWORD: &str = "secret";

impl Watched {
    /// Starts one on a free port, with these additional lines in its section `[pgbouncer]`.
    pub(crate) fn start(cluster: &Cluster, lines: &str) -> Watched {
        Watched::start_at(cluster, free_port(), lines)
    }

    /// As [`Watched::start`], on this port.
    pub(crate) fn start_at(cluster: &Cluster, port: u16, lines: &str) -> Watched {
        let folder = workplace::folder("watched");
        let users =
            ["app", "stats", "admin", "ghost"].map(|name| format!("\"{name}\" \"{PASSWORD}\"\n"));
        fs::write(folder.join("users"), users.concat()).expect("the folder is ours");
        write_configuration(&folder, port, &databases(cluster, &["shop", "bill"]), lines);
        let bouncer = Watched { program: launch(&folder), folder, port };
        wait_for("PgBouncer to listen", Duration::from_secs(20), || {
            bouncer.try_show("SHOW VERSION").map(drop)
        });
        bouncer
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        self.program.pid()
    }

    /// Writes its configuration anew with these databases, and makes it read it.
    pub(crate) fn reload_with(&self, cluster: &Cluster, names: &[&str], lines: &str) {
        write_configuration(&self.folder, self.port, &databases(cluster, names), lines);
        self.command("RELOAD");
    }

    /// Ends it at once and starts it again.
    pub(crate) fn restart(&mut self) {
        self.program.signal(rustix::process::Signal::TERM);
        self.program.end();
        self.program = launch(&self.folder);
        wait_for("PgBouncer to listen", Duration::from_secs(20), || {
            self.try_show("SHOW VERSION").map(drop)
        });
    }

    /// Runs a command of an administrator with psql.
    pub(crate) fn command(&self, command: &str) {
        let output = self.psql("admin", command).output().expect("psql can be run");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Suspends it while the result lives: PgBouncer resumes when the administrator leaves.
    pub(crate) fn suspend(&self) -> Suspended {
        let mut psql = Command::new(super::client::psql_program());
        psql.args(["-wXqA", "-U", "admin", "-d", "pgbouncer", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut psql = psql.spawn().expect("psql can be run");
        let input = psql.stdin.as_mut().expect("it was asked for");
        input.write_all(b"SUSPEND;\n").expect("psql reads");
        Suspended(psql)
    }

    /// What psql shows for a command: a map of columns to values for each row.
    pub(crate) fn show(&self, command: &str) -> Vec<HashMap<String, String>> {
        self.try_show(command).unwrap_or_else(|| panic!("{command} failed: {}", self.program.log()))
    }

    fn try_show(&self, command: &str) -> Option<Vec<HashMap<String, String>>> {
        let output = self.psql("stats", command).output().expect("psql can be run");
        if !output.status.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines =
            text.lines().map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
        let columns = lines.next()?;
        Some(lines.map(|values| columns.iter().cloned().zip(values).collect()).collect())
    }

    fn psql(&self, user: &str, command: &str) -> Command {
        let mut psql = Command::new(super::client::psql_program());
        psql.args(["-wXqA", "-P", "footer=off", "-c", command, "-U", user, "-d", "pgbouncer"])
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        psql
    }
}

/// An administrator's psql that has suspended PgBouncer.
pub(crate) struct Suspended(Child);

impl Drop for Suspended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn databases(cluster: &Cluster, names: &[&str]) -> String {
    let lines = names
        .iter()
        .map(|name| format!("{name} = host=127.0.0.1 port={} dbname=postgres\n", cluster.port()));
    lines.collect()
}

fn write_configuration(folder: &Path, port: u16, databases: &str, lines: &str) {
    let configuration = format!(
        "[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir = {}\nauth_type = trust\nauth_file = {}\nstats_users = stats\nadmin_users = admin\n\
         pool_mode = transaction\nserver_connect_timeout = 5\n{lines}",
        folder.display(),
        folder.join("users").display(),
    );
    fs::write(folder.join("bouncer.ini"), configuration).expect("the folder is ours");
}

/// Starts PgBouncer, which refuses to run as root. `TEST_PGBOUNCER` names another one than the installed.
fn launch(folder: &Path) -> Program {
    let program = std::env::var("TEST_PGBOUNCER").unwrap_or_else(|_| installed(&["pgbouncer"]));
    let builder = match workplace::server_user() {
        None => Program::at(program),
        Some(user) => Program::at("setpriv")
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups")
            .arg(program),
    };
    builder.arg(folder.join("bouncer.ini")).start()
}
