//! `drill` on a server with max_connections 20; ordinary roles get 17 of them.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::pools::{ROLE, sessions};
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Ended, Program};
use crate::support::wait_for;

fn small() -> Cluster {
    let cluster = Cluster::builder();
    let cluster = cluster.setting("max_connections", "20").setting("log_connections", "on").start();
    cluster.role(ROLE.0, ROLE.1);
    cluster
}

fn drill(cluster: &Cluster) -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("drill")
        .env("DATABASE_URL", cluster.url(ROLE.0, "correct%20horse") + "?sslmode=disable")
        .env("DB_POOL_SIZE", "10")
        .env("DB_MAX_OVERFLOW", "5")
}

/// Fails unless the report has these words and no session of the role is left.
fn ends(cluster: &Cluster, builder: Builder, code: i32, words: &[&str]) -> String {
    let Ended { code: ended, output, log } = builder.run();
    assert_eq!(ended, code, "{output}{log}");
    for word in words {
        assert!(output.contains(word), "{word:?} is not in:\n{output}");
    }
    assert_eq!(sessions(cluster), 0, "{output}");
    output
}

#[test]
fn all_connections_of_one_process_fit_and_what_is_left_is_counted() {
    let cluster = small();
    let words = [
        "HOLDS: 15 of 15 connections were opened",
        "slowest",
        "left for this role and database while they were held: 2 (15 of the server's 17",
        "all are closed",
    ];
    let output = ends(&cluster, drill(&cluster).arg("--yes").arg("--hold=0s"), 0, &words);
    let times: Vec<&str> = output.lines().filter(|line| line.starts_with("    ")).collect();
    assert_eq!(times.join("  ").matches(" ms").count(), 15, "the time of each: {output}");
    cluster.psql("ALTER ROLE app CONNECTION LIMIT 16");
    let words = ["while they were held: 1 (15 of"];
    ends(&cluster, drill(&cluster).arg("--yes").arg("--hold=0s"), 0, &words);
}

#[test]
fn what_the_server_refuses_is_named_with_the_reason_and_a_hint() {
    let cluster = small();
    let several = drill(&cluster).arg("--yes").arg("--hold=0s").arg("--connections=20");
    let words = [
        "DOES NOT HOLD: 17 of 20 connections were opened",
        "refused: number ",
        "SQLSTATE 53300",
        "hint: the server, the role or the database has no connection left",
        "while they were held: 0 (17 of the server's 17",
    ];
    let output = ends(&cluster, several, 1, &words);
    assert_eq!(output.matches("refused: number ").count(), 3, "{output}");
    assert_eq!(output.matches("hint: ").count(), 1, "{output}");
}

#[test]
fn without_yes_nothing_is_opened() {
    let cluster = small();
    let has_logged_in = || cluster.log().contains("connection authorized: user=app");
    let words =
        ["would open 15 connections at once (10 + 5) to 127.0.0.1:", "role app", "add --yes"];
    ends(&cluster, drill(&cluster), 64, &words);
    assert!(!has_logged_in());
    ends(&cluster, drill(&cluster).arg("--yes").arg("--hold=0s"), 0, &[]);
    assert!(has_logged_in(), "{}", cluster.log());
    let unlimited = drill(&cluster).arg("--yes").env("DB_MAX_OVERFLOW", "-1").run();
    assert!(
        unlimited.code == 64 && unlimited.log.contains("give --connections"),
        "{}",
        unlimited.log
    );
}

#[test]
fn ctrl_c_closes_everything() {
    let cluster = small();
    let mut program = drill(&cluster).arg("--yes").arg("--hold=60s").start();
    wait_for("all connections", Duration::from_secs(20), || {
        (sessions(&cluster) == 15).then_some(())
    });
    program.signal(Signal::INT);
    assert_eq!(program.end().code(), Some(130), "{}", program.log());
    assert!(program.output().contains("interrupted\n  all are closed"), "{}", program.output());
    assert_eq!(sessions(&cluster), 0);
}
