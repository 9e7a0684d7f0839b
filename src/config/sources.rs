//! The files of a configuration, read within one deadline for all of them together.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::files::{Content, FileError, FileReader, FileStamp, NameFilter};
use crate::secret::Secret;

/// The time that all files of one configuration may take together.
const DEADLINE: Duration = Duration::from_secs(5);

/// The least time for one file, so that those behind a file that hangs are still read.
const LEAST: Duration = Duration::from_millis(100);

/// The largest configuration file, in bytes.
pub(crate) const LARGEST: u64 = 4 * 1024 * 1024;

/// Reads the files of one configuration.
pub(super) struct Files<'a> {
    reader: &'a FileReader,
    deadline: Instant,
}

impl<'a> Files<'a> {
    pub(super) fn new(reader: &'a FileReader) -> Self {
        Self { reader, deadline: Instant::now() + DEADLINE }
    }

    /// Reads the configuration file.
    pub(super) fn read(&self, path: &Path) -> Result<Content, FileError> {
        self.reader().read_with_metadata(path, LARGEST)
    }

    /// Lists the files of a folder.
    pub(super) fn list(
        &self,
        folder: &Path,
        is_meant: NameFilter,
    ) -> Result<Vec<FileStamp>, FileError> {
        self.reader().list(folder, is_meant)
    }

    /// Reads a secret; the error does not name the file, because its path may be a mistyped secret.
    pub(super) fn read_secret(&self, path: &Path) -> Result<Secret, String> {
        let read = self.reader().read_secret(path);
        read.map_err(|error| format!("names a file that {error}"))
    }

    fn reader(&self) -> FileReader {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.reader.at_most(left.max(LEAST))
    }
}
