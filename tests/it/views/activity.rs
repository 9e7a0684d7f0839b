//! Which sessions each role sees, and the server's own statistics over time.

use std::time::Duration;

use db_pool_exporter::view::{self, statements};
use tokio_postgres::Client;

use super::builder;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::watch::{Lines, Privilege, Watch, monitor, settings};

on_versions! {
    privileges_decide_what_is_seen,
    who_has_gone_is_shown_as_zero,
    ten_names_are_all_that_ten_sets_hold,
    databases_count_how_sessions_ended,
    statements_are_counted_and_stay,
}

/// Opens four sessions: idle, idle in a transaction, idle in a failed transaction, busy.
async fn four_sessions(cluster: &Cluster) -> Vec<Client> {
    cluster.role(ROLE.0, ROLE.1);
    let mut clients = Vec::new();
    for statements in ["SELECT 1", "BEGIN; SELECT 1", "BEGIN; SELECT 1/0", ""] {
        let client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
        // The third is meant to fail.
        let _ = client.batch_execute(statements).await;
        clients.push(client);
    }
    let busy = clients.pop().expect("four");
    tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(60)").await });
    // The check blocks the only thread, so the statement must have been sent before.
    tokio::time::sleep(Duration::from_millis(50)).await;
    wait_for("a busy session", Duration::from_secs(5), || {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        (cluster.psql(sql) == "1").then_some(())
    });
    clients
}

fn states(lines: &Lines) -> Vec<(&'static str, Option<f64>)> {
    let states =
        ["active", "idle", "idle_in_transaction", "idle_in_transaction_aborted", "unknown"];
    let labels = "database=\"postgres\",user=\"app\",application=\"\"";
    let value = |state: &'static str| {
        (state, lines.get(&format!("server_connections{{{labels},state=\"{state}\"}}")))
    };
    states.map(value).to_vec()
}

async fn privileges_decide_what_is_seen(version: Option<u32>) {
    for privilege in [Privilege::None, Privilege::ReadAllStats, Privilege::Superuser] {
        let cluster = builder(version).start();
        monitor(&cluster, privilege);
        let _sessions = four_sessions(&cluster).await;
        let watch = Watch::new(settings(&cluster, view::ViewSettings::default()));
        let lines = watch.lines().await;
        let all = [
            ("active", Some(1.0)),
            ("idle", Some(1.0)),
            ("idle_in_transaction", Some(1.0)),
            ("idle_in_transaction_aborted", Some(1.0)),
            ("unknown", None),
        ];
        let counted = all.map(|(state, _)| (state, (state == "unknown").then_some(4.0)));
        let expected = if privilege == Privilege::None { counted } else { all };
        assert_eq!(states(&lines), expected, "{privilege:?}");
        let labels = "{database=\"postgres\",user=\"app\",application=\"\"}";
        let age = lines.get(&format!("server_oldest_transaction_seconds{labels}"));
        assert_eq!(age.is_some_and(|age| age > 0.0), privilege != Privilege::None, "{age:?}");
        let slow = lines.get(&format!("server_slow_queries_total{labels}"));
        assert_eq!(slow.is_some(), privilege != Privilege::None);
        assert_eq!(lines.value("server_used_connections"), 4.0 + 1.0);
        let version = lines.family("server_info");
        assert!(version[0].contains(&format!("version=\"{}", cluster.version())), "{version:?}");
        assert_eq!(lines.value("server_in_recovery"), 0.0);
    }
}

async fn who_has_gone_is_shown_as_zero(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let sessions = four_sessions(&cluster).await;
    let watch = Watch::new(settings(&cluster, view::ViewSettings::default()));
    watch.good().await;
    drop(sessions);
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    wait_for("the sessions to go", Duration::from_secs(5), || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        (cluster.psql(sql) == "0").then_some(())
    });
    for _ in 0..5 {
        let lines = watch.lines().await;
        assert_eq!(states(&lines)[..2], [("active", Some(0.0)), ("idle", Some(0.0))]);
    }
}

async fn ten_names_are_all_that_ten_sets_hold(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    let mut clients = Vec::new();
    for n in 0..15 {
        let client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
        let name = format!("SET application_name = 'name-{n:02}'");
        client.batch_execute(&name).await.expect("it is let to");
        clients.push(client);
    }
    let views = view::ViewSettings { series_limit: 10, ..view::ViewSettings::default() };
    let watch = Watch::new(settings(&cluster, views));
    let lines = watch.lines().await;
    assert_eq!(lines.family("server_oldest_query_seconds").len(), 10);
    let other = "database=\"postgres\",user=\"app\",application=\"other\"";
    assert_eq!(lines.value(&format!("server_connections{{{other},state=\"idle\"}}")), 6.0);
    let family = "{family=\"db_pool_server_connections\"}";
    assert_eq!(lines.value(&format!("exporter_series_dropped_total{family}")), 6.0);
    assert_eq!(lines.value("server_used_connections"), 16.0);
}

async fn databases_count_how_sessions_ended(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::None);
    cluster.role(ROLE.0, ROLE.1);
    let watch = Watch::new(settings(&cluster, view::ViewSettings::default()));
    let killed = "server_sessions_ended_total{database=\"postgres\",reason=\"killed\"}";
    let before = watch.lines().await.get(killed);
    assert_eq!(before.is_some(), cluster.version() >= 14);
    let Some(before) = before else { return };
    let _client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    let started = std::time::Instant::now();
    while watch.lines().await.value(killed) < before + 1.0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the killed session is not counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(watch.lines().await.value("server_sessions_total{database=\"postgres\"}") >= 2.0);
}

async fn statements_are_counted_and_stay(version: Option<u32>) {
    let cluster = builder(version)
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track", "all")
        .start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.psql("CREATE SCHEMA \"odd Schema\"");
    cluster.psql("GRANT USAGE ON SCHEMA \"odd Schema\" TO monitor");
    cluster.psql("CREATE EXTENSION pg_stat_statements SCHEMA \"odd Schema\"");
    cluster.role(ROLE.0, ROLE.1);
    let client = cluster.client(ROLE.0, ROLE.1).await.expect("the role gets in");
    let run = async |sql: &str| client.batch_execute(sql).await.expect("it runs");
    run("SELECT pg_sleep(0.05)").await;
    // The same statement at top level and inside a function.
    run("SELECT pg_sleep(0.07); DO $$ BEGIN PERFORM pg_sleep(0.01); END $$").await;
    let options = statements::StatementsSettings { top: 2, show_text: true };
    let views = view::ViewSettings::default().with(statements::VIEW.name);
    let views = view::ViewSettings { statements: options, ..views };
    let watch = Watch::new(settings(&cluster, views));
    let lines = watch.lines().await;
    let sleeping = |lines: &Lines| {
        let info = lines.family("server_statement_info").into_iter().map(str::to_owned);
        info.filter(|line| line.contains("SELECT pg_sleep($1)")).collect::<Vec<_>>()
    };
    let info = sleeping(&lines);
    assert!(!info.is_empty(), "{:?}", lines.family("server_statement_info"));
    let labels =
        info[0].split_once('{').expect("labels").1.split_once(",query=").expect("a text").0;
    let calls = |lines: &Lines| lines.value(&format!("server_statement_calls_total{{{labels}}}"));
    assert!(calls(&lines) >= 2.0);
    assert!(lines.value(&format!("server_statement_seconds_total{{{labels}}}")) >= 0.12);
    // Other statements take more time now, but this one stays.
    run("DO $$ BEGIN PERFORM pg_sleep(0.6); END $$").await;
    run("WITH a AS (SELECT pg_sleep(0.7)) SELECT count(*) FROM a").await;
    run("WITH b AS (SELECT pg_sleep(0.8) AS x, 1) SELECT count(*), 2 FROM b").await;
    run("SELECT pg_sleep(0.001)").await;
    let later = watch.lines().await;
    assert!(calls(&later) > calls(&lines));
}
