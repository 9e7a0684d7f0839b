//! The demo's application: it borrows connections from a pool of its own, in bursts.
//!
//! Its life has four quarters, so that every panel has something to show: quiet, busy, more than the
//! pool can give, and one request that forgets to end its transaction.

use std::time::Duration;

use anyhow::{Context, Result};
use bb8_postgres::PostgresConnectionManager;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;

use super::server::{NAME, Server};

/// The application's pool: `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` together.
pub(super) const SIZE: u32 = 5;
pub(super) const OVERFLOW: u32 = 3;

/// A quarter of its life.
const QUARTER: Duration = Duration::from_secs(20);

/// How long one of its check-outs waits: the application's users wait no longer.
const PATIENCE: Duration = Duration::from_secs(2);

type Pool = bb8::Pool<PostgresConnectionManager<NoTls>>;

/// Makes the role, the database and a table.
///
/// # Errors
/// What the server says.
pub(super) async fn prepare(server: &Server) -> Result<()> {
    run(
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
    run(&own, &[table, &format!("ALTER TABLE orders OWNER TO {NAME}")]).await
}

async fn run(config: &tokio_postgres::Config, statements: &[&str]) -> Result<()> {
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

/// Lives until it is dropped: a request whenever one is due.
///
/// # Errors
/// When its pool cannot be made.
pub(super) async fn live(port: u16, tasks: TaskTracker) -> Result<()> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(NAME).password(NAME).dbname(NAME);
    config.application_name(NAME);
    let manager = PostgresConnectionManager::new(config, NoTls);
    let pool = bb8::Pool::builder()
        .max_size(SIZE + OVERFLOW)
        .connection_timeout(PATIENCE)
        .idle_timeout(Duration::from_secs(15))
        .build(manager)
        .await
        .context("the application's pool")?;
    let start = Instant::now();
    loop {
        let quarter = (start.elapsed().as_secs() / QUARTER.as_secs()) % 4;
        let (every_ms, lasts_ms) = match quarter {
            0 => (400, 20..120),
            1 => (60, 100..400),
            2 => (40, 300..1_500),
            _ => (200, 20..200),
        };
        let lasts = Duration::from_millis(fastrand::u64(lasts_ms));
        let forgets = quarter == 3 && fastrand::u32(..50) == 0;
        tasks.spawn(request(pool.clone(), lasts, forgets));
        sleep(Duration::from_millis(every_ms)).await;
    }
}

/// One request of a user. That it fails when the pool is exhausted is what the demo shows.
async fn request(pool: Pool, lasts: Duration, forgets: bool) {
    let Ok(connection) = pool.get().await else { return };
    let customer = fastrand::u32(..97);
    let sql = format!(
        "BEGIN; SELECT count(*) FROM orders WHERE customer = {customer}; SELECT pg_sleep({})",
        lasts.as_secs_f64()
    );
    let _ = connection.batch_execute(&sql).await;
    if forgets {
        sleep(Duration::from_secs(8)).await;
    }
    let _ = connection.batch_execute("COMMIT").await;
}
