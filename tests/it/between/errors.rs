//! PgBouncer's own errors, as the real one sends them: each has its reason, and advice that names the mend.
//!
//! | situation | reason | the advice names |
//! | --- | --- | --- |
//! | every server connection is held for longer than query_wait_timeout | pooler_wait | pool_size |
//! | the database is paused | pooler_wait | PAUSE shows in SHOW DATABASES |
//! | PgBouncer is suspended: it says nothing, but to clients that were logging in (pooler_paused) | timeout | SUSPEND |
//! | max_client_conn is reached | too_many_connections | max_client_conn |
//! | the server is stopped, and PgBouncer has no connection | pooler_no_server | pgbouncer.ini |
//! | the password that PgBouncer has is not the server's | pooler_no_server | auth_file |
//! | the role does not exist on the server | pooler_no_server | the role on the server |
//! | the database does not exist on the server | no_database | [databases] |
//! | PgBouncer knows no such database | no_database | [databases] |
//! | the password of the URL is wrong | auth | DB_PASSWORD |
//! | PgBouncer does not know the user | auth | auth_file |
//! | `options` in the URL | startup_parameter | ignore_startup_parameters |
//! | the statement runs into query_timeout | timeout | query_timeout |
//! | the database is disabled | not_accepting | ENABLE |

use std::fs;

use super::url;
use crate::support::bouncer;
use crate::support::client;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::{pools, wait_for, workplace};

/// A PgBouncer in front of a cluster, and what `check` says of the path through it.
struct Path {
    cluster: Cluster,
    bouncer: Program,
}

impl Path {
    fn start(lines: &str) -> Path {
        let cluster = pools::cluster();
        let lines = format!("admin_users = {}\n{lines}", ROLE.0);
        let bouncer = bouncer::start(&cluster, ROLE, &lines);
        Path { cluster, bouncer }
    }

    fn port(&mut self) -> u16 {
        self.bouncer.address().port()
    }

    fn url(&mut self) -> String {
        url(self.port(), ROLE.0, "postgres")
    }

    /// Sends a command to the console.
    fn console(&mut self, command: &str) {
        bouncer::command(self.port(), ROLE, command);
    }

    /// A client that holds a server connection, until it is dropped.
    fn holder(&mut self) -> Program {
        let hold = Program::at(client::psql_program())
            .arg(self.url())
            .arg("-c")
            .arg("SELECT pg_sleep(60)")
            .start();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
        wait_for("the statement", super::SOON, || (self.cluster.psql(sql) == "1").then_some(()));
        hold
    }

    /// What `check` prints must have the reason, the text of PgBouncer and the advice.
    fn expect(&self, url: &str, reason: &str, text: &str, advice: &str) {
        self.expect_with(url, &[], reason, text, advice);
    }

    fn expect_with(
        &self,
        url: &str,
        variables: &[(&str, &str)],
        reason: &str,
        text: &str,
        advice: &str,
    ) {
        let check = |format: &str| {
            let program = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
                .arg("check")
                .arg("--format")
                .arg(format)
                .env("DATABASE_URL", url)
                .env("DB_MONITOR_INTERVAL", "5")
                .env("DB_CONNECT_TIMEOUT", "4");
            let program = variables.iter().fold(program, |p, (name, value)| p.env(name, value));
            program.run()
        };
        let json = check("json");
        let probe = &serde_json::from_str::<serde_json::Value>(&json.output)
            .unwrap_or_else(|error| panic!("{error}: {} {}", json.output, json.log))["targets"][0]
            ["probe"];
        let parts = [&probe["connect"], &probe["query"]];
        let failed = parts.into_iter().find(|part| part["reason"] == reason);
        let failed = failed.unwrap_or_else(|| panic!("{reason}: {probe:#}"));
        let (error, hint) = (failed["error"].to_string(), failed["hint"].to_string());
        println!("| {text} | {reason} | {hint} |");
        assert!(error.contains(text), "{text}: {error}");
        assert!(hint.contains(advice), "{advice}: {hint}");
    }
}

#[test]
fn a_pool_that_is_full_and_one_that_is_paused_have_their_own_reason() {
    let mut path = Path::start("default_pool_size = 1\nquery_wait_timeout = 1\n");
    let url = path.url();
    let held = path.holder();
    path.expect(&url, "pooler_wait", "query_wait_timeout", "raise pool_size");
    drop(held);
    path.console("PAUSE postgres");
    path.expect(&url, "pooler_wait", "query_wait_timeout", "SHOW DATABASES");
    path.console("RESUME postgres");
    path.console("DISABLE postgres");
    path.expect(&url, "not_accepting", "", "ENABLE");
}

#[test]
fn a_pooler_that_is_suspended_is_among_the_causes_of_a_login_that_hangs() {
    let mut path = Path::start("default_pool_size = 2\nsuspend_timeout = 1\n");
    let url = path.url();
    // It is resumed when the console's client leaves.
    let console = super::url(path.port(), ROLE.0, "pgbouncer");
    let psql = Program::at(client::psql_program()).arg(console);
    let _suspended = psql.arg("-c").arg("SUSPEND").arg("-c").arg("\\! sleep 60").start();
    path.bouncer.logged("SUSPEND");
    path.expect(&url, "timeout", "startup failed: no answer", "SUSPEND");
}

#[test]
fn a_pooler_with_too_many_clients_says_which_limit() {
    let mut path = Path::start("max_client_conn = 1\n");
    let url = path.url();
    let _held = path.holder();
    path.expect(
        &url,
        "too_many_connections",
        "no more connections allowed",
        "raise max_client_conn",
    );
}

#[test]
fn a_pooler_that_cannot_log_in_to_its_server_says_so() {
    let mut path = Path::start("server_login_retry = 1\nclient_login_timeout = 3\n");
    let url = path.url();
    path.cluster.stop();
    path.expect(&url, "pooler_no_server", "server", "pgbouncer.ini");

    let mut path = Path::start("");
    let url = path.url();
    path.cluster.psql("ALTER ROLE app PASSWORD 'another'");
    path.expect(&url, "pooler_no_server", "password authentication failed", "auth_file");

    let mut path = Path::start("");
    let url = path.url();
    path.cluster.psql("DROP ROLE app");
    path.expect(&url, "pooler_no_server", "", "the role on the server");
}

#[test]
fn a_login_that_the_pooler_refuses_names_what_to_change() {
    let cluster = pools::cluster();
    let gone = format!("gone = host=127.0.0.1 port={} dbname=gone", cluster.port());
    let bouncer = bouncer::serving(&cluster, &gone, ROLE, "");
    let mut path = Path { cluster, bouncer };
    let port = path.port();
    path.expect(&url(port, ROLE.0, "gone"), "no_database", "does not exist", "[databases]");
    path.expect(&url(port, ROLE.0, "none"), "no_database", "no such database", "[databases]");
    let wrong = path.url().replace("correct%20horse", "wrong");
    path.expect(&wrong, "auth", "authentication failed", "DB_PASSWORD");
    path.expect(&url(port, "nobody", "postgres"), "auth", "", "auth_file");
    let options = path.url() + "&options=-c%20geqo%3Doff";
    path.expect(&options, "startup_parameter", "options", "ignore_startup_parameters");
}

/// The mend that the hint names works.
#[test]
fn options_are_let_in_where_the_pooler_ignores_them() {
    let mut path = Path::start("ignore_startup_parameters = options\n");
    let url = path.url() + "&options=-c%20geqo%3Doff";
    let mut daemon = super::daemon(&url);
    let up = "db_pool_up{target=\"default\"}";
    crate::support::web::scrape_until(daemon.address(), up, 1.0);
}

#[test]
fn a_statement_that_the_pooler_ends_names_the_setting() {
    let mut path = Path::start("query_timeout = 1\n");
    let url = path.url();
    let slow = [("DB_MONITOR_QUERY", "SELECT pg_sleep(3.5)")];
    path.expect_with(&url, &slow, "timeout", "query timeout", "query_timeout");
}

/// The hint about a target of a file names the file's keys.
#[test]
fn hints_about_the_pooler_name_the_keys_of_the_file() {
    let mut path = Path::start("");
    let wrong = path.url().replace("correct%20horse", "wrong");
    let file = workplace::folder("configuration").join("exporter.yml");
    fs::write(&file, format!("targets:\n  shop:\n    url: {wrong}\n")).expect("it is ours");
    let check = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).arg("check");
    let check = check.arg("--config.file").arg(file).run();
    assert!(check.output.contains("`password_file`"), "{}", check.output);
    assert!(!check.output.contains("DB_PASSWORD"), "{}", check.output);
}
