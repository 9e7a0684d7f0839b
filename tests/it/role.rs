//! The monitoring role of `deploy/sql/role.sql`: what it may and may not do, on every supported version.

use tokio_postgres::Client;

use crate::support::postgres::Cluster;

const SCRIPT: &str = include_str!("../../deploy/sql/role.sql");
const ROLE: &str = "db_pool_exporter";

/// A cluster on which the script ran twice, with another role, `app`.
fn prepared(major: u32) -> Cluster {
    let cluster = Cluster::builder()
        .version(major)
        .setting("shared_preload_libraries", "pg_stat_statements")
        .start();
    cluster.psql("CREATE EXTENSION pg_stat_statements; CREATE TABLE orders (id int)");
    cluster.psql(SCRIPT);
    cluster.psql(SCRIPT);
    cluster.psql(&format!("ALTER ROLE {ROLE} PASSWORD 'monitor'"));
    cluster.role("app", "app");
    cluster
}

async fn monitor(cluster: &Cluster) -> Client {
    cluster.client(ROLE, "monitor").await.expect("the role may log in")
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

async fn refused(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.code().expect("the server's own error").code().to_owned()
}

#[tokio::test]
async fn the_role_sees_the_statistics_of_others_on_every_version() {
    for major in 13..=18 {
        let cluster = prepared(major);
        let app = cluster.client("app", "app").await.expect("the application connects");
        app.batch_execute("BEGIN; SELECT 1").await.expect("a statement");
        let client = monitor(&cluster).await;
        let state = text(&client, "SELECT state FROM pg_stat_activity WHERE usename = 'app'").await;
        assert_eq!(state, "idle in transaction", "PostgreSQL {major}");
        let hidden = "SELECT count(*)::text FROM pg_stat_statements WHERE queryid IS NULL";
        assert_eq!(text(&client, hidden).await, "0", "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn the_role_may_do_nothing_else() {
    for major in [13, 18] {
        let cluster = prepared(major);
        let powers =
            "SELECT concat(rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls)
                      FROM pg_roles WHERE rolname = 'db_pool_exporter'";
        assert_eq!(cluster.psql(powers), "fffff", "PostgreSQL {major}");
        let groups = "SELECT string_agg(roleid::regrole::text, ' ' ORDER BY 1) FROM pg_auth_members
                      WHERE member = 'db_pool_exporter'::regrole";
        let wanted = match major {
            13 => "pg_read_all_stats",
            _ => "pg_read_all_stats pg_use_reserved_connections",
        };
        assert_eq!(cluster.psql(groups), wanted, "PostgreSQL {major}");
        let client = monitor(&cluster).await;
        for denied in [
            "SELECT * FROM orders",
            "CREATE ROLE other",
            "SELECT pg_read_file('postgresql.conf')",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
            "COPY (SELECT 1) TO PROGRAM 'true'",
        ] {
            assert_eq!(refused(&client, denied).await, "42501", "PostgreSQL {major}: {denied}");
        }
    }
}

#[tokio::test]
async fn its_time_outs_and_its_connection_limit_are_in_force() {
    let cluster = prepared(18);
    let client = monitor(&cluster).await;
    for (setting, value) in [
        ("statement_timeout", "15s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("transaction_timeout", "30s"),
        ("idle_session_timeout", "0"),
        ("default_transaction_read_only", "off"),
    ] {
        assert_eq!(text(&client, &format!("SHOW {setting}")).await, value, "{setting}");
    }
    let mut held = vec![client];
    for _ in 1..10 {
        held.push(monitor(&cluster).await);
    }
    let error = cluster.client(ROLE, "monitor").await.err();
    let error = error.expect("the eleventh is refused");
    assert_eq!(error.code().map(|code| code.code()), Some("53300"));
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_can_run_it() {
    for major in [13, 15, 16, 18] {
        let cluster = Cluster::builder().version(major).start();
        // Like the administrators of managed services. Since PostgreSQL 16, granting a role needs its ADMIN option.
        cluster.psql("CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'admin'");
        cluster.psql("GRANT pg_monitor, pg_read_all_stats TO admin WITH ADMIN OPTION");
        let admin = cluster.client("admin", "admin").await.expect("the administrator connects");
        for round in 1..=2 {
            let done = admin.batch_execute(SCRIPT).await;
            assert!(done.is_ok(), "PostgreSQL {major}, round {round}: {done:?}");
        }
        let granted = "SELECT pg_has_role('db_pool_exporter', 'pg_read_all_stats', 'USAGE')";
        assert_eq!(cluster.psql(granted), "t", "PostgreSQL {major}");
    }
}
