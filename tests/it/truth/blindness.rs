//! What cannot be seen is said, and never called healthy.

use std::time::Duration;

use super::stage::{Expected, Setup, Stage};
use crate::support::bouncer;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::workers::{self, Library, Plan, Worker};

with_both_drivers! {
    an_exhausted_pool_that_cannot_be_seen_any_more_is_not_healthy,
    sessions_that_the_server_ended_are_told,
}

fn full(stage: &Stage, library: Library) -> Worker {
    let mut worker = stage.worker(library, "", 1);
    worker.tell("hold 8");
    assert_eq!(worker.tell("wait 3").waiting, 3);
    worker
}

fn an_exhausted_pool_that_cannot_be_seen_any_more_is_not_healthy(library: Library) {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let _worker = full(&stage, library);
    let exhausted = Expected {
        status: "unhealthy",
        checks: &[("pool_saturation", "fail")],
        source: "activity",
        ..Expected::default()
    };
    stage.expect("a full process with waiters, INSTANCES=1", "app", &exhausted);
    let view = "ON FUNCTION pg_catalog.pg_stat_get_activity(integer)";
    stage.cluster.psql(&format!("REVOKE EXECUTE {view} FROM PUBLIC"));
    stage.never(Duration::from_secs(6), "healthy by blindness", |said| said.status() == "healthy");
    let blind = Expected {
        checks: &[("pool_saturation", "warn")],
        says: &["ago", "permission denied"],
        source: "unknown",
        codes: &[1, 2],
        ..Expected::default()
    };
    stage.expect("exhausted, then the activity view fails", "app", &blind);
    stage.cluster.psql(&format!("GRANT EXECUTE {view} TO PUBLIC"));
    stage.expect("and the view answers again", "app", &exhausted);
}

fn sessions_that_the_server_ended_are_told(library: Library) {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let mut worker = full(&stage, library);
    stage.expect(
        "8 lent out, 3 waiting",
        "app",
        &Expected { status: "unhealthy", ..Expected::default() },
    );
    stage.cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE usename = 'app' AND application_name <> 'db_pool_exporter'",
    );
    let now = worker.tell("status");
    assert_eq!((now.out, now.waiting), (8, 3), "the application does not know yet");
    let killed = Expected {
        status: "degraded",
        checks: &[("pool_saturation", "warn")],
        says: &["ended all 8 sessions of app"],
        samples: &[("open_connections", 0.0)],
        ..Expected::default()
    };
    stage.expect("all backends killed", "app", &killed);
}

/// The server hides what sessions do when they do not track it.
#[test]
fn sessions_that_are_not_tracked_are_said_to_be_hidden() {
    let stage = Stage::start(Setup::of(5, 3));
    stage.cluster.psql("ALTER ROLE app SET track_activities = off");
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    worker.tell("busy 5");
    let hidden = Expected {
        status: "degraded",
        checks: &[("pool_saturation", "warn")],
        says: &["track_activities"],
        absent: &["active_connections", "saturation_ratio"],
        source: "unknown",
        codes: &[1],
        check_says: &["track_activities"],
        ..Expected::default()
    };
    stage.expect("track_activities=off, 5 busy", "app", &hidden);
}

/// A role without pg_read_all_stats cannot see what others' sessions do.
#[test]
fn sessions_that_the_role_may_not_see_are_said_to_be_hidden() {
    let cluster = workers::cluster(Cluster::builder());
    cluster.role("monitor", "secret");
    let url = cluster.url("monitor", "secret") + "?sslmode=disable";
    let setup = Setup::of(5, 3).url(url).with("DB_MONITOR_APPLICATION_USER", "app");
    let stage = Stage::on(cluster, setup);
    let _worker = full(&stage, Library::Psycopg);
    let hidden = Expected {
        status: "degraded",
        checks: &[("pool_saturation", "warn")],
        says: &["pg_read_all_stats"],
        absent: &["active_connections"],
        source: "unknown",
        codes: &[1],
        check_says: &["pg_read_all_stats"],
        ..Expected::default()
    };
    stage.expect("a full process whose sessions the role may not see", "app", &hidden);
}

/// Behind PgBouncer the server's sessions are PgBouncer's.
#[test]
fn a_pooler_between_is_said() {
    let cluster = workers::cluster(Cluster::builder());
    let mut bouncer = bouncer::start(&cluster, ROLE, "default_pool_size = 4\n");
    let port = bouncer.address().port();
    let url = format!("postgresql://app:correct%20horse@127.0.0.1:{port}/postgres?sslmode=disable");
    let stage = Stage::on(cluster, Setup::of(5, 0).url(url));
    let plan = Plan { library: Library::Psycopg, limits: (1, 0), port: Some(port), ..Plan::USUAL };
    let mut workers = stage.workers(8, plan);
    // One server connection is left to the exporter.
    workers.iter_mut().take(3).for_each(|worker| drop(worker.tell("wait 1")));
    let between = Expected {
        status: "degraded",
        checks: &[("pool_saturation", "warn")],
        says: &["PgBouncer"],
        source: "unknown",
        codes: &[1],
        check_says: &["PgBouncer"],
        ..Expected::default()
    };
    stage.expect("clients behind PgBouncer, and the exporter too", "app", &between);
}

/// A target that is down hides its application's pool as well.
#[test]
fn a_target_that_is_down_does_not_clear_the_application() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let _worker = full(&stage, Library::Asyncpg);
    stage.expect("full", "app", &Expected { status: "unhealthy", ..Expected::default() });
    stage.cluster.stop();
    let down = Expected {
        status: "unhealthy",
        checks: &[("connection", "fail"), ("pool_saturation", "warn")],
        says: &["ago"],
        source: "unknown",
        codes: &[2],
        ..Expected::default()
    };
    stage.expect("exhausted, then the target is down", "app", &down);
}
