//! Reload: which targets keep their pools, which end, and what a bad configuration does.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::{hang_logins, logins};
use crate::support::pools::{ROLE, cluster, sessions};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::{get, request, scrape_until};
use crate::support::{nothing_may_happen_for, wait_for};

const SUCCESS: &str = "db_pool_exporter_config_last_reload_successful";

/// A daemon and its configuration file.
fn daemon(cluster: &Cluster, targets: &[&str], flags: &[&str]) -> (Program, SocketAddr, PathBuf) {
    let builder = Program::daemon();
    let builder = flags.iter().fold(builder, |builder, flag| builder.arg(flag));
    let file = crate::support::workplace::folder("configuration").join("exporter.yml");
    write(&file, cluster, targets);
    let mut daemon = builder.arg("--config.file").arg(&file).start();
    let address = daemon.address();
    (daemon, address, file)
}

fn write(file: &PathBuf, cluster: &Cluster, targets: &[&str]) {
    let port = cluster.port();
    let mut text = "defaults: { interval: 1s }\ntargets:\n".to_owned();
    for name in targets {
        text.push_str(&format!(
            "  {name}: {{ url: 'postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable', password: '{}' }}\n",
            ROLE.0, ROLE.1
        ));
    }
    fs::write(file, text).expect("the folder is writable");
}

fn up(target: &str) -> String {
    format!("db_pool_up{{target=\"{target}\"}}")
}

fn pids(cluster: &Cluster) -> String {
    cluster.psql("SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE usename = 'app'")
}

#[test]
fn equal_targets_keep_their_backends_and_counters_and_removed_ones_vanish() {
    let cluster = cluster();
    let (daemon, address, file) = daemon(&cluster, &["keep", "leave"], &[]);
    scrape_until(address, &up("keep"), 1.0);
    scrape_until(address, &up("leave"), 1.0);
    wait_for("two pooled sessions", Duration::from_secs(10), || {
        (sessions(&cluster) == 2).then_some(())
    });
    let before = pids(&cluster);
    let count = |name: &str| get(address, "/metrics").sample(name);
    let checkouts = "db_pool_checkouts_total{target=\"keep\",result=\"ok\"}";
    let made = count(checkouts).expect("check-outs were made");

    write(&file, &cluster, &["keep", "new"]);
    daemon.signal(Signal::HUP);
    let after = scrape_until(address, &up("new"), 1.0);
    assert!(!after.body.contains("target=\"leave\""), "{}", after.body);
    assert!(after.sample(checkouts).is_some_and(|n| n >= made), "counters go on");
    assert_eq!(after.sample("db_pool_connections_opened_total{target=\"keep\"}"), Some(1.0));
    wait_for("the removed one's session to end", Duration::from_secs(10), || {
        (sessions(&cluster) == 2).then_some(())
    });
    let kept = before.split(',').filter(|pid| pids(&cluster).split(',').any(|now| now == *pid));
    assert_eq!(kept.count(), 1, "{before} and then {}", pids(&cluster));
    daemon.logged("configuration reloaded");
}

#[test]
fn monitoring_is_switched_off_and_on_again_by_a_reload() {
    let cluster = cluster();
    let (daemon, address, file) = daemon(&cluster, &["keep"], &[]);
    scrape_until(address, &up("keep"), 1.0);
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, format!("enabled: false\n{text}")).expect("the folder is writable");
    daemon.signal(Signal::HUP);
    daemon.logged("configuration reloaded");
    wait_for("all sessions to end", Duration::from_secs(10), || {
        (sessions(&cluster) == 0).then_some(())
    });
    let health = get(address, "/api/v1/health");
    assert_eq!((health.status, health.json()["detail"].as_str()), (503, Some(DISABLED)));
    assert_eq!(get(address, "/metrics").sample(&up("keep")), None);
    fs::write(&file, format!("app_env: production\n{text}")).expect("the folder is writable");
    daemon.signal(Signal::HUP);
    scrape_until(address, &up("keep"), 1.0);
    daemon.logged("change only at a restart");
}

const DISABLED: &str = "Pool monitoring is disabled";

#[test]
fn a_bad_file_changes_nothing_and_says_so_everywhere() {
    let cluster = cluster();
    let (daemon, address, file) = daemon(&cluster, &["keep"], &[]);
    scrape_until(address, &up("keep"), 1.0);
    fs::write(
        &file,
        "targets: { keep: { url: 'postgresql://a:hunter2@h:x/d' }, y: { colour: 1 } }",
    )
    .expect("written");
    let answer = request(address, "POST", "/-/reload", &[]);
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("targets.y.colour"), "{}", answer.body);
    let log = daemon.logged("configuration not reloaded");
    assert!(!format!("{log}{}", answer.body).contains("hunter2"), "{log}");
    let after = get(address, "/metrics");
    assert_eq!((after.sample(SUCCESS), after.sample(&up("keep"))), (Some(0.0), Some(1.0)));

    write(&file, &cluster, &["keep"]);
    assert_eq!(request(address, "POST", "/-/reload", &[]).status, 200);
    assert_eq!(get(address, "/metrics").sample(SUCCESS), Some(1.0));
}

#[test]
fn a_file_that_became_a_pipe_is_not_waited_for() {
    let cluster = cluster();
    let (daemon, address, file) = daemon(&cluster, &["keep"], &["--config.enable-auto-reload"]);
    scrape_until(address, &up("keep"), 1.0);
    fs::remove_file(&file).expect("it was written");
    let made = Command::new("mkfifo").arg(&file).status().expect("mkfifo");
    assert!(made.success());
    daemon.signal(Signal::HUP);
    for path in ["/metrics", "/-/healthy"].repeat(5) {
        let start = Instant::now();
        assert_eq!(get(address, path).status, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "{path}: {:?}", start.elapsed());
    }
    daemon.logged("is not a regular file");
    let answer = request(address, "POST", "/-/reload", &[]);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert_eq!(get(address, "/metrics").sample(&up("keep")), Some(1.0));
}

#[test]
fn a_changed_file_is_read_by_itself_only_when_asked_for() {
    let cluster = cluster();
    for (flags, read) in [(&["--config.enable-auto-reload"][..], true), (&[], false)] {
        let (daemon, address, file) = daemon(&cluster, &["one"], flags);
        scrape_until(address, &up("one"), 1.0);
        write(&file, &cluster, &["one", "two"]);
        if read {
            scrape_until(address, &up("two"), 1.0);
        } else {
            nothing_may_happen_for(Duration::from_millis(2_500));
            assert_eq!(get(address, "/metrics").sample(&up("two")), None);
        }
        drop(daemon);
    }
}

#[test]
fn reload_is_refused_to_other_sites_and_through_proxies() {
    let cluster = cluster();
    let (_daemon, address, _file) = daemon(&cluster, &["one"], &[]);
    for header in [
        "Origin: https://elsewhere.example",
        "Sec-Fetch-Site: cross-site",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
    ] {
        for path in ["/-/reload", "/api/v1/database/pool/reset-metrics"] {
            assert_eq!(request(address, "POST", path, &[header]).status, 403, "{header:?} {path}");
        }
    }
}

#[test]
fn a_reset_begins_the_json_anew_and_leaves_metrics_alone() {
    let cluster = cluster();
    let (_daemon, address, _file) = daemon(&cluster, &["one"], &[]);
    scrape_until(address, &up("one"), 1.0);
    let checkouts = "db_pool_checkouts_total{target=\"one\",result=\"ok\"}";
    let status = || get(address, "/api/v1/database/pool/status").json();
    let events = |status: &serde_json::Value| status["metrics"]["events"]["checkouts"].as_u64();
    wait_for("five check-outs", Duration::from_secs(10), || events(&status()).filter(|n| *n >= 5));
    let before = get(address, "/metrics").sample(checkouts).expect("counted");
    let answer = request(address, "POST", "/api/v1/database/pool/reset-metrics", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["message"], "Pool metrics reset successfully");
    assert!(events(&status()).is_some_and(|n| n <= 2), "{}", status());
    assert!(get(address, "/metrics").sample(checkouts).is_some_and(|n| n >= before));
}

#[test]
fn hanging_logins_keep_their_permits_whatever_a_reload_removes_returns_or_renames() {
    let cluster = cluster();
    hang_logins(&cluster);
    let port = cluster.port();
    let file = crate::support::workplace::folder("configuration").join("exporter.yml");
    let write = |names: &[&str]| {
        let mut text =
            "defaults: { interval: 500ms, connect_timeout: 200ms }\ntargets:\n".to_owned();
        for name in names {
            text += &format!(
                "  {name}: {{ url: 'postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable', password: '{}' }}\n",
                ROLE.0, ROLE.1
            );
        }
        if names.is_empty() {
            // A file needs a target; this one is another server's.
            text += "  other: { url: 'postgresql://app:x@127.0.0.1:1/postgres' }\n";
        }
        fs::write(&file, text).expect("the folder is writable");
    };
    write(&["first"]);
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    daemon.address();
    let mut most = 0;
    let mut look = |what: &str| {
        wait_for(what, Duration::from_secs(2), || {
            most = most.max(logins(&cluster));
            (most >= 2).then_some(())
        });
        let until = std::time::Instant::now() + Duration::from_millis(800);
        while std::time::Instant::now() < until {
            most = most.max(logins(&cluster));
        }
    };
    look("the first logins");
    for round in 0..5 {
        let names: &[&[&str]] = &[&[], &["first"], &["renamed"], &["first"]];
        for names in names {
            write(names);
            daemon.signal(Signal::HUP);
            look(&format!("round {round}: {names:?}"));
        }
    }
    assert!(daemon.log().matches("configuration reloaded").count() >= 15, "{}", daemon.log());
    assert!((2..=3).contains(&most), "{most} backends");
}
