//! The statements that take the most time: pg_stat_statements.
//!
//! Off unless configured. The server normalizes statements and gives each a queryid. What ran at top
//! level and what ran inside of functions has the same queryid, and is summed up. A statement that was
//! once among the top stays shown while the server remembers it, because rate() over a counter that
//! comes and goes is wrong.
//! <https://www.postgresql.org/docs/current/pgstatstatements.html>

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Views;
use super::column::{ViewError, column, count, milliseconds, text, text_if_any};
use super::extension::Extension;
use super::memory::Digest;
use super::row::{Answer, Context, Query, View, ViewSource, view_name};
use crate::metrics::{Kind, Reading};

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("statements"),
    doc: "the statements that take the most time, from the extension `pg_stat_statements`; `true`, or a table with the next two",
    since: 0,
    on_by_default: false,
    is_sampled: false,
    source: ViewSource::Extension { name: "pg_stat_statements", ask, read },
    readings: &[READINGS],
};

/// The options of this view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementsSettings {
    /// The number of statements that are read, those with the most total time.
    pub top: u32,
    /// Shows their texts, in `_statement_info`. They can hold personal data.
    pub show_text: bool,
}

impl Default for StatementsSettings {
    fn default() -> Self {
        Self { top: 20, show_text: false }
    }
}

/// A normalized statement of one role in one database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementId {
    /// The database's name.
    pub database: String,
    /// The role's name.
    pub user: String,
    /// The server's queryid.
    pub query: i64,
}

/// The totals of a statement since the server's statistics were reset.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementStats {
    /// The statement.
    pub id: StatementId,
    /// The number of executions.
    pub calls: u64,
    /// The execution time of all of them, without planning.
    pub time: Duration,
    /// The number of rows that they returned or changed.
    pub rows: u64,
    /// Its normalized text; `None` unless `show_text` is on.
    pub text: Option<String>,
    /// True if it is among the top now.
    pub is_top: bool,
}

/// The executions of a statement at top level, or those inside of functions. The server counts, and forgets,
/// the two separately.
pub(super) struct StatementPart {
    pub(super) is_toplevel: bool,
    pub(super) stats: StatementStats,
}

/// The statements of one reading.
pub(super) struct Statements(pub(super) Vec<StatementPart>);

impl Answer for Statements {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        digest.views.statements = Some(digest.memory.statements.update(self.0));
    }
}

/// Reads the top by time, and the statements that were among the top before.
fn ask(context: &Context<'_>, extension: &Extension) -> Query {
    let settings = &context.settings.statements;
    let capacity = i64::try_from(context.settings.query_cache_size).unwrap_or(i64::MAX);
    let with_text = settings.show_text && !context.memory.statements.are_texts_refused;
    Query::new(sql(extension, with_text))
        .with(i64::from(settings.top).min(capacity), Type::INT8)
        .with(context.memory.statements.queries(), Type::INT8_ARRAY)
}

fn sql(extension: &Extension, with_text: bool) -> String {
    let schema = &extension.schema;
    let total = total_column(extension.version);
    // The server keeps the texts in a file and reads all of it, so they are left out unless shown.
    let (with_texts, text) =
        if with_text { ("true", "left(min(s.query), 4096)") } else { ("false", "NULL::text") };
    // Before version 1.9 there is no such column, and the server sums up the parts itself. A plain constant
    // could not stand in GROUP BY.
    let toplevel = if extension.version < (1, 9) { "s.queryid IS NOT NULL" } else { "s.toplevel" };
    format!(
        "SELECT * FROM (SELECT p.*, \
         dense_rank() OVER (ORDER BY p.whole DESC, p.queryid, p.dbid, p.userid) <= $1 AS is_top \
         FROM (SELECT s.dbid, s.userid, d.datname::text AS database, \
         pg_catalog.pg_get_userbyid(s.userid)::text AS role, s.queryid, {toplevel} AS is_toplevel, \
         sum(s.calls)::int8 AS calls, sum(s.{total})::float8 AS total_ms, sum(s.rows)::int8 AS row_count, \
         {text} AS query_text, \
         sum(sum(s.{total})) OVER (PARTITION BY s.dbid, s.userid, s.queryid) AS whole \
         FROM {schema}.pg_stat_statements({with_texts}) s JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
         WHERE s.queryid IS NOT NULL \
         GROUP BY s.dbid, d.datname, s.userid, s.queryid, {toplevel}) p) t \
         WHERE t.is_top OR t.queryid = ANY ($2)"
    )
}

/// The column with the execution time, which version 1.8 of the extension renamed.
fn total_column(version: (u32, u32)) -> &'static str {
    if version < (1, 8) { "total_time" } else { "total_exec_time" }
}

fn read(_: &Context<'_>, rows: &[Row]) -> Result<Box<dyn Answer>, ViewError> {
    Ok(Box::new(Statements(rows.iter().map(part).collect::<Result<_, _>>()?)))
}

fn part(row: &Row) -> Result<StatementPart, ViewError> {
    let stats = StatementStats {
        id: StatementId {
            database: text(row, "database")?,
            user: text(row, "role")?,
            query: column(row, "queryid")?,
        },
        calls: count(row, "calls")?,
        time: milliseconds(row, "total_ms")?,
        rows: count(row, "row_count")?,
        text: text_if_any(row, "query_text")?,
        is_top: column(row, "is_top")?,
    };
    Ok(StatementPart { is_toplevel: column(row, "is_toplevel")?, stats })
}

/// The statements that are shown. When there is no room, the oldest goes that is not among the top now.
#[derive(Debug)]
pub struct StatementMembers {
    capacity: usize,
    since: BTreeMap<StatementId, u64>,
    next: u64,
    /// The two parts of each statement: at top level, and inside of functions.
    parts: BTreeMap<StatementId, [Tally; 2]>,
    /// The server could not convert the texts of other databases to the encoding of this one. Then it
    /// refuses the whole answer, so they are not asked for any more.
    are_texts_refused: bool,
}

/// The totals of a part of a statement, which do not fall when the server forgets it.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    last: Amount,
    /// The sum of what the server has forgotten.
    forgotten: Amount,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    calls: u64,
    time: Duration,
    rows: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            time: self.time + other.time,
            rows: self.rows + other.rows,
        }
    }
}

impl Tally {
    /// Takes in what the server shows now; nothing for a part that it has forgotten.
    fn take(&mut self, now: Amount) {
        if now.calls < self.last.calls {
            self.forgotten = self.forgotten.plus(self.last);
        }
        self.last = now;
    }
}

impl StatementMembers {
    /// Keeps at most `capacity` statements.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            since: BTreeMap::new(),
            next: 0,
            parts: BTreeMap::new(),
            are_texts_refused: false,
        }
    }

    /// The queryids of all members, to be read beside the top.
    pub(crate) fn queries(&self) -> Vec<i64> {
        let mut queries: Vec<i64> = self.since.keys().map(|id| id.query).collect();
        queries.sort_unstable();
        queries.dedup();
        queries
    }

    /// Stops asking for the texts.
    pub(super) fn refuse_texts(&mut self) {
        self.are_texts_refused = true;
    }

    /// Sums up the parts of each statement, and returns the statements to show.
    fn update(&mut self, parts: Vec<StatementPart>) -> Vec<StatementStats> {
        let mut found: BTreeMap<StatementId, (StatementStats, [Amount; 2])> = BTreeMap::new();
        for StatementPart { is_toplevel, stats } in parts {
            let amount = Amount { calls: stats.calls, time: stats.time, rows: stats.rows };
            let (_, amounts) =
                found.entry(stats.id.clone()).or_insert_with(|| (stats, Default::default()));
            amounts[usize::from(is_toplevel)] = amount;
        }
        let mut whole = Vec::new();
        let mut tallies = BTreeMap::new();
        for (id, (stats, amounts)) in found {
            let mut both = self.parts.get(&id).copied().unwrap_or_default();
            both.iter_mut().zip(amounts).for_each(|(tally, now)| tally.take(now));
            let all = both.map(|tally| tally.last.plus(tally.forgotten));
            let Amount { calls, time, rows } = all[0].plus(all[1]);
            whole.push(StatementStats { calls, time, rows, ..stats });
            tallies.insert(id, both);
        }
        let shown = self.choose(whole);
        tallies.retain(|id, _| self.since.contains_key(id));
        self.parts = tallies;
        shown
    }

    /// Adds the top, drops what the server has forgotten, and returns the statements to show.
    pub(crate) fn choose(&mut self, statements: Vec<StatementStats>) -> Vec<StatementStats> {
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
            let oldest = self.since.iter().min_by_key(|(id, since)| {
                (there.get(id).is_some_and(|statement| statement.is_top), **since)
            });
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
const READINGS: &[Reading<Views>] = &[
    Reading {
        name: "db_pool_server_statement_calls_total",
        help: "Executions of a statement, for the statements with the most total time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.calls)),
    },
    Reading {
        name: "db_pool_server_statement_seconds_total",
        help: "Execution time of a statement without planning, for the statements with the most total time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.time)),
    },
    Reading {
        name: "db_pool_server_statement_rows_total",
        help: "Rows that a statement returned or changed, for the statements with the most total time.",
        kind: Kind::Counter,
        labels: BY_STATEMENT,
        read: |views, out| each(views, |labels, s| out.push(labels, s.rows)),
    },
    Reading {
        name: "db_pool_server_statement_info",
        help: "Always 1; the label query has the statement's normalized text. Absent unless views.statements.show_text is on.",
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
    fn sums_do_not_fall_when_the_server_forgets_a_part() {
        let mut members = StatementMembers::new(3);
        let mut calls = |parts: &[(bool, u64)]| {
            let part = |(is_toplevel, calls): &(bool, u64)| StatementPart {
                is_toplevel: *is_toplevel,
                stats: StatementStats { calls: *calls, ..statement(1, true) },
            };
            members.update(parts.iter().map(part).collect()).first().map(|s| s.calls)
        };
        assert_eq!(calls(&[(true, 5), (false, 7)]), Some(12));
        assert_eq!(calls(&[(true, 6)]), Some(13), "one part was evicted");
        assert_eq!(calls(&[(true, 6), (false, 2)]), Some(15), "and came back");
        assert_eq!(calls(&[]), None, "the server knows nothing of it");
        assert_eq!(calls(&[(true, 1)]), Some(1));
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
        let total = |version| total_column(Extension::new("public".to_owned(), version).version);
        assert_eq!(
            (total("1.7"), total("1.8"), total("1.10")),
            ("total_time", "total_exec_time", "total_exec_time")
        );
    }
}
