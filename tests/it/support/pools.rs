//! Pools of the library, without a daemon.

use std::sync::Arc;
use std::time::Duration;

use db_pool_exporter::metrics::{Filter, Format, Page};
use db_pool_exporter::pool::{self, Budget, Connector, Pool, PoolInstruments, PoolLimits};
use db_pool_exporter::secret::Secret;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::postgres::Cluster;

/// The role that these pools log in as, and its password.
pub(crate) const ROLE: (&str, &str) = ("app", "correct horse");

/// A time-out for everything that should be quick.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Limits for tests that are not about limits.
pub(crate) fn limits(size: u32, overflow: u32) -> PoolLimits {
    PoolLimits {
        size,
        max_overflow: Some(overflow),
        timeout: Duration::from_millis(300),
        recycle: None,
        ping_timeout: Duration::from_secs(1),
        ..pool::fixture::limits()
    }
}

/// The role's URL for a cluster, over TCP.
pub(crate) fn connect(port: u16) -> pool::ConnectSettings {
    let url = format!("postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable", ROLE.0);
    let connect = pool::fixture::connect(&url);
    let mut dsn = connect.dsn.as_ref().clone();
    dsn.password = Some(Secret::new(ROLE.1));
    pool::ConnectSettings { dsn: Arc::new(dsn), timeout: Duration::from_secs(2), ..connect }
}

/// A pool with a budget of 100 connections, so that only its own limits apply.
pub(crate) fn pool(connect: pool::ConnectSettings, limits: PoolLimits) -> Arc<Pool> {
    with_budget(connect, limits, Budget::new(100))
}

/// A pool with this connection budget.
pub(crate) fn with_budget(
    connect: pool::ConnectSettings,
    limits: PoolLimits,
    budget: Arc<Budget>,
) -> Arc<Pool> {
    let instruments = Arc::new(PoolInstruments::new());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let connector = Connector::new(connect, budget, Arc::clone(&instruments), tasks, stop);
    Pool::new(connector, limits, instruments)
}

/// A cluster where the role may log in.
pub(crate) fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.role(ROLE.0, ROLE.1);
    cluster
}

/// The role's sessions, as the server counts them.
pub(crate) fn sessions(cluster: &Cluster) -> u64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", ROLE.0);
    cluster.psql(&sql).parse().expect("a count")
}

/// The value of one of the pool's samples; 0 if there is none.
pub(crate) fn counted(pool: &Pool, sample: &str) -> u64 {
    let filter = Filter::default();
    let mut page = Page::new(Format::Text, &filter);
    page.live(pool::READINGS, [("", pool.instruments().as_ref())]);
    let text = page.finish();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}
