//! A connection's own task: it logs in, hands the client over, and drives it to its end.
//!
//! Whoever waits may give up; the task does not, because the server's backend does not either. It
//! goes on until the server has answered and closed, and only then frees the permit. So an exporter
//! that times out against a stuck server holds what it has opened, and opens no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::tls::NoTls;
use tokio_postgres::{Client, Config};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::budget::{Budget, Permit};
use super::connect::{Peer, Progress, Settings, Timings};
use super::error::{ConnectError, Phase, Reason};
use super::wire::{Guard, Io, Wire};
use crate::dsn::SessionAttrs;

/// How long a connection that was given up is waited for. Keepalives end a dead peer's far sooner.
const LINGER: Duration = Duration::from_secs(600);

/// How long the permit of one that did not even end then is kept.
const COOL: Duration = Duration::from_secs(60);

/// A closing that takes longer than this counts as given up.
const CLOSING: Duration = Duration::from_secs(1);

/// An open connection, ready for a statement; closed when dropped.
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) timings: Timings,
    /// When it began to be opened: what its age is counted from, as SQLAlchemy does.
    pub(super) born: Instant,
    _dropped: DropGuard,
}

/// What a connection knows of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The backend's process id; 0 behind poolers that tell none.
    pub pid: i32,
    /// As the server reports it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Where it is.
    pub peer: Peer,
}

/// What a login needs.
pub(super) struct Job {
    pub(super) settings: Settings,
    pub(super) peer: Peer,
    pub(super) session: SessionAttrs,
    pub(super) progress: Progress,
    pub(super) permit: Permit,
    pub(super) budget: Arc<Budget>,
}

type Connection = tokio_postgres::Connection<Wire, tokio_postgres::tls::NoTlsStream>;
type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts the task and waits for its connection.
pub(super) async fn start(
    job: Job,
    stream: Box<dyn Io>,
    spawn: impl FnOnce(Task),
) -> Result<Live, ConnectError> {
    let (sender, receiver) = oneshot::channel();
    spawn(Box::pin(run(job, stream, sender)));
    match receiver.await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::new(Phase::Startup, Reason::Other, "the exporter is stopping")),
    }
}

async fn run(
    job: Job,
    stream: Box<dyn Io>,
    mut waiter: oneshot::Sender<Result<Live, ConnectError>>,
) {
    let (permit, budget) = (Arc::clone(&job.permit), Arc::clone(&job.budget));
    let mut login = Box::pin(login(job, stream));
    let (result, held) = tokio::select! {
        result = &mut login => (result, None),
        () = waiter.closed() => {
            let held = budget.abandoned.hold();
            match timeout(LINGER, &mut login).await {
                Ok(result) => (result, Some(held)),
                Err(_) => {
                    drop(login);
                    return sleep(COOL).await;
                }
            }
        }
    };
    match result {
        // Sent to nobody, the client is dropped at once, and the connection ends with it.
        Ok((live, connection, dropped)) => {
            let _listed = budget.list(live.server.pid);
            drop(waiter.send(Ok(live)));
            drive(connection, dropped, &budget).await;
        }
        Err(error) => drop(waiter.send(Err(error))),
    }
    drop((held, permit));
}

async fn login(
    job: Job,
    stream: Box<dyn Io>,
) -> Result<(Live, Connection, CancellationToken), ConnectError> {
    let config = config(&job);
    let (wire, seen) = Wire::new(stream, guard());
    let startup = config.connect_raw(wire, NoTls);
    let startup = job.progress.time(Phase::Startup, startup).await;
    let (client, mut connection) = startup.map_err(|e| ConnectError::startup(&e))?;
    check_session(&client, &mut connection, job.session).await?;
    let version = connection.parameter("server_version").unwrap_or("unknown").to_owned();
    let dropped = CancellationToken::new();
    let live = Live {
        client,
        server: Server { pid: seen.pid(), version, peer: job.peer },
        timings: Timings::default(),
        born: Instant::now(),
        _dropped: dropped.clone().drop_guard(),
    };
    Ok((live, connection, dropped))
}

/// The start-up packet's settings. Never `options` for our own wishes: PgBouncer refuses them.
fn config(job: &Job) -> Config {
    let dsn = &job.settings.dsn;
    let mut config = Config::new();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    config
        .application_name(dsn.application_name.as_ref().unwrap_or(&job.settings.application_name));
    if let Some(user) = &dsn.user {
        config.user(user);
    }
    if let Some(password) = &dsn.password {
        config.password(password.reveal());
    }
    if let Some(database) = &dsn.database {
        config.dbname(database);
    }
    if let Some(options) = &dsn.options {
        config.options(options);
    }
    config
}

fn guard() -> Guard {
    Box::new(|_| Ok(()))
}

/// Asks whether the server is of the kind that `target_session_attrs` wants.
async fn check_session(
    client: &Client,
    connection: &mut Connection,
    wanted: SessionAttrs,
) -> Result<(), ConnectError> {
    let sql = match wanted {
        SessionAttrs::Any | SessionAttrs::PreferStandby => return Ok(()),
        SessionAttrs::ReadWrite | SessionAttrs::ReadOnly => {
            "SELECT pg_catalog.current_setting('transaction_read_only')::bool"
        }
        SessionAttrs::Primary | SessionAttrs::Standby => "SELECT pg_catalog.pg_is_in_recovery()",
    };
    let question = client.simple_query(sql);
    let answer = tokio::select! {
        answer = question => answer.map_err(|e| ConnectError::startup(&e))?,
        end = connection => {
            let text = end.err().map_or_else(|| "closed".to_owned(), |e| e.to_string());
            return Err(ConnectError::new(Phase::Startup, Reason::Disconnected, text));
        }
    };
    let truth = super::rows(&answer).next().map(|row| row.get(0) == Some("t"));
    let wants = matches!(wanted, SessionAttrs::ReadOnly | SessionAttrs::Standby);
    if truth == Some(wants) {
        return Ok(());
    }
    let message = "the server is not of the kind that target_session_attrs asks for";
    Err(ConnectError::new(Phase::Startup, Reason::WrongSession, message))
}

/// Drives a connection until the server has closed it.
async fn drive(connection: Connection, dropped: CancellationToken, budget: &Budget) {
    let mut connection = Box::pin(connection);
    tokio::select! {
        end = &mut connection => return log_end(end),
        () = dropped.cancelled() => {}
    }
    if let Ok(end) = timeout(CLOSING, &mut connection).await {
        return log_end(end);
    }
    let _held = budget.abandoned.hold();
    match timeout(LINGER, connection).await {
        Ok(end) => log_end(end),
        Err(_) => sleep(COOL).await,
    }
}

fn log_end(end: Result<(), tokio_postgres::Error>) {
    if let Err(error) = end {
        debug!(%error, "the server ended a connection");
    }
}
