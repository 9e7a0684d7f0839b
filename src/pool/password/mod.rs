//! Where a connect's password comes from, asked anew each time: a rotated one needs no restart.
//!
//! A source of its own (a file, a command) comes first, then the URL's password, then libpq's
//! password file, in which each host has its own line.

mod command;
mod passfile;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;
use zeroize::Zeroizing;

pub use self::command::PasswordCommand;
use self::command::Tokens;
use super::error::ConnectError;
use crate::dsn::{self, Dsn, Host};
use crate::metrics::{Phase, Reason};
use crate::secret::Secret;

/// Who we are to the server, and where to find the proof.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Where the password is; without one it is the URL's, then the password file's.
    pub source: Option<PasswordSource>,
    /// The user's own folder, which may hold `.pgpass` and `.postgresql`; `None`: neither is looked for.
    pub home: Option<PathBuf>,
}

/// Where a password is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The content of a file, less one newline at its end.
    File(PathBuf),
    /// The password of the database URL in a file, and its role: short-lived ones change together.
    UrlFile(PathBuf),
    /// What a command prints.
    Command(PasswordCommand),
}

/// Who we are to all hosts of a target.
#[derive(Clone, Default)]
pub(super) struct Proof {
    /// The role, where its source names one; otherwise it is the URL's.
    pub(super) user: Option<String>,
    /// The password, if it is not the hosts' own.
    pub(super) password: Option<Secret>,
}

/// The passwords of one target.
pub(super) struct Keychain {
    credentials: Credentials,
    tokens: Arc<Tokens>,
    warned: AtomicBool,
}

impl Keychain {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, tokens: Arc::default(), warned: AtomicBool::new(false) }
    }

    /// The user's own folder.
    pub(super) fn home(&self) -> Option<&Path> {
        self.credentials.home.as_deref()
    }

    /// The role and the password for all hosts. `spawn`: for work that goes on when this is given up.
    ///
    /// # Errors
    /// With the reason `auth`, when the source gives none; never with anything of its content.
    pub(super) async fn common(
        &self,
        dsn: &Dsn,
        spawn: impl FnOnce(command::Task),
    ) -> Result<Proof, ConnectError> {
        let alone = |password| Proof { user: None, password: Some(password) };
        let found = match &self.credentials.source {
            None => return Ok(Proof { user: None, password: dsn.password.clone() }),
            Some(PasswordSource::File(path)) => read(path).await.map(alone),
            Some(PasswordSource::UrlFile(path)) => {
                read(path).await.and_then(|url| proof_of(&url, path))
            }
            Some(PasswordSource::Command(command)) => {
                self.tokens.get(command, spawn).await.map(alone)
            }
        };
        found.map_err(|text| ConnectError::new(Phase::Startup, Reason::Auth, text))
    }

    /// The password for a host, from libpq's password file.
    pub(super) fn for_host(&self, dsn: &Dsn, host: &Host) -> Option<Secret> {
        let usual = || self.home().map(|home| home.join(".pgpass"));
        let path = dsn.passfile.clone().or_else(usual)?;
        match passfile::find(&path, dsn, host) {
            Ok(password) => password,
            Err(why) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    warn!(file = %path.display(), "the password file is ignored: {why}");
                }
                None
            }
        }
    }

    /// The server refused the password: a token that was kept is not used again.
    pub(super) fn refused(&self) {
        self.tokens.forget();
    }
}

async fn read(path: &Path) -> Result<Secret, String> {
    let bytes = tokio::fs::read(path).await.map(Zeroizing::new);
    let bytes = bytes
        .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))?;
    secret(&bytes)
        .ok_or_else(|| format!("the password file {} is empty or no text", path.display()))
}

/// A text less one newline at its end; `None` for nothing.
fn secret(bytes: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(text);
    (!text.is_empty()).then(|| Secret::new(text))
}

fn proof_of(url: &Secret, path: &Path) -> Result<Proof, String> {
    let dsn = dsn::parse(url.reveal())
        .map_err(|_| format!("the file {} holds no valid database URL", path.display()))?;
    match dsn.password {
        Some(password) => Ok(Proof { user: dsn.user, password: Some(password) }),
        None => Err(format!("the database URL in {} has no password", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_is_dropped_and_no_more() {
        for (bytes, expected) in [
            (&b"secret"[..], Some("secret")),
            (b"secret\n", Some("secret")),
            (b"secret\r\n", Some("secret")),
            (b"secret\r", Some("secret\r")),
            (b"secret\n\n", Some("secret\n")),
            (b" secret ", Some(" secret ")),
            (b"\n", None),
            (b"", None),
            (b"\xff", None),
        ] {
            assert_eq!(secret(bytes).as_ref().map(Secret::reveal), expected, "{bytes:?}");
        }
    }
}
