//! One application has one name everywhere, and no exporter is an application.

use std::time::{Duration, Instant};

use super::stage::{Setup, Stage};
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::workers::Library;

/// Sessions under these names, and the names that the page has for them.
fn named(setup: Setup, sessions: &[&str], expected: &str) {
    let stage = Stage::start(setup);
    let mut workers: Vec<_> =
        sessions.iter().map(|name| stage.worker(Library::Asyncpg, name, 1)).collect();
    workers.iter_mut().for_each(|worker| drop(worker.tell("hold 1")));
    let said = wait_for("the sessions to be seen", Duration::from_secs(10), || {
        let said = stage.said();
        said.page.body.contains("db_pool_app_open_connections{").then_some(said)
    });
    let names =
        ["db_pool_app_", "db_pool_server_connections{"].map(|start| said.applications(start));
    println!("{sessions:?} named {names:?}");
    assert_eq!(names, [[expected], [expected]]);
    assert!(!said.page.body.contains("application=\"default\""));
}

#[test]
fn the_name_of_a_pattern_without_a_star_is_the_applications() {
    named(Setup::of(5, 3).with("DB_MONITOR_APPLICATION", "shop"), &["shop"], "shop");
}

#[test]
fn a_pattern_without_its_star_is_the_applications_name() {
    let setup = Setup::of(5, 3).with("DB_MONITOR_APPLICATION", "shop-*");
    named(setup, &["shop-1", "shop-2"], "shop");
}

#[test]
fn without_a_pattern_the_role_is_the_applications_name() {
    named(Setup::of(5, 3), &[""], "app");
}

/// Neither a second exporter nor a running `check` is a pool.
#[test]
fn a_twin_exporter_and_a_check_are_nobodys_pool() {
    let stage = Stage::start(Setup::of(5, 3));
    stage.cluster.role("monitor", "secret");
    stage.cluster.psql("GRANT pg_monitor TO app");
    let url = stage.cluster.url("monitor", "secret") + "?sslmode=disable";
    let mut twin =
        Program::daemon().env("DATABASE_URL", &url).env("DB_MONITOR_INTERVAL", "1").start();
    twin.address();
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    worker.tell("hold 1");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'monitor'";
    wait_for("the twin's sessions", Duration::from_secs(10), || {
        (stage.cluster.psql(sessions) != "0").then_some(())
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        stage.check();
        let said = stage.said();
        let names = said.applications("db_pool_app_");
        assert!(!names.contains(&"db_pool_exporter"), "{names:?}");
    }
}
