//! What the demo's database has: roles, a table of orders, and the table of the write probe.

use anyhow::{Context as _, Result};
use tokio_postgres::NoTls;

use super::crew::{REPORTS, REPORTS_LIMIT};
use super::server::{NAME, Server};

/// Creates the roles, the database and its tables.
///
/// # Errors
/// The server refuses a statement.
pub(super) async fn prepare(server: &Server) -> Result<()> {
    execute(
        &server.admin(),
        &[
            &format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'"),
            &format!(
                "CREATE ROLE {REPORTS} LOGIN PASSWORD '{REPORTS}' CONNECTION LIMIT {REPORTS_LIMIT}"
            ),
            &format!("GRANT pg_read_all_stats TO {NAME}"),
            &format!("CREATE DATABASE {NAME} OWNER {NAME}"),
        ],
    )
    .await?;
    let mut own = server.admin();
    own.dbname(NAME);
    let orders = "CREATE TABLE orders AS SELECT n AS id, n % 97 AS customer FROM generate_series(1, 50000) n";
    let heartbeat = "CREATE TABLE db_pool_exporter_heartbeat (probe text NOT NULL, n integer NOT NULL, \
                     written_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (probe, n))";
    let grants = [
        format!("ALTER TABLE orders OWNER TO {NAME}"),
        format!("GRANT SELECT ON orders TO {REPORTS}"),
        format!("GRANT SELECT, INSERT, DELETE ON db_pool_exporter_heartbeat TO {NAME}"),
    ];
    let mut statements = vec![orders, heartbeat];
    statements.extend(grants.iter().map(String::as_str));
    if server.counts_statements() {
        statements.push("CREATE EXTENSION pg_stat_statements");
    }
    execute(&own, &statements).await
}

async fn execute(config: &tokio_postgres::Config, statements: &[&str]) -> Result<()> {
    let (client, connection) = config.connect(NoTls).await.context("the demo's database")?;
    let work = async {
        for statement in statements {
            client.batch_execute(statement).await?;
        }
        drop(client);
        Ok::<_, tokio_postgres::Error>(())
    };
    let (done, _) = tokio::join!(work, connection);
    done.context("the demo's database")
}
