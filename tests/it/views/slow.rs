//! Slow queries: running ones, and counted ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use db_pool_exporter::view;

use super::builder;
use crate::support::installed;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::watch::{Lines, Privilege, Running, Watch, monitor, settings};

on_versions! {
    the_counter_holds_what_sampling_promises,
    those_running_are_listed,
}

/// Runs a statement of this duration this many times, one after the other.
async fn sleep(cluster: &Cluster, seconds: f64, times: u32) {
    let client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
    for _ in 0..times {
        let sql = format!("SELECT pg_sleep({seconds})");
        client.batch_execute(&sql).await.expect("it sleeps");
    }
}

/// A target with a threshold of 0.3 s and a sample every 0.2 s, after its first probe.
async fn sampled(cluster: &Cluster) -> Running {
    let slow_threshold = Duration::from_millis(300);
    let sampling = Duration::from_millis(200);
    let views = view::ViewSettings { slow_threshold, sampling, ..view::ViewSettings::default() };
    let mut settings = settings(cluster, views);
    settings.schedule.interval = Duration::from_secs(1);
    settings.schedule.timeout = Duration::from_secs(1);
    let running = Running::start(settings);
    running.next().await;
    running
}

/// Queries of 1.3 s are always seen, of 0.1 s never, of 0.4 s sometimes.
async fn the_counter_holds_what_sampling_promises(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let running = sampled(&cluster).await;
    tokio::join!(
        sleep(&cluster, 1.3, 6),
        sleep(&cluster, 1.3, 6),
        sleep(&cluster, 0.4, 10),
        sleep(&cluster, 0.1, 30),
    );
    let lines = Lines::new(running.next().await.as_ref().clone());
    let labels = "{database=\"postgres\",user=\"app\",application=\"\"}";
    let counted = lines.value(&format!("server_slow_queries_total{labels}"));
    eprintln!("12 surely, 10 by chance of one half, 30 never: counted {counted}");
    assert!((12.0..=22.0).contains(&counted), "{counted}");
    assert_eq!(lines.value(&format!("server_running_slow_queries{labels}")), 0.0);
    // Sampling stayed within the role's limit of 3 connections, too.
    let refused = cluster.log().matches("too many connections for role").count();
    assert_eq!(refused, 0);
}

/// Runs pgbench with one statement of this duration and two clients, this many times each.
fn pgbench(cluster: &Cluster, seconds: f64, times: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script.sql");
    std::fs::write(&script, format!("SELECT pg_sleep({seconds});\n")).expect("it is ours");
    let program = Path::new(&installed(&["postgres"])).join("pgbench");
    let output = Command::new(program)
        .args(["-n", "-c", "2", "-h", "127.0.0.1", "-U", ROLE.0, "-f"])
        .arg(&script)
        .args(["-p", &cluster.port().to_string(), "-t", &times.to_string(), "postgres"])
        .env("PGPASSWORD", ROLE.1)
        .output()
        .expect("pgbench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Queries of 0.8 s are counted once, of 0.1 s never.
#[tokio::test(flavor = "multi_thread")]
async fn pgbenchs_slow_statements_are_all_counted_once() {
    let cluster = builder(None).start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let running = sampled(&cluster).await;
    tokio::task::block_in_place(|| {
        pgbench(&cluster, 0.8, 5);
        pgbench(&cluster, 0.1, 20);
    });
    let lines = Lines::new(running.next().await.as_ref().clone());
    let labels = "{database=\"postgres\",user=\"app\",application=\"pgbench\"}";
    assert_eq!(lines.value(&format!("server_slow_queries_total{labels}")), 10.0);
}

async fn those_running_are_listed(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let slow_threshold = Duration::from_millis(100);
    for show_query_text in [false, true] {
        let views =
            view::ViewSettings { slow_threshold, show_query_text, ..view::ViewSettings::default() };
        let watch = Watch::new(settings(&cluster, views));
        let client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("it").get(0);
        let token = client.cancel_token();
        let query = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60)").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let snapshot = watch.good().await;
        let running = &snapshot.views.activity.as_ref().expect("it was good").running;
        assert_eq!(running.len(), 1, "{running:?}");
        assert_eq!((running[0].slow.pid, running[0].key.user.as_str()), (pid, ROLE.0));
        assert!(running[0].age >= Duration::from_millis(200), "{running:?}");
        assert_eq!(running[0].waits_for.as_deref(), Some("Timeout"));
        assert_eq!(running[0].slow.wait_event.as_deref(), Some("PgSleep"));
        let text = show_query_text.then_some("SELECT pg_sleep(60)");
        assert_eq!(running[0].slow.text.as_deref(), text);
        token.cancel_query(tokio_postgres::NoTls).await.expect("it listens");
        query.await.expect("no panic").expect_err("it was cancelled");
    }
}
