//! The fullest process decides, and the worst application.

use super::stage::{Expected, Setup, Stage};
use crate::support::pools::ROLE;
use crate::support::workers::{Library, Worker};

with_both_drivers! {
    one_full_process_of_two_with_names_decides,
    one_full_process_of_two_with_addresses_decides,
    one_full_process_of_two_that_look_alike_may_be_hidden,
    the_worst_application_decides_and_is_named,
}

/// One process is full and has waiters, the other is idle.
fn one_of_two(
    stage: &Stage,
    library: Library,
    names: [&str; 2],
    addresses: [u8; 2],
) -> [Worker; 2] {
    let mut workers = [0, 1].map(|n| stage.worker(library, names[n], addresses[n]));
    workers[0].tell("hold 8");
    assert_eq!(workers[0].tell("wait 3").waiting, 3);
    workers[1].tell("warm 3");
    workers
}

const ONE_IS_FULL: Expected<'_> = Expected {
    status: "unhealthy",
    checks: &[("pool_saturation", "fail")],
    says: &[],
    landing: &[],
    samples: &[
        ("active_connections", 8.0),
        ("max_connections", 16.0),
        ("instances", 2.0),
        ("instances_known", 1.0),
        ("saturation_ratio", 1.0),
        ("mean_saturation_ratio", 0.5),
        ("utilization_percent", 160.0),
        ("mean_utilization_percent", 80.0),
        ("saturated_instances", 1.0),
    ],
    absent: &[],
    evidence: "",
    source: "activity",
    codes: &[1, 2],
    check_says: &[],
    within: None,
};

fn one_full_process_of_two_with_names_decides(library: Library) {
    let by_names = Setup::of(5, 3).with("DB_MONITOR_APPLICATION", "shop-*");
    let configured = by_names.clone().with("DB_MONITOR_INSTANCES", "2");
    for (setup, evidence) in [(configured, "configured"), (by_names, "names")] {
        let stage = Stage::start(setup);
        let _workers = one_of_two(&stage, library, ["shop-1", "shop-2"], [1, 1]);
        let situation = format!("one of two full with waiters, names of their own ({evidence})");
        stage.expect(&situation, "shop", &Expected { evidence, ..ONE_IS_FULL });
    }
}

fn one_full_process_of_two_with_addresses_decides(library: Library) {
    let stage = Stage::start(Setup::of(5, 3));
    let _workers = one_of_two(&stage, library, ["", ""], [2, 3]);
    let expected = Expected { evidence: "addresses", ..ONE_IS_FULL };
    stage.expect("one of two full with waiters, addresses of their own", "app", &expected);
}

fn one_full_process_of_two_that_look_alike_may_be_hidden(library: Library) {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "2"));
    let _workers = one_of_two(&stage, library, ["", ""], [1, 1]);
    let expected = Expected {
        says: &["told apart"],
        samples: &[("active_connections", 8.0), ("saturation_ratio", 0.5), ("instances", 2.0)],
        evidence: "configured",
        ..Expected::default()
    };
    stage.expect(
        "one of two full with waiters, one name, one address, INSTANCES=2",
        "app",
        &expected,
    );
    let help = "# HELP db_pool_app_saturation_ratio ";
    let page = stage.said().page.body;
    let help = page.lines().find(|line| line.starts_with(help)).expect("the family is there");
    assert!(help.contains("told apart"), "{help}");
}

/// `admin` is idle and comes first by name; `web` is full.
fn the_worst_application_decides_and_is_named(library: Library) {
    let table = "{ admin: { match: { application_name: admin }, instances: 1 }, \
                 web: { match: { application_name: web }, instances: 1 } }";
    let stage = Stage::start(Setup::of(5, 3).applications(table));
    let mut admin = stage.worker(library, "admin", 1);
    admin.tell("warm 2");
    let mut web = stage.worker(library, "web", 1);
    web.tell("hold 8");
    web.tell("wait 5");
    let expected = Expected {
        status: "unhealthy",
        checks: &[("pool_saturation", "fail")],
        says: &["web"],
        samples: &[("active_connections", 8.0), ("saturation_ratio", 1.0)],
        codes: &[1, 2],
        check_says: &["web"],
        ..Expected::default()
    };
    stage.expect("two applications, admin idle, web full with waiters", "web", &expected);
}

/// A person's psql is no process of the application, and does not dilute a full one.
#[test]
fn a_psql_beside_a_full_process_hides_nothing() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    let mut psql = stage.worker(Library::Psycopg, "psql", 1);
    psql.tell("auto 1");
    worker.tell("hold 8");
    worker.tell("wait 3");
    let expected = Expected {
        status: "unhealthy",
        samples: &[
            ("active_connections", 8.0),
            ("saturation_ratio", 1.0),
            ("saturated_instances", 1.0),
        ],
        codes: &[1, 2],
        ..Expected::default()
    };
    stage.expect("a psql beside a full process", "app", &expected);
}

/// A job that listens under a name of the application's pattern is a process of its own.
#[test]
fn a_job_under_the_pattern_hides_nothing() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_APPLICATION", "shop-*"));
    let job = format!(
        "host=127.0.0.1 port={} user={} password='{}' dbname=postgres application_name=shop-job",
        stage.cluster.port(),
        ROLE.0,
        ROLE.1
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&job, tokio_postgres::NoTls).await.expect("it gets in");
        tokio::spawn(connection);
        client.batch_execute("LISTEN news").await.expect("it runs");
        client
    });
    let mut worker = stage.worker(Library::Asyncpg, "shop-web", 1);
    worker.tell("hold 8");
    worker.tell("wait 3");
    let expected = Expected {
        status: "unhealthy",
        samples: &[
            ("active_connections", 8.0),
            ("saturation_ratio", 1.0),
            ("saturated_instances", 1.0),
        ],
        codes: &[1, 2],
        ..Expected::default()
    };
    stage.expect("a job that listens, beside a full process of the pattern", "shop", &expected);
    drop(client);
}
