//! The JSON endpoints for a target that is probed for real.

use std::sync::Arc;
use std::time::Duration;

use db_pool_exporter::api::{
    ApiRequest, Endpoint, health, pool_health, pool_status, reset_metrics,
};
use db_pool_exporter::probe::{Probing, Roster, Schedule, Snapshot, TargetSettings, fixture};
use db_pool_exporter::view;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::pools::{SOON, cluster, connect, counted, limits};

const INTERVAL: Duration = Duration::from_millis(100);

fn settings(port: u16) -> TargetSettings {
    TargetSettings {
        labels: Vec::new(),
        schedule: Schedule {
            interval: INTERVAL,
            timeout: Duration::from_secs(2),
            ..fixture::settings("default").schedule
        },
        connect: connect(port),
        limits: limits(20, 10),
        views: view::ViewSettings::off(),
        ..fixture::settings("default")
    }
}

fn ask(roster: &Roster, endpoint: Endpoint) -> (u16, Value) {
    let request = ApiRequest { roster, now: Instant::now(), target: None, application: None };
    let reply = endpoint(&request);
    (reply.status.as_u16(), reply.body)
}

/// Waits until a probe has published a snapshot of this kind.
async fn seen(roster: &Roster, what: &str, is_it: impl Fn(&Snapshot) -> bool) {
    let mut snapshots = roster.target("default").expect("it runs").subscribe();
    let wait = snapshots.wait_for(|p| p.as_ref().is_some_and(|p| is_it(&p.snapshot)));
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what}")).expect("it goes on");
}

#[tokio::test]
async fn the_numbers_are_the_probes_and_a_reset_begins_them_anew() {
    let cluster = cluster();
    let stop = CancellationToken::new();
    let roster = Arc::new(Roster::new(TaskTracker::new(), stop.clone(), Probing::On));
    roster.apply(vec![settings(cluster.port())]);
    seen(&roster, "five probes", |s| s.window.samples().len() >= 5).await;

    let (status, before) = ask(&roster, pool_status);
    assert_eq!((status, &before["source"]), (200, &json!("exporter")));
    let connections = &before["metrics"]["connections"];
    assert_eq!((&connections["active"], &connections["total"]), (&json!(0), &json!(1)));
    assert_eq!(before["metrics"]["events"]["connects"], 1);
    assert!(before["metrics"]["events"]["checkouts"].as_u64() >= Some(5), "{before}");
    assert!(before["metrics"]["performance"]["avg_query_time_ms"].as_f64() > Some(0.0), "{before}");
    assert_eq!(ask(&roster, pool_health).0, 200);

    let target = roster.target("default").expect("it runs");
    let total = || counted(target.pool(), "db_pool_checkouts_total{result=\"ok\"}");
    let counted_before = total();
    assert_eq!(ask(&roster, reset_metrics).0, 200);
    let (_, after) = ask(&roster, pool_status);
    let zeros = json!({"checkouts": 0, "checkins": 0, "connects": 0, "disconnects": 0, "checkout_timeouts": 0});
    assert_eq!(after["metrics"]["events"], zeros);
    let performance =
        json!({"avg_connection_time_ms": 0.0, "avg_query_time_ms": 0.0, "slow_queries": 0});
    assert_eq!(after["metrics"]["performance"], performance);
    assert!(total() >= counted_before);
    assert_eq!(ask(&roster, pool_health).0, 200);

    let reset = Instant::now();
    seen(&roster, "a probe after the reset", |s| s.taken > reset + INTERVAL).await;
    let (_, later) = ask(&roster, pool_status);
    let checkouts = later["metrics"]["events"]["checkouts"].as_u64();
    assert!(checkouts > Some(0) && checkouts < Some(total()), "{later}");
    stop.cancel();
}

#[tokio::test]
async fn a_server_that_stops_makes_health_unhealthy_and_counts_what_failed() {
    let cluster = cluster();
    let stop = CancellationToken::new();
    let roster = Arc::new(Roster::new(TaskTracker::new(), stop.clone(), Probing::On));
    assert_eq!(ask(&roster, health).1, json!({"detail": "No target is configured"}));
    roster.apply(vec![settings(cluster.port())]);
    seen(&roster, "a good probe", Snapshot::is_up).await;
    assert_eq!(ask(&roster, health).0, 200);
    cluster.stop();
    seen(&roster, "a failed probe", |s| !s.is_up() && s.totals.failed > 0).await;
    let (status, answer) = ask(&roster, health);
    let database = &answer["components"]["database"];
    assert_eq!((status, &database["status"]), (503, &json!("unhealthy")));
    assert_eq!(database["metadata"]["pool_health"]["checks"]["connection"]["status"], "fail");
    let (status, answer) = ask(&roster, pool_status);
    assert_eq!(status, 200);
    assert!(answer["metrics"]["connections"]["failed"].as_u64() > Some(0), "{answer}");
    cluster.start_again();
    seen(&roster, "a good probe again", Snapshot::is_up).await;
    assert_eq!(ask(&roster, health).0, 200);
    stop.cancel();
}
