//! The statements that take the most time: pg_stat_statements.
//!
//! Off until asked for. A statement is what the server normalizes it to, told by its queryid; what ran at
//! top level and what ran inside of functions is summed. One that was once among the top stays shown
//! while the server remembers it, because counters that come and go cannot be added up.
//! <https://www.postgresql.org/docs/current/pgstatstatements.html>

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::Views;
use super::error::{ViewError, column};
use crate::metrics::{Kind, Reading};

/// How statements are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementsSettings {
    /// How many are taken in, by their total time.
    pub top: u32,
    /// Whether their texts are told, in `_statement_info`.
    pub show_text: bool,
}

impl Default for StatementsSettings {
    fn default() -> Self {
        Self { top: 20, show_text: false }
    }
}

/// What ran, as whom, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementId {
    /// The database's name.
    pub database: String,
    /// The role's name.
    pub user: String,
    /// What the server calls the normalized statement.
    pub query: i64,
}

/// What a statement has cost since the server remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementStats {
    /// Which one.
    pub id: StatementId,
    /// How often it ran.
    pub calls: u64,
    /// How long all that took.
    pub time: Duration,
    /// How many rows it returned or changed.
    pub rows: u64,
    /// Its normalized text, when it is to be shown.
    pub text: Option<String>,
    /// Whether it is among the top now.
    pub is_top: bool,
}

/// Where the extension is: it can be in any schema, and in any of its versions.
pub const EXTENSION: &str = "\
    SELECT pg_catalog.quote_ident(n.nspname), e.extversion FROM pg_catalog.pg_extension e \
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";

/// The extension, as it is installed in the target's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    schema: String,
    total: &'static str,
}

impl Extension {
    /// Reads the row of [`EXTENSION`]; `None` when it is not installed.
    ///
    /// # Errors
    /// A column that is not as expected.
    pub fn read(rows: &[Row]) -> Result<Option<Self>, ViewError> {
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Self::new(column(row, 0)?, column(row, 1)?)))
    }

    /// The extension's own version decides: often it is older than the server.
    fn new(schema: String, version: &str) -> Self {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let version: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        let total = if version < (1, 8) { "total_time" } else { "total_exec_time" };
        Self { schema, total }
    }

    /// The statement: the first `$1` by time, and those of `$2`.
    pub fn sql(&self, show_text: bool) -> String {
        let Self { schema, total } = self;
        // Texts are in a file that the server reads as a whole, so only when they are asked for.
        let (texts, text) = match show_text {
            true => ("true", "left(min(s.query), 4096)"),
            false => ("false", "NULL::text"),
        };
        format!(
            "SELECT * FROM (SELECT d.datname::text, pg_catalog.pg_get_userbyid(s.userid)::text, s.queryid, \
             sum(s.calls)::int8, sum(s.{total})::float8, sum(s.rows)::int8, {text}, \
             row_number() OVER (ORDER BY sum(s.{total}) DESC, s.queryid) <= $1 AS is_top \
             FROM {schema}.pg_stat_statements({texts}) s JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
             WHERE s.queryid IS NOT NULL GROUP BY s.dbid, d.datname, s.userid, s.queryid) t \
             WHERE t.is_top OR t.queryid = ANY ($2)"
        )
    }
}

/// For [`Extension::sql`].
pub fn parameters<'a>(top: &'a i64, members: &'a Vec<i64>) -> [(&'a (dyn ToSql + Sync), Type); 2] {
    [(top, Type::INT8), (members, Type::INT8_ARRAY)]
}

/// Reads the statement's rows.
///
/// # Errors
/// A column that is not as expected.
pub fn read(rows: &[Row]) -> Result<Vec<StatementStats>, ViewError> {
    rows.iter().map(statement).collect()
}

fn statement(row: &Row) -> Result<StatementStats, ViewError> {
    let count = |n| Ok(u64::try_from(column::<i64>(row, n)?).unwrap_or(0));
    let ms: f64 = column(row, 4)?;
    Ok(StatementStats {
        id: StatementId {
            database: column(row, 0)?,
            user: column(row, 1)?,
            query: column(row, 2)?,
        },
        calls: count(3)?,
        time: Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default(),
        rows: count(5)?,
        text: column(row, 6)?,
        is_top: column(row, 7)?,
    })
}

/// Which statements are shown: without room the oldest goes, of those that are not at the top now.
#[derive(Debug)]
pub struct StatementMembers {
    capacity: usize,
    since: BTreeMap<StatementId, u64>,
    next: u64,
}

impl StatementMembers {
    /// So many at most.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, since: BTreeMap::new(), next: 0 }
    }

    /// What the statement asks for beside the top.
    pub fn queries(&self) -> Vec<i64> {
        let mut queries: Vec<i64> = self.since.keys().map(|id| id.query).collect();
        queries.sort_unstable();
        queries.dedup();
        queries
    }

    /// Takes the top in, forgets what the server has forgotten, and gives those that are shown.
    pub fn choose(&mut self, statements: Vec<StatementStats>) -> Vec<StatementStats> {
        let there: BTreeMap<&StatementId, &StatementStats> =
            statements.iter().map(|s| (&s.id, s)).collect();
        self.since.retain(|id, _| there.contains_key(id));
        for id in statements.iter().filter(|s| s.is_top).map(|s| &s.id) {
            if !self.since.contains_key(id) {
                self.next += 1;
                self.since.insert(id.clone(), self.next);
            }
        }
        while self.since.len() > self.capacity {
            let is_top = |id: &StatementId| there.get(id).is_some_and(|statement| statement.is_top);
            let oldest = self.since.iter().min_by_key(|(id, since)| (is_top(id), **since));
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { break };
            self.since.remove(&id);
        }
        let mut shown = statements;
        shown.retain(|statement| self.since.contains_key(&statement.id));
        shown.sort_by(|a, b| a.id.cmp(&b.id));
        shown
    }
}

const BY_STATEMENT: &[&str] = &["database", "user", "queryid"];

/// The families of statements.
pub(super) const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_statement_calls_total",
        help: "How often a statement ran, for those that took the most time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.calls)),
    },
    Reading {
        name: "db_pool_server_statement_seconds_total",
        help: "Time that a statement ran, without planning, for those that took the most time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.time)),
    },
    Reading {
        name: "db_pool_server_statement_rows_total",
        help: "Rows that a statement returned or changed, for those that took the most time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.rows)),
    },
    Reading {
        name: "db_pool_server_statement_info",
        help: "1, with a statement's normalized text; only when it is asked for.",
        kind: Kind::Gauge,
        labels: &["database", "user", "queryid", "query"],
        read: |views, out| {
            each(views, |[database, user, id], s| {
                let text = s.text.as_deref().unwrap_or_default();
                out.push([database, user, id, text], s.text.is_some().then_some(1_u32));
            });
        },
    },
];

fn each(views: &Views, mut each: impl FnMut([&str; 3], &StatementStats)) {
    for statement in views.statements.iter().flatten() {
        let query = statement.id.query.to_string();
        each([&statement.id.database, &statement.id.user, &query], statement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(query: i64, is_top: bool) -> StatementStats {
        let id = StatementId { database: "db".to_owned(), user: "app".to_owned(), query };
        StatementStats { id, calls: 1, time: Duration::ZERO, rows: 0, text: None, is_top }
    }

    fn shown(members: &mut StatementMembers, statements: &[(i64, bool)]) -> Vec<i64> {
        let statements = statements.iter().map(|(query, top)| statement(*query, *top));
        members.choose(statements.collect()).iter().map(|s| s.id.query).collect()
    }

    #[test]
    fn a_member_stays_while_the_server_remembers_it() {
        let mut members = StatementMembers::new(3);
        assert_eq!(shown(&mut members, &[(1, true), (2, true), (3, false)]), [1, 2]);
        assert_eq!(shown(&mut members, &[(1, false), (2, true), (3, true)]), [1, 2, 3]);
        assert_eq!(members.queries(), [1, 2, 3]);
        assert_eq!(shown(&mut members, &[(2, false), (3, true)]), [2, 3]);
    }

    #[test]
    fn without_room_the_oldest_goes_that_is_not_at_the_top() {
        let mut members = StatementMembers::new(2);
        shown(&mut members, &[(5, true), (4, true)]);
        assert_eq!(shown(&mut members, &[(5, true), (4, false), (1, true)]), [1, 5]);
        assert_eq!(shown(&mut StatementMembers::new(0), &[(1, true)]), [] as [i64; 0]);
    }

    #[test]
    fn the_column_depends_on_the_extensions_version() {
        let total = |version| Extension::new("public".to_owned(), version).total;
        assert_eq!(
            (total("1.7"), total("1.8"), total("1.10")),
            ("total_time", "total_exec_time", "total_exec_time")
        );
    }
}
