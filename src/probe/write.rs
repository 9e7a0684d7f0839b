//! The write probe: inserts rows, counts them, deletes them and commits, and times each step.
//!
//! Off unless configured, because it needs a table. The exporter does not create it;
//! deploy/sql/heartbeat.sql does. The rows are deleted in the transaction that inserts them, so that no
//! other session sees them and a crash leaves none. The commit still has to reach the server's disk, as
//! every commit that has written something.

use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use super::instruments::{ProbeInstruments, WriteStep};
use super::read::LEAST_TIME;
use super::snapshot::Failure;
use super::target::Target;
use crate::duration::rounded_seconds;
use crate::metrics::Label;
use crate::pool::{Checkout, QueryError, Reason, TransactionMode};

/// The settings of the write probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteProbeSettings {
    /// The table that is written to.
    pub table: Table,
    /// The number of rows of one probe.
    pub rows: u32,
    /// DB_USE_INSERTMANYVALUES: whether one INSERT has all rows, or each row has its own.
    pub use_insertmanyvalues: bool,
}

impl Default for WriteProbeSettings {
    fn default() -> Self {
        let table = Table::new(DEFAULT_TABLE).expect("a table's name");
        Self { table, rows: 10, use_insertmanyvalues: true }
    }
}

/// The table of the write probe unless another is configured.
pub(crate) const DEFAULT_TABLE: &str = "db_pool_exporter_heartbeat";

/// The maximum number of rows of a probe.
pub(crate) const MOST_ROWS: u32 = 1000;

/// The name of a table, quoted for use in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(String);

/// The error for a text that cannot be a table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "must be a table's name, or a schema's and a table's with a dot between, of at most 63 bytes each"
)]
pub struct BadTable;

impl Table {
    /// Parses `table` or `schema.table`, written as in the catalog, where case matters.
    ///
    /// # Errors
    /// An empty part, one longer than 63 bytes, more than two parts, a zero byte or a line break.
    pub fn new(name: &str) -> Result<Self, BadTable> {
        const NAMEDATALEN: usize = 64;
        let parts: Vec<&str> = name.split('.').collect();
        let are_good = parts.iter().all(|part| {
            !part.is_empty() && part.len() < NAMEDATALEN && !part.contains(['\0', '\n'])
        });
        if parts.len() > 2 || !are_good {
            return Err(BadTable);
        }
        let quoted = parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
        Ok(Self(quoted.collect::<Vec<_>>().join(".")))
    }
}

/// Runs the write probe over a connection, within `limit`.
///
/// # Errors
/// The failure of the first step that failed. The caller rolls the transaction back.
pub(super) async fn once(
    target: &Target,
    connection: &mut Checkout,
    limit: Duration,
) -> Result<(), Failure> {
    let Some(settings) = &target.settings().write else { return Ok(()) };
    if !target.has_transactions() {
        return Err(no_transaction());
    }
    let table = &settings.table.0;
    let probe = label(target);
    let deadline = Instant::now() + limit;
    let instruments = target.instruments();
    let mut steps = Steps { connection, instruments, probe: &probe, deadline, limit };
    steps.begin().await?;
    steps.insert(settings).await?;
    let count = format!("SELECT count(*) FROM {table} WHERE probe = $1");
    let read = steps.count(WriteStep::Read, &count).await?;
    check("read back", read, settings.rows)?;
    let delete = format!(
        "WITH gone AS (DELETE FROM {table} WHERE probe = $1 RETURNING 1) SELECT count(*) FROM gone"
    );
    let deleted = steps.count(WriteStep::Delete, &delete).await?;
    check("deleted", deleted, settings.rows)?;
    steps.commit().await
}

/// Without a transaction other sessions would see the rows, and a crash would leave them.
fn no_transaction() -> Failure {
    let message = "the write probe needs a transaction, and the pooler pools by statement";
    Failure::new(Reason::StatementPooling, message)
}

/// A text that no other probe uses, also not that of another exporter on the same table.
fn label(target: &Target) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{} {} {:08x}", target.name(), since.as_nanos(), fastrand::u32(..))
}

fn check(what: &str, rows: i64, expected: u32) -> Result<(), Failure> {
    if rows == i64::from(expected) {
        return Ok(());
    }
    let message = format!("{what} {rows} of {expected} rows");
    Err(Failure::new(Reason::Query, message))
}

/// The connection that the steps use, with one deadline for all of them. With a limit for each step, several
/// slow steps together would outlast the probe's share.
struct Steps<'a> {
    connection: &'a mut Checkout,
    instruments: &'a ProbeInstruments,
    probe: &'a String,
    deadline: Instant,
    /// The limit of all steps together.
    limit: Duration,
}

impl Steps<'_> {
    /// Returns the time that is left for a step.
    ///
    /// # Errors
    /// When the steps before took all of it.
    fn left(&self, step: &str) -> Result<Duration, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < LEAST_TIME { Err(self.late(step)) } else { Ok(left) }
    }

    /// The failure of a step that did not end in time. The time is that of all steps: what the last one had
    /// left can be next to nothing.
    fn late(&self, step: &str) -> Failure {
        let seconds = rounded_seconds(self.limit);
        let message = format!("not done within {seconds} s: the time was over at step {step}");
        Failure::new(Reason::Timeout, message)
    }

    fn failed(&self, step: &str, error: QueryError) -> Failure {
        if matches!(error, QueryError::Timeout { .. }) { self.late(step) } else { error.into() }
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let limit = self.left("begin")?;
        let began = self.connection.begin(TransactionMode::ReadWrite, limit).await;
        began.map_err(|error| self.failed("begin", error))
    }

    async fn insert(&mut self, settings: &WriteProbeSettings) -> Result<(), Failure> {
        let start = Instant::now();
        let all: Vec<u32> = (0..settings.rows).collect();
        let at_once = if settings.use_insertmanyvalues { all.len() } else { 1 };
        for rows in all.chunks(at_once.max(1)) {
            let limit = self.left("insert")?;
            let sql = insert(&settings.table, rows);
            let probe = [(self.probe as &(dyn ToSql + Sync), Type::TEXT)];
            let inserted = self.connection.query(&sql, &probe, limit).await;
            inserted.map_err(|error| self.failed("insert", error))?;
        }
        self.instruments.writes.observe(WriteStep::Insert, start.elapsed());
        Ok(())
    }

    async fn count(&mut self, step: WriteStep, sql: &str) -> Result<i64, Failure> {
        let start = Instant::now();
        let limit = self.left(step.label())?;
        let probe = [(self.probe as &(dyn ToSql + Sync), Type::TEXT)];
        let rows = self.connection.query(sql, &probe, limit).await;
        let rows = rows.map_err(|error| self.failed(step.label(), error))?;
        self.instruments.writes.observe(step, start.elapsed());
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let limit = self.left("commit")?;
        let committed = self.connection.commit(limit).await;
        committed.map_err(|error| self.failed("commit", error))?;
        self.instruments.writes.observe(WriteStep::Commit, start.elapsed());
        Ok(())
    }
}

/// The INSERT of some rows.
fn insert(table: &Table, rows: &[u32]) -> String {
    let values = rows.iter().map(|row| format!("($1, {row})"));
    format!("INSERT INTO {} (probe, n) VALUES {}", table.0, values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let check = |name: &str, quoted: &str| {
            assert_eq!(Table::new(name), Ok(Table(quoted.to_owned())));
        };
        check("heartbeat", "\"heartbeat\"");
        check("ops.Heart beat", "\"ops\".\"Heart beat\"");
        check("a\"; DROP TABLE b; --", "\"a\"\"; DROP TABLE b; --\"");
        for bad in ["", ".", "a.", "a.b.c", "a\0", &"x".repeat(64)] {
            assert_eq!(Table::new(bad), Err(BadTable), "{bad:?}");
        }
    }

    #[test]
    fn several_rows_are_one_insert() {
        let table = Table::new("t").unwrap();
        assert_eq!(insert(&table, &[0]), "INSERT INTO \"t\" (probe, n) VALUES ($1, 0)");
        assert_eq!(insert(&table, &[1, 2]), "INSERT INTO \"t\" (probe, n) VALUES ($1, 1), ($1, 2)");
    }
}
