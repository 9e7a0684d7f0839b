//! Watching files: a record of the content with which each was read, and a poll for another content.
//!
//! Polling rather than inotify, because it works on network file systems and through the symbolic links
//! of Kubernetes volumes. Content rather than times: a file that is only touched is not read again, and a
//! file with an old modification time is.

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use crate::files::{FileError, FileReader, FileStamp, NameFilter};

/// The time between two looks at the files.
pub const POLL: Duration = Duration::from_secs(1);

/// Files that were read together, and the content of each: `None` if it could not be read.
#[derive(Clone, Debug)]
pub struct ReadFiles {
    reader: FileReader,
    /// The largest file that is read, in bytes.
    largest: u64,
    hasher: RandomState,
    seen: Vec<(PathBuf, Option<u64>)>,
}

impl ReadFiles {
    /// Starts an empty record of files of at most `largest` bytes each.
    #[must_use]
    pub fn new(reader: FileReader, largest: u64) -> Self {
        Self { reader, largest, hasher: RandomState::new(), seen: Vec::new() }
    }

    /// Reads a file and records its content. Blocks up to the time-out of the reader.
    ///
    /// # Errors
    /// See [`FileError`]. The file is recorded all the same, so that its repair is seen.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        let content = self.reader.read(path, self.largest);
        let hash = content.as_ref().ok().map(|content| self.hasher.hash_one(content));
        self.seen.push((path.to_owned(), hash));
        content
    }

    /// Reports whether a file has another content now.
    async fn changed(&self) -> bool {
        for (path, before) in &self.seen {
            let content = match self.reader.read_async(path, self.largest).await {
                Ok(content) => Some(Zeroizing::new(content)),
                // Nothing is known of it: its file system does not answer.
                Err(FileError::TimedOut(_) | FileError::Hanging | FileError::NoThread) => continue,
                Err(_) => None,
            };
            let now = content.map(|content| self.hasher.hash_one(&*content));
            if now != *before {
                return true;
            }
        }
        false
    }
}

/// Looks at files once a second, off the runtime's thread.
pub struct ChangedFiles {
    files: ReadFiles,
    next: Instant,
}

impl ChangedFiles {
    /// Watches files for a content other than that with which they were read.
    #[must_use]
    pub fn new(files: ReadFiles) -> Self {
        Self { files, next: Instant::now() + POLL }
    }

    /// Waits until a file has changed. The caller then reads the files anew and watches that record;
    /// otherwise this returns once a second. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            sleep_until(self.next).await;
            let has_changed = self.files.changed().await;
            // Only now: a look that is cancelled halfway is taken again at once, not a second later.
            self.next = Instant::now() + POLL;
            if has_changed {
                return;
            }
        }
    }
}

/// A folder with the files of it that were listed.
#[derive(Clone)]
pub struct ListedFolder {
    /// The folder.
    pub path: PathBuf,
    /// The files that are meant.
    pub is_meant: NameFilter,
    /// Those that were there; `None` if the folder could not be listed.
    pub files: Option<Vec<FileStamp>>,
}

/// Looks at folders once a second, off the runtime's thread, for files that come, go or change. Many files are
/// not read for it: their identities, sizes and times are compared.
pub struct ChangedFolders {
    reader: FileReader,
    folders: Vec<ListedFolder>,
    next: Instant,
}

impl ChangedFolders {
    /// Watches for other files than those that were listed.
    #[must_use]
    pub fn new(reader: FileReader, folders: Vec<ListedFolder>) -> Self {
        Self { reader, folders, next: Instant::now() + POLL }
    }

    /// Waits until a file has come, gone or changed; for ever where no folder is watched. Cancel safe.
    pub async fn changed(&mut self) {
        if self.folders.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            sleep_until(self.next).await;
            let has_changed = self.has_changed().await;
            // Only now, as for files.
            self.next = Instant::now() + POLL;
            if has_changed {
                return;
            }
        }
    }

    async fn has_changed(&self) -> bool {
        for folder in &self.folders {
            let now = self.reader.list_async(&folder.path, Arc::clone(&folder.is_meant)).await;
            match now {
                Ok(files) if folder.files.as_ref() == Some(&files) => {}
                Ok(_) => return true,
                // A folder that is gone has no files. Any other failure tells nothing of them.
                Err(FileError::Io(ErrorKind::NotFound)) => match &folder.files {
                    Some(files) if !files.is_empty() => return true,
                    Some(_) | None => {}
                },
                Err(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    fn read(path: &Path) -> ChangedFiles {
        let mut files = ReadFiles::new(FileReader::default(), 100);
        let _ = files.read(path);
        ChangedFiles::new(files)
    }

    async fn changes(watcher: &mut ChangedFiles) -> bool {
        timeout(POLL * 5 / 2, watcher.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_change_a_replacement_and_a_removal_are_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a").unwrap();
        let mut watcher = read(&path);
        fs::write(&path, "a").unwrap();
        assert!(!changes(&mut watcher).await, "the content is the same");
        fs::write(&path, "b").unwrap();
        assert!(changes(&mut watcher).await);
        let mut watcher = read(&path);
        fs::write(folder.path().join("new"), "c").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(changes(&mut watcher).await);
        let mut watcher = read(&path);
        fs::remove_file(&path).unwrap();
        assert!(changes(&mut watcher).await);
        assert!(!changes(&mut read(&path)).await, "it is still not there");
    }

    #[tokio::test]
    async fn a_cancelled_wait_loses_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut watcher = read(&path);
        fs::write(&path, "a").unwrap();
        for _ in 0..30 {
            if timeout(Duration::from_millis(90), watcher.changed()).await.is_ok() {
                return;
            }
        }
        panic!("the change was not seen");
    }
}
