//! A thousand sessions: the cost of a probe for the server, and a check that three connections are enough.

use std::time::Duration;

use db_pool_exporter::view;
use tokio_postgres::Client;

use super::builder;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::watch::{Lines, Privilege, Running, Watch, monitor, settings};

on_versions! {
    a_thousand_sessions_cost_less_than_ten_milliseconds,
    three_connections_are_all_it_ever_takes,
}

async fn sessions(cluster: &Cluster, number: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(number);
    for _ in 0..number {
        clients.push(cluster.client_at_socket(ROLE.0).await);
    }
    clients
}

/// A backend's CPU time so far; the load of other processes does not count.
fn processor_time(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it runs here");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number comes first"))
}

async fn a_thousand_sessions_cost_less_than_ten_milliseconds(version: Option<u32>) {
    let cluster = builder(version).setting("max_connections", "1020").start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let held = sessions(&cluster, 1000).await;
    let watch = Watch::new(settings(&cluster, view::ViewSettings::default()));
    let pid = watch.good().await.query.expect("it was good").server.pid;
    let (mut times, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..41 {
        let before = processor_time(pid);
        let snapshot = watch.good().await;
        times.push(processor_time(pid) - before);
        whole.push(snapshot.took);
        assert_eq!(snapshot.query.as_ref().map_or(0, |query| query.server.pid), pid);
        let labels = "database=\"postgres\",user=\"app\",application=\"\",source=\"activity\"";
        let open = format!("app_open_connections{{{labels}}}");
        assert_eq!(Lines::new(snapshot).value(&open), 1000.0);
    }
    times.sort();
    whole.sort();
    let (least, median) = (times[0], times[times.len() / 2]);
    let probe = whole[whole.len() / 2];
    eprintln!("1,000 sessions: {least:?} of the server's time at least, {median:?} in the median");
    eprintln!("a whole probe, with its fresh connect and all round trips: {probe:?} in the median");
    assert!(median < Duration::from_millis(10), "{median:?}");
    drop(held);
}

async fn three_connections_are_all_it_ever_takes(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let mut settings = settings(&cluster, view::ViewSettings::default());
    settings.schedule.interval = Duration::from_millis(500);
    settings.schedule.timeout = Duration::from_millis(500);
    settings.views.sampling = Duration::from_millis(50);
    let running = Running::start(settings);
    let admin = cluster.admin().await;
    let mut most = 0;
    for _ in 0..300 {
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
