//! A target of the library that watches a cluster, without a daemon.
//!
//! Its role always has a CONNECTION LIMIT of 3: a test in which the exporter opens a fourth connection fails.

use std::sync::Arc;
use std::time::Duration;

use db_pool_exporter::metrics::{Filter, Format, Page};
use db_pool_exporter::pool::Budget;
use db_pool_exporter::probe::{
    self, FreshConnect, ProbePart, Probing, Published, Roster, SNAPSHOT_READINGS, Snapshot, Target,
    TargetSettings, fixture,
};
use db_pool_exporter::secret::Secret;
use db_pool_exporter::{pool, view};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pools::{connect, limits};
use super::postgres::Cluster;

/// The monitoring role.
pub(crate) const MONITOR: (&str, &str) = ("monitor", "it watches");

/// The privileges of the monitoring role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    None,
    ReadAllStats,
    Superuser,
}

/// Creates the monitoring role.
pub(crate) fn monitor(cluster: &Cluster, privilege: Privilege) {
    cluster.role(MONITOR.0, MONITOR.1);
    cluster.psql("ALTER ROLE monitor CONNECTION LIMIT 3");
    match privilege {
        Privilege::None => {}
        Privilege::ReadAllStats => drop(cluster.psql("GRANT pg_read_all_stats TO monitor")),
        Privilege::Superuser => drop(cluster.psql("ALTER ROLE monitor SUPERUSER")),
    }
}

/// The target settings for a cluster, with the role [`MONITOR`].
pub(crate) fn settings(cluster: &Cluster, views: view::ViewSettings) -> TargetSettings {
    let mut connect = connect(cluster.port());
    let mut dsn = connect.dsn.as_ref().clone();
    dsn.user = Some(MONITOR.0.to_owned());
    dsn.password = Some(Secret::new(MONITOR.1));
    connect.dsn = Arc::new(dsn);
    TargetSettings {
        labels: Vec::new(),
        connect,
        limits: pool::PoolLimits { timeout: Duration::from_secs(5), ..limits(20, 10) },
        views,
        ..fixture::settings("watched")
    }
}

/// A target that is probed on demand.
pub(crate) struct Watch {
    target: Arc<Target>,
}

impl Watch {
    pub(crate) fn new(settings: TargetSettings) -> Watch {
        Watch {
            target: Target::new(
                settings,
                Budget::daemon(),
                TaskTracker::new(),
                CancellationToken::new(),
            ),
        }
    }

    /// The value of one of the probes' samples.
    pub(crate) fn instrument(&self, sample: &str) -> f64 {
        let filter = Filter::default();
        let mut page = Page::new(Format::Text, &filter);
        page.live(probe::INSTRUMENT_READINGS, [("", self.target.instruments())]);
        let text = page.finish();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().expect("a number")
    }

    /// Runs one probe with a fresh connection.
    pub(crate) async fn probe(&self) -> Snapshot {
        probe::once(&self.target, FreshConnect::Try).await
    }

    /// Runs one probe; fails unless every part succeeds.
    pub(crate) async fn good(&self) -> Snapshot {
        let snapshot = self.probe().await;
        assert_eq!(failures(&snapshot), [] as [(ProbePart, pool::Reason); 0], "{snapshot:?}");
        snapshot
    }

    /// Runs one successful probe; returns its lines of the exposition.
    pub(crate) async fn lines(&self) -> Lines {
        Lines::new(self.good().await)
    }
}

/// The failed parts, with their reasons.
pub(crate) fn failures(snapshot: &Snapshot) -> Vec<(ProbePart, pool::Reason)> {
    let parts = snapshot.parts();
    parts.filter_map(|(part, result)| Some((part, result.err()?.reason))).collect()
}

/// A target that probes itself at its interval; stops when dropped.
pub(crate) struct Running {
    pub(crate) roster: Roster,
    stop: CancellationToken,
}

impl Running {
    pub(crate) fn start(settings: TargetSettings) -> Running {
        let stop = CancellationToken::new();
        let roster = Roster::new(TaskTracker::new(), stop.clone(), Probing::On);
        roster.apply(vec![settings]);
        Running { roster, stop }
    }

    /// Waits for a snapshot of a probe that starts after this call.
    pub(crate) async fn next(&self) -> Arc<Snapshot> {
        let target = self.roster.target("watched").expect("it was applied");
        let mut published = target.subscribe();
        for _ in 0..2 {
            published.borrow_and_update();
            published.changed().await.expect("the target lives");
        }
        let last = published.borrow_and_update().clone();
        Arc::clone(&last.expect("it has changed").snapshot)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A snapshot's lines of the exposition.
pub(crate) struct Lines(String);

impl Lines {
    pub(crate) fn new(snapshot: Snapshot) -> Lines {
        let published = Published::new(snapshot, "");
        let filter = Filter::default();
        let mut page = Page::new(Format::Text, &filter);
        page.rendered(SNAPSHOT_READINGS, [&published.rendered]);
        page.rendered(view::readings(), [&published.views]);
        Lines(page.finish())
    }

    /// A sample's value; `sample` is its name without `db_pool_`, and its labels.
    pub(crate) fn get(&self, sample: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| {
            line.strip_prefix("db_pool_")?.strip_prefix(sample)?.strip_prefix(' ')
        })?;
        Some(if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") })
    }

    /// A sample that must be there.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        self.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0))
    }

    /// The samples of a family.
    pub(crate) fn family(&self, name: &str) -> Vec<&str> {
        let start = format!("db_pool_{name}");
        let is_its = |line: &&str| {
            line.strip_prefix(start.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        self.0.lines().filter(is_its).collect()
    }
}
