//! Every version's columns, played by consoles that answer from tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::daemon;
use crate::support::console::{Console, INT4, INT8, NUMERIC, Recorded, Shown, TEXT};
use crate::support::wait_for;
use crate::support::web::get;

const COLUMNS: &str = include_str!("../../data/pgbouncer-columns.txt");

/// The answers of each version.
fn versions() -> BTreeMap<&'static str, BTreeMap<String, Shown>> {
    let mut versions: BTreeMap<&str, BTreeMap<String, Shown>> = BTreeMap::new();
    for line in COLUMNS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (version, command) =
            (words.next().expect("a version"), words.next().expect("a command"));
        let columns: Vec<&str> = words.collect();
        let shown =
            if command == "LISTS" { lists(&columns) } else { answer(version, command, &columns) };
        let commands = versions.entry(version).or_default();
        commands.insert(format!("SHOW {command}"), shown);
        if command == "CLIENTS" {
            let columns: Vec<&str> = line.split(' ').skip(2).collect();
            commands.insert("SHOW SERVERS".to_owned(), answer(version, "SERVERS", &columns));
        }
    }
    for commands in versions.values_mut() {
        commands.entry("SHOW VERSION".to_owned()).or_default();
    }
    versions
}

fn lists(names: &[&str]) -> Shown {
    let rows = names.iter().map(|name| {
        vec![
            Some((*name).to_owned()),
            Some(if *name == "used_clients" { "31" } else { "0" }.to_owned()),
        ]
    });
    Shown {
        columns: vec![("list".to_owned(), TEXT), ("items".to_owned(), INT4)],
        rows: rows.collect(),
    }
}

fn answer(version: &str, command: &str, columns: &[&str]) -> Shown {
    let columns: Vec<(&str, &str)> =
        columns.iter().map(|c| c.split_once(':').expect("a name and a type")).collect();
    let of = |letter: &str| match letter {
        "i" => INT4,
        "q" => INT8,
        "N" => NUMERIC,
        _ => TEXT,
    };
    let keys: Vec<Vec<(&str, &str)>> = match command {
        "CONFIG" => vec![
            vec![("key", "max_client_conn"), ("value", "100")],
            vec![("key", "default_pool_size"), ("value", "20")],
            vec![("key", "auth_query"), ("value", "SELECT usename FROM pg_shadow")],
        ],
        "STATE" => vec![
            vec![("key", "active"), ("value", "no")],
            vec![("key", "paused"), ("value", "yes")],
        ],
        "VERSION" => vec![vec![("version", version)]],
        // Its own database and pool, which must be left out, beside the others'.
        _ => vec![
            Vec::new(),
            vec![("database", "pgbouncer"), ("name", "pgbouncer"), ("user", "pgbouncer")],
        ],
    };
    let rows = keys.iter().map(|fixed| {
        let value = |(letter, name): &(&str, &str)| {
            let fixed = fixed.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
            fixed.or_else(|| value_of(command, name, letter)).map(str::to_owned)
        };
        columns.iter().map(value).collect()
    });
    Shown {
        columns: columns.iter().map(|(letter, name)| ((*name).to_owned(), of(letter))).collect(),
        rows: rows.collect(),
    }
}

/// The value of a column; `None` is NULL.
fn value_of(command: &str, name: &str, letter: &str) -> Option<&'static str> {
    let value = match (command, name) {
        ("DATABASES", "name") | (_, "database") => "shop",
        ("USERS", "name") | (_, "user") => "app",
        ("USERS", "pool_size") => "        7",
        ("USERS", "reserve_pool_size") => "",
        ("DATABASES", "pool_size") => "20",
        ("DATABASES", "reserve_pool" | "reserve_pool_size") => "5",
        ("DATABASES", "host" | "force_user" | "pool_mode" | "load_balance_hosts") => return None,
        (_, "max_connections" | "max_user_connections") => "40",
        (_, "paused" | "disabled") => "0",
        (_, "cl_waiting") => "3",
        (_, "sv_active") => "6",
        (_, "maxwait") => "2",
        (_, "maxwait_us") => "500000",
        (_, "state") => "waiting",
        (_, "application_name") => "web",
        (_, "total_query_count") => "1000",
        _ if letter == "s" || letter == "T" => "x",
        _ => "1",
    };
    Some(value)
}

#[test]
fn every_version_of_pgbouncer_is_read_without_an_error() {
    let versions = versions();
    assert_eq!(versions.len(), 28, "all versions from 1.8 to the newest");
    let sets: BTreeSet<String> = versions
        .values()
        .map(|shown| shown.iter().map(|(c, s)| format!("{c} {:?}\n", s.columns)).collect())
        .collect();
    assert!(sets.len() >= 11, "{} different sets of columns", sets.len());
    let mut consoles = Vec::new();
    let mut targets = String::new();
    for (version, shown) in &versions {
        let recorded = Recorded {
            version: format!("{version}/bouncer"),
            shown: shown.clone(),
            unknown: "invalid command '{}', use SHOW HELP;",
        };
        let console = Console::start(recorded);
        let _ = write!(
            targets,
            "  v{}:\n    url: 'postgresql://stats@127.0.0.1:{}/pgbouncer?sslmode=disable'\n    interval: 3s\n    \
             views: {{ clients: true }}\n",
            version.replace('.', "-"),
            console.port()
        );
        consoles.push((version, shown, console));
    }
    let mut daemon = daemon(&targets);
    let address = daemon.address();
    let found = wait_for("two probes of each", Duration::from_secs(60), || {
        let found = get(address, "/metrics");
        let done = consoles.iter().all(|(version, _, _)| {
            let target = version.replace('.', "-");
            let probes = format!("db_pool_probe_duration_seconds_count{{target=\"v{target}\"}}");
            found.sample(&probes).is_some_and(|probes| probes >= 2.0)
        });
        done.then_some(found)
    });
    assert_eq!(found.sum("db_pool_probe_failures_total"), 0.0, "{}", daemon.log());
    for (version, shown, console) in &consoles {
        let target = format!("target=\"v{}\"", version.replace('.', "-"));
        let sample = |name: &str, labels: &str| {
            let separator = if labels.is_empty() { "" } else { "," };
            found.sample(&format!("db_pool_pgbouncer_{name}{{{target}{separator}{labels}}}"))
        };
        let pool = "database=\"shop\",user=\"app\"";
        let has = |command: &str, column: &str| {
            shown
                .get(command)
                .is_some_and(|shown| shown.columns.iter().any(|(name, _)| name == column))
        };
        let in_pool = |name: &str| sample(name, pool);
        assert_eq!(sample("up", ""), Some(1.0), "{version}");
        assert_eq!(
            sample("info", &format!("version=\"{version}\",pooler=\"pgbouncer\"")),
            Some(1.0),
            "{version}"
        );
        assert_eq!(
            sample("client_connections", &format!("{pool},state=\"waiting\"")),
            Some(3.0),
            "{version}"
        );
        assert_eq!(
            sample("server_connections", &format!("{pool},state=\"active\"")),
            Some(6.0),
            "{version}"
        );
        assert_eq!(in_pool("max_wait_seconds"), Some(2.5), "{version}");
        assert_eq!(in_pool("reserve_pool_size"), Some(5.0), "{version}");
        // A size of the user's own is a column since 1.23.
        let size = if has("SHOW USERS", "pool_size") { 7.0 } else { 20.0 };
        assert_eq!(in_pool("pool_size"), Some(size), "{version}");
        assert_eq!(sample("clients", ""), Some(31.0), "{version}");
        assert_eq!(sample("client_limit", ""), Some(100.0), "{version}");
        assert_eq!(sample("queries_total", "database=\"shop\""), Some(0.0), "{version}");
        let assignments = has("SHOW STATS", "total_server_assignment_count").then_some(0.0);
        assert_eq!(
            sample("server_assignments_total", "database=\"shop\""),
            assignments,
            "{version}"
        );
        let logins = has("SHOW STATS", "total_client_login_count").then_some(0.0);
        assert_eq!(sample("client_logins_total", "database=\"shop\""), logins, "{version}");
        // Without SHOW STATE it is not known whether the whole process is paused.
        let paused = has("SHOW STATE", "key").then_some(1.0);
        assert_eq!(sample("paused", "database=\"shop\""), paused, "{version}");
        let application = if has("SHOW CLIENTS", "application_name") { "web" } else { "" };
        let labels = format!("{pool},application=\"{application}\",state=\"waiting\"");
        assert_eq!(sample("application_clients", &labels), Some(1.0), "{version}");
        let own = found
            .body
            .lines()
            .filter(|line| line.starts_with("db_pool_pgbouncer_") && line.contains(&target))
            .filter(|line| line.contains("database=\"pgbouncer\""));
        let own: Vec<&str> = own.collect();
        assert_eq!(own, [""; 0], "{version}: the console itself is left out");
        // What does not exist is an error in PgBouncer's log, so it is asked for once.
        if !has("SHOW STATE", "key") {
            assert_eq!(console.asked("SHOW STATE"), 1, "{version}");
        }
        assert_eq!(console.asked("SHOW CLIENTS"), 1, "{version}: once a minute");
        assert!(console.most_connections() <= 3, "{version}");
    }
    assert!(!found.body.contains("pg_shadow"), "only a few keys of SHOW CONFIG are read");
}
