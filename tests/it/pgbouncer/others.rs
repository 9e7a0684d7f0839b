//! Other poolers. They cannot be installed here: the tables are fixtures, made from the sources of their consoles
//! (pgcat `src/admin.rs` and `src/stats`, pgdog `src/admin`, odyssey `sources/console.c`), not recorded from running ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemon;
use crate::http::Answer;
use crate::support::console::{Console, Recorded, Shown};
use crate::support::wait_for;
use crate::support::web::get;

fn console(version: &str, unknown: &'static str, shown: &[(&str, Shown)]) -> Console {
    let shown = shown.iter().map(|(command, shown)| ((*command).to_owned(), shown.clone()));
    let shown: BTreeMap<String, Shown> = shown.collect();
    Console::start(Recorded { version: version.to_owned(), shown, unknown })
}

fn pgcat() -> Console {
    let pools = Shown::of(
        "database user pool_mode cl_idle cl_active cl_waiting cl_cancel_req sv_active sv_idle sv_used sv_tested sv_login maxwait maxwait_us",
        &["shop app transaction 4 6 2 0 6 1 0 0 1 1 250000"],
    );
    let stats = Shown::of(
        "instance database user total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time total_errors",
        &["p0 shop app 10 20 30 40 5000000 6000000 7000000 0", "p1 shop app 1 2 3 4 0 0 0 0"],
    );
    console(
        "1.2.0",
        "Unsupported SHOW query against the admin database",
        &[("SHOW VERSION", version("PgCat 1.2.0")), ("SHOW POOLS", pools), ("SHOW STATS", stats)],
    )
}

fn pgdog(wait_ms: &str) -> Console {
    let pools = Shown::of(
        "id database user addr port shard role cl_waiting sv_idle sv_active sv_idle_xact sv_total maxwait maxwait_us pool_mode paused banned healthy errors",
        &[
            "1 shop app 10.0.0.1 5432 0 primary 2 1 5 1 6 0 500000 transaction f f t 0",
            "2 shop app 10.0.0.2 5432 0 replica 1 2 3 0 5 3 0 transaction t f t 0",
        ],
    );
    console(
        "0.1.20 (PgDog)",
        "syntax error in admin command",
        &[
            ("SHOW VERSION", version("PgDog v0.1.20")),
            ("SHOW POOLS", pools),
            ("SHOW STATS", pgdog_stats(wait_ms)),
        ],
    )
}

fn pgdog_stats(wait_ms: &str) -> Shown {
    let row =
        format!("shop app 10.0.0.1 5432 0 primary 10 20 7 30 40 {wait_ms} {wait_ms} {wait_ms}");
    Shown::of(
        "database user addr port shard role total_xact_count total_query_count total_server_assignment_count total_received total_sent total_xact_time total_query_time total_wait_time",
        &[row.as_str()],
    )
}

fn odyssey() -> Console {
    let pools = Shown::of(
        "database user cl_active cl_waiting sv_active sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode",
        &["shop app 6 40 6 2 0 0 0 0 0 transaction"],
    );
    let stats = Shown::of(
        "database total_xact_count total_query_count total_server_assignment_count total_received total_sent total_xact_time total_query_time total_wait_time",
        &["shop 10 20 7 30 40 5000000 6000000 7000000"],
    );
    console(
        "1.4.1 (git 9e2b)",
        "console command error: {}",
        &[
            ("SHOW VERSION", version("odyssey 1.4.1 (git 9e2b) Release, compiled by GNU")),
            ("SHOW POOLS", pools),
            ("SHOW STATS", stats),
        ],
    )
}

/// An answer whose text has spaces.
fn version(text: &str) -> Shown {
    Shown { rows: vec![vec![Some(text.to_owned())]], ..Shown::of("version", &[]) }
}

/// The families of a target, by name and labels without the target's.
fn of_target(found: &Answer, target: &str) -> BTreeMap<String, f64> {
    let label = format!("target=\"{target}\"");
    let lines = found.body.lines().filter(|line| line.starts_with("db_pool_pgbouncer_"));
    let lines = lines.filter(|line| line.contains(&label));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.strip_prefix("db_pool_pgbouncer_")?.replace(&format!("{label},"), "");
        Some((name.replace(&format!("{{{label}}}"), ""), value.parse().ok()?))
    };
    lines.filter_map(sample).collect()
}

#[test]
fn other_poolers_are_recognized_and_their_constants_left_out() {
    let (pgcat, pgdog, odyssey) = (pgcat(), pgdog("1000.5"), odyssey());
    let target = |name: &str, console: &Console| {
        let port = console.port();
        format!(
            "  {name}:\n    kind: pgbouncer\n    url: 'postgresql://admin@127.0.0.1:{port}/admin?sslmode=disable'\n    interval: 1s\n"
        )
    };
    let targets = [target("cat", &pgcat), target("dog", &pgdog), target("odyssey", &odyssey)];
    let mut daemon = daemon(&targets.concat());
    let address = daemon.address();
    let probed = |probes: f64| {
        wait_for("probes", Duration::from_secs(30), || {
            let found = get(address, "/metrics");
            let done = ["cat", "dog", "odyssey"].iter().all(|target| {
                let count = format!("db_pool_probe_duration_seconds_count{{target=\"{target}\"}}");
                found.sample(&count).is_some_and(|count| count >= probes)
            });
            done.then_some(found)
        })
    };
    probed(2.0);
    pgdog.answer("SHOW STATS", pgdog_stats("3000.5"));
    let before = get(address, "/metrics")
        .sample("db_pool_probe_duration_seconds_count{target=\"dog\"}")
        .unwrap();
    let found = probed(before + 2.0);
    assert_eq!(found.sum("db_pool_probe_failures_total"), 0.0, "{}", daemon.log());
    let pool = "database=\"shop\",user=\"app\"";

    let cat = of_target(&found, "cat");
    assert_eq!(cat.get("info{version=\"1.2.0\",pooler=\"pgcat\"}"), Some(&1.0), "{cat:?}");
    assert_eq!(cat[&format!("client_connections{{{pool},state=\"idle\"}}")], 4.0);
    assert_eq!(cat[&format!("client_connections{{{pool},state=\"waiting\"}}")], 2.0);
    assert_eq!(cat[&format!("max_wait_seconds{{{pool}}}")], 1.25);
    assert!(cat.keys().all(|name| !name.contains("used") && !name.contains("cancel")), "{cat:?}");

    let dog = of_target(&found, "dog");
    assert_eq!(dog.get("info{version=\"0.1.20\",pooler=\"pgdog\"}"), Some(&1.0), "{dog:?}");
    assert_eq!(
        dog[&format!("client_connections{{{pool},state=\"waiting\"}}")],
        3.0,
        "both servers"
    );
    assert_eq!(dog[&format!("server_connections{{{pool},state=\"active\"}}")], 8.0);
    assert_eq!(dog[&format!("max_wait_seconds{{{pool}}}")], 3.0, "the longer wait");
    assert_eq!(dog["wait_seconds_total{database=\"shop\"}"], 2.0, "2,000 milliseconds");
    assert_eq!(dog["paused{database=\"shop\"}"], 1.0);
    assert!(
        dog.keys().all(|name| !name.contains("active_or_idle") && !name.contains("login")),
        "{dog:?}"
    );

    let odyssey_asked = odyssey.asked("SHOW POOLS");
    let odyssey = of_target(&found, "odyssey");
    assert_eq!(
        odyssey.get("info{version=\"1.4.1\",pooler=\"odyssey\"}"),
        Some(&1.0),
        "{odyssey:?}"
    );
    assert_eq!(
        odyssey[&format!("client_connections{{{pool},state=\"idle\"}}")],
        40.0,
        "they want nothing"
    );
    let lies = ["waiting", "max_wait", "used", "tested", "login", "pool_size", "saturation"];
    let lies: Vec<&String> =
        odyssey.keys().filter(|name| lies.iter().any(|lie| name.contains(lie))).collect();
    assert_eq!(lies, Vec::<&String>::new());
    assert!(odyssey_asked >= 2, "odyssey was asked {odyssey_asked} times");
}
