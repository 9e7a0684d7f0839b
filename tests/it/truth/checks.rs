//! The checks beside the pool's: headroom, writes, and the server behind the pooled session.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::stage::{Expected, Setup, Stage};
use crate::support::forwarder::Forwarder;
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::workers::{self, Library, Plan, Worker};

#[test]
fn a_server_without_a_free_connection_fails_its_headroom() {
    let builder = Cluster::builder()
        .setting("max_connections", "13")
        .setting("superuser_reserved_connections", "3");
    let stage = Stage::builder(builder, Setup::of(5, 5).with("DB_MONITOR_CONNECT_INTERVAL", "0"));
    stage.expect(
        "headroom",
        "app",
        &Expected { checks: &[("headroom", "pass")], ..Expected::default() },
    );
    stage.cluster.role("batch", "secret");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let held = runtime.block_on(async {
        let mut held = Vec::new();
        while let Ok(client) = stage.cluster.client("batch", "secret").await {
            held.push(client);
        }
        held
    });
    let gone = Expected {
        status: "unhealthy",
        checks: &[("headroom", "fail"), ("connection", "pass")],
        says: &["0 connections"],
        ..Expected::default()
    };
    stage.expect("no connection is left on the server", "app", &gone);
    drop(held);
    stage.expect(
        "headroom again",
        "app",
        &Expected { checks: &[("headroom", "pass")], ..Expected::default() },
    );
}

#[test]
fn a_write_probe_that_fails_is_a_check() {
    let cluster = workers::cluster(Cluster::builder());
    cluster.psql(&format!("\\set role app\n{}", include_str!("../../../deploy/sql/heartbeat.sql")));
    let setup = Setup::of(5, 3).file("targets: { default: { write_probe: { enabled: true } } }\n");
    let stage = Stage::on(cluster, setup);
    let writes =
        Expected { status: "healthy", checks: &[("write", "pass")], ..Expected::default() };
    stage.expect("the write probe succeeds", "app", &writes);
    stage.cluster.psql("REVOKE INSERT ON db_pool_exporter_heartbeat FROM app");
    let refused = Expected {
        status: "unhealthy",
        checks: &[("write", "fail")],
        says: &["permission denied"],
        codes: &[2],
        ..Expected::default()
    };
    stage.expect("the write probe fails", "app", &refused);
}

/// What the name or the proxy leads to has changed: the pooled session is still on the old server.
#[test]
fn a_pooled_session_on_another_server_than_a_fresh_one_is_replaced() {
    let [old, new] = [0, 1].map(|_| workers::cluster(Cluster::builder()));
    let forwarder = Forwarder::start(Ipv4Addr::LOCALHOST, old.port());
    let port = forwarder.port();
    let url = format!("postgresql://app:correct%20horse@127.0.0.1:{port}/postgres?sslmode=disable");
    let stage = Stage::on(old, Setup::of(5, 3).url(url));
    let mut worker = Worker::start(
        &stage.cluster,
        Plan { port: Some(port), library: Library::Asyncpg, ..Plan::USUAL },
    );
    worker.tell("hold 1");
    let same =
        Expected { status: "healthy", checks: &[("session", "pass")], ..Expected::default() };
    stage.expect("pooled and fresh connection reach one server", "app", &same);
    forwarder.turn_to(new.port());
    let closed = "db_pool_connections_closed_total{target=\"default\",reason=\"wrong_session\"}";
    wait_for("the pooled session to be replaced", Duration::from_secs(10), || {
        (stage.said().page.sample(closed)? >= 1.0).then_some(())
    });
    let warned = Expected { checks: &[("session", "warn")], ..Expected::default() };
    stage.expect("the name leads to another server", "app", &warned);
    assert_eq!(stage.daemon.log().matches("wrong_session").count(), 1, "{}", stage.daemon.log());
}

/// A standby was promoted elsewhere, or the database was made read-only, under a URL that asks for read-write.
#[test]
fn a_pooled_session_that_became_read_only_is_told() {
    let cluster = workers::cluster(Cluster::builder());
    let url =
        cluster.url("app", "correct%20horse") + "?sslmode=disable&target_session_attrs=read-write";
    let stage = Stage::on(cluster, Setup::of(5, 3).url(url));
    let good =
        Expected { status: "healthy", checks: &[("session", "pass")], ..Expected::default() };
    stage.expect("a read-write server for a URL that asks for one", "app", &good);
    stage.cluster.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    stage.cluster.reload();
    let read_only =
        |said: &super::stage::Said| ["warn", "fail"].contains(&said.check("session").as_str());
    wait_for("the session check", Duration::from_secs(10), || {
        read_only(&stage.said()).then_some(())
    });
}
