//! Reading files that others own: regular files only, with a size limit and a time limit.
//!
//! A read can hang for ever (a dead NFS server, a stuck FUSE mount), and no thread can be taken out of it.
//! So each read runs in a thread of its own, never on the runtime's, and the caller stops waiting at a
//! limit. While a read of a path hangs, further reads of that path fail at once: one stuck file costs
//! one thread, however often it is asked for.

use std::collections::BTreeSet;
use std::fs::{Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::fs::OFlags;
use thiserror::Error;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The default limit for reading one file.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// The mark that some editors of Windows put before UTF-8 text. It has no meaning there (RFC 3629, section 6),
/// but would become part of the first key, or of a password. No binary format that is read here begins with it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The largest file taken for a secret, in bytes.
pub const LARGEST_SECRET: u64 = 64 * 1024;

/// Why a file was not read. The text names no path: it follows the name of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// Opening or reading failed.
    #[error("cannot be read: {}", reason(*.0))]
    Io(std::io::ErrorKind),
    /// A folder, a named pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// Larger than the caller's limit in bytes.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The read did not end within the reader's limit.
    #[error("could not be read within {:.1} s: its file system does not answer", .0.as_secs_f64())]
    TimedOut(Duration),
    /// An earlier read of the same path has not ended yet.
    #[error("an earlier read of it still hangs: its file system does not answer")]
    Hanging,
    /// A folder with more files than the limit.
    #[error("has more than {0} files")]
    TooMany(usize),
    /// Not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
    /// A file for a secret without any text.
    #[error("is empty")]
    Empty,
    /// The system could not start a thread.
    #[error("cannot be read: no thread could be started")]
    NoThread,
}

/// Names an error's kind; `NotFound` reads "entity not found" otherwise.
fn reason(kind: std::io::ErrorKind) -> String {
    if kind == std::io::ErrorKind::NotFound { "no such file".to_owned() } else { kind.to_string() }
}

/// Reads files; clones share the record of reads that hang.
#[derive(Clone, Debug)]
pub struct FileReader {
    timeout: Duration,
    running: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Default for FileReader {
    fn default() -> Self {
        Self::new(TIMEOUT)
    }
}

/// A file's content, and what the file system says of its owner and permissions.
pub struct Content {
    /// The bytes, overwritten when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Of the very file that was read.
    pub metadata: Metadata,
}

type Outcome = Result<Content, FileError>;

/// Chooses files by their names.
pub type NameFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The most files that are listed of one folder.
pub const MOST_FILES: usize = 10_000;

/// A file of a folder, as it was when the folder was listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileStamp {
    /// Its name in the folder.
    pub name: String,
    /// Device, inode, size, and the times of the last changes of content and inode: another one means another
    /// content. `None` where it cannot be looked at, as a link to nothing.
    identity: Option<[i128; 5]>,
}

impl FileStamp {
    fn new(name: String, path: &Path) -> Self {
        // Follows links: those of a Kubernetes volume stay the same when their content changes.
        let identity = std::fs::metadata(path).ok().map(|found| {
            let time = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
            [
                i128::from(found.dev()),
                i128::from(found.ino()),
                i128::from(found.size()),
                time(found.mtime(), found.mtime_nsec()),
                time(found.ctime(), found.ctime_nsec()),
            ]
        });
        Self { name, identity }
    }
}

fn list_folder(folder: &Path, is_meant: NameFilter) -> Result<Vec<FileStamp>, FileError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_meant(&name) {
            continue;
        }
        if files.len() >= MOST_FILES {
            return Err(FileError::TooMany(MOST_FILES));
        }
        files.push(FileStamp::new(name, &entry.path()));
    }
    files.sort();
    Ok(files)
}

impl FileReader {
    /// Creates a reader that waits at most `timeout` for each file.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, running: Arc::default() }
    }

    /// A reader with the same record that waits at most `limit`, if its own limit is longer.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        Self { timeout: self.timeout.min(limit), running: Arc::clone(&self.running) }
    }

    /// Reads a file of at most `largest` bytes; blocks the calling thread up to the time-out.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read(&self, path: &Path, largest: u64) -> Result<Vec<u8>, FileError> {
        self.read_with_metadata(path, largest)
            .map(|mut content| std::mem::take(&mut *content.bytes))
    }

    /// Reads a file and its metadata; blocks like [`Self::read`].
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read_with_metadata(&self, path: &Path, largest: u64) -> Outcome {
        let (sender, receiver) = mpsc::channel();
        self.start(path, largest, move |outcome| drop(sender.send(outcome)))?;
        receiver.recv_timeout(self.timeout).unwrap_or(Err(FileError::TimedOut(self.timeout)))
    }

    /// Reports whether there is a file, whatever its size; blocks like [`Self::read`].
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn exists(&self, path: &Path) -> Result<bool, FileError> {
        match self.read(path, 0) {
            Ok(_) | Err(FileError::TooLarge(_)) => Ok(true),
            Err(FileError::Io(std::io::ErrorKind::NotFound)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a file of at most `largest` bytes without blocking the runtime.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn read_async(&self, path: &Path, largest: u64) -> Result<Vec<u8>, FileError> {
        let (sender, receiver) = oneshot::channel();
        self.start(path, largest, move |outcome| drop(sender.send(outcome)))?;
        match tokio::time::timeout(self.timeout, receiver).await {
            Ok(Ok(outcome)) => outcome.map(|mut content| std::mem::take(&mut *content.bytes)),
            Ok(Err(_)) | Err(_) => Err(FileError::TimedOut(self.timeout)),
        }
    }

    /// Reads a secret, without one line break at its end; blocks like [`Self::read`].
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read_secret(&self, path: &Path) -> Result<Secret, FileError> {
        secret(self.read(path, LARGEST_SECRET)?)
    }

    /// Reads a secret like [`Self::read_secret`], without blocking the runtime.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn read_secret_async(&self, path: &Path) -> Result<Secret, FileError> {
        secret(self.read_async(path, LARGEST_SECRET).await?)
    }

    /// Lists the files of a folder with these names, sorted by name; blocks like [`Self::read`].
    ///
    /// # Errors
    /// See [`FileError`]; [`FileError::TooMany`] beyond [`MOST_FILES`].
    pub fn list(&self, folder: &Path, is_meant: NameFilter) -> Result<Vec<FileStamp>, FileError> {
        let (sender, receiver) = mpsc::channel();
        let work = move |path: &Path| list_folder(path, is_meant);
        self.start_work(folder, work, move |outcome| drop(sender.send(outcome)))?;
        receiver.recv_timeout(self.timeout).unwrap_or(Err(FileError::TimedOut(self.timeout)))
    }

    /// Lists a folder like [`Self::list`], without blocking the runtime.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_async(
        &self,
        folder: &Path,
        is_meant: NameFilter,
    ) -> Result<Vec<FileStamp>, FileError> {
        let (sender, receiver) = oneshot::channel();
        let work = move |path: &Path| list_folder(path, is_meant);
        self.start_work(folder, work, move |outcome| drop(sender.send(outcome)))?;
        match tokio::time::timeout(self.timeout, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(FileError::TimedOut(self.timeout)),
        }
    }

    /// Starts the thread that reads, and hands the outcome over when it ends.
    fn start(
        &self,
        path: &Path,
        largest: u64,
        deliver: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<(), FileError> {
        self.start_work(path, move |path| read_regular(path, largest), deliver)
    }

    fn start_work<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> T + Send + 'static,
        deliver: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), FileError> {
        let running = Running::enter(&self.running, path).ok_or(FileError::Hanging)?;
        // Detached on purpose: nothing can end a thread that hangs in the kernel.
        let thread = std::thread::Builder::new().name("file".to_owned());
        let started = thread.spawn(move || {
            let outcome = work(&running.path);
            // Before the outcome is delivered: the caller may read the path again at once.
            drop(running);
            deliver(outcome);
        });
        started.map(drop).map_err(|_| FileError::NoThread)
    }
}

/// A path that is being read; removed from the record when dropped.
struct Running {
    path: PathBuf,
    all: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Running {
    fn enter(all: &Arc<Mutex<BTreeSet<PathBuf>>>, path: &Path) -> Option<Self> {
        let is_new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        is_new.then(|| Self { path: path.to_owned(), all: Arc::clone(all) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

fn read_regular(path: &Path, largest: u64) -> Outcome {
    // O_NONBLOCK: opening a named pipe would otherwise wait for a writer. No effect on regular files.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    // One byte more than allowed, because a file of /proc has no length and others can grow meanwhile.
    file.take(largest.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > largest {
        return Err(FileError::TooLarge(largest));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Content { bytes, metadata })
}

/// Takes bytes for a secret, without one line break at their end.
///
/// # Errors
/// [`FileError::NotText`] or [`FileError::Empty`].
pub fn secret(content: Vec<u8>) -> Result<Secret, FileError> {
    // Kept as a secret from here on, so that the buffer is overwritten.
    let content = Secret::new(String::from_utf8(content).map_err(|_| FileError::NotText)?);
    let text = content.reveal();
    let text = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(text);
    if text.is_empty() { Err(FileError::Empty) } else { Ok(Secret::new(text)) }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn io(error: std::io::Error) -> FileError {
    FileError::Io(error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifo(folder: &Path) -> PathBuf {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        let reader = FileReader::default();
        assert_eq!(reader.read(&path, 5), Ok(b"12345".to_vec()));
        assert_eq!(reader.read(&path, 4), Err(FileError::TooLarge(4)));
        let missing = reader.read(&folder.path().join("none"), 5).unwrap_err();
        assert_eq!(missing.to_string(), "cannot be read: no such file");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let reader = FileReader::default();
        for (content, expected) in [
            ("\u{feff}a: 1\n", "a: 1\n"),
            ("\u{feff}\u{feff}a", "\u{feff}a"),
            ("a\u{feff}", "a\u{feff}"),
            ("\u{feff}", ""),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(reader.read(&path, 99), Ok(expected.as_bytes().to_vec()), "{content:?}");
        }
        std::fs::write(&path, "\u{feff}s3cr3t\r\n").unwrap();
        assert_eq!(reader.read_secret(&path).unwrap().reveal(), "s3cr3t");
        std::fs::write(&path, "\u{feff}").unwrap();
        assert!(matches!(reader.read_secret(&path), Err(FileError::Empty)));
    }

    #[test]
    fn pipes_folders_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let reader = FileReader::new(Duration::from_secs(60));
        for path in [fifo(folder.path()).as_path(), folder.path(), "/dev/zero".as_ref()] {
            assert_eq!(reader.read(path, 5), Err(FileError::NotRegular), "{}", path.display());
        }
    }

    #[test]
    fn one_line_break_at_the_end_of_a_secret_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let reader = FileReader::default();
        for (content, expected) in [
            ("a\n", Ok("a")),
            (" a \n\n", Ok(" a \n")),
            ("a\r\n", Ok("a")),
            ("a\r", Ok("a\r")),
            ("", Err(FileError::Empty)),
            ("\n", Err(FileError::Empty)),
        ] {
            std::fs::write(&path, content).unwrap();
            let secret = reader.read_secret(&path);
            assert_eq!(
                secret.as_ref().map(|s| s.reveal()).map_err(|e| *e),
                expected,
                "{content:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_no_secret() {
        assert!(matches!(secret(b"\xff".to_vec()), Err(FileError::NotText)));
    }

    #[test]
    fn a_folder_is_listed_by_name_and_a_changed_file_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let list = || {
            let reader = FileReader::default();
            reader.list(folder.path(), Arc::new(|name| name.ends_with(".yml"))).unwrap()
        };
        write("b.yml", "1");
        write("a.yml", "1");
        write("c.txt", "1");
        std::os::unix::fs::symlink("nothing", folder.path().join("d.yml")).unwrap();
        let before = list();
        let names: Vec<_> = before.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.yml", "b.yml", "d.yml"]);
        assert_eq!(list(), before);
        write("new", "2");
        std::fs::rename(folder.path().join("new"), folder.path().join("a.yml")).unwrap();
        let after = list();
        assert!(after[0] != before[0] && after[1..] == before[1..], "{after:?}");
        let missing = FileReader::default().list(Path::new("/no/such"), Arc::new(|_| true));
        assert_eq!(missing, Err(FileError::Io(std::io::ErrorKind::NotFound)));
    }

    #[tokio::test]
    async fn a_path_that_hangs_is_not_read_a_second_time() {
        let reader = FileReader::new(Duration::from_millis(50));
        let path = Path::new("/some/where");
        let hanging = Running::enter(&reader.running, path).unwrap();
        assert_eq!(reader.read(path, 5), Err(FileError::Hanging));
        assert_eq!(reader.clone().read_async(path, 5).await, Err(FileError::Hanging));
        drop(hanging);
        let missing = Err(FileError::Io(std::io::ErrorKind::NotFound));
        assert_eq!(reader.read_async(path, 5).await, missing);
    }
}
