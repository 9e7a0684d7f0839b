//! Opens all connections that one process may open, at once, by the pool's own rules: the proof that the server
//! gives them. Everything is closed at the end, also after Ctrl-C.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pool::{Budget, Checkout, Connector, Pool, PoolInstruments, PoolLimits};
use crate::probe::{Failure, TargetSettings};

/// The time in which connections must end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The limit of the question about what is left.
const QUESTION: Duration = Duration::from_secs(5);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrillPlan {
    /// The rules of the pool.
    pub size: u32,
    /// Connections beyond the size.
    pub overflow: u32,
    /// The time for which all connections are held.
    pub hold: Duration,
}

impl DrillPlan {
    /// The number of connections.
    pub(crate) fn connections(&self) -> u32 {
        self.size.saturating_add(self.overflow)
    }
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Drilled {
    /// The check-outs in the order in which they ended, with their times.
    pub attempts: Vec<(Duration, Result<(), Failure>)>,
    /// What the server had left while all that were opened were held; `None` where it could not be asked.
    pub left: Option<Left>,
    /// True if it was interrupted.
    pub was_interrupted: bool,
    /// Connections that had not been closed by the server in time.
    pub unclosed: usize,
}

/// What was left on the server, as the server counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Connections of ordinary roles.
    pub ordinary: i64,
    /// Connections that all clients have open.
    pub used: i64,
    /// Of the role's CONNECTION LIMIT; `None` without one.
    pub role: Option<i64>,
    /// Of the database's CONNECTION LIMIT.
    pub database: Option<i64>,
}

impl Left {
    /// Returns how many more connections this role could open to this database.
    pub(crate) fn more(&self) -> i64 {
        let free = self.ordinary - self.used;
        [self.role, self.database].into_iter().flatten().fold(free, i64::min).max(0)
    }
}

/// The limits without -1, which means none.
const SQL: &str = "\
    SELECT current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
    - coalesce(current_setting('reserved_connections', true), '0')::int8 AS ordinary, \
    count(*) AS used, \
    (SELECT nullif(rolconnlimit, -1) FROM pg_catalog.pg_roles WHERE rolname = session_user AND NOT rolsuper)::int8 \
    - count(*) FILTER (WHERE usename = session_user) AS role, \
    (SELECT nullif(datconnlimit, -1) FROM pg_catalog.pg_database WHERE datname = current_database())::int8 \
    - count(*) FILTER (WHERE datname = current_database()) AS database \
    FROM pg_catalog.pg_stat_activity \
    WHERE backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL";

/// Opens the connections, holds and closes them.
///
/// # Errors
/// When the runtime or the signal handlers cannot be made.
pub(crate) fn drill(target: &TargetSettings, plan: DrillPlan) -> anyhow::Result<Drilled> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let drilled = runtime.block_on(async {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let signal = super::stop_on_signal(CancellationToken::new())?;
        let pool = pool(target, plan, &tasks, stop);
        let mut drilled = Drilled::default();
        let was_interrupted = tokio::select! {
            biased;
            () = hold(&pool, plan, &mut drilled) => false,
            () = signal => true,
        };
        drilled.was_interrupted = was_interrupted;
        drop(pool);
        tasks.close();
        // A connection's task ends when the server has closed its side.
        if timeout(FAREWELL, tasks.wait()).await.is_err() {
            drilled.unclosed = tasks.len();
        }
        Ok(drilled)
    });
    runtime.shutdown_background();
    drilled
}

/// The pool of one process of the application, with a budget for all of it.
fn pool(
    target: &TargetSettings,
    plan: DrillPlan,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Arc<Pool> {
    let budget = Budget::new(usize::try_from(plan.connections()).unwrap_or(usize::MAX));
    let instruments = Arc::new(PoolInstruments::new());
    let connect = target.connect.clone();
    let connector = Connector::new(connect, budget, Arc::clone(&instruments), tasks.clone(), stop);
    let limits =
        PoolLimits { size: plan.size, max_overflow: Some(plan.overflow), ..target.limits.clone() };
    Pool::new(connector, limits, instruments)
}

/// Checks all connections out at once and holds those that were opened. Dropping the future gives them back.
async fn hold(pool: &Arc<Pool>, plan: DrillPlan, drilled: &mut Drilled) {
    let mut attempts: FuturesUnordered<_> = (0..plan.connections())
        .map(|_| async {
            let start = Instant::now();
            let result = pool.check_out().await;
            (start.elapsed(), result)
        })
        .collect();
    let mut held = Vec::new();
    while let Some((took, result)) = attempts.next().await {
        drilled.attempts.push((took, result.as_ref().map(|_| ()).map_err(|e| e.clone().into())));
        held.extend(result.ok());
    }
    if let Some(first) = held.first_mut() {
        drilled.left = left(first).await;
    }
    sleep(plan.hold).await;
}

async fn left(connection: &mut Checkout) -> Option<Left> {
    let rows = connection.query(SQL, &[], QUESTION).await.ok()?;
    let row: &Row = rows.first()?;
    Some(Left {
        ordinary: row.try_get("ordinary").ok()?,
        used: row.try_get("used").ok()?,
        role: row.try_get("role").ok()?,
        database: row.try_get("database").ok()?,
    })
}
