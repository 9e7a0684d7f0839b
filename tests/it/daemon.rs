//! The daemon as users run it: environment variables, a database, and the answers of `/metrics`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::pools::{ROLE, cluster, sessions};
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Program};
use crate::support::web::{get, request, scrape_until};
use crate::support::{nothing_may_happen_for, wait_for};

/// A daemon that probes the cluster every second.
fn watching(cluster: &Cluster) -> Builder {
    let url = cluster.url(ROLE.0, "correct%20horse");
    Program::daemon()
        .env("DATABASE_URL", url + "?sslmode=disable")
        .env("DB_MONITOR_INTERVAL", "1")
        .env("DB_CONNECT_TIMEOUT", "1")
}

const UP: &str = "db_pool_up{target=\"default\"}";

#[test]
fn a_healthy_database_is_up_with_phases_and_check_outs_that_grow() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).start();
    let address = daemon.address();
    let first = scrape_until(address, UP, 1.0);
    for phase in ["tcp", "startup"] {
        let name = format!(
            "db_pool_connect_phase_duration_seconds_count{{target=\"default\",phase=\"{phase}\"}}"
        );
        assert!(first.sample(&name).is_some_and(|n| n >= 2.0), "{}", first.body);
    }
    let checkouts = "db_pool_checkouts_total{target=\"default\",result=\"ok\"}";
    let before = first.sample(checkouts).expect("a check-out was made");
    wait_for("check-outs to grow", Duration::from_secs(5), || {
        (get(address, "/metrics").sample(checkouts)? > before + 2.0).then_some(())
    });
    let later = get(address, "/metrics");
    assert_eq!(later.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(later.sample("db_pool_size{target=\"default\"}"), Some(20.0));
    assert_eq!(later.sample("db_pool_max_connections{target=\"default\"}"), Some(30.0));
    assert_eq!(later.sample("db_pool_connections_opened_total{target=\"default\"}"), Some(1.0));
    assert_eq!(get(address, "/-/ready").status, 200);
    assert!(daemon.terminate().success());
    wait_for("its sessions to end", Duration::from_secs(5), || {
        (sessions(&cluster) == 0).then_some(())
    });
}

#[test]
fn it_serves_at_once_without_a_database_and_recovers_by_itself() {
    let cluster = cluster();
    cluster.stop();
    let mut daemon = watching(&cluster).start();
    let address = daemon.address();
    assert_eq!(get(address, "/-/healthy").status, 200);
    let down = scrape_until(address, UP, 0.0);
    let errors =
        "db_pool_connect_errors_total{target=\"default\",phase=\"tcp\",reason=\"refused\"}";
    assert!(down.sample(errors).is_some_and(|n| n >= 1.0), "{}", down.body);
    assert_eq!(get(address, "/-/ready").status, 200, "probed once, whatever came out");
    cluster.start_again();
    scrape_until(address, UP, 1.0);
    cluster.crash();
    scrape_until(address, UP, 0.0);
    cluster.start_again();
    scrape_until(address, UP, 1.0);
    let log = daemon.log();
    // Expected twice. A third time is possible if the machine was too busy for a probe in between.
    let reported = log.matches("message=\"probe succeeds again\"").count();
    assert!((2..=3).contains(&reported), "{log}");
    assert!(log.contains("hint=\"nobody listens there"), "{log}");
}

#[test]
fn a_frozen_server_is_a_timeout_while_metrics_answer_within_milliseconds() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).env("DB_MONITOR_INTERVAL", "2").start();
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    cluster.freeze();
    let down = scrape_until(address, UP, 0.0);
    assert!(down.took < Duration::from_millis(500), "{:?}", down.took);
    let mut times: Vec<Duration> = (0..50).map(|_| get(address, "/metrics").took).collect();
    times.sort();
    assert!(times[25] < Duration::from_millis(20), "{times:?}");
    let timeout =
        "db_pool_connect_errors_total{target=\"default\",phase=\"startup\",reason=\"timeout\"}";
    assert!(down.sample(timeout).is_some_and(|n| n >= 1.0), "{}", down.body);
    assert!(
        down.sample("db_pool_abandoned_connections{target=\"default\"}").is_some_and(|n| n >= 1.0)
    );
    cluster.thaw();
    let up = scrape_until(address, UP, 1.0);
    assert!(up.sum("db_pool_probe_failures_total") >= 1.0);
    assert!(sessions(&cluster) <= 3);
}

#[test]
fn a_connect_that_lasts_until_the_deadline_tells_its_phase_and_is_logged_once() {
    // No code accepts connections: the kernel completes the TCP handshake.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgresql://app:x@127.0.0.1:{port}/postgres?sslmode=disable");
    // A connect ends at 95 % of the time, so that its phase is known: the rest must last on a busy machine too.
    let mut daemon = Program::daemon()
        .env("DATABASE_URL", url)
        .env("DB_MONITOR_INTERVAL", "3")
        .env("DB_MONITOR_TIMEOUT", "3")
        .start();
    let address = daemon.address();
    let name =
        "db_pool_connect_errors_total{target=\"default\",phase=\"startup\",reason=\"timeout\"}";
    let probes = "db_pool_probe_duration_seconds_count{target=\"default\"}";
    let reported = wait_for("a connect's time-out", Duration::from_secs(10), || {
        let answer = get(address, "/metrics");
        (answer.sample(probes)? >= 1.0 && answer.sample(name)? >= 1.0).then_some(answer)
    });
    assert_eq!(reported.sample(probes), Some(1.0), "the first probe says so");
    let health = wait_for("the first snapshot", Duration::from_secs(3), || {
        let health = get(address, "/api/v1/health").body;
        (!health.contains("not probed yet")).then_some(health)
    });
    assert!(health.contains("startup failed: no answer within 2.85 s"), "{health}");
    wait_for("three probes", Duration::from_secs(30), || {
        (get(address, "/metrics").sample(probes)? >= 3.0).then_some(())
    });
    let log = daemon.log();
    assert_eq!(log.matches("probe failed").count(), 1, "{log}");
    assert!(log.contains("reason=timeout") && log.contains("waits for an authentication"), "{log}");
}

#[test]
fn a_full_server_is_told_as_too_many_connections_and_recovery_too() {
    let cluster = Cluster::builder().setting("max_connections", "8").start();
    cluster.role(ROLE.0, ROLE.1);
    let mut held = Vec::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    while let Ok(client) = runtime.block_on(cluster.client(ROLE.0, "correct%20horse")) {
        held.push(client);
    }
    assert_eq!(held.len(), 5, "3 are reserved");
    let mut daemon = watching(&cluster).start();
    let address = daemon.address();
    let down = scrape_until(address, UP, 0.0);
    let name = "db_pool_connect_errors_total{target=\"default\",phase=\"startup\",reason=\"too_many_connections\"}";
    assert!(down.sample(name).is_some_and(|n| n >= 1.0), "{}", down.body);
    drop(held);
    scrape_until(address, UP, 1.0);
}

#[test]
fn it_is_down_within_an_interval_when_only_new_connections_are_refused() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).env("DB_MONITOR_INTERVAL", "1").start();
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    cluster.psql("ALTER ROLE app NOLOGIN");
    let start = Instant::now();
    let down = scrape_until(address, UP, 0.0);
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
    let success = |part| format!("db_pool_probe_success{{target=\"default\",probe=\"{part}\"}}");
    assert_eq!(down.sample(&success("query")), Some(1.0), "the pooled connection is still good");
    assert_eq!(down.sample(&success("connect")), Some(0.0));
    cluster.psql("ALTER ROLE app LOGIN");
    scrape_until(address, UP, 1.0);
}

#[test]
fn stuck_logins_never_hold_more_than_three_backends_over_twenty_probes() {
    let cluster = cluster();
    hang_logins(&cluster);
    let mut daemon = watching(&cluster)
        .env("DB_MONITOR_INTERVAL", "0.5")
        .env("DB_CONNECT_TIMEOUT", "0.2")
        .env("DB_POOL_TIMEOUT", "0.1")
        .start();
    let address = daemon.address();
    let probes = "db_pool_probe_duration_seconds_count{target=\"default\"}";
    let mut most = 0;
    wait_for("twenty probes", Duration::from_secs(30), || {
        most = most.max(logins(&cluster));
        (get(address, "/metrics").sample(probes)? >= 20.0).then_some(())
    });
    assert!((1..=3).contains(&most), "{most} backends");
    let start = Instant::now();
    assert!(daemon.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Makes every login from now on hang after its password was accepted.
pub(crate) fn hang_logins(cluster: &Cluster) {
    cluster.psql("ALTER SYSTEM SET post_auth_delay = 60");
    cluster.reload();
}

/// The server's backend processes: neither the postmaster nor an auxiliary process.
pub(crate) fn logins(cluster: &Cluster) -> usize {
    let name = |pid: &rustix::process::Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let helpers = [
        "checkpointer",
        "writer",
        "launcher",
        "archiver",
        "stats",
        "logger",
        "-D",
        "io worker",
        "summarizer",
    ];
    let names: Vec<String> = cluster.processes().iter().map(name).collect();
    names
        .iter()
        .filter(|name| !name.is_empty() && !helpers.iter().any(|h| name.contains(h)))
        .count()
}

#[test]
fn a_disabled_monitor_opens_no_connection_and_still_answers() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).env("DB_MONITOR_ENABLED", "false").start();
    let address = daemon.address();
    assert_eq!(get(address, "/-/ready").status, 200);
    nothing_may_happen_for(Duration::from_millis(700));
    let metrics = get(address, "/metrics");
    assert_eq!(metrics.sample("db_pool_size{target=\"default\"}"), Some(20.0));
    assert_eq!(metrics.sample(UP), None);
    assert_eq!(metrics.sum("db_pool_connections_opened_total"), 0.0);
    assert!(!cluster.log().contains("connection authorized: user=app"));
    assert_eq!(sessions(&cluster), 0);
}

#[test]
fn signals_end_it_with_zero_also_in_the_middle_of_a_hung_connect() {
    let cluster = cluster();
    cluster.freeze();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = watching(&cluster).env("DB_CONNECT_TIMEOUT", "60").start();
        daemon.address();
        std::thread::sleep(Duration::from_millis(700));
        let start = Instant::now();
        daemon.signal(signal);
        assert!(daemon.end().success(), "{}", daemon.log());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn it_ends_in_the_middle_of_a_statement_and_with_clients_connected() {
    let cluster = cluster();
    let mut daemon = watching(&cluster)
        .env("DB_MONITOR_QUERY", "SELECT pg_sleep(60)")
        .env("DB_MONITOR_INTERVAL", "90")
        .start();
    let address = daemon.address();
    scrape_until(address, "db_pool_active_connections{target=\"default\"}", 1.0);
    let _silent = TcpStream::connect(address).expect("it listens");
    let mut begun = TcpStream::connect(address).expect("it listens");
    begun.write_all(b"GET /metrics HT").expect("it reads");
    let start = Instant::now();
    assert!(daemon.terminate().success(), "{}", daemon.log());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    wait_for("the statement to be cancelled", Duration::from_secs(5), || {
        (sessions(&cluster) == 0).then_some(())
    });
}

#[test]
fn the_pools_gauges_are_true_at_the_scrape() {
    let cluster = cluster();
    let mut daemon = watching(&cluster)
        .env("DB_MONITOR_QUERY", "SELECT pg_sleep(1)")
        .env("DB_MONITOR_INTERVAL", "60")
        .start();
    let address = daemon.address();
    let gauge = |name: &str| format!("db_pool_{name}_connections{{target=\"default\"}}");
    let during = scrape_until(address, &gauge("active"), 1.0);
    assert_eq!(during.sample(UP), None, "no probe has ended: {}", during.body);
    assert_eq!(during.sample(&gauge("idle")), Some(0.0));
    assert_eq!(during.sample("db_pool_utilization_percent{target=\"default\"}"), Some(5.0));
    assert_eq!(get(address, "/-/ready").status, 503);
    scrape_until(address, UP, 1.0);
    let after = get(address, "/metrics");
    assert_eq!(after.sample(&gauge("active")), Some(0.0));
    assert_eq!(after.sample(&gauge("idle")), after.sample(&gauge("open")));
    assert_eq!(get(address, "/-/ready").status, 200);
}

#[test]
fn an_outage_is_two_lines_in_the_log() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).env("DB_MONITOR_INTERVAL", "0.5").start();
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    let before = daemon.log().lines().count();
    cluster.crash();
    let failures =
        "db_pool_probe_failures_total{target=\"default\",probe=\"query\",reason=\"refused\"}";
    wait_for("ten failed probes", Duration::from_secs(20), || {
        (get(address, "/metrics").sample(failures)? >= 10.0).then_some(())
    });
    cluster.start_again();
    scrape_until(address, UP, 1.0);
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().skip(before).collect();
    // While it starts it may refuse for other reasons, each logged once.
    let failed = lines.iter().filter(|line| line.contains("probe failed")).count();
    assert!((1..=3).contains(&failed), "{lines:#?}");
    assert!(lines[0].contains("reason=refused") && lines[0].contains("hint="), "{lines:#?}");
    assert!(lines[failed].contains("message=\"probe succeeds again\""), "{lines:#?}");
    assert_eq!(lines.len(), failed + 1, "{lines:#?}");
}

#[test]
fn silent_clients_and_a_huge_header_cost_next_to_nothing() {
    let cluster = cluster();
    let mut daemon = watching(&cluster).start();
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    (0..50).for_each(|_| assert_eq!(get(address, "/metrics").status, 200));
    let before = resident(&daemon);
    let silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let mut greedy = TcpStream::connect(address).expect("it listens");
    greedy.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    greedy.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").expect("it reads");
    let piece = [b'x'; 64 * 1024];
    // The exporter stops reading long before the end.
    let _ = (0..160).try_for_each(|_| greedy.write_all(&piece));
    let mut answer = Vec::new();
    let _ = greedy.read_to_end(&mut answer);
    let mut times: Vec<Duration> = (0..100).map(|_| get(address, "/metrics").took).collect();
    times.sort();
    let grown = resident(&daemon).saturating_sub(before);
    eprintln!("scrapes: {:?} in the median; {} KiB more", times[50], grown / 1024);
    // A low percentile, because load on the machine only adds time.
    assert!(times[10] < Duration::from_millis(5), "{times:?}");
    assert!(grown < 4 << 20, "{} KiB more", grown / 1024);
    drop(silent);
}

/// The memory of a program, in bytes.
fn resident(program: &Program) -> u64 {
    let process = procfs::process::Process::new(program.pid().as_raw_nonzero().get());
    let status = process.and_then(|process| process.status()).expect("it runs");
    status.vmrss.expect("it has memory") * 1024
}

#[test]
fn a_busy_port_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut daemon = Program::daemon()
        .env("DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS", &address)
        .env("DB_MONITOR_ENABLED", "false")
        .start();
    let status = daemon.end();
    assert!(!status.success());
    let log = daemon.log();
    assert!(log.contains(&address) && log.contains("in use"), "{log}");
}

#[test]
fn unknown_paths_and_methods_are_answered_as_usual() {
    let mut daemon = Program::daemon().env("DB_MONITOR_ENABLED", "false").start();
    let address = daemon.address();
    assert_eq!(get(address, "/nowhere").status, 404);
    let answer = request(address, "POST", "/metrics", &[]);
    assert_eq!(answer.status, 405);
    let allow = answer.header("allow").unwrap_or_default();
    assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
    let page = get(address, "/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("/metrics"), "{}", page.body);
}

#[test]
fn the_password_is_in_no_log_line_no_metric_and_no_page() {
    let cluster = cluster();
    let secret = "p%40ss:w%2Frd%25";
    cluster.psql("ALTER ROLE app PASSWORD 'p@ss:w/rd%'");
    for (user, up) in [("app", 1.0), ("nobody-here", 0.0)] {
        let mut daemon = watching(&cluster)
            .env("DATABASE_URL", cluster.url(user, secret) + "?sslmode=disable")
            .env("DATABASE_ECHO", "true")
            .env("DB_ECHO_POOL", "true")
            .arg("--log.level=debug")
            .start();
        let address = daemon.address();
        let metrics = scrape_until(address, UP, up);
        let pages = ["/", "/-/ready", "/config", "/api/v1/targets", "/api/v1/health"];
        let mut answers: Vec<String> = pages.iter().map(|path| get(address, path).body).collect();
        answers.push(metrics.body);
        daemon.logged("level=debug");
        daemon.terminate();
        let log = daemon.log();
        if up > 0.0 {
            assert!(log.contains("SELECT 1") && log.contains("checked out"), "{log}");
        }
        answers.push(log);
        for text in answers {
            assert!(!text.contains("p@ss") && !text.contains("p%40ss"), "{text}");
        }
    }
}

#[test]
fn a_statement_that_hangs_every_second_time_is_seen_by_most_scrapes() {
    let cluster = cluster();
    // It hangs in every second second, and the probes are a second apart.
    let hang = "SELECT pg_sleep(CASE WHEN extract(epoch FROM clock_timestamp())::bigint % 2 = 0 \
                THEN 60 ELSE 0 END)";
    let mut daemon = watching(&cluster).env("DB_MONITOR_QUERY", hang).start();
    let address = daemon.address();
    scrape_until(address, UP, 0.0);
    let scrapes: Vec<f64> = (0..200)
        .filter_map(|_| {
            nothing_may_happen_for(Duration::from_millis(50));
            get(address, "/metrics").sample(UP)
        })
        .collect();
    let down = scrapes.iter().filter(|up| **up == 0.0).count();
    assert!(down * 3 > scrapes.len(), "{down} of {} scrapes saw a failure", scrapes.len());
    let failures =
        "db_pool_probe_failures_total{target=\"default\",probe=\"query\",reason=\"timeout\"}";
    let failed = get(address, "/metrics").sample(failures);
    assert!(failed.is_some_and(|n| n >= 3.0), "{failed:?}");
}
