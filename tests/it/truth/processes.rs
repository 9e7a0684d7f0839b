//! How many processes there are, from what that is known, and what is said where two stories fit.

use std::time::Duration;

use super::stage::{Expected, Setup, Stage};
use crate::support::workers::{Library, Plan, Worker};

with_both_drivers! {
    two_idle_processes_are_neither_an_alarm_nor_a_clean_bill,
    four_out_in_each_of_two_processes_are_not_called_exhausted,
    four_out_in_each_of_two_configured_processes_are_half,
    two_full_processes_are_two_by_what_is_open,
    more_open_than_the_settings_allow_names_the_settings,
}

/// Both stories fit: two processes at rest, or one whose ten connections are held without a statement.
fn two_idle_processes_are_neither_an_alarm_nor_a_clean_bill(library: Library) {
    let stage = Stage::start(Setup::of(5, 5));
    let mut workers = stage.workers(2, Plan { library, limits: (5, 5), ..Plan::USUAL });
    workers.iter_mut().for_each(|worker| drop(worker.tell("warm 5")));
    stage.expect(
        "two idle processes, 5 + 5, nothing set",
        "app",
        &Expected {
            status: "healthy",
            checks: &[("pool_saturation", "pass")],
            says: &["cannot tell two processes at rest from one", "DB_MONITOR_INSTANCES"],
            landing: &["DB_MONITOR_INSTANCES"],
            samples: &[
                ("active_connections", 0.0),
                ("open_connections", 10.0),
                ("uncertain_connections", 10.0),
                ("instances", 2.0),
                ("instances_known", 0.0),
            ],
            evidence: "idle",
            source: "activity",
            codes: &[0],
            ..Expected::default()
        },
    );
}

fn four_out_in_each(stage: &Stage, library: Library) -> Vec<Worker> {
    let mut workers = stage.workers(2, Plan { library, ..Plan::USUAL });
    workers.iter_mut().for_each(|worker| drop(worker.tell("hold 4")));
    workers
}

fn four_out_in_each_of_two_processes_are_not_called_exhausted(library: Library) {
    let stage = Stage::start(Setup::of(5, 3));
    let _workers = four_out_in_each(&stage, library);
    stage.expect(
        "two processes 5 + 3, 4 out in each, nothing set",
        "app",
        &Expected {
            status: "degraded",
            checks: &[("pool_saturation", "warn")],
            says: &["8 of 8", "DB_MONITOR_INSTANCES"],
            samples: &[("active_connections", 8.0), ("instances", 1.0), ("instances_known", 0.0)],
            evidence: "assumed",
            codes: &[1],
            check_says: &["DB_MONITOR_INSTANCES"],
            ..Expected::default()
        },
    );
    stage.never(Duration::from_secs(5), "an alarm by a guess", |said| said.health.status == 503);
}

fn four_out_in_each_of_two_configured_processes_are_half(library: Library) {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "2"));
    let _workers = four_out_in_each(&stage, library);
    stage.expect(
        "two processes 5 + 3, 4 out in each, INSTANCES=2",
        "app",
        &Expected {
            status: "healthy",
            checks: &[("pool_saturation", "pass")],
            samples: &[
                ("active_connections", 8.0),
                ("max_connections", 16.0),
                ("instances", 2.0),
                ("instances_known", 1.0),
                ("saturation_ratio", 0.5),
                ("saturated_instances", 0.0),
                ("limits_exceeded", 0.0),
            ],
            evidence: "configured",
            codes: &[0],
            ..Expected::default()
        },
    );
}

fn two_full_processes_are_two_by_what_is_open(library: Library) {
    let stage = Stage::start(Setup::of(5, 3));
    let mut workers = stage.workers(2, Plan { library, ..Plan::USUAL });
    for worker in &mut workers {
        worker.tell("hold 8");
        assert_eq!(worker.tell("wait 5").waiting, 5);
    }
    stage.expect(
        "two processes 5 + 3, both full, 5 waiting in each, nothing set",
        "app",
        &Expected {
            status: "unhealthy",
            checks: &[("pool_saturation", "fail")],
            samples: &[
                ("active_connections", 16.0),
                ("max_connections", 16.0),
                ("instances", 2.0),
                ("instances_known", 1.0),
                ("saturation_ratio", 1.0),
                ("saturated_instances", 2.0),
            ],
            evidence: "open",
            codes: &[1, 2],
            ..Expected::default()
        },
    );
}

fn more_open_than_the_settings_allow_names_the_settings(library: Library) {
    let stage = Stage::start(Setup::of(5, 5).with("DB_MONITOR_INSTANCES", "1"));
    let mut workers = stage.workers(2, Plan { library, limits: (5, 5), ..Plan::USUAL });
    workers.iter_mut().for_each(|worker| drop(worker.tell("hold 7")));
    let settings =
        ["14 open", "allow 10", "DB_MONITOR_INSTANCES", "DB_POOL_SIZE", "DB_MAX_OVERFLOW"];
    stage.expect(
        "14 open where the settings allow 10",
        "app",
        &Expected {
            status: "degraded",
            checks: &[("pool_saturation", "warn")],
            says: &settings,
            landing: &["14 open"],
            samples: &[("active_connections", 14.0), ("limits_exceeded", 1.0)],
            codes: &[1],
            check_says: &settings,
            ..Expected::default()
        },
    );
    let said = stage.said();
    for family in ["max_connections", "size", "saturation_ratio", "utilization_percent"] {
        assert!(
            said.app(family, "app").is_some_and(f64::is_finite),
            "{family}: {}",
            said.row("app")
        );
    }
    assert!(!said.landing.body.contains("no limit"), "{}", said.landing.body);
    let told = stage.daemon.log().matches("14 open").count();
    assert_eq!(told, 1, "{}", stage.daemon.log());
}

/// Two processes share one address, as behind a NAT or in one pod, and a third has its own.
#[test]
fn addresses_are_a_lower_bound_that_what_is_open_raises() {
    let stage = Stage::start(Setup::of(5, 3));
    let mut workers: Vec<Worker> =
        [2, 2, 3].map(|address| stage.worker(Library::Asyncpg, "", address)).into();
    workers.iter_mut().for_each(|worker| drop(worker.tell("hold 2")));
    let by_addresses = Expected {
        status: "healthy",
        samples: &[("active_connections", 6.0), ("instances", 2.0), ("instances_known", 1.0)],
        evidence: "addresses",
        ..Expected::default()
    };
    stage.expect("three processes on two addresses, 2 out in each", "app", &by_addresses);
    workers.iter_mut().for_each(|worker| drop(worker.tell("hold 6")));
    let by_open = Expected {
        status: "unhealthy",
        samples: &[("active_connections", 24.0), ("instances", 3.0), ("saturated_instances", 3.0)],
        evidence: "open",
        ..Expected::default()
    };
    stage.expect("three full processes on two addresses", "app", &by_open);
}

/// While an old and a new process overlap there are two; nothing of it is an alarm.
#[test]
fn a_rolling_deploy_is_no_alarm() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_APPLICATION", "shop-*"));
    let mut old = stage.worker(Library::Asyncpg, "shop-1", 1);
    old.tell("hold 4");
    stage.never(Duration::from_secs(2), "one process", |said| said.health.status == 503);
    let mut new = stage.worker(Library::Asyncpg, "shop-2", 1);
    new.tell("hold 4");
    let overlap = Expected {
        status: "healthy",
        samples: &[("active_connections", 8.0), ("instances", 2.0), ("instances_known", 1.0)],
        evidence: "names",
        codes: &[0],
        ..Expected::default()
    };
    stage.expect("a rolling deploy: two processes under a pattern", "shop", &overlap);
    drop(old);
    let alone = Expected {
        status: "healthy",
        samples: &[("active_connections", 4.0)],
        ..Expected::default()
    };
    stage.expect("a rolling deploy: the old process has gone", "shop", &alone);
    stage.never(Duration::from_secs(3), "an alarm", |said| said.status() != "healthy");
}

/// Eight connections held without a statement fit two processes at rest as well.
#[test]
fn connections_held_in_autocommit_are_one_of_two_stories() {
    let stage = Stage::start(Setup::of(5, 3));
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    assert_eq!(worker.tell("auto 8").out, 8);
    let expected = Expected {
        status: "healthy",
        says: &["cannot tell two processes at rest from one"],
        samples: &[
            ("active_connections", 0.0),
            ("uncertain_connections", 8.0),
            ("instances", 2.0),
            ("instances_known", 0.0),
        ],
        evidence: "idle",
        codes: &[0],
        ..Expected::default()
    };
    stage.expect("8 of 8 held in AUTOCOMMIT, nothing set", "app", &expected);
}

/// With one process configured, the whole limit open for a minute is a warning of its own.
#[test]
fn the_whole_limit_open_for_a_minute_is_a_warning() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let mut worker = stage.worker(Library::Psycopg, "", 1);
    worker.tell("auto 5");
    assert_eq!(worker.tell("hold 3").out, 8);
    let expected = Expected {
        status: "degraded",
        checks: &[("pool_saturation", "warn")],
        says: &["8 of 8 open, at least 3 checked out"],
        samples: &[("active_connections", 3.0), ("uncertain_connections", 5.0)],
        within: Some(Duration::from_secs(75)),
        ..Expected::default()
    };
    stage.expect(
        "8 of 8 open for a minute, 5 of them in AUTOCOMMIT, INSTANCES=1",
        "app",
        &expected,
    );
}
