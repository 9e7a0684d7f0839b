//! One process of the demo's applications. It has a pool of its own and uses it as the demo asks.
//!
//! The demo starts its own program for it, and writes a line of JSON to its standard input for each
//! order: first its identity, then a load for each scene. It ends when that input ends, so that it cannot
//! outlive the demo.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bb8::QueueStrategy;
use bb8_postgres::PostgresConnectionManager;
use bytes::Bytes;
use db_pool_metrics::{CheckOutOutcome, Metered, Watched};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;

/// The longest time that a check-out waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time after which an idle connection is closed: the overflow goes away soon after a burst.
const REST: Duration = Duration::from_secs(3);

/// The identity of a process: its name, its login and its pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The application_name, and the name of its status.
    pub(super) name: String,
    /// The port of the server, or of PgBouncer.
    pub(super) port: u16,
    /// The role.
    pub(super) user: String,
    /// The password of the role.
    pub(super) password: String,
    /// The database.
    pub(super) database: String,
    /// The limit of the pool. bb8 has one; for a QueuePool it is size and overflow together.
    pub(super) max: u32,
    /// The folder for the socket with its status; `None`: it serves none.
    pub(super) status: Option<PathBuf>,
}

/// The load that a process puts on its pool in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Load {
    /// Milliseconds between two requests.
    pub(super) every: u64,
    /// The shortest and the longest time of a request's statements, in milliseconds.
    pub(super) lasts: (u64, u64),
    /// Milliseconds between two requests that forget to end their transaction until the scene ends; `None`
    /// where none does.
    pub(super) forgets_every: Option<u64>,
}

/// A process's own count of its check-outs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) served: u64,
    pub(super) timed_out: u64,
}

type Pool = Watched<PostgresConnectionManager<NoTls>>;

/// Runs until standard input ends, and prints its counts.
pub(super) fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("a runtime").and_then(|runtime| runtime.block_on(live()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo application: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn live() -> Result<()> {
    let mut first = String::new();
    std::io::stdin().read_line(&mut first)?;
    let identity: Identity = serde_json::from_str(&first).context("the identity")?;
    let (send, loads) = watch::channel(None);
    // Standard input has no asynchronous form that can be dropped, so a thread reads it. Dropping `send` ends
    // the work below.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            send.send_replace(serde_json::from_str::<Load>(&line).ok());
        }
    });
    let tasks = TaskTracker::new();
    let pool = pool(&identity).await?;
    let socket = match &identity.status {
        Some(folder) => {
            let path = folder.join(format!("{}-{}.sock", identity.name, std::process::id()));
            let listener = UnixListener::bind(&path).context("a socket for the status")?;
            tasks.spawn(serve_status(listener, pool.clone(), tasks.clone()));
            Some(path)
        }
        None => None,
    };
    work(&pool, loads, &tasks).await;
    if let Some(path) = socket {
        let _ = std::fs::remove_file(path);
    }
    let counts = Counts {
        served: pool.checkouts(CheckOutOutcome::Ok),
        timed_out: pool.checkouts(CheckOutOutcome::Timeout),
    };
    let text = serde_json::to_string(&counts)?;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

async fn pool(identity: &Identity) -> Result<Pool> {
    let Identity { name, port, user, password, database, .. } = identity;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(*port).user(user).password(password).dbname(database);
    config.application_name(name).connect_timeout(PATIENCE);
    let manager = PostgresConnectionManager::new(config, NoTls);
    let pool = bb8::Pool::builder()
        .max_size(identity.max)
        .connection_timeout(PATIENCE)
        .idle_timeout(REST)
        .reaper_rate(Duration::from_secs(1))
        // The connections that a burst opened rest then, so that they are closed.
        .queue_strategy(QueueStrategy::Lifo)
        .build(Metered::new(manager))
        .await
        .context("the application's pool")?;
    Ok(Watched::new(pool, name))
}

/// Sends requests until the orders end.
async fn work(pool: &Pool, mut loads: watch::Receiver<Option<Load>>, tasks: &TaskTracker) {
    loop {
        let load = *loads.borrow_and_update();
        let until = loads.clone();
        let requests = async {
            if let Some(load) = load {
                tokio::join!(
                    send(pool, load, tasks),
                    forget(pool, load.forgets_every, until, tasks)
                );
            }
            std::future::pending::<()>().await;
        };
        let is_over = tokio::select! {
            () = requests => false,
            changed = loads.changed() => changed.is_err(),
        };
        if is_over {
            return;
        }
    }
}

async fn send(pool: &Pool, load: Load, tasks: &TaskTracker) {
    loop {
        let lasts = fastrand::u64(load.lasts.0..=load.lasts.1);
        tasks.spawn(request(pool.clone(), lasts));
        sleep(Duration::from_millis(load.every)).await;
    }
}

/// Sends requests that keep their transaction open until the next order.
async fn forget(
    pool: &Pool,
    every: Option<u64>,
    until: watch::Receiver<Option<Load>>,
    tasks: &TaskTracker,
) {
    let Some(every) = every else { return };
    let mut ticks = interval(Duration::from_millis(every));
    loop {
        ticks.tick().await;
        let (pool, mut until) = (pool.clone(), until.clone());
        tasks.spawn(async move {
            let Ok(connection) = pool.get().await else { return };
            let _ = connection.batch_execute("BEGIN; SELECT count(*) FROM orders").await;
            let _ = until.changed().await;
            let _ = connection.batch_execute("COMMIT").await;
        });
    }
}

/// One request of a user. It fails when the pool is exhausted, which is what the demo shows.
async fn request(pool: Pool, lasts: u64) {
    let Ok(connection) = pool.get().await else { return };
    let customer = fastrand::u32(..97);
    let seconds = Duration::from_millis(lasts).as_secs_f64();
    // In one statement, so that the server shows it with its whole duration.
    let sql = format!(
        "SELECT count(*), (SELECT pg_sleep({seconds})) FROM orders WHERE customer = {customer}"
    );
    let _ = connection.batch_execute(&sql).await;
}

/// Answers each request with the pool's status.
async fn serve_status(listener: UnixListener, pool: Pool, tasks: TaskTracker) {
    while let Ok((stream, _)) = listener.accept().await {
        let pool = pool.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let body: Full<Bytes> = Full::from(pool.status_json());
            std::future::ready(
                Response::builder().header("content-type", "application/json").body(body),
            )
        });
        tasks.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_way_through_a_pipe() {
        let load = Load { every: 50, lasts: (300, 1500), forgets_every: Some(4000) };
        let text = serde_json::to_string(&load).unwrap();
        assert_eq!(serde_json::from_str::<Load>(&text).unwrap(), load);
        assert!(!text.contains('\n'));
    }
}
