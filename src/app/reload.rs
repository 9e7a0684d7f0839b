//! Reloading the configuration: on SIGHUP, on `POST /-/reload`, or when the file has changed.
//!
//! A bad configuration changes nothing: the last good one stays, and the log, the answer to the request
//! and a gauge name the problems. Files are read on a blocking thread, each with a time-out, so that one
//! that hangs delays the reload and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

use super::fleet::Fleet;
use super::notify::Notifier;
use crate::api::Setting;
use crate::config::{self, Config, Entry, Loader, RefusedFile, Reread, TargetFiles};
use crate::metrics::{Kind, Reading};
use crate::ondemand::OnDemand;
use crate::probe::Roster;
use crate::watch::{ChangedFiles, ChangedFolders, ListedFolder, ReadFiles};

/// A request to reload, to be answered with the outcome.
pub(super) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// The outcome of the last reload.
pub(crate) struct ReloadStatus {
    is_successful: AtomicBool,
    /// Milliseconds since 1970.
    succeeded_at: AtomicU64,
    /// The files of `targets_from`; `None` without any.
    files: Mutex<Option<FilesStatus>>,
}

/// The files of `targets_from` when they were last read.
struct FilesStatus {
    good: usize,
    /// The names of the others.
    refused: Vec<String>,
}

impl ReloadStatus {
    /// Starts with success: a daemon only starts with a good configuration.
    pub(crate) fn new() -> Arc<Self> {
        let status = Self {
            is_successful: AtomicBool::new(true),
            succeeded_at: AtomicU64::new(0),
            files: Mutex::default(),
        };
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

    /// Takes over and logs what became of the files of `targets_from`.
    ///
    /// # Errors
    /// All problems of those that were refused.
    pub(super) fn set_files(&self, files: &TargetFiles) -> Result<(), String> {
        let mut problems = Vec::new();
        for RefusedFile { name, problems: found, lives_on } in &files.refused {
            let stays = if *lives_on { "what it last had stays" } else { "it is left out" };
            error!(file = name, problems = %found, "a file of targets is refused: {stays}");
            problems.push(found.to_string());
        }
        let refused = files.refused.iter().map(|file| file.name.clone()).collect();
        let status = FilesStatus { good: files.good, refused };
        *self.lock_files() = (!files.folders.is_empty()).then_some(status);
        if problems.is_empty() {
            return Ok(());
        }
        self.failed();
        Err(problems.join("\n"))
    }

    fn lock_files(&self) -> MutexGuard<'_, Option<FilesStatus>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The families of [`ReloadStatus`]; read at each scrape.
pub(super) const READINGS: &[Reading<ReloadStatus>] = &[
    Reading {
        name: "db_pool_exporter_config_last_reload_successful",
        help: "1 when the configuration was good when it was last read, every file of targets_from included.",
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
    Reading {
        name: "db_pool_exporter_targets_files",
        help: "Files of targets_from when they were last read, by state: good, or refused; what a refused one last had lives on. Absent without targets_from.",
        kind: Kind::Gauge,
        labels: &["state"],
        read: |status, out| {
            if let Some(files) = status.lock_files().as_ref() {
                out.push(["good"], files.good);
                out.push(["refused"], files.refused.len());
            }
        },
    },
    Reading {
        name: "db_pool_exporter_targets_file_refused",
        help: "1 for each file of targets_from that was refused when it was last read; the log has its problems.",
        kind: Kind::Gauge,
        labels: &["file"],
        read: |status, out| {
            if let Some(files) = status.lock_files().as_ref() {
                files.refused.iter().for_each(|file| out.push([file.as_str()], 1_u32));
            }
        },
    },
];

/// The reaction to a change of the file: `--config.enable-auto-reload`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoReload {
    On,
    Off,
}

/// Reloads the configuration on request.
pub(super) struct Reloader {
    pub(super) loader: Arc<Loader>,
    /// The folders of `targets_from`, as they were when they were last read.
    pub(super) folders: Vec<ListedFolder>,
    /// The targets, which a new configuration replaces.
    pub(super) fleet: Arc<Fleet>,
    pub(super) roster: Arc<Roster>,
    /// The modules of `/probe`, which it replaces too.
    pub(super) on_demand: Arc<OnDemand>,
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
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<ReloadRequest>) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut file = self.watched().await;
        let mut folders = self.watched_folders();
        loop {
            tokio::select! {
                Some(request) = requests.recv() => {
                    // The client may have gone meanwhile.
                    drop(request.send(self.reload("request", Reread::All).await));
                }
                () = next(&mut hangups) => drop(self.reload("SIGHUP", Reread::All).await),
                () = changed(&mut file) => {
                    // Read before the reload: a change during it causes another one.
                    file = self.watched().await;
                    drop(self.reload("change of the file", Reread::All).await);
                }
                () = folders.changed() => {
                    drop(self.reload("change of a file of targets", Reread::TargetFiles).await);
                }
            }
            folders = self.watched_folders();
        }
    }

    async fn reload(&mut self, cause: &str, what: Reread) -> Result<(), String> {
        self.notifier.reloading();
        let loader = Arc::clone(&self.loader);
        let loaded = spawn_blocking(move || loader.load(what)).await;
        let outcome = match loaded {
            Ok(Ok(config)) => self.apply(config, cause),
            Ok(Err(problems)) => Err(self.refuse(cause, problems.to_string())),
            Err(error) => {
                Err(self.refuse(cause, format!("the configuration could not be read: {error}")))
            }
        };
        self.notifier.ready();
        outcome
    }

    fn refuse(&self, cause: &str, problems: String) -> String {
        self.status.failed();
        error!(cause, %problems, "configuration not reloaded, the last good one stays");
        problems
    }

    /// Puts a configuration into force. Fails with the problems of files that were refused alone.
    fn apply(&mut self, config: Config, cause: &str) -> Result<(), String> {
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        config.notes.iter().for_each(|note| debug!("{note}"));
        if config.production != self.production {
            warn!("app_env: the rules of production change only at a restart");
        }
        self.shown.store(Arc::new(shown_settings(&config.entries)));
        self.roster.set_probing(config.enabled.into());
        self.roster.set_most_probes(config.max_concurrent_probes);
        self.fleet.configure(config.targets, config.discover);
        self.on_demand.apply(config.auth_modules);
        self.status.succeeded();
        info!(cause, targets = self.roster.targets().len(), "configuration reloaded");
        self.folders.clone_from(&config.target_files.folders);
        self.status.set_files(&config.target_files)
    }

    fn watched_folders(&self) -> ChangedFolders {
        ChangedFolders::new(self.loader.reader().clone(), self.folders.clone())
    }

    /// The file with its present content, to be watched for another one.
    async fn watched(&self) -> Option<ChangedFiles> {
        if self.auto_reload == AutoReload::Off {
            return None;
        }
        let path = self.loader.file()?.to_owned();
        let mut files = ReadFiles::new(self.loader.reader().clone(), config::LARGEST_FILE);
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
