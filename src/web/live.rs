//! The web configuration in force, read again when the file or one that it names changes.
//!
//! A file that is half written when it is read may look like an empty one, and an empty one means no
//! protection. So a change may add protection or alter it, but only a restart takes it away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::config::{self, Header, Loaded, RateLimit, WebConfig};
use super::instruments::HttpInstruments;
use super::rate::Bucket;
use super::service::one_line;
use super::tls::TlsServer;
use super::users::Users;
use crate::files::FileReader;
use crate::problem::{Problem, Problems};
use crate::watch::{ChangedFiles, ReadFiles};

/// One reading of the file, ready for use.
pub(super) struct ActiveConfig {
    pub(super) tls: Option<TlsServer>,
    pub(super) headers: Vec<Header>,
    pub(super) users: Users,
    pub(super) rate: Option<Arc<Bucket>>,
    /// Cancelled when the configuration is replaced, so that old connections reconnect under the new
    /// rules.
    pub(super) retired: CancellationToken,
    rate_limit: Option<RateLimit>,
}

impl ActiveConfig {
    fn new(settings: WebConfig) -> Result<Self, Problems> {
        let WebConfig { tls, http2, headers, users, rate_limit } = settings;
        let tls = tls.map(|tls| TlsServer::new(tls, http2)).transpose()?;
        let rate = rate_limit.map(|limit| Arc::new(Bucket::new(limit)));
        let users = Users::new(users);
        Ok(Self { tls, headers, users, rate, retired: CancellationToken::new(), rate_limit })
    }

    /// Keeps the bucket of a rate limit that did not change.
    ///
    /// # Errors
    /// The protection that the predecessor has and this one lacks.
    fn succeed(mut self, before: &Self) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if before.tls.is_some() && self.tls.is_none() {
            problems.add(Problem::new("tls_server_config", "only a restart switches TLS off"));
        }
        if !before.users.is_empty() && self.users.is_empty() {
            let message = "only a restart removes the last user";
            problems.add(Problem::new("basic_auth_users", message));
        }
        if self.rate_limit == before.rate_limit {
            self.rate.clone_from(&before.rate);
        }
        problems.into_result()?;
        Ok(self)
    }
}

/// Reads a web configuration file and checks that it can be used. Returns warnings. Blocks.
///
/// # Errors
/// All problems of the file, those of key and certificate included.
pub fn check(file: &Path) -> Result<Vec<Problem>, Problems> {
    let Loaded { warnings, outcome, .. } = config::load(file, &FileReader::default());
    outcome.and_then(ActiveConfig::new).map(|_| warnings)
}

/// The file, and all files that it names as they were at the start.
struct Source {
    file: PathBuf,
    reader: FileReader,
    files: ReadFiles,
}

/// The configuration in force.
pub(super) struct LiveConfig {
    current: ArcSwap<ActiveConfig>,
    /// `None` without a file.
    source: Option<Source>,
    instruments: Arc<HttpInstruments>,
}

impl LiveConfig {
    /// Reads the file for the first time. Blocks.
    pub(super) fn read(
        file: Option<&Path>,
        instruments: Arc<HttpInstruments>,
    ) -> Result<Self, Problems> {
        let Some(file) = file else {
            let current = ArcSwap::from_pointee(ActiveConfig::new(WebConfig::default())?);
            return Ok(Self { current, source: None, instruments });
        };
        let reader = FileReader::default();
        let Loaded { files, warnings, outcome } = config::load(file, &reader);
        warn(&warnings);
        let current = ArcSwap::from_pointee(outcome.and_then(ActiveConfig::new)?);
        instruments.web_config_taken();
        let source = Source { file: file.to_owned(), reader, files };
        Ok(Self { current, source: Some(source), instruments })
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> Arc<ActiveConfig> {
        self.current.load_full()
    }

    /// Reads the file again whenever it or one that it names changes, for ever. Files are read on
    /// a blocking thread: one that hangs delays the next reading and nothing else.
    pub(super) async fn watch(&self) {
        let Some(Source { file, reader, files }) = &self.source else { return };
        let mut watcher = ChangedFiles::new(files.clone());
        loop {
            watcher.changed().await;
            let (file, reader) = (file.clone(), reader.clone());
            let reading = spawn_blocking(move || config::load(&file, &reader));
            let Ok(Loaded { files, warnings, outcome }) = reading.await else { return };
            warn(&warnings);
            watcher = ChangedFiles::new(files);
            self.replace(outcome);
        }
    }

    fn replace(&self, outcome: Result<WebConfig, Problems>) {
        let before = self.current.load_full();
        let successor =
            outcome.and_then(ActiveConfig::new).and_then(|config| config.succeed(&before));
        match successor {
            Ok(successor) => {
                self.current.store(Arc::new(successor));
                self.instruments.web_config_taken();
                before.retired.cancel();
                tracing::info!("web configuration reloaded");
            }
            Err(problems) => {
                self.instruments.web_config_refused();
                tracing::error!(
                    problems = one_line(&problems),
                    "web configuration not reloaded, the last good one stays"
                );
            }
        }
    }
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("web configuration: {warning}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const USER: &str =
        "basic_auth_users: { u: $2y$05$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi }";

    #[tokio::test]
    async fn a_change_is_seen_within_seconds_and_takes_no_protection_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        fs::write(&path, USER).unwrap();
        let instruments = Arc::new(HttpInstruments::new::<()>(&[]));
        let live = LiveConfig::read(Some(&path), instruments).unwrap();
        let first = live.current();
        let watch = |content: String| {
            fs::write(&path, content).unwrap();
            timeout(Duration::from_secs(3), live.watch())
        };
        for content in ["broken: [", ""] {
            assert!(watch(content.to_owned()).await.is_err());
            assert!(Arc::ptr_eq(&live.current(), &first), "{content:?}");
        }
        assert!(watch(format!("{USER}\nrate_limit: {{ interval: 1s, burst: 1 }}")).await.is_err());
        assert!(live.current().rate.is_some() && first.retired.is_cancelled());
    }
}
