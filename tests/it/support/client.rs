//! Two clients for one URL: the exporter's pool and the real psql.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use db_pool_exporter::pool::{Backend, ConnectError, ConnectSettings, Credentials, Pool, fixture};
use tokio::process::Command;

use super::{installed, pools};

/// The result of connecting with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Refused,
    Plain,
    Encrypted,
}

/// A small pool with short time-outs for a URL.
pub(crate) fn pool(url: &str, credentials: Credentials) -> Arc<Pool> {
    let settings = ConnectSettings { credentials, ..fixture::connect(url) };
    pools::pool(settings, pools::limits(2, 1))
}

/// Login settings from the URL alone, with files from this home directory.
pub(crate) fn at_home(home: &Path) -> Credentials {
    Credentials { home: Some(home.to_owned()), ..Credentials::default() }
}

/// Opens a fresh connection with the exporter's pool.
pub(crate) async fn connect(url: &str, home: &Path) -> Result<Backend, ConnectError> {
    pool(url, at_home(home)).try_connect().await.map(|(_, server)| server)
}

/// The result of a fresh connection of the exporter's pool.
pub(crate) fn outcome(result: &Result<Backend, ConnectError>) -> Outcome {
    match result {
        Ok(Backend { tls: Some(_), .. }) => Outcome::Encrypted,
        Ok(Backend { tls: None, .. }) => Outcome::Plain,
        Err(_) => Outcome::Refused,
    }
}

/// The path of psql.
pub(crate) fn psql_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| Path::new(&installed(&["postgres"])).join("psql"))
}

/// The result of psql's connection, and psql's message.
pub(crate) async fn psql(url: &str, home: &Path) -> (Outcome, String) {
    let output = Command::new(psql_program())
        .args(["-wXqAt", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", url])
        .env_clear()
        .env("HOME", home)
        .env("LC_ALL", "C")
        .output()
        .await
        .expect("psql can be run");
    let outcome = match (output.status.success(), output.stdout.as_slice()) {
        (true, b"t\n") => Outcome::Encrypted,
        (true, _) => Outcome::Plain,
        (false, _) => Outcome::Refused,
    };
    (outcome, String::from_utf8_lossy(&output.stderr).into_owned())
}
