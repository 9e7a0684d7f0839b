//! A thousand sessions: what a probe costs the server, and that three connections are enough.

use std::time::Duration;

use db_pool_exporter::view;
use tokio_postgres::Client;

use super::builder;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::watch::{Lines, MONITOR, Privilege, Running, Watch, monitor, settings};

on_versions! {
    a_thousand_sessions_cost_less_than_ten_milliseconds,
    three_connections_are_all_it_ever_takes,
}

/// In parallel, but not so many at a time that logging in takes long.
async fn sessions(cluster: &Cluster, number: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(number);
    for _ in 0..number {
        clients.push(cluster.client_at_socket(ROLE.0).await);
    }
    clients
}

/// The server's own time for all statements of a probe, by its log.
fn server_milliseconds(log: &str, statements: usize) -> Vec<f64> {
    let user = format!("{}@", MONITOR.0);
    let ours = log.lines().filter(|line| line.contains(&user));
    let times: Vec<f64> = ours
        .filter_map(|line| line.split_once("duration: ")?.1.split_once(" ms")?.0.parse().ok())
        .collect();
    times.chunks_exact(statements).map(|probe| probe.iter().sum()).collect()
}

async fn a_thousand_sessions_cost_less_than_ten_milliseconds(version: Option<u32>) {
    let cluster = builder(version).setting("max_connections", "1020").start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let held = sessions(&cluster, 1000).await;
    let watch = Watch::new(settings(&cluster, view::Settings::default()));
    watch.good().await;
    cluster.psql("ALTER ROLE monitor SET log_duration = on");
    // The pooled connection is replaced, so that the setting holds.
    cluster
        .psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'monitor'");
    watch.probe().await;
    let mut best = f64::INFINITY;
    // What else runs on the machine must not fail this.
    for _ in 0..5 {
        let before = cluster.log().len();
        for _ in 0..21 {
            let lines = watch.lines().await;
            assert_eq!(lines.value("app_open_connections{database=\"postgres\",user=\"app\",application=\"\",source=\"activity\"}"), 1000.0);
        }
        let log = cluster.log().split_off(before);
        let mut times: Vec<f64> = Vec::new();
        let ours = log.lines().filter(|line| line.contains("monitor@")).count();
        assert!(ours % 21 == 0, "{ours} statements in 21 probes");
        times.extend(server_milliseconds(&log, ours / 21));
        times.sort_by(f64::total_cmp);
        best = best.min(times[times.len() / 2]);
        eprintln!(
            "1,000 sessions: {} ms in the median, {:.1} at most",
            times[times.len() / 2],
            times[times.len() - 1]
        );
        if best < 10.0 {
            break;
        }
    }
    assert!(best < 10.0, "{best} ms");
    drop(held);
}

async fn three_connections_are_all_it_ever_takes(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let mut settings = settings(&cluster, view::Settings::default());
    settings.schedule.interval = Duration::from_millis(200);
    settings.schedule.timeout = Duration::from_millis(200);
    settings.schedule.sampling = Duration::from_millis(50);
    let running = Running::start(settings);
    let admin = cluster.admin().await;
    let mut most = 0;
    for _ in 0..200 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'monitor'";
        let row = admin.query_one(sql, &[]).await.expect("the server answers");
        most = most.max(row.get::<_, i64>(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((1..=3).contains(&most), "{most}");
    assert_eq!(cluster.log().matches("too many connections").count(), 0);
    let snapshot = running.next().await;
    assert!(snapshot.is_up());
    assert!(Lines::new(snapshot.as_ref().clone()).value("server_used_connections") >= 2.0);
}
