//! The wrong end: what is configured as a console is none, or the other way round.

use std::time::Duration;

use super::daemon;
use super::real::cluster;
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::watched::{PASSWORD, Watched};

/// Waits for the warning of the target, which must have all these words.
fn warns(daemon: &Program, target: &str, words: &[&str]) {
    let line = wait_for(&format!("a warning of {target}"), Duration::from_secs(20), || {
        let log = daemon.log();
        let mut lines = log.lines().filter(|line| line.contains("level=warn"));
        lines.find(|line| line.contains(&format!("target={target} "))).map(str::to_owned)
    });
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
}

#[test]
fn the_wrong_end_gets_a_reason_and_a_hint_that_names_the_mend() {
    let cluster = cluster();
    let bouncer = Watched::start(&cluster, "");
    let (port, server) = (bouncer.port(), cluster.port());
    let url = |user: &str, port: u16, database: &str| {
        format!("'postgresql://{user}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable'")
    };
    let daemon = daemon(&format!(
        "  server:\n    kind: pgbouncer\n    url: {}\n  database:\n    kind: pgbouncer\n    url: {}\n  \
         console:\n    kind: postgres\n    url: {}\n  stranger:\n    url: {}\n",
        url("app", server, "postgres"),
        url("app", port, "shop"),
        url("stats", port, "pgbouncer"),
        url("app", port, "pgbouncer"),
    ));
    warns(&daemon, "server", &["reason=wrong_kind", "pgbouncer"]);
    warns(&daemon, "database", &["reason=wrong_kind", "pgbouncer"]);
    warns(&daemon, "console", &["reason=wrong_kind", "kind"]);
    warns(&daemon, "stranger", &["not allowed", "stats_users"]);
}

#[test]
fn a_console_cannot_be_asked_for_target_session_attrs() {
    let mut refused = daemon(
        "  bouncer:\n    url: 'postgresql://stats@127.0.0.1:1/pgbouncer?target_session_attrs=read-write'\n",
    );
    assert_eq!(refused.end().code(), Some(64));
    assert!(refused.log().contains("target_session_attrs"), "{}", refused.log());
    let mut refused =
        daemon("  server:\n    url: 'postgresql://app@127.0.0.1:1/shop'\n    discover: peers\n");
    assert_eq!(refused.end().code(), Some(64));
    assert!(refused.log().contains("kind: pgbouncer"), "{}", refused.log());
}
