//! A pooled session that leads to another server than new ones: a standby pair behind a switched address.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::support::forwarder::Forwarder;
use crate::support::postgres::{Cluster, REPLICATION};
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::web::{get, scrape_until};

const LIMIT: Duration = Duration::from_secs(15);
const REPLACED: &str =
    "db_pool_connections_closed_total{target=\"default\",reason=\"wrong_session\"}";

/// A primary, its standby, and an address that leads to the primary first.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    address: Forwarder,
}

impl Pair {
    fn start() -> Pair {
        let primary = Cluster::builder().hba(REPLICATION).start();
        primary.role("app", "apple");
        let standby = primary.standby();
        let address = Forwarder::start(Ipv4Addr::LOCALHOST, primary.port());
        Pair { primary, standby, address }
    }

    /// A daemon that watches the address. `options`: of the URL.
    fn watched(&self, options: &str) -> Program {
        let port = self.address.port();
        let url =
            format!("postgresql://app:apple@127.0.0.1:{port}/postgres?sslmode=disable{options}");
        let mut daemon = Program::daemon()
            .env("DATABASE_URL", url)
            .env("DB_MONITOR_INTERVAL", "1")
            .env("DB_CONNECT_TIMEOUT", "0.9")
            .start();
        scrape_until(daemon.address(), "db_pool_up{target=\"default\"}", 1.0);
        daemon
    }
}

/// The status of a check, and its message.
fn check(daemon: &mut Program, name: &str) -> (String, String) {
    let health: Value = serde_json::from_str(&get(daemon.address(), "/api/v1/health").body)
        .expect("the answer is JSON");
    let check = &health["components"]["database"]["metadata"]["pool_health"]["checks"][name];
    let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

#[test]
fn an_address_that_is_switched_to_the_standby_is_warned_of_once() {
    let pair = Pair::start();
    let mut daemon = pair.watched("");
    assert_eq!(check(&mut daemon, "session").0, "pass");
    pair.address.turn_to(pair.standby.port());
    scrape_until(daemon.address(), REPLACED, 1.0);
    let (status, message) = check(&mut daemon, "session");
    assert_eq!(status, "warn");
    assert!(message.contains("another server (a standby)"), "{message}");
    assert!(message.contains("the pooled connection (a primary)"), "{message}");
    wait_for("the pooled connection to lead to the standby", LIMIT, || {
        let page = get(daemon.address(), "/metrics");
        let standby = page
            .body
            .lines()
            .any(|line| line.starts_with("db_pool_server_in_recovery{") && line.ends_with(" 1"));
        standby.then_some(())
    });
    assert_eq!(daemon.log().matches("wrong_session").count(), 1, "{}", daemon.log());
    drop(pair.primary);
}

#[test]
fn a_standby_where_the_url_asks_for_read_write_fails_the_session_check() {
    let pair = Pair::start();
    let mut daemon = pair.watched("&target_session_attrs=read-write");
    pair.address.turn_to(pair.standby.port());
    wait_for("the check to fail", LIMIT, || {
        (check(&mut daemon, "session").0 == "fail").then_some(())
    });
    assert_eq!(check(&mut daemon, "connection").0, "fail");
    pair.address.turn_to(pair.primary.port());
    scrape_until(daemon.address(), "db_pool_up{target=\"default\"}", 1.0);
    assert_eq!(check(&mut daemon, "session").0, "pass");
}
