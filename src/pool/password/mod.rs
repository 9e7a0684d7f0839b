//! The password of a connection, found anew for each connect, so that a rotated one needs no restart.
//!
//! A source of its own (a file, a command) comes first, then the URL's password, then libpq's
//! password file, which has a line for each host.

mod command;
mod passfile;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;

pub use self::command::PasswordCommand;
use self::command::Tokens;
use super::error::ConnectError;
use crate::dsn::{self, Dsn, Host};
use crate::files::FileReader;
use crate::metrics::{Phase, Reason};
use crate::secret::Secret;

/// The sources of a target's login and password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// The password's source; `None` means the URL, then the password file.
    pub source: Option<PasswordSource>,
    /// The user's home folder, which may hold `.pgpass` and `.postgresql`; `None` means that neither
    /// is used.
    pub home: Option<PathBuf>,
    /// The use of libpq's password file.
    pub passfile: Passfile,
}

/// The use of libpq's password file, which has a line for each host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passfile {
    /// A host without another password takes that of its line.
    #[default]
    Used,
    /// No password comes from there: the host is not one that the file's owner chose.
    Unused,
}

/// A source of passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The content of a file, without one line break at its end.
    File(PathBuf),
    /// A file that holds a database URL: its password and its role, because short-lived ones change
    /// together.
    UrlFile(PathBuf),
    /// The output of a command.
    Command(PasswordCommand),
}

/// The login for every host of a target.
#[derive(Clone, Default)]
pub(super) struct Login {
    /// The role, where the source names one; otherwise it is the URL's.
    pub(super) user: Option<String>,
    /// The password; `None` where each host may have its own, in the password file.
    pub(super) password: Option<Secret>,
}

/// The passwords of one target.
pub(super) struct Keychain {
    credentials: Credentials,
    files: FileReader,
    /// Held while files are read.
    turn: Mutex<()>,
    tokens: Arc<Tokens>,
    /// True once a password file was reported as ignored, so that it is reported only once.
    warned: AtomicBool,
}

impl Keychain {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            files: FileReader::default(),
            turn: Mutex::new(()),
            tokens: Arc::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// The user's home folder.
    pub(super) fn home(&self) -> Option<&Path> {
        self.credentials.home.as_deref()
    }

    /// Reads this target's files, by one caller at a time: see [`Self::turn_to_read`].
    pub(super) fn files(&self) -> &FileReader {
        &self.files
    }

    /// Waits for the turn to read files. The reader takes a second read of a file at the same time for
    /// one of a file system that hangs.
    pub(super) async fn turn_to_read(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Finds the login for all hosts. `spawn` starts work that goes on when this is cancelled.
    ///
    /// # Errors
    /// With the reason `auth` when the source gives no password. The text holds nothing of the
    /// source's content.
    pub(super) async fn login(
        &self,
        dsn: &Dsn,
        spawn: impl FnOnce(command::Task),
    ) -> Result<Login, ConnectError> {
        let found = match &self.credentials.source {
            None => return Ok(Login { user: None, password: dsn.password.clone() }),
            Some(PasswordSource::File(path)) => self.read(path).await.map(Login::from),
            Some(PasswordSource::UrlFile(path)) => {
                self.read(path).await.and_then(|url| login_of(&url, path))
            }
            Some(PasswordSource::Command(command)) => {
                self.tokens.get(command, spawn).await.map(Login::from)
            }
        };
        found.map_err(|text| ConnectError::new(Phase::Startup, Reason::Auth, text))
    }

    /// Finds the password for a host in libpq's password file. Blocks.
    pub(super) fn for_host(&self, dsn: &Dsn, host: &Host) -> Option<Secret> {
        if self.credentials.passfile == Passfile::Unused {
            return None;
        }
        let path = match &dsn.passfile {
            Some(path) => path.clone(),
            None => self.home()?.join(".pgpass"),
        };
        match passfile::find(&self.files, &path, dsn, host) {
            Ok(password) => password,
            Err(why) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    warn!(file = %path.display(), "the password file is ignored: {why}");
                }
                None
            }
        }
    }

    /// The server refused the password: a cached token is not used again.
    pub(super) fn refused(&self) {
        self.tokens.forget();
    }

    async fn read(&self, path: &Path) -> Result<Secret, String> {
        let _turn = self.turn_to_read().await;
        let secret = self.files.read_secret_async(path).await;
        secret.map_err(|error| format!("the password file {} {error}", path.display()))
    }
}

impl From<Secret> for Login {
    fn from(password: Secret) -> Self {
        Self { user: None, password: Some(password) }
    }
}

fn login_of(url: &Secret, path: &Path) -> Result<Login, String> {
    let dsn = dsn::parse(url.reveal())
        .map_err(|_| format!("the file {} holds no valid database URL", path.display()))?;
    match dsn.password {
        Some(password) => Ok(Login { user: dsn.user, password: Some(password) }),
        None => Err(format!("the database URL in {} has no password", path.display())),
    }
}
