//! Reloading the configuration: on SIGHUP, on `POST /-/reload`, or when the file has changed.
//!
//! A bad configuration changes nothing: the last good one stays, and the log, the answer to the request
//! and a gauge name the problems. Files are read on a blocking thread, each with a time-out, so that one
//! that hangs delays the reload and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

use super::notify::Notifier;
use crate::api::Setting;
use crate::config::{self, Config, Entry, Problems};
use crate::files::FileReader;
use crate::metrics::{Kind, Reading};
use crate::probe::Roster;
use crate::watch::{ChangedFiles, ReadFiles};

/// A request to reload, to be answered with the outcome.
pub(super) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// The outcome of the last reload.
pub(crate) struct ReloadStatus {
    is_successful: AtomicBool,
    /// Milliseconds since 1970.
    succeeded_at: AtomicU64,
}

impl ReloadStatus {
    /// Starts with success: a daemon only starts with a good configuration.
    pub(crate) fn new() -> Arc<Self> {
        let status = Self { is_successful: AtomicBool::new(true), succeeded_at: AtomicU64::new(0) };
        status.succeeded();
        Arc::new(status)
    }

    fn succeeded(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.succeeded_at.store(ms, Ordering::Relaxed);
        self.is_successful.store(true, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.is_successful.store(false, Ordering::Relaxed);
    }
}

/// The families of [`ReloadStatus`]; read at each scrape.
pub(super) const READINGS: &[Reading<ReloadStatus>] = &[
    Reading {
        name: "db_pool_exporter_config_last_reload_successful",
        help: "1 when the configuration was good when it was last read.",
        kind: Kind::Gauge,
        labels: &[],
        read: |status, out| out.push([], status.is_successful.load(Ordering::Relaxed)),
    },
    Reading {
        name: "db_pool_exporter_config_last_reload_success_timestamp_seconds",
        help: "When a good configuration was last read, in seconds since 1970.",
        kind: Kind::Gauge,
        labels: &[],
        read: |status, out| {
            out.push([], status.succeeded_at.load(Ordering::Relaxed) as f64 / 1e3);
        },
    },
];

/// The sources of the configuration, read again at each reload.
pub(super) struct ConfigSource {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) file: Option<PathBuf>,
    /// Remembers files that hang from one reload to the next.
    pub(super) reader: FileReader,
}

impl ConfigSource {
    fn load(&self) -> Result<Config, Problems> {
        config::load_with(&self.reader, &self.environment, self.file.as_deref())
    }
}

/// The reaction to a change of the file: `--config.enable-auto-reload`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoReload {
    On,
    Off,
}

/// Reloads the configuration on request.
pub(super) struct Reloader {
    pub(super) source: Arc<ConfigSource>,
    /// The targets, which a new configuration replaces.
    pub(super) roster: Arc<Roster>,
    pub(super) status: Arc<ReloadStatus>,
    pub(super) auto_reload: AutoReload,
    /// The daemon was started with the rules of production.
    pub(super) production: bool,
    pub(super) notifier: Arc<Notifier>,
    /// The effective values, which the status page shows.
    pub(super) shown: Arc<ArcSwap<Vec<Setting>>>,
}

/// Returns the effective values as the status page shows them.
pub(super) fn shown_settings(entries: &[Entry]) -> Vec<Setting> {
    let shown = entries.iter().map(|entry| Setting {
        path: entry.path.clone(),
        value: entry.shown.clone(),
        source: entry.origin.to_string(),
    });
    shown.collect()
}

impl Reloader {
    /// Serves requests, SIGHUP and changes of the file until it is dropped.
    pub(super) async fn run(self, mut requests: mpsc::Receiver<ReloadRequest>) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut file = self.watched().await;
        loop {
            tokio::select! {
                Some(request) = requests.recv() => {
                    // The client may have gone meanwhile.
                    drop(request.send(self.reload("request").await));
                }
                () = next(&mut hangups) => drop(self.reload("SIGHUP").await),
                () = changed(&mut file) => {
                    // Read before the reload: a change during it causes another one.
                    file = self.watched().await;
                    drop(self.reload("change of the file").await);
                }
            }
        }
    }

    async fn reload(&self, cause: &str) -> Result<(), String> {
        self.notifier.reloading();
        let source = Arc::clone(&self.source);
        let loaded = spawn_blocking(move || source.load()).await;
        let outcome = match loaded {
            Ok(Ok(config)) => {
                self.apply(config, cause);
                Ok(())
            }
            Ok(Err(problems)) => Err(problems.to_string()),
            Err(error) => Err(format!("the configuration could not be read: {error}")),
        };
        if let Err(problems) = &outcome {
            self.status.failed();
            error!(cause, %problems, "configuration not reloaded, the last good one stays");
        }
        self.notifier.ready();
        outcome
    }

    fn apply(&self, config: Config, cause: &str) {
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        config.notes.iter().for_each(|note| debug!("{note}"));
        if config.production != self.production {
            warn!("app_env: the rules of production change only at a restart");
        }
        self.shown.store(Arc::new(shown_settings(&config.entries)));
        self.roster.set_probing(config.enabled.into());
        self.roster.set_most_probes(config.max_concurrent_probes);
        self.roster.apply(config.targets);
        self.status.succeeded();
        info!(cause, targets = self.roster.targets().len(), "configuration reloaded");
    }

    /// The file with its present content, to be watched for another one.
    async fn watched(&self) -> Option<ChangedFiles> {
        if self.auto_reload == AutoReload::Off {
            return None;
        }
        let path = self.source.file.clone()?;
        let mut files = ReadFiles::new(self.source.reader.clone(), config::LARGEST_FILE);
        // A file that cannot be read is watched too: its repair is a change.
        let read = spawn_blocking(move || {
            let _ = files.read(&path);
            ChangedFiles::new(files)
        });
        read.await.ok()
    }
}

/// Waits for the next signal; for ever where signals cannot be had.
async fn next(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Waits for a change of the file; for ever where none is watched.
async fn changed(file: &mut Option<ChangedFiles>) {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}
