//! Two clients for one URL: our pool, and the real psql beside it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use db_pool_exporter::pool::{Backend, ConnectError, ConnectSettings, Credentials, Pool, fixture};
use tokio::process::Command;

use super::{installed, pools};

/// What trying a URL came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Refused,
    Plain,
    Encrypted,
}

/// A pool for a URL, with few and short limits.
pub(crate) fn pool(url: &str, credentials: Credentials) -> Arc<Pool> {
    let settings = ConnectSettings { credentials, ..fixture::connect(url) };
    pools::pool(settings, pools::limits(2, 1))
}

/// Credentials of the URL alone, and files in this home.
pub(crate) fn at_home(home: &Path) -> Credentials {
    Credentials { source: None, home: Some(home.to_owned()) }
}

/// A fresh connect of ours.
pub(crate) async fn connect(url: &str, home: &Path) -> Result<Backend, ConnectError> {
    pool(url, at_home(home)).try_connect().await.map(|(_, server)| server)
}

/// What a fresh connect of ours comes to.
pub(crate) fn outcome(result: &Result<Backend, ConnectError>) -> Outcome {
    match result {
        Ok(Backend { tls: Some(_), .. }) => Outcome::Encrypted,
        Ok(Backend { tls: None, .. }) => Outcome::Plain,
        Err(_) => Outcome::Refused,
    }
}

/// What psql's connect comes to, and what psql says to it.
pub(crate) async fn psql(url: &str, home: &Path) -> (Outcome, String) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| Path::new(&installed(&["postgres"])).join("psql"));
    let output = Command::new(program)
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
