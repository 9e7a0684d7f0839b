//! The application processes of the tests: their pools obey the commands, and the server confirms it.

use std::net::Ipv4Addr;

use crate::support::bouncer;
use crate::support::forwarder::Forwarder;
use crate::support::pools::{ROLE, SOON, sessions};
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::workers::{Library, Plan, PoolStatus, Worker, cluster};

fn state(cluster: &Cluster, state: &str) -> u64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = '{state}'"
    );
    cluster.psql(&sql).parse().expect("a count")
}

fn status(out: u64, open: u64, waiting: u64) -> PoolStatus {
    PoolStatus { out, open, waiting, ..PoolStatus::default() }
}

#[test]
fn a_queue_pool_holds_waits_and_closes_what_is_above_its_size() {
    for library in [Library::Asyncpg, Library::Psycopg] {
        let cluster = cluster(Cluster::builder());
        let mut worker = Worker::start(&cluster, Plan { library, ..Plan::USUAL });
        assert_eq!(worker.tell("status"), status(0, 0, 0), "{library:?}");
        assert_eq!(worker.tell("warm 8"), status(0, 5, 0), "{library:?}");
        assert_eq!(worker.tell("hold 3"), status(3, 5, 0), "{library:?}");
        worker.tell("auto 3");
        assert_eq!(worker.tell("bare 1"), status(7, 7, 0), "{library:?}");
        assert_eq!(worker.tell("busy 1"), status(8, 8, 0), "{library:?}");
        let states = ["idle in transaction", "idle", "active"].map(|name| state(&cluster, name));
        assert_eq!(states, [3, 4, 1], "{library:?}");
        assert_eq!(worker.tell("wait 2"), status(8, 8, 2), "{library:?}");
        worker.tell("return 3");
        worker.wait("the waiters have theirs", |now| *now == status(7, 8, 0));
        assert_eq!(sessions(&cluster), 8, "{library:?}");
        drop(worker);
        wait_for("its sessions to end", SOON, || {
            cluster
                .psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
            (sessions(&cluster) == 0).then_some(())
        });
    }
}

#[test]
fn a_pool_with_minimum_and_maximum_stays_open_above_its_minimum() {
    for library in [Library::PsycopgPool, Library::NodePg] {
        let cluster = cluster(Cluster::builder());
        let plan = Plan { library, name: "shop", limits: (2, 6), ..Plan::USUAL };
        let mut worker = Worker::start(&cluster, plan);
        worker.tell("warm 6");
        let rest = worker.wait("all to be back", |now| now.out == 0);
        assert!((2..=6).contains(&rest.open), "{library:?} {rest:?}");
        worker.tell("hold 6");
        worker.tell("wait 2");
        worker.wait("a full pool", |now| *now == status(6, 6, 2));
        assert_eq!(state(&cluster, "idle in transaction"), 6, "{library:?}");
        worker.tell("return 6");
        worker.wait("the waiters have theirs", |now| (now.out, now.waiting) == (2, 0));
        let names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'app'";
        assert_eq!(cluster.psql(names), "shop", "{library:?}");
    }
}

#[test]
fn each_process_may_have_an_address_of_its_own() {
    let cluster = cluster(Cluster::builder());
    let _workers: Vec<Worker> = [1, 2, 3]
        .map(|address| {
            let mut worker = Worker::start(&cluster, Plan { address, ..Plan::USUAL });
            worker.tell("hold 2");
            worker
        })
        .into();
    let addresses = "SELECT host(client_addr), count(*) FROM pg_stat_activity WHERE usename = 'app' \
                     GROUP BY 1 ORDER BY 1";
    assert_eq!(cluster.psql(addresses), "127.0.0.1|2\n127.0.0.2|2\n127.0.0.3|2");
}

#[test]
fn a_forwarder_leads_new_connections_elsewhere_and_leaves_the_old_ones() {
    let [old, new] = [0, 1].map(|_| cluster(Cluster::builder()));
    let forwarder = Forwarder::start(Ipv4Addr::LOCALHOST, old.port());
    let mut worker = Worker::start(&old, Plan { port: Some(forwarder.port()), ..Plan::USUAL });
    worker.tell("hold 1");
    forwarder.turn_to(new.port());
    worker.tell("hold 2");
    assert_eq!((sessions(&old), sessions(&new)), (1, 2));
}

#[test]
fn a_load_from_a_seed_leaves_a_trace_and_ends_with_an_idle_pool() {
    for library in [Library::Asyncpg, Library::Psycopg] {
        let cluster = cluster(Cluster::builder());
        let mut worker = Worker::start(&cluster, Plan { library, ..Plan::USUAL });
        worker.tell("load 39.5 0.1 7");
        worker.wait("a busy pool", |now| now.out >= 3);
        let ended = worker.tell("stop");
        assert_eq!((ended.out, ended.waiting), (0, 0), "{library:?}");
        let trace = worker.tell("trace").trace;
        assert!(trace.iter().any(|change| change.1 >= 3), "{library:?} {trace:?}");
        assert!(trace.is_sorted_by(|one, next| one.0 < next.0), "{library:?} {trace:?}");
        assert_eq!(worker.tell("trace").trace.len(), 0, "{library:?}: it is returned only once");
    }
}

#[test]
fn eight_clients_share_three_connections_behind_pgbouncer() {
    let cluster = cluster(Cluster::builder());
    let mut bouncer = bouncer::start(&cluster, ROLE, "default_pool_size = 3\n");
    let port = Some(bouncer.address().port());
    let plan = Plan { library: Library::Psycopg, limits: (1, 0), port, ..Plan::USUAL };
    let mut workers = Worker::several(&cluster, 8, plan);
    for worker in &mut workers {
        worker.tell("wait 1");
    }
    let mut in_transaction = 0;
    for worker in &mut workers {
        in_transaction += worker.tell("status").out;
    }
    // SQLAlchemy counts a connection as checked out that waits inside of PgBouncer.
    assert_eq!(in_transaction, 8);
    // It opens them one after the other.
    wait_for("three sessions", SOON, || (sessions(&cluster) == 3).then_some(()));
    assert_eq!(state(&cluster, "idle in transaction"), 3);
}
