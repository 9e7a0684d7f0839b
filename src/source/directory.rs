//! The sockets of a directory: one for each process, `NAME-PID.sock`.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

/// The maximum number of entries that are looked at.
const ENTRIES: usize = 10_000;

/// Lists a directory in a thread of its own, one listing at a time: a file system that does not answer
/// costs one thread, however often it is asked.
#[derive(Default)]
pub(super) struct Directory {
    running: Option<JoinHandle<io::Result<Vec<PathBuf>>>>,
}

impl Directory {
    /// Lists the sockets of the pools of this name, sorted. Cancel safe: a listing that was given up is
    /// waited for by the next call.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) async fn sockets(
        &mut self,
        directory: &Path,
        pool: Option<&str>,
    ) -> io::Result<Vec<PathBuf>> {
        let running = self.running.get_or_insert_with(|| {
            let directory = directory.to_owned();
            tokio::task::spawn_blocking(move || list(&directory))
        });
        let listed = running.await;
        self.running = None;
        let mut all = listed.map_err(io::Error::other)??;
        all.retain(|path| pool.is_none_or(|pool| pool_name(path) == Some(pool)));
        all.sort();
        Ok(all)
    }
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(ENTRIES) {
        let entry = entry?;
        // Not through links: whoever may write here could point to any socket of the system.
        if entry.file_type()?.is_socket() && pool_name(&entry.path()).is_some() {
            sockets.push(entry.path());
        }
    }
    Ok(sockets)
}

/// Returns the NAME of `NAME-PID.sock` or `NAME-PID-xxxx.sock`; `None` for other names.
fn pool_name(path: &Path) -> Option<&str> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".sock")?;
    let is_pid = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_suffix =
        |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (rest, last) = stem.rsplit_once('-')?;
    // The suffix can consist of digits as well: `orders-12-3456` is `orders`, process 12.
    if let Some((name, pid)) = rest.rsplit_once('-').filter(|_| is_suffix(last))
        && is_pid(pid)
        && !name.is_empty()
    {
        return Some(name);
    }
    (is_pid(last) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn names_of_sockets() {
        let name = |text: &str| pool_name(Path::new(text)).map(str::to_owned);
        assert_eq!(name("/run/orders-12.sock").as_deref(), Some("orders"));
        assert_eq!(name("orders-api-12.sock").as_deref(), Some("orders-api"));
        assert_eq!(name("orders-12-0a1b.sock").as_deref(), Some("orders"));
        for other in ["orders.sock", "-12.sock", "orders-12", "orders-x.sock", "orders-.sock"] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn only_sockets_of_the_pool_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let kept: Vec<_> = ["b-2.sock", "a-10.sock", "a-1.sock"]
            .map(|name| UnixListener::bind(path(name)).unwrap())
            .into();
        std::fs::write(path("a-3.sock"), "").unwrap();
        std::os::unix::fs::symlink(path("a-1.sock"), path("a-4.sock")).unwrap();
        let mut directory = Directory::default();
        let found = directory.sockets(folder.path(), Some("a")).await.unwrap();
        assert_eq!(found, [path("a-1.sock"), path("a-10.sock")]);
        assert_eq!(directory.sockets(folder.path(), None).await.unwrap().len(), kept.len());
        let missing = directory.sockets(&path("none"), None).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
