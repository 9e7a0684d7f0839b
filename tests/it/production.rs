//! `APP_ENV=production`, with the program itself: refused configurations and refused clients.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::outside_address;
use crate::support::pools::{ROLE, cluster};
use crate::support::process::Program;
use crate::support::web::{get, request, scrape_until};

#[test]
fn the_built_in_url_is_refused() {
    let built_in = "postgresql+asyncpg://sentinelops:sentinelops@localhost:5432/sentinelops";
    for url in ["", built_in] {
        let mut daemon =
            Program::daemon().env("APP_ENV", "production").env("DATABASE_URL", url).start();
        assert_eq!(daemon.end().code(), Some(64));
        let log = daemon.log();
        assert!(log.contains("DATABASE_URL: the built-in URL must not be used"), "{log}");
        assert!(!log.contains("sentinelops"), "{log}");
    }
}

#[test]
fn strangers_see_the_open_paths_only_and_the_log_is_json() {
    let cluster = cluster();
    let mut daemon = Program::daemon()
        .env("APP_ENV", "production")
        .env("DATABASE_URL", cluster.url(ROLE.0, "correct%20horse"))
        .env("DB_MONITOR_INTERVAL", "0.5")
        .env("DB_POOL_PRE_PING", "false")
        .env("DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS", ":0")
        .start();
    let port = daemon.address().port();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    scrape_until(local, "db_pool_up{target=\"default\"}", 1.0);
    let open = ["/metrics", "/-/healthy", "/-/ready", "/api/v1/health"];
    let closed = [
        "/",
        "/api/v1/targets",
        "/api/v1/sd",
        "/api/v1/database/pool/status",
        "/probe?target=default",
    ];
    for path in open.iter().chain(&closed) {
        assert_eq!(get(local, path).status, 200, "{path}");
    }
    assert!(get(local, "/api/v1/health").json()["components"].is_object());
    match outside_address() {
        None => {
            eprintln!("not tested from outside: this machine has no address but the loopback's")
        }
        Some(ip) => {
            let stranger = SocketAddr::new(ip, port);
            open.iter().for_each(|path| assert_eq!(get(stranger, path).status, 200, "{path}"));
            closed.iter().for_each(|path| assert_eq!(get(stranger, path).status, 403, "{path}"));
            assert_eq!(get(stranger, "/api/v1/health").body, "{\"status\":\"healthy\"}");
            assert_eq!(request(stranger, "POST", "/-/reload", &[]).status, 403);
        }
    }
    daemon.terminate();
    let log = daemon.log();
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}: {log}"));
    let warned = |words: &str| {
        let matching = |line: &&serde_json::Value| line["message"].to_string().contains(words);
        lines.iter().filter(matching).count()
    };
    assert_eq!(warned("pre-ping is off in production"), 1, "{log}");
    assert_eq!(warned("every client on this host is trusted in production"), 1, "{log}");
    assert_eq!(warned("without TLS in production"), 0, "the server is local: {log}");
}
