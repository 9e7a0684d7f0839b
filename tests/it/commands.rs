//! The subcommands, run as users run them.

use std::time::Duration;

use db_pool_exporter::text::is_unsafe;
use rustix::process::Signal;

use crate::support::pools::{ROLE, cluster};
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Program};
use crate::support::scripted::Script;
use crate::support::wait_for;
use crate::support::web::{get, scrape_until};

/// The program with a subcommand, but without the listen address of the tests.
fn program(subcommand: &str) -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).arg(subcommand)
}

fn check(cluster: &Cluster, user: &str) -> Builder {
    let url = cluster.url(user, "correct%20horse") + "?sslmode=disable";
    program("check").env("DATABASE_URL", url).env("DB_CONNECT_TIMEOUT", "2")
}

/// The exit code, standard output and standard error.
fn ended(builder: Builder) -> (i32, String, String) {
    let ended = builder.run();
    (ended.code, ended.output, ended.log)
}

#[test]
fn check_tells_the_phases_and_ends_as_a_nagios_plugin() {
    let cluster = cluster();
    let (code, printed, log) = ended(check(&cluster, ROLE.0));
    assert_eq!((code, log.as_str()), (0, ""), "{printed}");
    assert!(printed.starts_with("HEALTHY: 1 of 1"), "{printed}");
    assert!(printed.contains("STARTUP") && printed.contains(" ms"), "{printed}");

    let (code, printed, _) = ended(check(&cluster, "stranger"));
    assert_eq!(code, 2, "{printed}");
    assert!(printed.starts_with("UNHEALTHY: 0 of 1"), "{printed}");
    assert!(printed.contains("28P01") && printed.contains("hint:"), "{printed}");
    assert!(!printed.contains("correct"), "{printed}");

    let (code, printed, log) = ended(check(&cluster, ROLE.0).env("DB_POOL_SIZE", "abc"));
    assert_eq!((code, printed.as_str()), (3, ""));
    assert!(log.contains("DB_POOL_SIZE"), "{log}");
}

#[test]
fn a_slow_database_is_degraded() {
    let cluster = cluster();
    let builder = check(&cluster, ROLE.0)
        .env("DB_MONITOR_QUERY", "SELECT pg_sleep(0.3)")
        .env("DB_MONITOR_SLOW_QUERY_THRESHOLD", "0.1");
    let (code, printed, _) = ended(builder);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.starts_with("DEGRADED") && printed.contains("slow"), "{printed}");
}

#[test]
fn check_as_json_has_the_shape_of_the_targets() {
    let cluster = cluster();
    let (code, printed, _) = ended(check(&cluster, ROLE.0).arg("--format=json"));
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let target = &json["targets"][0];
    assert_eq!(
        (code, &target["status"], &target["name"]),
        (0, &"healthy".into(), &"default".into())
    );
    assert!(target["probe"]["connect"]["phases"]["startup"].is_number(), "{printed}");
    assert!(!printed.contains("monitoring is disabled"), "{printed}");
    assert!(target["probe"]["query"].get("hint").is_none(), "{printed}");
    let (code, printed, _) = ended(check(&cluster, "stranger").arg("--format=json"));
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let message = json["targets"][0]["message"].as_str().unwrap_or_default();
    assert!(code == 2 && message.contains("28P01"), "{message}");
    for part in ["connect", "query"] {
        let hint = json["targets"][0]["probe"][part]["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("DB_PASSWORD"), "{part}: {printed}");
    }
}

#[test]
fn check_reports_a_role_that_cannot_see_the_others() {
    let cluster = cluster();
    let hint = "GRANT pg_read_all_stats TO app";
    let (code, printed, _) = ended(check(&cluster, ROLE.0));
    assert!(code == 0 && printed.contains(hint), "{printed}");
    let notes = |expected: i32| {
        let (code, printed, _) = ended(check(&cluster, ROLE.0).arg("--format=json"));
        assert_eq!(code, expected, "{printed}");
        let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        json["targets"][0]["notes"].clone()
    };
    let before = notes(0);
    assert_eq!(before[0]["hint"], hint, "{before}");
    let message = before[0]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("role app cannot see"), "{before}");
    cluster.psql(hint);
    let (code, printed, _) = ended(check(&cluster, ROLE.0));
    assert!(code == 0 && !printed.contains(hint), "{printed}");
    assert_eq!(notes(0), serde_json::json!([]));
}

#[test]
fn serve_and_check_say_at_once_that_the_built_in_url_is_used() {
    let warning =
        "DATABASE_URL is not set: the built-in URL postgresql://sentinelops:***@localhost:5432";
    let (_, _, log) = ended(program("check").env("DATABSE_URL", "postgresql://u:s3cret@h/d"));
    assert!(log.contains(warning) && log.contains("; DATABSE_URL is set"), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    let mut daemon = Program::daemon().start();
    let line = daemon.logged("DATABASE_URL is not set");
    assert!(line.contains("level=warn") && line.contains(warning), "{line}");
    daemon.terminate();
}

#[test]
fn a_hostile_server_cannot_drive_or_deceive_the_terminal() {
    let attack = "\u{1b}[2J\u{1b}]0;owned\u{7}\rHEALTHY: 1 of 1\u{9b}31m\u{202e}\u{2028}";
    let fields = format!("SFATAL\0VFATAL\0C28P01\0M{attack}\0\0");
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    let message = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
    let server = Script::new().read_startup().send(message).serve();
    let url = format!("postgresql://app@{}/orders?sslmode=disable", server.address());
    for (format, printed) in [("table", "\\u{1b}[2J"), ("json", "\\u001b[2J")] {
        let command = program("check").env("DATABASE_URL", &url).arg("--format").arg(format);
        let ended = command.run();
        let text = ended.output + &ended.log;
        let raw: Vec<char> = text.chars().filter(|c| *c != '\n' && is_unsafe(*c)).collect();
        assert_eq!((ended.code, raw), (2, Vec::new()), "{text:?}");
        assert!(text.contains(printed), "{text}");
    }
}

#[test]
fn config_shows_values_with_their_sources_and_no_secret() {
    let builder = program("config")
        .env("DATABASE_URL", "postgresql://app:hunter2@db:5432/orders?sslmode=require")
        .env("DB_POOL_SIZE", "7");
    let (code, printed, log) = ended(builder);
    assert_eq!(code, 0, "{log}");
    assert!(
        printed.contains("DB_POOL_SIZE") && printed.contains("postgresql://app:***@db"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn healthcheck_asks_the_daemon_and_not_the_database() {
    let mut daemon =
        Program::daemon().env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none").start();
    let address = daemon.address().to_string();
    let ask = |address: &str| {
        ended(program("healthcheck").env("DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS", address)).0
    };
    assert_eq!(ask(&address), 0);
    daemon.terminate();
    assert_eq!(ask(&address), 1);
}

#[test]
fn the_demo_shows_a_live_database_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a folder");
    // The demo's server may run as another user, who must be able to enter this folder.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(temporary.path(), open).expect("it is ours");
    let mut demo = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("demo")
        .arg("--web.listen-address=127.0.0.1:0")
        .env("TMPDIR", temporary.path())
        .start();
    let address = wait_for("the demo's address", Duration::from_secs(60), || {
        let log = demo.log();
        let line = log.lines().find(|line| line.contains("  metrics  "))?;
        line.trim()
            .strip_prefix("metrics")?
            .trim()
            .strip_prefix("http://")?
            .strip_suffix("/metrics")?
            .parse()
            .ok()
    });
    let first = scrape_until(address, "db_pool_up{target=\"default\"}", 1.0);
    let checkouts = "db_pool_checkouts_total{target=\"default\",result=\"ok\"}";
    let before = first.sample(checkouts).expect("counted");
    wait_for("check-outs to grow", Duration::from_secs(20), || {
        (get(address, "/metrics").sample(checkouts)? > before).then_some(())
    });
    demo.signal(Signal::INT);
    assert!(demo.end().success(), "{}", demo.log());
    let summary = demo.logged("of the application's pool");
    let served = summary.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    assert!(served.is_some_and(|count| count > 0), "{summary}");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).expect("it is ours").collect();
    assert!(left.is_empty(), "{left:?}");
    let processes =
        std::process::Command::new("ps").args(["-eo", "args"]).output().expect("ps runs");
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(!processes.contains(&temporary.path().display().to_string()), "{processes}");
}
