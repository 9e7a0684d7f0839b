//! A running target: its settings, its pool, its instruments, and its last snapshot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::baseline::Baseline;
use super::endpoint::EndpointPools;
use super::hour::{Hour, HourView};
use super::instruments::{OwnQuery, ProbeInstruments};
use super::marks::{Mark, Marks};
use super::pooling::StatementPooling;
use super::processes::ProcessSet;
use super::read::enabled;
use super::server::Server;
use super::settings::TargetSettings;
use super::sight::ServerPath;
use super::snapshot::Published;
use crate::dsn::Host;
use crate::metrics::{Kind, Reading, Subject, base_label};
use crate::pool::{self, Budget, ConnectMemory, Connector, Pool, ServerAddress, ServerIdentity};
use crate::view::{Counters, Memory};

/// A running target. Its snapshots have one writer, its probe, and many readers.
pub struct Target {
    settings: TargetSettings,
    server: Arc<Server>,
    /// The server behind its connections, as of the last probe that asked.
    identity: Mutex<Option<ServerIdentity>>,
    /// Set while another target reads the server for it.
    follows: AtomicBool,
    base: String,
    pool: Arc<Pool>,
    instruments: ProbeInstruments,
    memory: Mutex<Memory>,
    /// Held while the views are read, by a probe or for a sample.
    reading: tokio::sync::Mutex<()>,
    endpoints: Vec<EndpointPools>,
    published: watch::Sender<Option<Arc<Published>>>,
    baseline: Mutex<Baseline>,
    pooling: StatementPooling,
    hour: Mutex<Hour>,
    marks: Mutex<Marks>,
    processes: ProcessSet,
}

impl Target {
    /// Makes the only target of a server, without connecting. Must be called within a tokio runtime.
    pub fn new(
        settings: TargetSettings,
        budget: Arc<Budget>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let memory = ConnectMemory::new(settings.connect.credentials.clone());
        Self::alone(settings, budget, tasks, stop, memory)
    }

    /// As [`Self::new`]; its connects share a memory with those of other targets.
    pub(crate) fn alone(
        settings: TargetSettings,
        budget: Arc<Budget>,
        tasks: TaskTracker,
        stop: CancellationToken,
        memory: ConnectMemory,
    ) -> Arc<Self> {
        let server = Server::new(ServerAddress::new(&settings.connect.dsn.hosts));
        Self::on(server, settings, budget, tasks, stop, memory)
    }

    /// Makes a target, without connecting. Must be called within a tokio runtime.
    ///
    /// `budget` has the permits of its connections, which belong to the server. `tasks` and `stop`
    /// track and end what it spawns.
    pub(super) fn on(
        server: Arc<Server>,
        settings: TargetSettings,
        budget: Arc<Budget>,
        tasks: TaskTracker,
        stop: CancellationToken,
        memory: ConnectMemory,
    ) -> Arc<Self> {
        let reasons = settings.limits.close_reasons();
        let instruments = Arc::new(pool::PoolInstruments::closing_for(reasons));
        let connect = connect_settings(&settings);
        let processes = ProcessSet::new(&settings, tasks.clone(), stop.clone());
        let for_connects = Arc::clone(&instruments);
        let connector = Connector::with_memory(connect, budget, for_connects, tasks, stop, memory);
        let pool = Pool::new(connector, settings.limits.clone(), instruments);
        let instruments = ProbeInstruments::new(&settings);
        Arc::new(Self {
            base: base_label("target", &settings.name),
            memory: Mutex::new(Memory::new(&settings.views)),
            reading: tokio::sync::Mutex::default(),
            endpoints: settings.sources.iter().cloned().map(EndpointPools::new).collect(),
            settings,
            server,
            identity: Mutex::default(),
            follows: AtomicBool::new(false),
            pool,
            instruments,
            published: watch::Sender::new(None),
            baseline: Mutex::default(),
            pooling: StatementPooling::default(),
            hour: Mutex::new(Hour::new(Instant::now())),
            marks: Mutex::default(),
            processes,
        })
    }

    /// Its settings.
    pub(crate) fn settings(&self) -> &TargetSettings {
        &self.settings
    }

    /// The server that it shares with other targets of the same hosts.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The server behind its connections, as of the last probe that asked.
    pub(super) fn identity(&self) -> Option<ServerIdentity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_identity(&self, identity: Option<&ServerIdentity>) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity.cloned();
    }

    /// Reports whether another target reads the server for it.
    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    pub(super) fn set_follows(&self, follows: bool) {
        self.follows.store(follows, Ordering::Relaxed);
    }

    /// Its name, the label `target`.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The label that all its samples carry, and the detail in which it is shown.
    pub(crate) fn base(&self) -> Subject<'_> {
        Subject { base: &self.base, detail: self.settings.detail }
    }

    /// The exporter's own pool to it.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The counters and histograms of its probes.
    pub fn instruments(&self) -> &ProbeInstruments {
        &self.instruments
    }

    /// Gives access to what its views remember from one probe to the next.
    pub(super) fn remember<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The memory of its views.
    pub(super) fn memory(&self) -> &Mutex<Memory> {
        &self.memory
    }

    /// The processes that are asked apart; `None` where it is one.
    pub(super) fn processes(&self) -> Option<&ProcessSet> {
        self.settings.processes.are_several().then_some(&self.processes)
    }

    /// Takes the lock under which the views are read, by a probe or for a sample.
    pub(super) async fn reading(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading.lock().await
    }

    /// As [`Self::reading`], but returns `None` while the lock is held.
    pub(super) fn try_reading(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.reading.try_lock().ok()
    }

    /// Returns what the samples add up to, for a scrape; `None` where no view is sampled. A label set that
    /// was not shown before is shown with 0.
    pub fn counters(&self) -> Option<Counters> {
        enabled(self).any(|view| view.is_sampled).then(|| {
            let now = Instant::now();
            let mut counters = self.remember(|memory| memory.counters(now));
            self.endpoints.iter().for_each(|pools| pools.replace_counters(&mut counters, now));
            if let Some(processes) = self.processes() {
                counters.waiting = processes.waiting();
            }
            counters
        })
    }

    /// The applications that serve the status of their own pools.
    pub(crate) fn endpoints(&self) -> &[EndpointPools] {
        &self.endpoints
    }

    /// The last snapshot; `None` before the first.
    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// A receiver that is notified of every new snapshot.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    pub(super) fn publish(&self, published: Published) {
        self.hour.lock().unwrap_or_else(PoisonError::into_inner).add(&published.snapshot);
        self.published.send_replace(Some(Arc::new(published)));
    }

    /// Reports whether the last snapshot is too old to say anything about now.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        let interval = self.settings.schedule.interval;
        self.published().is_some_and(|p| p.snapshot.is_stale(now, interval))
    }

    /// Reports whether the last probe succeeded and is recent; `None` before the first.
    pub fn is_up(&self, now: Instant) -> Option<bool> {
        let published = self.published()?;
        Some(published.snapshot.is_up() && !self.is_stale(now))
    }

    /// Copies the record of the last hour.
    pub(crate) fn hour(&self, now: Instant) -> HourView {
        self.hour.lock().unwrap_or_else(PoisonError::into_inner).view(now)
    }

    /// Forgets the record and starts it anew, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn restart_hour(&self, start: Instant) {
        *self.hour.lock().unwrap_or_else(PoisonError::into_inner) = Hour::new(start);
    }

    /// Remembers the results of its checks, and returns since when each of them stands.
    pub(crate) fn mark(&self, results: &[(&'static str, &'static str)], now: Instant) -> Vec<Mark> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).update(results, now)
    }

    /// The reset point of the counters in the JSON.
    pub(crate) fn baseline(&self) -> Baseline {
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the reset point to now. Metrics and verdicts do not change.
    pub(crate) fn reset(&self, now: Instant) {
        let baseline = Baseline {
            at: Some(now),
            totals: self.pool.instruments().totals(),
            slow: self.instruments.slow.count(OwnQuery::Probe),
        };
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = baseline;
    }

    /// What stands between the exporter and the server; `None` while that is not known.
    pub(crate) fn path(&self) -> Option<ServerPath> {
        self.published()?.snapshot.path
    }

    /// Reports whether statements run in transactions: the kind of the target and its pooler allow them.
    pub(super) fn has_transactions(&self) -> bool {
        self.settings.kind.spec().has_transactions && !self.pooling.is_by_statement()
    }

    /// What is known of the pooler's mode.
    pub(super) fn pooling(&self) -> &StatementPooling {
        &self.pooling
    }

    /// The first host's name, for `db_pool_target_info`.
    pub(crate) fn host(&self) -> String {
        let hosts = &self.settings.connect.dsn.hosts;
        hosts.first().map_or_else(String::new, Host::show)
    }

    /// The database's name, for `db_pool_target_info`.
    pub(crate) fn database(&self) -> &str {
        self.settings.connect.dsn.database.as_deref().unwrap_or_default()
    }
}

/// Limits a connect to 95 % of the probe's time, so that its own time-out comes before the probe's
/// deadline. The connect's time-out reports the phase that hangs; the deadline drops the future, and with
/// it that knowledge.
pub(super) fn connect_settings(settings: &TargetSettings) -> pool::ConnectSettings {
    let limit = settings.schedule.timeout.mul_f64(0.95);
    let connect = settings.connect.clone();
    pool::ConnectSettings { timeout: connect.timeout.min(limit), ..connect }
}

/// The families of a target that change without a probe; read at each scrape.
pub(crate) const READINGS: &[Reading<Target>] = &[
    Reading {
        name: "db_pool_up",
        help: "1 when the last probe succeeded: a check-out through the exporter's own probe pool, its statement, and the last fresh connect; 0 also when the last probe is older than three intervals.",
        kind: Kind::Gauge,
        labels: &[],
        read: |target, out| out.push([], target.is_up(Instant::now())),
    },
    Reading {
        name: "db_pool_target_info",
        help: "Always 1; the labels have the target's first host, its database, its server (all hosts and ports, the same for all targets of a server), and its own labels. To be joined on target. pooler is true while PgBouncer or another pooler stands between, false while none does, and empty while that is not known: behind a pooler the server's sessions are the pooler's, so nothing can be told of applications' pools.",
        kind: Kind::Gauge,
        labels: &["host", "database", "server", "pooler"],
        read: |target, out| {
            let own = target.settings.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let pooler = ServerPath::label(target.path());
            let server = target.server.address().to_string();
            out.push_own(&[&target.host(), target.database(), &server, pooler], own, 1_u32);
        },
    },
    Reading {
        name: "db_pool_config_info",
        help: "Always 1; the labels have some of the target's configuration.",
        kind: Kind::Gauge,
        labels: &["pre_ping", "use_lifo", "sslmode", "app_env"],
        read: |target, out| {
            let limits = &target.settings.limits;
            let word = |truth: bool| if truth { "true" } else { "false" };
            let sslmode = target.settings.connect.sslmode();
            let values =
                [word(limits.pre_ping), word(limits.use_lifo), sslmode, &target.settings.app_env];
            out.push(values, 1_u32);
        },
    },
    Reading {
        name: "db_pool_probe_interval_seconds",
        help: "Configured time from the start of one probe to the start of the next.",
        kind: Kind::Gauge,
        labels: &[],
        read: |target, out| out.push([], target.settings.schedule.interval),
    },
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::metrics::{Filter, Format, Page};
    use crate::probe::{Failure, Snapshot, fixture};

    fn up(target: &Target) -> Option<String> {
        let filter = Filter::default();
        let mut page = Page::new(Format::Text, &filter);
        page.live(READINGS, [(target.base(), target)]);
        let text = page.finish();
        text.lines().find_map(|l| l.strip_prefix("db_pool_up{target=\"t\"} ")).map(str::to_owned)
    }

    #[tokio::test(start_paused = true)]
    async fn up_needs_a_good_probe_that_is_not_too_old() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let target = Target::new(fixture::settings("t"), Budget::daemon(), tasks, stop);
        assert_eq!(up(&target), None, "absent before the first probe");
        let failed = || Err(Failure::deadline(Duration::from_secs(10)));
        fixture::publish(&target, Snapshot { query: failed(), ..fixture::snapshot() });
        assert_eq!(up(&target).as_deref(), Some("0"), "no statement");
        fixture::publish(
            &target,
            Snapshot {
                connect: Some(Err(Failure::deadline(Duration::ZERO))),
                ..fixture::snapshot()
            },
        );
        assert_eq!(up(&target).as_deref(), Some("0"), "no new connection");
        fixture::publish(&target, Snapshot { connect: None, ..fixture::snapshot() });
        assert_eq!(up(&target).as_deref(), Some("1"), "fresh connects are switched off");
        advance(Duration::from_secs(30)).await;
        assert_eq!(up(&target).as_deref(), Some("1"), "three intervals old");
        advance(Duration::from_millis(1)).await;
        assert_eq!(up(&target).as_deref(), Some("0"), "older");
    }
}
