//! SHOW STATS: what each database has done, as counters of our own.
//!
//! PgBouncer adds up the pools that exist now. Its numbers fall when a pool ends: at RELOAD, when
//! `autodb_idle_timeout` or `pool_idle_timeout` removes one, at a restart. A rate over a number that falls would add
//! the whole rest again. So the exporter adds up what the numbers grow by, and begins anew at the lower number.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::pools::{CONSOLE, SHOW_VERSION};
use super::product::PoolerIdentity;
use super::table::{ConsoleAnswers, Record};
use crate::view::column::ViewError;
use crate::view::dropped::CappedFamily;
use crate::view::memory::Digest;
use crate::view::row::{Answer, Context, View, ViewSource, view_name};
use crate::view::series::RETAINED;

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("stats"),
    doc: "what a pooler's databases have done, from `SHOW STATS` (`kind: pgbouncer`)",
    since: 0,
    on_by_default: true,
    is_sampled: false,
    source: ViewSource::Console { ask, read },
    readings: &[super::readings::TOTALS],
};

const SHOW_STATS: &str = "SHOW STATS";

/// A column of SHOW STATS that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stat {
    /// Transactions.
    Transactions,
    /// Statements.
    Queries,
    /// Server connections given to clients (since 1.23).
    ServerAssignments,
    /// Logins of clients (since 1.26).
    ClientLogins,
    /// Bytes from clients.
    ReceivedBytes,
    /// Bytes to clients.
    SentBytes,
    /// Seconds in transactions.
    TransactionSeconds,
    /// Seconds in statements.
    QuerySeconds,
    /// Seconds that clients waited for a server connection. It grows when the wait ends.
    WaitSeconds,
}

/// The columns.
const COLUMNS: [(Stat, &str); 9] = [
    (Stat::Transactions, "total_xact_count"),
    (Stat::Queries, "total_query_count"),
    (Stat::ServerAssignments, "total_server_assignment_count"),
    (Stat::ClientLogins, "total_client_login_count"),
    (Stat::ReceivedBytes, "total_received"),
    (Stat::SentBytes, "total_sent"),
    (Stat::TransactionSeconds, "total_xact_time"),
    (Stat::QuerySeconds, "total_query_time"),
    (Stat::WaitSeconds, "total_wait_time"),
];

impl Stat {
    fn is_time(self) -> bool {
        matches!(self, Self::TransactionSeconds | Self::QuerySeconds | Self::WaitSeconds)
    }
}

/// Numbers by column; a column that the version lacks is missing.
pub type StatTotals = BTreeMap<Stat, f64>;

/// The numbers of one SHOW STATS, by database.
#[derive(Debug)]
pub(in crate::view) struct Stats {
    at: Instant,
    connection: i32,
    /// The number of units of a time that make a second.
    ticks: f64,
    databases: BTreeMap<String, StatTotals>,
}

impl Answer for Stats {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        let (memory, limit) = (&mut *digest.memory, digest.settings.series_limit);
        let left_out = memory.console.stats.take(*self, limit);
        memory.dropped.add(CappedFamily::PoolerDatabases, left_out);
    }
}

fn ask(context: &Context<'_>, server_version: &str) -> Vec<&'static str> {
    let console = &context.memory.console;
    if console.identity(server_version).is_some() || PoolerIdentity::is_known_by(server_version) {
        vec![SHOW_STATS]
    } else {
        vec![SHOW_VERSION, SHOW_STATS]
    }
}

fn read(context: &Context<'_>, answers: &ConsoleAnswers) -> Result<Box<dyn Answer>, ViewError> {
    let identity = context.memory.console.identify(answers);
    let table = answers.required(SHOW_STATS, &["database", "total_query_count"])?;
    let ticks = identity.product.ticks_per_second();
    let mut databases: BTreeMap<String, StatTotals> = BTreeMap::new();
    for row in table.rows() {
        let name = row.text("database").unwrap_or_default();
        if name != CONSOLE {
            add(databases.entry(name.to_owned()).or_default(), row);
        }
    }
    let connection = answers.connection;
    Ok(Box::new(Stats { at: answers.at, connection, ticks, databases }))
}

/// Adds a row: pgcat and pgdog have several of a database.
fn add(totals: &mut StatTotals, row: Record<'_>) {
    for (stat, column) in COLUMNS {
        if let Some(number) = row.number(column) {
            *totals.entry(stat).or_default() += number;
        }
    }
}

/// The counters of all databases, kept from one probe to the next.
#[derive(Debug, Default)]
pub(in crate::view) struct DatabaseCounters {
    databases: BTreeMap<String, Counted>,
    /// The number of units of a time that make a second. Sums are kept in the pooler's units: those are whole numbers.
    ticks: f64,
    /// The connection of the last reading.
    connection: Option<i32>,
    /// True where a new connection can reach another process, with other numbers.
    pub(super) may_change_process: bool,
}

/// The counters of one database.
#[derive(Debug)]
struct Counted {
    /// The numbers of the last reading; empty where the database was missing in it.
    last: StatTotals,
    totals: StatTotals,
    seen: Instant,
}

impl DatabaseCounters {
    /// Takes a reading in, and returns the number of databases that found no room.
    fn take(&mut self, stats: Stats, limit: usize) -> u64 {
        let Stats { at, connection, ticks, databases } = stats;
        self.ticks = ticks;
        let is_first = self.connection.is_none();
        let is_elsewhere = self.may_change_process && self.connection != Some(connection);
        self.connection = Some(connection);
        for (name, counted) in &mut self.databases {
            if !databases.contains_key(name) {
                // Its pools have ended, and with them their numbers. New pools begin at 0.
                counted.last.values_mut().for_each(|number| *number = 0.0);
            }
        }
        let shown = self.shown(at).count();
        let (mut room, mut left_out) = (limit.saturating_sub(shown), 0);
        for (name, numbers) in databases {
            let known = self.databases.get_mut(&name);
            let is_shown = known.as_ref().is_some_and(|counted| counted.is_shown(at));
            if !is_shown && room == 0 {
                left_out += 1;
                continue;
            }
            room -= usize::from(!is_shown);
            if let Some(counted) = known {
                counted.take(numbers, at, is_elsewhere);
            } else {
                self.forget(limit);
                self.databases.insert(name, Counted::new(numbers, at, is_first));
            }
        }
        left_out
    }

    /// Removes the databases that have been gone for longest, when far more are remembered than shown.
    fn forget(&mut self, limit: usize) {
        while self.databases.len() >= limit.saturating_mul(10) + 100 {
            let oldest = self.databases.iter().min_by_key(|(_, counted)| counted.seen);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            self.databases.remove(&name);
        }
    }

    /// The databases that are there, or were until a short time ago.
    pub(super) fn shown(&self, now: Instant) -> impl Iterator<Item = (&String, StatTotals)> {
        let shown = self.databases.iter().filter(move |(_, counted)| counted.is_shown(now));
        shown.map(|(name, counted)| {
            let totals = counted.totals.iter().map(|(stat, number)| {
                (*stat, if stat.is_time() { number / self.ticks } else { *number })
            });
            (name, totals.collect())
        })
    }
}

impl Counted {
    /// A database at 0. `was_there`: true if it existed before the first reading, so that its numbers are not what
    /// it did since then.
    fn new(numbers: StatTotals, seen: Instant, was_there: bool) -> Self {
        let zeros: StatTotals = numbers.keys().map(|stat| (*stat, 0.0)).collect();
        // One that came since the last reading is shown with 0 first, so that increase() sees what it has done.
        let last = if was_there { numbers } else { zeros.clone() };
        Self { last, totals: zeros, seen }
    }

    fn is_shown(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) <= RETAINED
    }

    fn take(&mut self, numbers: StatTotals, at: Instant, is_elsewhere: bool) {
        for (stat, number) in &numbers {
            let last = self.last.get(stat).copied().unwrap_or(*number);
            let growth = if is_elsewhere { 0.0 } else { (number - last).max(0.0) };
            *self.totals.entry(*stat).or_default() += growth;
        }
        self.last = numbers;
        self.seen = at;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Readings of SHOW STATS, ten seconds apart.
    struct Readings {
        counters: DatabaseCounters,
        now: Instant,
        limit: usize,
    }

    impl Readings {
        fn new() -> Self {
            Self { counters: DatabaseCounters::default(), now: Instant::now(), limit: 100 }
        }

        fn take_over(&mut self, connection: i32, queries: &[(&str, f64)]) -> u64 {
            self.now += Duration::from_secs(10);
            let numbers = queries
                .iter()
                .map(|(name, n)| ((*name).to_owned(), StatTotals::from([(Stat::Queries, *n)])));
            let databases = numbers.collect();
            let stats = Stats { at: self.now, connection, ticks: 1e6, databases };
            self.counters.take(stats, self.limit)
        }

        fn take(&mut self, queries: &[(&str, f64)]) -> Vec<(String, f64)> {
            self.take_over(1, queries);
            self.shown()
        }

        fn shown(&self) -> Vec<(String, f64)> {
            let shown = self.counters.shown(self.now);
            shown.map(|(name, totals)| (name.clone(), totals[&Stat::Queries])).collect()
        }
    }

    fn of(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    #[test]
    fn only_growth_is_counted_and_a_fall_begins_anew() {
        let mut readings = Readings::new();
        assert_eq!(readings.take(&[("shop", 1_000.0)]), of(&[("shop", 0.0)]));
        assert_eq!(readings.take(&[("shop", 1_010.0)]), of(&[("shop", 10.0)]));
        assert_eq!(readings.take(&[("shop", 400.0)]), of(&[("shop", 10.0)]), "a pool has ended");
        assert_eq!(readings.take(&[("shop", 405.0)]), of(&[("shop", 15.0)]));
    }

    #[test]
    fn a_database_that_is_removed_and_returns_goes_on() {
        let mut readings = Readings::new();
        readings.take(&[("shop", 5.0)]);
        assert_eq!(readings.take(&[("shop", 25.0)]), of(&[("shop", 20.0)]));
        assert_eq!(readings.take(&[]), of(&[("shop", 20.0)]), "still shown");
        assert_eq!(readings.take(&[("shop", 30.0)]), of(&[("shop", 50.0)]), "counted from 0");
        readings.now += RETAINED;
        assert_eq!(readings.take(&[]), of(&[]), "not shown after ten minutes");
        assert_eq!(readings.take(&[("shop", 1.0)]), of(&[("shop", 51.0)]), "but not forgotten");
    }

    #[test]
    fn a_database_that_appears_is_shown_with_0_first() {
        let mut readings = Readings::new();
        readings.take(&[]);
        assert_eq!(readings.take(&[("shop", 7.0)]), of(&[("shop", 0.0)]));
        assert_eq!(readings.take(&[("shop", 9.0)]), of(&[("shop", 9.0)]));
    }

    #[test]
    fn another_process_behind_the_same_address_adds_nothing() {
        let mut readings = Readings::new();
        readings.counters.may_change_process = true;
        readings.take_over(1, &[("shop", 100.0)]);
        readings.take_over(2, &[("shop", 9_000.0)]);
        assert_eq!(readings.shown(), of(&[("shop", 0.0)]));
        readings.take_over(2, &[("shop", 9_001.0)]);
        assert_eq!(readings.shown(), of(&[("shop", 1.0)]));
    }

    #[test]
    fn databases_beyond_the_limit_are_left_out_and_counted() {
        let mut readings = Readings { limit: 2, ..Readings::new() };
        let left_out = readings.take_over(1, &[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        assert_eq!((left_out, readings.shown().len()), (1, 2));
        for n in 0..1_000_u32 {
            readings.now += RETAINED;
            readings.take(&[(&format!("db{n}"), 1.0)]);
            assert!(readings.counters.databases.len() <= 120);
        }
    }
}
