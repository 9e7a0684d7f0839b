//! The settings of one application's source.

use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::Endpoint;
use crate::files::FileReader;

/// The labels of an application that publishes its own status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceKey {
    /// Its database; empty where the settings name none, or a pattern.
    pub database: String,
    /// Its role; empty likewise.
    pub user: String,
    /// Its name.
    pub application: String,
}

/// The settings for reading the status of one application's processes.
#[derive(Clone)]
pub struct SourceSettings {
    /// The labels of its rows.
    pub key: SourceKey,
    /// The name in the configuration; `None` for the application that the variables describe, which is the
    /// only one of its target.
    pub name: Option<String>,
    /// The addresses of its processes.
    pub endpoints: Vec<Endpoint>,
    /// The directory with a socket for each process.
    pub directory: Option<PathBuf>,
    /// The name of its pools in that directory; `None` for any.
    pub pool: Option<String>,
    /// The configured overflow of one process, for a status that leaves it out; `None` for no limit.
    pub max_overflow: Option<u32>,
    /// The limit of one request, from the connect to the end of the answer.
    pub timeout: Duration,
    /// The maximum number of processes that are read.
    pub processes: u32,
    /// The login that is sent with each request. It is never sent over a Unix socket.
    pub login: Option<Login>,
    /// Certificates to trust for https; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// Reads the files named here.
    pub files: FileReader,
}

impl SourceSettings {
    /// The limit of one request unless another is configured.
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// The maximum number of processes unless another is configured.
    pub const PROCESSES: u32 = 64;
}

impl PartialEq for SourceSettings {
    /// Compares all but the reader of files, which is no setting.
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.name == other.name
            && self.endpoints == other.endpoints
            && self.directory == other.directory
            && self.pool == other.pool
            && self.max_overflow == other.max_overflow
            && self.timeout == other.timeout
            && self.processes == other.processes
            && self.login == other.login
            && self.ca == other.ca
    }
}

/// A login, with its secret in a file that is read again when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `Authorization: Bearer`, with the token of a file.
    Bearer(PathBuf),
    /// `Authorization: Basic`.
    Basic {
        /// The name.
        username: String,
        /// The file with the password.
        password: PathBuf,
    },
}
