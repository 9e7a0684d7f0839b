//! Answers of consoles for tests: of this room and of the rooms above.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::table::{ConsoleAnswers, Table};
use super::{CONSOLE_VIEWS, Console, clients};
use crate::view::memory::Memory;
use crate::view::row::{Answer, Context, ViewSource};
use crate::view::settings::ViewSettings;

/// A console that is read again and again.
pub struct ConsoleReader {
    settings: ViewSettings,
    memory: Memory,
    /// When the next answers come.
    pub now: Instant,
}

impl Default for ConsoleReader {
    fn default() -> Self {
        let settings = ViewSettings::of(CONSOLE_VIEWS).with(clients::VIEW.name);
        Self { memory: Memory::new(&settings), settings, now: Instant::now() }
    }
}

impl ConsoleReader {
    /// Reads the views from these tables, by command; a command without a table does not exist.
    ///
    /// # Panics
    /// If a view cannot be read.
    pub fn read(&mut self, version: &str, tables: &BTreeMap<&'static str, Table>) -> Console {
        let mut answers: Vec<Box<dyn Answer>> = Vec::new();
        for view in CONSOLE_VIEWS {
            let ViewSource::Console { ask, read } = &view.source else { continue };
            let (settings, memory) = (&self.settings, &self.memory);
            let context = Context { settings, memory, own_pids: &[], own_open: 1 };
            if !settings.enabled.contains(&view.name) {
                continue;
            }
            let asked = ask(&context, version);
            if asked.is_empty() {
                continue;
            }
            let given = asked.into_iter().filter_map(|c| Some((c, tables.get(c)?.clone())));
            let shown = ConsoleAnswers {
                server_version: version.to_owned(),
                connection: 1,
                is_tcp: true,
                at: self.now,
                tables: given.collect(),
            };
            let answer = read(&context, &shown);
            answers.push(
                answer.unwrap_or_else(|error| panic!("{version} {}: {error}", view.name.key)),
            );
        }
        self.memory.digest(&self.settings, answers).consoles.remove(0)
    }
}

/// A console of PgBouncer 1.25 in which every family has a sample.
pub fn console() -> Console {
    let mut reader = ConsoleReader::default();
    reader.read("1.25.2/bouncer", &answers(0));
    reader.read("1.25.2/bouncer", &answers(7))
}

fn answers(grown: u64) -> BTreeMap<&'static str, Table> {
    let n = |number: u64| Some(number.to_string());
    let stats = [1_000, 2_000, 10, 1, 300_000, 600_000, 5_000_000, 4_000_000, 250_000];
    let mut stats: Vec<Option<String>> = stats.iter().map(|start| n(start + grown)).collect();
    stats.insert(0, Some("shop".to_owned()));
    BTreeMap::from([
        (
            "SHOW POOLS",
            table(
                "database user cl_active cl_waiting cl_active_cancel_req sv_active sv_idle sv_used sv_login maxwait maxwait_us",
                &["shop app 24 3 1 20 0 1 1 2 500000", "pgbouncer pgbouncer 1 0 0 0 0 0 0 0 0"],
            ),
        ),
        (
            "SHOW DATABASES",
            table(
                "name host port pool_size reserve_pool_size max_connections current_connections max_client_connections current_client_connections paused",
                &["shop 10.0.0.5 5432 20 5 40 22 0 27 0"],
            ),
        ),
        (
            "SHOW USERS",
            table("name pool_size max_user_connections current_connections", &["app - 30 22"]),
        ),
        ("SHOW CONFIG", table("key value", &["max_client_conn 100", "default_pool_size 20"])),
        ("SHOW LISTS", table("list items", &["used_clients 28"])),
        (
            "SHOW CLIENTS",
            table(
                "type user database state wait wait_us application_name",
                &[
                    "C app shop active 0 0 web",
                    "C app shop waiting 2 500000 web",
                    "C stats pgbouncer active 0 0 psql",
                ],
            ),
        ),
        (
            "SHOW SERVERS",
            table("type user database state application_name", &["S app shop active web"]),
        ),
        ("SHOW STATE", table("key value", &["active yes", "paused no", "suspended no"])),
        (
            "SHOW STATS",
            Table::new(
                &[
                    "database",
                    "total_xact_count",
                    "total_query_count",
                    "total_server_assignment_count",
                    "total_client_login_count",
                    "total_received",
                    "total_sent",
                    "total_xact_time",
                    "total_query_time",
                    "total_wait_time",
                ],
                &[stats.iter().map(Option::as_deref).collect()],
            ),
        ),
    ])
}

/// A table of words; `-` is NULL.
pub fn table(columns: &str, rows: &[&str]) -> Table {
    let columns: Vec<&str> = columns.split(' ').collect();
    let rows: Vec<Vec<Option<&str>>> = rows
        .iter()
        .map(|row| row.split(' ').map(|word| Some(word).filter(|word| *word != "-")).collect())
        .collect();
    Table::new(&columns, &rows)
}
