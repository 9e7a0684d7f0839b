//! The demo's application. It has a pool of its own and uses it in bursts.
//!
//! Four periods follow each other, so that every panel has something to show: quiet, busy, overloaded, and
//! one in which some requests forget to end their transaction.

use std::time::Duration;

use anyhow::{Context, Result};
use bb8_postgres::PostgresConnectionManager;
use db_pool_metrics::{CheckOutOutcome, Metered, Watched};
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;

use super::server::{NAME, Server};

/// `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` of the application. bb8 has one limit: the sum.
pub(super) const SIZE: u32 = 5;
pub(super) const OVERFLOW: u32 = 3;

/// The length of a period.
const PERIOD: Duration = Duration::from_secs(20);

/// The longest time that a check-out waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time for which a forgotten transaction stays open.
const FORGOTTEN: Duration = Duration::from_secs(8);

pub(super) type Pool = Watched<PostgresConnectionManager<NoTls>>;

/// Creates the role, the database and a table.
///
/// # Errors
/// The server refuses a statement.
pub(super) async fn prepare(server: &Server) -> Result<()> {
    execute(
        &server.admin(),
        &[
            &format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'"),
            &format!("GRANT pg_read_all_stats TO {NAME}"),
            &format!("CREATE DATABASE {NAME} OWNER {NAME}"),
        ],
    )
    .await?;
    let mut own = server.admin();
    own.dbname(NAME);
    let table = "CREATE TABLE orders AS SELECT n AS id, n % 97 AS customer FROM generate_series(1, 50000) n";
    execute(&own, &[table, &format!("ALTER TABLE orders OWNER TO {NAME}")]).await
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

/// Creates the application's pool.
///
/// # Errors
/// The pool cannot be created.
pub(super) async fn pool(port: u16) -> Result<Pool> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(NAME).password(NAME).dbname(NAME);
    config.application_name(NAME);
    let manager = PostgresConnectionManager::new(config, NoTls);
    let pool = bb8::Pool::builder()
        .max_size(SIZE + OVERFLOW)
        .connection_timeout(PATIENCE)
        .idle_timeout(Duration::from_secs(15))
        .build(Metered::new(manager))
        .await
        .context("the application's pool")?;
    Ok(Watched::new(pool, NAME))
}

/// Returns the application's own count of its check-outs, which no server shows.
pub(super) fn summary(pool: &Pool) -> String {
    format!(
        "{} check-outs got a connection, {} timed out",
        pool.checkouts(CheckOutOutcome::Ok),
        pool.checkouts(CheckOutOutcome::Timeout)
    )
}

/// Sends requests until it is dropped.
pub(super) async fn run(pool: Pool, tasks: TaskTracker) {
    let start = Instant::now();
    loop {
        let period = (start.elapsed().as_secs() / PERIOD.as_secs()) % 4;
        let (every_ms, lasts_ms) = match period {
            0 => (400, 20..120),
            1 => (60, 100..400),
            2 => (40, 300..1_500),
            _ => (200, 20..200),
        };
        let lasts = Duration::from_millis(fastrand::u64(lasts_ms));
        let is_forgotten = period == 3 && fastrand::u32(..50) == 0;
        let idle = if is_forgotten { FORGOTTEN } else { Duration::ZERO };
        tasks.spawn(request(pool.clone(), lasts, idle));
        sleep(Duration::from_millis(every_ms)).await;
    }
}

/// One request of a user. It fails when the pool is exhausted, which is what the demo shows.
async fn request(pool: Pool, lasts: Duration, idle_in_transaction: Duration) {
    let Ok(connection) = pool.get().await else { return };
    let customer = fastrand::u32(..97);
    let sql = format!(
        "BEGIN; SELECT count(*) FROM orders WHERE customer = {customer}; SELECT pg_sleep({})",
        lasts.as_secs_f64()
    );
    let _ = connection.batch_execute(&sql).await;
    sleep(idle_in_transaction).await;
    let _ = connection.batch_execute("COMMIT").await;
}
