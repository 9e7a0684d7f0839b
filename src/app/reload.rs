//! Reading the configuration again: by SIGHUP, by `POST /-/reload`, or when the file changed.
//!
//! A bad one changes nothing: the last good one stays, and the log, the asker and a gauge say so.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::notify::Notifier;
use crate::config::{Config, Problems};
use crate::metrics::{Kind, Reading};
use crate::probe::Roster;

/// How often the file is looked at with `--config.enable-auto-reload`.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration from where it came from at the start.
pub(super) type Load = Box<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// An ask to reload; answered with how it went.
pub(super) type Ask = oneshot::Sender<Result<(), String>>;

/// How the last reload went.
pub struct Status {
    successful: AtomicBool,
    /// Milliseconds since 1970.
    succeeded_at: AtomicU64,
}

impl Status {
    /// The configuration at the start was good, or there would be no daemon.
    pub fn new() -> Arc<Self> {
        let status = Self { successful: AtomicBool::new(true), succeeded_at: AtomicU64::new(0) };
        status.succeeded();
        Arc::new(status)
    }

    fn succeeded(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.succeeded_at.store(ms, Ordering::Relaxed);
        self.successful.store(true, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.successful.store(false, Ordering::Relaxed);
    }
}

/// The families of [`Status`]; read at each scrape.
pub(super) const READINGS: &[Reading<Status>] = &[
    Reading {
        name: "db_pool_exporter_config_last_reload_successful",
        help: "1 when the configuration was good when it was last read.",
        kind: Kind::Gauge,
        labels: &[],
        read: |status, out| out.push([], status.successful.load(Ordering::Relaxed)),
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

/// Reloads when asked to.
pub(super) struct Reloader {
    /// Reads the configuration.
    pub load: Load,
    /// What a new configuration changes.
    pub roster: Arc<Roster>,
    /// Where it is told how it went.
    pub status: Arc<Status>,
    /// The file to watch, with `--config.enable-auto-reload`.
    pub watched: Option<PathBuf>,
    /// Whether the daemon was started with the rules of production.
    pub production: bool,
    /// Who is told while it reloads.
    pub notifier: Arc<Notifier>,
}

impl Reloader {
    /// Answers asks, SIGHUP and changes of the file until it is dropped.
    pub(super) async fn run(self, mut asks: mpsc::Receiver<Ask>) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.fingerprint().await;
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ask) = asks.recv() => drop(ask.send(self.reload("request"))),
                Some(()) = hangup => drop(self.reload("SIGHUP")),
                _ = look.tick(), if self.watched.is_some() => {
                    let now = self.fingerprint().await;
                    if now != seen {
                        seen = now;
                        drop(self.reload("change of the file"));
                    }
                }
            }
        }
    }

    fn reload(&self, cause: &str) -> Result<(), String> {
        self.notifier.reloading();
        let result = self.read(cause);
        self.notifier.ready();
        result
    }

    fn read(&self, cause: &str) -> Result<(), String> {
        match (self.load)() {
            Ok(config) => {
                config.warnings.iter().for_each(|warning| warn!("{warning}"));
                if config.production != self.production {
                    warn!("app_env: the rules of production change only at a restart");
                }
                self.roster.set_probing(config.enabled.into());
                self.roster.apply(config.targets);
                self.status.succeeded();
                info!(cause, targets = self.roster.targets().len(), "configuration reloaded");
                Ok(())
            }
            Err(problems) => {
                self.status.failed();
                let problems = problems.to_string();
                error!(cause, %problems, "configuration not reloaded, the last good one stays");
                Err(problems)
            }
        }
    }

    /// Tells one content of the file from another; a file that is gone is a content too.
    async fn fingerprint(&self) -> u64 {
        let content = match &self.watched {
            Some(path) => tokio::fs::read(path).await.ok(),
            None => None,
        };
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        hasher.finish()
    }
}
