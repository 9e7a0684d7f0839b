//! The write probe: rows put in, counted, taken out again and committed, each step timed.
//!
//! Off until asked for, because it needs a table, which is made by deploy/sql/heartbeat.sql and never by
//! itself. The rows are deleted in the transaction that inserts them: nobody ever sees them, a
//! crash leaves none, and yet the commit must reach the server's disk, as every other.

use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use super::instruments::{ProbeInstruments, WriteStep};
use super::snapshot::Failure;
use super::target::Target;
use crate::pool::{Checkout, Reason, TransactionMode};

/// How it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteProbeSettings {
    /// Where to.
    pub table: Table,
    /// How many rows a probe.
    pub rows: u32,
    /// All of them in one INSERT, otherwise one by one: DB_USE_INSERTMANYVALUES.
    pub use_insertmanyvalues: bool,
}

impl Default for WriteProbeSettings {
    fn default() -> Self {
        let table = Table::new(DEFAULT_TABLE).expect("a table's name");
        Self { table, rows: 10, use_insertmanyvalues: true }
    }
}

/// The table of the write probe unless another is configured.
pub const DEFAULT_TABLE: &str = "db_pool_exporter_heartbeat";

/// The most rows of a probe that make sense.
pub const MOST_ROWS: u32 = 1000;

/// A table's name, quoted so that it can stand in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(String);

/// A table's name that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "must be a table's name, or a schema's and a table's with a dot between, of at most 63 bytes each"
)]
pub struct BadTable;

impl Table {
    /// Takes `table` or `schema.table`, as it is written in the catalog: case counts.
    ///
    /// # Errors
    /// An empty part, one that is too long, more than two, or a zero byte.
    pub fn new(name: &str) -> Result<Self, BadTable> {
        const NAMEDATALEN: usize = 64;
        let parts: Vec<&str> = name.split('.').collect();
        let is_good = |part: &&str| {
            !part.is_empty() && part.len() < NAMEDATALEN && !part.contains(['\0', '\n'])
        };
        if parts.len() > 2 || !parts.iter().all(is_good) {
            return Err(BadTable);
        }
        let quoted = parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
        Ok(Self(quoted.collect::<Vec<_>>().join(".")))
    }
}

/// Writes, reads back, deletes and commits.
///
/// # Errors
/// The step that failed; its transaction is left to be rolled back.
pub(super) async fn once(
    target: &Target,
    connection: &mut Checkout,
    limit: Duration,
) -> Result<(), Failure> {
    let Some(settings) = &target.settings().write else { return Ok(()) };
    let table = &settings.table.0;
    let probe = label(target);
    let deadline = Instant::now() + limit;
    let mut steps =
        Steps { connection, instruments: target.instruments(), probe: &probe, deadline };
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

/// What tells these rows from all others, also from those of another exporter.
fn label(target: &Target) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{} {} {:08x}", target.name(), since.as_nanos(), fastrand::u32(..))
}

fn check(what: &str, rows: i64, expected: u32) -> Result<(), Failure> {
    if rows == i64::from(expected) {
        return Ok(());
    }
    let message = format!("{what} {rows} of {expected} rows");
    Err(Failure { reason: Reason::Query, message, phase: None })
}

/// The connection on which the steps go, with one deadline for all.
struct Steps<'a> {
    connection: &'a mut Checkout,
    instruments: &'a ProbeInstruments,
    probe: &'a String,
    deadline: Instant,
}

impl Steps<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let limit = self.left();
        Ok(self.connection.begin(TransactionMode::ReadWrite, limit).await?)
    }

    async fn insert(&mut self, settings: &WriteProbeSettings) -> Result<(), Failure> {
        let start = Instant::now();
        let all: Vec<u32> = (0..settings.rows).collect();
        let at_once = if settings.use_insertmanyvalues { all.len() } else { 1 };
        for rows in all.chunks(at_once.max(1)) {
            let limit = self.left();
            let sql = insert(&settings.table, rows);
            self.connection
                .query(&sql, &[(self.probe as &(dyn ToSql + Sync), Type::TEXT)], limit)
                .await?;
        }
        self.instruments.writes.observe(WriteStep::Insert, start.elapsed());
        Ok(())
    }

    async fn count(&mut self, step: WriteStep, sql: &str) -> Result<i64, Failure> {
        let (start, limit) = (Instant::now(), self.left());
        let rows = self
            .connection
            .query(sql, &[(self.probe as &(dyn ToSql + Sync), Type::TEXT)], limit)
            .await?;
        self.instruments.writes.observe(step, start.elapsed());
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let (start, limit) = (Instant::now(), self.left());
        self.connection.commit(limit).await?;
        self.instruments.writes.observe(WriteStep::Commit, start.elapsed());
        Ok(())
    }
}

/// One INSERT of these rows.
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
