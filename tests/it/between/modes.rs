//! The pool modes of a PgBouncer between.
//!
//! | situation | must be said |
//! | --- | --- |
//! | transaction mode, 400 statements at once | up, no probe fails, no connection breaks |
//! | statement mode | up as for an application in autocommit; the views are read; a statement is still limited |
//! | statement mode with a write probe | the write probe fails with `statement_pooling`, nothing else does |
//! | statement mode that becomes transaction mode | still up |
//! | any mode | `db_pool_target_info` has pooler="true"; without a pooler it has "false" |

use std::time::{Duration, Instant};

use db_pool_exporter::pool::Reason;
use db_pool_exporter::probe::{ProbePart, write::WriteProbeSettings};
use db_pool_exporter::view::ViewSettings;
use futures_util::future::join_all;

use super::{daemon, daemon_every, through, url};
use crate::support::pools::{self, ROLE};
use crate::support::watch::{Watch, failures};
use crate::support::web::{get, scrape_until};
use crate::support::{bouncer, wait_for};

const UP: &str = "db_pool_up{target=\"default\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_statements_at_once_through_transaction_mode_fail_no_probe() {
    let cluster = pools::cluster();
    // The test is about statements, and 400 logins with SCRAM would keep PgBouncer's thread busy for seconds.
    let lines = "default_pool_size = 20\nmax_client_conn = 1000\nauth_type = trust\n";
    let mut bouncer = bouncer::start(&cluster, ROLE, lines);
    let port = bouncer.address().port();
    let mut daemon = daemon_every(2, &url(port, ROLE.0, "postgres"));
    let address = daemon.address();
    tokio::task::block_in_place(|| scrape_until(address, UP, 1.0));
    let clients = join_all((0..400).map(|_| client(port))).await;
    let end = Instant::now() + Duration::from_secs(10);
    let load = async {
        let mut bursts = 0;
        while Instant::now() < end {
            let statements =
                clients.iter().map(|client| client.simple_query("SELECT pg_sleep(0.01)"));
            let answers = join_all(statements).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            bursts += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bursts
    };
    let looks = tokio::task::spawn_blocking(move || {
        let mut ups = Vec::new();
        while Instant::now() < end {
            ups.push(get(address, "/metrics").sample(UP));
            std::thread::sleep(Duration::from_millis(200));
        }
        ups
    });
    let (bursts, ups) = tokio::join!(load, looks);
    let page = tokio::task::block_in_place(|| get(address, "/metrics"));
    let probes = page.sample("db_pool_probe_duration_seconds_count{target=\"default\"}");
    println!("{bursts} times 400 statements, {probes:?} probes");
    assert!(bursts >= 3 && probes.is_some_and(|probes| probes >= 4.0), "{bursts} {probes:?}");
    let ups = ups.expect("it looks");
    assert!(ups.iter().all(|up| *up == Some(1.0)), "{ups:?}");
    assert_eq!(page.sum("db_pool_probe_failures_total"), 0.0, "{}", daemon.log());
    assert_eq!(page.sum("db_pool_connect_errors_total"), 0.0, "{}", daemon.log());
    let broken = "db_pool_connections_closed_total{target=\"default\",reason=\"broken\"}";
    assert_eq!(page.sample(broken).unwrap_or(0.0), 0.0, "{}", daemon.log());
}

async fn client(port: u16) -> tokio_postgres::Client {
    let config: tokio_postgres::Config =
        url(port, ROLE.0, "postgres").parse().expect("a URL of the test");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("it gets in");
    tokio::spawn(connection);
    client
}

/// As an application in autocommit sees it: the database is up.
#[tokio::test]
async fn statement_mode_is_up_and_its_views_are_read() {
    let cluster = pools::cluster();
    cluster.psql("GRANT pg_read_all_stats TO app");
    let mut bouncer = bouncer::start(&cluster, ROLE, "pool_mode = statement\n");
    let port = bouncer.address().port();
    let watch = Watch::new(through(&cluster, port, ViewSettings::default()));
    for _ in 0..3 {
        let snapshot = watch.good().await;
        assert!(snapshot.is_up() && snapshot.views.activity.is_some(), "{snapshot:?}");
        assert!(snapshot.views.limits.is_some());
    }
}

/// A statement has the server's own limit also where there is no transaction to set it in, and cannot write.
#[tokio::test]
async fn statement_mode_limits_a_statement_and_lets_it_only_read() {
    let cluster = pools::cluster();
    cluster.psql("CREATE TABLE t (n int); GRANT ALL ON t TO app");
    let mut bouncer = bouncer::start(&cluster, ROLE, "pool_mode = statement\n");
    let port = bouncer.address().port();
    let settings = through(&cluster, port, ViewSettings::default());
    let writes = db_pool_exporter::probe::TargetSettings {
        query: "INSERT INTO t VALUES (1)".to_owned(),
        ..settings.clone()
    };
    let snapshot = Watch::new(writes).probe().await;
    let failure = snapshot.query.expect_err("it must not write");
    assert_eq!(failure.reason, Reason::ReadOnly, "{failure:?}");
    let slow = db_pool_exporter::probe::TargetSettings {
        query: "SELECT pg_sleep(30)".to_owned(),
        command_timeout: Some(Duration::from_millis(500)),
        ..settings
    };
    let snapshot = Watch::new(slow).probe().await;
    assert_eq!(snapshot.query.expect_err("it is slow").reason, Reason::Timeout);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND state = 'active'";
    wait_for("its end", super::SOON, || (cluster.psql(sql) == "0").then_some(()));
}

#[tokio::test]
async fn statement_mode_fails_the_write_probe_alone() {
    let cluster = pools::cluster();
    cluster.psql("GRANT pg_read_all_stats TO app");
    let mut bouncer = bouncer::start(&cluster, ROLE, "pool_mode = statement\n");
    let port = bouncer.address().port();
    let mut settings = through(&cluster, port, ViewSettings::default());
    settings.write = Some(WriteProbeSettings::default());
    let watch = Watch::new(settings);
    let snapshot = watch.probe().await;
    assert_eq!(failures(&snapshot), [(ProbePart::Write, Reason::StatementPooling)]);
    assert!(snapshot.is_up());
}

#[test]
fn a_pooler_between_is_shown_on_the_targets_info() {
    let cluster = pools::cluster();
    let mut bouncer = bouncer::start(&cluster, ROLE, "");
    let info = |port: u16| {
        let mut daemon = daemon(&url(port, ROLE.0, "postgres"));
        let page = scrape_until(daemon.address(), UP, 1.0);
        let line = page.body.lines().find(|line| line.starts_with("db_pool_target_info{"));
        line.expect("there is a target").to_owned()
    };
    let (direct, pooled) = (info(cluster.port()), info(bouncer.address().port()));
    assert!(direct.contains("pooler=\"false\""), "{direct}");
    assert!(pooled.contains("pooler=\"true\""), "{pooled}");
}

/// A mode that was changed is learned; the target is up all the time.
#[test]
fn a_mode_that_changes_from_transaction_to_statement_leaves_the_target_up() {
    let cluster = pools::cluster();
    cluster.psql("GRANT pg_read_all_stats TO app");
    let lines = format!("admin_users = {}\n", ROLE.0);
    let mut bouncer = bouncer::start(&cluster, ROLE, &lines);
    let port = bouncer.address().port();
    let mut daemon = daemon(&url(port, ROLE.0, "postgres"));
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    bouncer::command(port, ROLE, "SET pool_mode = 'statement'");
    daemon.logged("the pooler allows no transactions");
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let page = get(address, "/metrics");
        assert_eq!(page.sample(UP), Some(1.0), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}
