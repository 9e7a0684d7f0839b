//! Programs of the system that the demo starts, and how it ends them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;

/// Folders that ordinary users do not search: Debian's pgbouncer is in sbin.
const ELSEWHERE: [&str; 5] =
    ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin"];

/// The user that a program runs as, if not the present one.
#[derive(Clone, Copy)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Returns `postgres` or `nobody` for root, because PostgreSQL and PgBouncer refuse to run as root.
    ///
    /// # Errors
    /// There is no such user.
    pub(super) fn of_servers() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let user = |name: &str| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let found = fields.next()? == name;
                let numbers = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
                found.then_some(Self { uid: numbers.0, gid: numbers.1 })
            })
        };
        let user = user("postgres").or_else(|| user("nobody"));
        user.map(Some)
            .context("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
    }

    /// Gives a file or folder to the user.
    pub(super) fn owns(self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
    }
}

/// Prepares a program: in the demo's folder, without the caller's variables for PostgreSQL.
pub(super) fn command(program: &Path, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGDATA").env("LC_ALL", "C").stdin(Stdio::null());
    // A process group of its own: Ctrl-C in the terminal must reach the demo alone, which ends its programs in
    // their order.
    command.process_group(0);
    if let Some(User { uid, gid }) = user {
        command.gid(gid).uid(uid);
    }
    command
}

/// A program that runs until it is dropped. Its state is in the demo's folder, which is removed, so that it is
/// killed without a farewell.
pub(super) struct Running(Child);

impl Running {
    /// Starts a program with its output in a file of the folder.
    ///
    /// # Errors
    /// The program cannot be started, or the file cannot be made.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).context("a log file")?;
        let errors = file.try_clone().context("a log file")?;
        Ok(Self(command.stdout(file).stderr(errors).spawn()?))
    }

    /// Reports whether the program has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Finds a program by its names, in PATH and then in the usual folders.
pub(super) fn find(names: &[&str], environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let folders = path.split(':').filter(|folder| folder.starts_with('/')).chain(ELSEWHERE);
    let mut files =
        folders.flat_map(|folder| names.iter().map(|name| Path::new(folder).join(name)));
    files.find(|file| file.is_file())
}

/// Returns the folder with the programs of the newest PostgreSQL, in the usual places of packages and in PATH.
pub(super) fn postgres(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
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
    let packaged = found.pop().map(|(_, folder)| folder);
    packaged.or_else(|| find(&["initdb"], environment)?.parent().map(Path::to_owned))
}

/// Returns a port of 127.0.0.1 that is free now.
///
/// # Errors
/// There is none.
pub(super) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_any_of_their_names_and_in_path_first() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("prometheus-alertmanager");
        fs::write(&program, "").unwrap();
        let path = format!("relative:{}", folder.path().display());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);
        let found = find(&["alertmanager-of-nobody", "prometheus-alertmanager"], &environment);
        assert_eq!(found, Some(program));
        assert_eq!(find(&["no-such-program"], &environment), None);
    }
}
