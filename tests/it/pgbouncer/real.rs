//! A real PgBouncer under load: the numbers are those of SHOW, and counters never fall.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

use super::daemon;
use crate::http::Answer;
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::watched::{PASSWORD, Watched};
use crate::support::web::get;

const SOON: Duration = Duration::from_secs(30);
const CLIENTS: usize = 50;
const SIZE: usize = 5;

pub(super) fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.role("app", PASSWORD);
    cluster
}

/// The section of a target that watches this console.
pub(super) fn target(bouncer: &Watched) -> String {
    let port = bouncer.port();
    format!(
        "  bouncer:\n    url: 'postgresql://stats@127.0.0.1:{port}/pgbouncer?sslmode=disable'\n    interval: 1s\n    \
         slow_query_sampling: 200ms\n"
    )
}

/// A client of a database and a user through PgBouncer; it never ends by itself.
pub(super) async fn client(
    port: u16,
    user: &str,
    database: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname(database).password(PASSWORD);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The sample of a family of the pool `shop` of the role `app`.
pub(super) fn of_pool(found: &Answer, name: &str, state: Option<&str>) -> Option<f64> {
    of_pool_of(found, name, ("shop", "app"), state)
}

pub(super) fn of_pool_of(
    found: &Answer,
    name: &str,
    (database, user): (&str, &str),
    state: Option<&str>,
) -> Option<f64> {
    let state = state.map_or_else(String::new, |state| format!(",state=\"{state}\""));
    found.sample(&format!(
        "db_pool_pgbouncer_{name}{{target=\"bouncer\",database=\"{database}\",user=\"{user}\"{state}}}"
    ))
}

fn probes(found: &Answer) -> f64 {
    found.sample("db_pool_probe_duration_seconds_count{target=\"bouncer\"}").unwrap_or(0.0)
}

/// A scrape after one more whole probe.
fn after_a_probe(address: SocketAddr) -> Answer {
    let before = probes(&get(address, "/metrics"));
    wait_for("a probe", SOON, || {
        let found = get(address, "/metrics");
        (probes(&found) >= before + 2.0).then_some(found)
    })
}

fn row(rows: &[HashMap<String, String>], of: &[(&str, &str)]) -> HashMap<String, String> {
    let fits =
        |row: &&HashMap<String, String>| of.iter().all(|(column, text)| row[*column] == *text);
    rows.iter().find(fits).cloned().unwrap_or_else(|| panic!("{of:?} is not in {rows:?}"))
}

/// Compares what a scrape has of the pool with SHOW POOLS, column by column.
fn compare(found: &Answer, pool: &HashMap<String, String>) {
    let columns = [
        ("client_connections", "cl_active", "active_or_idle"),
        ("client_connections", "cl_waiting", "waiting"),
        ("client_connections", "cl_active_cancel_req", "active_cancel"),
        ("client_connections", "cl_waiting_cancel_req", "waiting_cancel"),
        ("server_connections", "sv_active", "active"),
        ("server_connections", "sv_idle", "idle"),
        ("server_connections", "sv_used", "used"),
        ("server_connections", "sv_tested", "tested"),
        ("server_connections", "sv_login", "login"),
    ];
    for (family, column, state) in columns {
        let shown: f64 = pool[column].parse().expect("a number");
        assert_eq!(of_pool(found, family, Some(state)), Some(shown), "{column}: {pool:?}");
    }
}

/// Fifty clients that run short transactions until the flag falls.
fn load(port: u16, is_on: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let run = |_| {
        let is_on = Arc::clone(is_on);
        tokio::spawn(async move {
            let client = client(port, "app", "shop").await.expect("PgBouncer takes clients");
            while is_on.load(Ordering::SeqCst) {
                client.simple_query("SELECT pg_sleep(0.02)").await.expect("the server runs");
            }
        })
    };
    (0..CLIENTS).map(run).collect()
}

/// The statements of `shop`, and the microseconds of waits, as psql shows them.
fn stats(bouncer: &Watched) -> [f64; 2] {
    let shop = row(&bouncer.show("SHOW STATS_TOTALS"), &[("database", "shop")]);
    ["query_count", "wait_time"].map(|column| shop[column].parse().expect("a number"))
}

fn totals(found: &Answer) -> [f64; 2] {
    let of = |name: &str| {
        let sample = format!("db_pool_pgbouncer_{name}{{target=\"bouncer\",database=\"shop\"}}");
        found.sample(&sample).unwrap_or_else(|| panic!("no {sample}"))
    };
    [of("queries_total"), of("wait_seconds_total") * 1e6]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_the_numbers_are_those_of_show() {
    let cluster = cluster();
    let bouncer = Watched::start(&cluster, &format!("default_pool_size = {SIZE}\n"));
    client(bouncer.port(), "app", "shop").await.unwrap().simple_query("SELECT 1").await.unwrap();
    let start = stats(&bouncer);
    let mut daemon = daemon(&target(&bouncer));
    let address = daemon.address();
    after_a_probe(address);
    let is_on = Arc::new(AtomicBool::new(true));
    let clients = load(bouncer.port(), &is_on);
    let mut last = [0.0; 2];
    for _ in 0..5 {
        let before = stats(&bouncer);
        let found = after_a_probe(address);
        let (ours, after) = (totals(&found), stats(&bouncer));
        for n in 0..2 {
            let between = before[n] - start[n]..=after[n] - start[n];
            assert!(between.contains(&ours[n]), "{ours:?} in {between:?}");
            assert!(ours[n] > last[n], "{ours:?} {last:?}");
        }
        last = ours;
        let of = |family, state| of_pool(&found, family, Some(state)).unwrap();
        let clients =
            of("client_connections", "active_or_idle") + of("client_connections", "waiting");
        assert_eq!(clients, CLIENTS as f64);
        assert!(of("server_connections", "active") <= SIZE as f64);
        assert!(of_pool(&found, "saturation_ratio", None).unwrap() <= 1.0);
        // Each waits for a fraction of a second, although some have waited all the time.
        assert!(of_pool(&found, "max_wait_seconds", None).unwrap() < 5.0, "{}", found.body);
    }
    is_on.store(false, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    // All held: a state that stays, so that every number can be equal.
    let mut held = Vec::new();
    for _ in 0..CLIENTS {
        let client = client(bouncer.port(), "app", "shop").await.unwrap();
        held.push(tokio::spawn(
            async move { client.simple_query("BEGIN; SELECT pg_sleep(60)").await },
        ));
    }
    wait_for("45 to wait", SOON, || {
        let pool = row(&bouncer.show("SHOW POOLS"), &[("database", "shop"), ("user", "app")]);
        (pool["cl_waiting"] == "45" && pool["sv_login"] == "0").then_some(())
    });
    let before = row(&bouncer.show("SHOW POOLS"), &[("database", "shop"), ("user", "app")]);
    let found = after_a_probe(address);
    let after = row(&bouncer.show("SHOW POOLS"), &[("database", "shop"), ("user", "app")]);
    compare(&found, &after);
    let seconds = |pool: &HashMap<String, String>| -> f64 {
        let part = |column: &str| pool[column].parse::<f64>().unwrap();
        part("maxwait") + part("maxwait_us") / 1e6
    };
    let wait = of_pool(&found, "max_wait_seconds", None).unwrap();
    assert!((seconds(&before)..=seconds(&after)).contains(&wait), "{wait} {before:?} {after:?}");
    assert_eq!(of_pool(&found, "pool_size", None), Some(SIZE as f64));
    assert_eq!(of_pool(&found, "saturation_ratio", None), Some(1.0));
    let lists = row(&bouncer.show("SHOW LISTS"), &[("list", "used_clients")]);
    let clients = found.sample("db_pool_pgbouncer_clients{target=\"bouncer\"}").unwrap();
    // psql is a client itself, and so is the exporter's fresh connect for a moment.
    let shown: f64 = lists["items"].parse().unwrap();
    assert!((clients - shown).abs() <= 2.0, "{clients} {shown}");
    held.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_never_fall_over_reload_a_removed_database_and_a_restart() {
    let cluster = cluster();
    let mut bouncer = Watched::start(&cluster, "");
    let mut daemon = daemon(&target(&bouncer));
    let address = daemon.address();
    after_a_probe(address);
    let work = async |bouncer: &Watched| {
        let client = client(bouncer.port(), "app", "shop").await.unwrap();
        for _ in 0..20 {
            client.simple_query("SELECT 1").await.unwrap();
        }
    };
    let grown = async |bouncer: &Watched, above: f64| -> f64 {
        work(bouncer).await;
        wait_for("statements to be counted", SOON, || {
            let found = get(address, "/metrics");
            let queries = "db_pool_pgbouncer_queries_total{target=\"bouncer\",database=\"shop\"}";
            let queries = found.sample(queries)?;
            assert!(queries >= above, "{queries} after {above}");
            (queries > above).then_some(queries)
        })
    };
    // The first reading of a new pool shows 0, so that increase() sees what it did.
    work(&bouncer).await;
    after_a_probe(address);
    let first = grown(&bouncer, 0.0).await;
    bouncer.command("RELOAD");
    let second = grown(&bouncer, first).await;
    bouncer.reload_with(&cluster, &["bill"], "");
    after_a_probe(address);
    let names: Vec<String> =
        bouncer.show("SHOW STATS").iter().map(|row| row["database"].clone()).collect();
    assert!(!names.contains(&"shop".to_owned()), "it was removed: {names:?}");
    bouncer.reload_with(&cluster, &["shop", "bill"], "");
    let third = grown(&bouncer, second).await;
    bouncer.restart();
    // What was done between the restart and the next reading cannot be told from what was counted before.
    work(&bouncer).await;
    after_a_probe(address);
    let fourth = grown(&bouncer, third).await;
    assert!(fourth > third);
}
