//! The crate `db-pool-metrics` with its feature `bb8`, and its examples, against a real PostgreSQL.

use std::process::Command;
use std::time::Duration;

use bb8_postgres::PostgresConnectionManager;
use db_pool_metrics::{Metered, Reason, Watched};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;

use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::get;
use crate::support::{free_port, installed, wait_for};

type Manager = PostgresConnectionManager<NoTls>;

const NAME: &str = "library";

/// A pool of the role `app` in a cluster.
fn pool(cluster: &Cluster, builder: bb8::Builder<Metered<Manager>>) -> Watched<Manager> {
    let manager = Manager::new_from_stringlike(cluster.url("app", "secret"), NoTls);
    let manager = Metered::new(manager.expect("a URL")).with_reasons(|error| {
        let refused = error.as_db_error().is_none();
        if refused { Reason::Refused } else { Reason::Auth }
    });
    Watched::new(builder.build_unchecked(manager), NAME)
}

fn builder(size: u32) -> bb8::Builder<Metered<Manager>> {
    bb8::Pool::builder().max_size(size).connection_timeout(Duration::from_secs(2))
}

fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.role("app", "secret");
    cluster
}

fn status(pool: &Watched<Manager>) -> Value {
    serde_json::from_str::<Value>(&pool.status_json()).expect("JSON")["db_pool_status"].take()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number that is not negative")
}

/// At rest the numbers must equal those of bb8 and of the server.
fn assert_at_rest(cluster: &Cluster, pool: &Watched<Manager>) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    wait_for("the sessions of the pool", Duration::from_secs(5), || {
        let on_server: u32 = cluster.psql(sessions).parse().expect("a number");
        (on_server == pool.inner().state().connections).then_some(())
    });
    let (found, state) = (status(pool), pool.inner().state());
    assert_eq!(found["now"]["open"], state.connections, "{found}");
    assert_eq!(found["now"]["idle"], state.idle_connections, "{found}");
    assert_eq!(found["now"]["checked_out"], 0, "{found}");
    assert_eq!(found["now"]["waiting"], 0, "{found}");
    assert_eq!(found["now"]["connecting"], 0, "{found}");
    let totals = &found["totals"];
    assert_eq!(totals["checkouts"]["ok"], totals["checkins"], "{found}");
    assert_eq!(totals["connects"], state.statistics.connections_created, "{found}");
    let open = number(&totals["connects"]) - number(&totals["disconnects"]);
    assert_eq!(open, u64::from(state.connections), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_dropped_at_any_moment_of_a_burst_are_counted_and_leave_nothing_behind() {
    let cluster = cluster();
    let pool = pool(&cluster, builder(5));
    let gets: Vec<_> = (0..400u64)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                // From before the first connect is done to long after the last check-out.
                let patience = Duration::from_micros(n * 2_731 % 800_000);
                sleep(Duration::from_micros(n * 7_919 % 100_000)).await;
                timeout(patience, async {
                    let connection = pool.get_owned().await.expect("in time");
                    connection.simple_query("SELECT pg_sleep(0.001)").await.expect("it answers");
                    drop(connection);
                })
                .await
                .is_ok()
            })
        })
        .collect();
    let mut finished = 0;
    for get in gets {
        finished += u64::from(get.await.expect("no panic"));
    }
    // What was dropped goes on to connect.
    sleep(Duration::from_millis(200)).await;
    assert_at_rest(&cluster, &pool);
    let found = status(&pool);
    let checkouts = &found["totals"]["checkouts"];
    let (ok, cancelled) = (number(&checkouts["ok"]), number(&checkouts["cancelled"]));
    // Some were dropped with a connection in hand.
    assert!(finished > 20 && ok >= finished && cancelled > 5, "{finished}, {checkouts}");
    assert_eq!(ok + cancelled, 400);
    assert_eq!((&checkouts["timeout"], &checkouts["error"]), (&0.into(), &0.into()));
    assert_eq!(found["histograms"]["checkout_wait_seconds"]["count"], ok + cancelled);
    assert_eq!(found["histograms"]["use_duration_seconds"]["count"], ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wait_is_not_a_connect_and_a_full_pool_is_a_timeout() {
    let cluster = cluster();
    let pool = pool(&cluster, builder(1).connection_timeout(Duration::from_millis(400)));
    let held = pool.get().await.expect("a connection");
    let found = status(&pool);
    let wait = found["histograms"]["checkout_wait_seconds"]["sum"].as_f64().expect("a number");
    let connect = &found["histograms"]["connect_duration_seconds"];
    let connect = connect["sum"].as_f64().expect("a number");
    assert!(wait < connect, "{wait} of {connect}");
    pool.get().await.expect_err("the only one is out");
    let gone = pool.clone();
    let (waits, next) = tokio::join!(
        async {
            sleep(Duration::from_millis(200)).await;
            let waits = status(&pool)["now"].clone();
            drop(held);
            waits
        },
        gone.get_owned()
    );
    assert_eq!(waits["waiting"], 1);
    assert!(waits["oldest_wait_seconds"].as_f64().expect("a number") >= 0.19, "{waits}");
    drop(next.expect("the one that came back"));
    let found = status(&pool);
    let checkouts = serde_json::json!({ "ok": 2, "timeout": 1, "error": 0, "cancelled": 0 });
    assert_eq!(found["totals"]["checkouts"], checkouts);
    let wait = found["histograms"]["checkout_wait_seconds"]["sum"].as_f64().expect("a number");
    assert!((0.59..0.9).contains(&wait), "{wait}");
    assert_at_rest(&cluster, &pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_that_the_server_ends_are_closed_for_their_reason() {
    let cluster = cluster();
    let pool = pool(&cluster, builder(2));
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
    let held = pool.get().await.expect("a connection");
    cluster.psql(kill);
    wait_for("the end of the connection", Duration::from_secs(5), || {
        held.is_closed().then_some(())
    });
    drop(held);
    assert_eq!(status(&pool)["totals"]["closed"]["broken"], 1);
    drop(pool.get().await.expect("a new one"));
    cluster.psql(kill);
    sleep(Duration::from_millis(50)).await;
    drop(pool.get().await.expect("another new one, after the test of the dead one"));
    let closed = serde_json::json!(
        { "broken": 1, "ping_failed": 1, "idle_timeout": 0, "recycled": 0 }
    );
    assert_eq!(status(&pool)["totals"]["closed"], closed);
    assert_at_rest(&cluster, &pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_refuses_or_hangs_is_no_lack_of_slots() {
    let cluster = cluster();
    cluster.psql("ALTER ROLE app PASSWORD 'other'");
    let limit = Duration::from_millis(300);
    let pool = pool(&cluster, builder(2).connection_timeout(limit).retry_connection(false));
    pool.get().await.expect_err("the password is wrong");
    let found = status(&pool);
    assert_eq!(
        (&found["totals"]["failed_connects"], &found["now"]["open"]),
        (&1.into(), &0.into())
    );
    let registry = prometheus::Registry::new();
    pool.register(&registry).expect("an empty registry");
    let errors = |reason: &str| {
        let sample =
            format!("db_pool_connect_errors_total{{reason=\"{reason}\",target=\"{NAME}\"}} 1\n");
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_to_string(&registry.gather()).expect("text").contains(&sample)
    };
    assert!(errors("auth") && !errors("refused"));

    cluster.psql("ALTER ROLE app PASSWORD 'secret'");
    cluster.freeze();
    pool.get().await.expect_err("the server hangs");
    assert_eq!(status(&pool)["now"]["connecting"], 1, "bb8 goes on with it");
    cluster.thaw();
    wait_for("the connection", Duration::from_secs(5), || {
        (pool.inner().state().connections > 0).then_some(())
    });
    let found = status(&pool);
    let checkouts = serde_json::json!({ "ok": 0, "timeout": 0, "error": 2, "cancelled": 0 });
    assert_eq!(found["totals"]["checkouts"], checkouts);
    let wait = found["histograms"]["checkout_wait_seconds"]["sum"].as_f64().expect("a number");
    assert!(wait < 0.001, "{wait} of 0.6 s");
}

/// Builds an example of the crate and starts it.
fn example(name: &str, cluster: &Cluster) -> Program {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--message-format=json"]);
    let built = cargo.args(["--example", name]).output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).expect("messages are UTF-8");
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).expect("messages are JSON");
        let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == "example";
        is_it.then(|| message["executable"].as_str().map(str::to_owned)).flatten()
    });
    Program::at(program.expect("the example was built"))
        .env("DATABASE_URL", cluster.url("app", "secret"))
        .env("LISTEN", "127.0.0.1:0")
        .start()
}

#[test]
fn a_prometheus_scrapes_the_axum_example() {
    let cluster = cluster();
    let mut application = example("axum", &cluster);
    let address = application.address();
    let users: Vec<_> =
        (0..10).map(|_| std::thread::spawn(move || get(address, "/orders/count").body)).collect();
    for user in users {
        assert_eq!(user.join().expect("no panic"), "42");
    }
    let status = get(address, "/api/v1/database/pool/status").json();
    assert_eq!(status["db_pool_status"]["totals"]["checkouts"]["ok"], 10);

    let folder = application.folder();
    let jobs = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n\
         - job_name: orders\n  static_configs: [ {{ targets: [ '{address}' ] }} ]\n"
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, jobs).expect("the folder is writable");
    let port = free_port();
    let _prometheus = Program::at(installed(&["prometheus"]))
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .start();
    let asked = |query: &str| {
        let path = format!("/api/v1/query?query={query}");
        let answer = wait_for(query, Duration::from_secs(30), || {
            let server = ([127, 0, 0, 1], port).into();
            std::net::TcpStream::connect(server).ok()?;
            let answer = get(server, &path);
            let answer = (answer.status == 200).then(|| answer.json())?;
            answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
        });
        answer.parse::<f64>().expect("a number")
    };
    // Ten requests of 50 ms share five connections: half of them wait.
    assert_eq!(asked("db_pool_checkouts_total%7Btarget=%22orders%22,result=%22ok%22%7D"), 10.0);
    assert_eq!(asked("db_pool_size%7Btarget=%22orders%22%7D"), 5.0);
    assert_eq!(asked("db_pool_open_connections"), 5.0);
    assert_eq!(asked("db_pool_checkout_wait_seconds_count"), 10.0);
    let waits = asked("db_pool_checkout_wait_seconds_sum");
    let uses = asked("db_pool_use_duration_seconds_sum");
    assert!(waits > 0.1 && uses >= 0.5, "{waits}, {uses}");
}

#[test]
fn the_hyper_example_serves_the_same() {
    let cluster = cluster();
    let mut application = example("hyper", &cluster);
    let address = application.address();
    assert_eq!(get(address, "/orders/count").body, "42");
    let page = get(address, "/metrics");
    assert_eq!(page.sample("db_pool_checkouts_total{result=\"ok\",target=\"orders\"}"), Some(1.0));
    let status = get(address, "/api/v1/database/pool/status");
    assert_eq!(status.header("content-type"), Some("application/json"));
    assert_eq!(status.json()["db_pool_status"]["application"], "orders");
}

#[test]
fn the_guide_shows_the_axum_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of this project");
    let (page, code) =
        (read("docs/applications.md"), read("crates/db-pool-metrics/examples/axum.rs"));
    let shown = page.split_once("<!-- file: bb8/main.rs -->\n```rust\n").expect("it is marked").1;
    let shown = shown.split_once("```\n").expect("it ends").0;
    assert!(code.ends_with(shown) && shown.starts_with("use "), "copy the example into the guide");
}
