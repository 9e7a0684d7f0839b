//! The folder for everything that a test run creates, and the watchdog that removes it.
//!
//! Rust does not drop statics, and a killed program drops nothing, although its servers may still run or be frozen. So
//! a shell in its own session holds the other end of a pipe. When this program ends for any reason, the pipe closes.
//! Then the shell ends every process that has its working directory below the folder, and removes the folder.
//! Therefore everything that a test starts must have its working directory there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, geteuid, kill_process};

struct Workplace {
    root: PathBuf,
    folders: AtomicU32,
    _alive: ChildStdin,
}

/// The user for servers that refuse to run as root.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The folder of this run. Its path is short, because the path of a Unix socket has at most 107 bytes.
pub(crate) fn root() -> &'static Path {
    &workplace().root
}

/// Creates an empty folder, owned by the servers' user.
pub(crate) fn folder(name: &str) -> PathBuf {
    let number = workplace().folders.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{number}-{name}"));
    std::fs::create_dir(&path).expect("the workplace is writable");
    if let Some(User { uid, gid }) = server_user() {
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("root may give folders away");
    }
    path
}

/// The user for servers; `None` is the present user, who is not root.
pub(crate) fn server_user() -> Option<User> {
    static USER: OnceLock<Option<User>> = OnceLock::new();
    *USER.get_or_init(|| {
        geteuid().is_root().then(|| {
            ["postgres", "nobody"]
                .into_iter()
                .find_map(user)
                .expect("there is a user postgres or nobody")
        })
    })
}

/// The processes with a working directory below `folder`: a server with all its children.
pub(crate) fn processes_below(folder: &Path) -> Vec<Pid> {
    procfs::process::all_processes()
        .expect("/proc is readable")
        .filter_map(Result::ok)
        .filter(|process| process.cwd().is_ok_and(|cwd| cwd.starts_with(folder)))
        .filter_map(|process| Pid::from_raw(process.pid()))
        .collect()
}

/// Sends a signal; ignores processes that have already ended.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

fn workplace() -> &'static Workplace {
    static WORKPLACE: OnceLock<Workplace> = OnceLock::new();
    WORKPLACE.get_or_init(|| {
        let root = tempfile::Builder::new()
            .prefix("dbpool-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        Workplace { _alive: watch_over(&root), folders: AtomicU32::new(0), root }
    })
}

/// Starts the watchdog; it acts when the returned pipe closes.
fn watch_over(root: &Path) -> ChildStdin {
    Command::new("setsid")
        .args(["sh", "-c", WATCHDOG, "watchdog"])
        .arg(root)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setsid is part of util-linux")
        .stdin
        .take()
        .expect("it was asked for")
}

fn user(name: &str) -> Option<User> {
    let id = |flag| {
        let output = Command::new("id").args([flag, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(User { uid: id("-u")?, gid: id("-g")? })
}

// SIGQUIT comes first, because PostgreSQL then releases its shared memory; with SIGKILL it does not. A pid file can
// be left over from a crash, and its number may belong to another process by now.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM
cat >/dev/null
left() { find /proc -maxdepth 2 -name cwd -lname "$1/*" 2>/dev/null | cut -d/ -f3; }
kill -CONT $(left "$1")
for pid in $(head -qn 1 "$1"/*/data/postmaster.pid); do left "$1" | grep -qx "$pid" && kill -QUIT "$pid"; done
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(left "$1")" ] && break; sleep 0.2; done
kill -KILL $(left "$1")
rm -rf "$1"
"#;
