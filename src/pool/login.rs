//! A connection's own task: it logs in, hands the client over, and drives it to its end.
//!
//! Whoever waits may give up; the task does not, because the server's backend does not either. It
//! goes on until the server has answered and closed, and only then frees the permit. So an exporter
//! that times out against a stuck server holds what it has opened, and opens no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::budget::{Budget, Permit};
use super::error::ConnectError;
use super::policy::{Policy, Privacy, Warned};
use super::reach::Peer;
use super::settings::ConnectSettings;
use super::timings::{Progress, Timings};
use super::tls::{self, Attempt, Bound, Context, Established, Secured, TlsInfo};
use super::wire::{Io, Wire};
use crate::dsn::{ChannelBinding, SessionAttrs};
use crate::metrics::{Phase, Reason};
use crate::secret::Secret;

/// How long a connection that was given up is waited for. Keepalives end a dead peer's far sooner.
const LINGER: Duration = Duration::from_secs(600);

/// How long the permit of one that did not even end then is kept.
const COOL: Duration = Duration::from_secs(60);

/// A closing that takes longer than this counts as given up.
const CLOSING: Duration = Duration::from_secs(1);

/// An open connection, ready for a statement; closed when dropped.
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) server: Backend,
    pub(super) timings: Timings,
    /// When it began to be opened: what its age is counted from, as SQLAlchemy does.
    pub(super) born: Instant,
    /// How it is encrypted, for the cancel requests that belong to it.
    pub(super) context: Option<Arc<Context>>,
    _dropped: DropGuard,
}

/// What a connection knows of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The backend's process id; 0 behind poolers that tell none.
    pub pid: i32,
    /// As the server reports it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Where it is.
    pub peer: Peer,
    /// What TLS came to; `None` without.
    pub tls: Option<TlsInfo>,
}

/// What a login needs.
pub(super) struct Job {
    pub(super) settings: ConnectSettings,
    /// The role, if it is not the URL's.
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) attempt: Attempt,
    pub(super) context: Option<Arc<Context>>,
    pub(super) peer: Peer,
    pub(super) session: SessionAttrs,
    pub(super) progress: Progress,
    pub(super) permit: Permit,
    pub(super) budget: Arc<Budget>,
    pub(super) warned: Arc<Warned>,
}

/// A login that came to nothing.
pub(super) struct Failed {
    pub(super) error: ConnectError,
    /// Whether it may go better the other way: with TLS, or without.
    pub(super) may_switch: bool,
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self { error, may_switch: false }
    }
}

type Connection = tokio_postgres::Connection<Wire, Bound<Wire>>;
type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts the task and waits for its connection.
pub(super) async fn start(
    job: Job,
    stream: Box<dyn Io>,
    spawn: impl FnOnce(Task),
) -> Result<Live, Failed> {
    let (sender, receiver) = oneshot::channel();
    spawn(Box::pin(run(job, stream, sender)));
    match receiver.await {
        Ok(result) => result,
        Err(_) => {
            let text = "the exporter is stopping";
            Err(ConnectError::new(Phase::Startup, Reason::Other, text).into())
        }
    }
}

async fn run(job: Job, stream: Box<dyn Io>, mut waiter: oneshot::Sender<Result<Live, Failed>>) {
    let (permit, budget) = (Arc::clone(&job.permit), Arc::clone(&job.budget));
    let mut login = Box::pin(login(job, stream));
    let (result, held) = tokio::select! {
        result = &mut login => (result, None),
        () = waiter.closed() => {
            let held = budget.abandoned.inc_guard();
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
) -> Result<(Live, Connection, CancellationToken), Failed> {
    let (stream, tls, end_point) = match encrypt(&job, stream).await? {
        Stream::Plain(stream) => (stream, None, None),
        Stream::Encrypted(Secured { stream, tls, end_point }) => (stream, Some(tls), end_point),
    };
    let policy = Policy {
        require: job.settings.dsn.require_auth.clone(),
        privacy: match &job.context {
            Some(context) if tls.is_some() && context.verifies() => Privacy::Verified,
            Some(_) if tls.is_some() => Privacy::Encrypted,
            Some(_) | None => Privacy::Open,
        },
        peer: job.peer.clone(),
        warned: Arc::clone(&job.warned),
    };
    let config = config(&job, tls.is_some());
    let (wire, seen) = Wire::new(stream, policy.guard());
    let startup = config.connect_raw(wire, Established(end_point));
    let startup = job.progress.time(Phase::Startup, startup).await;
    // Without TLS although it was asked for, the other way would be this way again: a second login.
    let is_final = job.context.is_some() && tls.is_none();
    let (client, mut connection) = startup.map_err(|error| Failed {
        // The server's word against this kind of connection, or its authentication.
        may_switch: !is_final && !seen.is_authenticated() && is_about_login(&error),
        error: ConnectError::startup(&error),
    })?;
    check_session(&client, &mut connection, job.session).await?;
    let version = connection.parameter("server_version").unwrap_or("unknown").to_owned();
    let dropped = CancellationToken::new();
    let live = Live {
        client,
        context: job.context.filter(|_| tls.is_some()),
        server: Backend { pid: seen.pid(), version, peer: job.peer, tls },
        timings: Timings::default(),
        born: Instant::now(),
        _dropped: dropped.clone().drop_guard(),
    };
    Ok((live, connection, dropped))
}

enum Stream {
    Plain(Box<dyn Io>),
    Encrypted(Secured),
}

/// Asks for TLS and shakes hands, if this attempt is for that.
async fn encrypt(job: &Job, mut stream: Box<dyn Io>) -> Result<Stream, Failed> {
    let Some(context) = &job.context else { return Ok(Stream::Plain(stream)) };
    let answer = context.request(&mut stream);
    let answer = job.progress.time(Phase::SslRequest, answer).await;
    match answer.map_err(|error| ConnectError::tls(Phase::SslRequest, &error))? {
        true => {}
        false if job.attempt == Attempt::Optional => return Ok(Stream::Plain(stream)),
        false => {
            return Err(ConnectError::new(Phase::SslRequest, Reason::Tls, tls::NO_TLS).into());
        }
    }
    let secured = job.progress.time(Phase::Tls, context.handshake(stream)).await;
    let failed = |error| Failed { error: ConnectError::tls(Phase::Tls, &error), may_switch: true };
    secured.map(Stream::Encrypted).map_err(failed)
}

/// Whether the server refused the login: libpq tries the other way after any error so early, but one
/// for want of connections is not worth a second knock.
fn is_about_login(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("28"))
}

/// The start-up packet's settings. Never `options` for our own wishes: PgBouncer refuses them.
fn config(job: &Job, is_encrypted: bool) -> Config {
    let dsn = &job.settings.dsn;
    let mut config = Config::new();
    // The handshake is done: tokio-postgres only takes over what it came to.
    config.ssl_negotiation(SslNegotiation::Direct).ssl_mode(match is_encrypted {
        true => SslMode::Require,
        false => SslMode::Disable,
    });
    config.channel_binding(match dsn.tls.channel_binding.unwrap_or(ChannelBinding::Prefer) {
        ChannelBinding::Disable => Binding::Disable,
        ChannelBinding::Prefer => Binding::Prefer,
        ChannelBinding::Require => Binding::Require,
    });
    config
        .application_name(dsn.application_name.as_ref().unwrap_or(&job.settings.application_name));
    if let Some(user) = job.user.as_ref().or(dsn.user.as_ref()) {
        config.user(user);
    }
    if let Some(password) = &job.password {
        // A copy that nobody overwrites: it is dropped as soon as the login has come to its end.
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
    let _held = budget.abandoned.inc_guard();
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
