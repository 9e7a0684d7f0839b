//! The task of one connection: it logs in, hands the client over, and drives it to its end.
//!
//! The caller may give up; the task does not, because the server's backend does not either. It goes
//! on until the server has answered and closed the connection, and only then frees the permit. So an
//! exporter that times out against a stuck server keeps what it has opened, and opens no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::budget::{Budget, Permit};
use super::error::{ConnectError, cut};
use super::inspect::WireState;
use super::policy::{Policy, Privacy, Warned};
use super::reach::Peer;
use super::settings::ConnectSettings;
use super::timings::{Progress, Timings};
use super::tls::{self, Attempt, Bound, Context, Established, Secured, TlsInfo, TlsSupport};
use super::wire::{Io, Wire, prove_elsewhere};
use super::{rows, sqlstate};
use crate::dsn::{ChannelBinding, SessionAttrs};
use crate::metrics::{Phase, Reason};
use crate::secret::Secret;

/// The time for which the permit of a connection is kept that has not ended even then. Our socket is closed
/// at its start, so the backend has this time to notice.
const COOL: Duration = Duration::from_secs(60);

/// A closing that takes longer than this counts as abandoned.
const CLOSING: Duration = Duration::from_secs(1);

/// An open connection, ready for a statement; closed when dropped.
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) backend: Backend,
    /// The findings of the inspected stream, and the limit for the next answer.
    pub(super) wire: Arc<WireState>,
    pub(super) timings: Timings,
    /// The time that it waited for a permit, which is not the server's.
    pub(super) waited: Duration,
    /// When opening it began: its age is counted from there, as in SQLAlchemy.
    pub(super) born: Instant,
    /// The TLS settings of the connection, which its cancel requests use too.
    pub(super) context: Option<Arc<Context>>,
    _dropped: DropGuard,
}

/// The server's side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The backend's process id; 0 behind poolers that send none.
    pub pid: i32,
    /// The version that the server reports: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Its address.
    pub peer: Peer,
    /// The outcome of TLS; `None` without TLS.
    pub tls: Option<TlsInfo>,
}

/// The input of one login.
pub(super) struct Job {
    pub(super) settings: ConnectSettings,
    /// The role, where the password's source names one; otherwise it is the URL's.
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

/// A login that failed.
pub(super) struct Failed {
    pub(super) error: ConnectError,
    /// True if the sslmodes `prefer` and `allow` may try again the other way: without TLS, or with it.
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
///
/// Cancel safe: the task goes on without the caller.
pub(super) async fn start(
    job: Job,
    stream: Box<dyn Io>,
    spawn: impl FnOnce(Task),
) -> Result<Live, Failed> {
    let (sender, receiver) = oneshot::channel();
    spawn(Box::pin(run(job, stream, sender)));
    receiver.await.unwrap_or_else(|_| {
        let text = "the exporter is stopping";
        Err(ConnectError::new(Phase::Startup, Reason::Other, text).into())
    })
}

async fn run(job: Job, stream: Box<dyn Io>, mut waiter: oneshot::Sender<Result<Live, Failed>>) {
    // Held to the end of this function. Freed earlier, each time-out would let one more backend
    // start while the last one still exists. Measured without it: a server with hanging logins was filled up
    // to max_connections.
    let permit = Arc::clone(&job.permit);
    let budget = Arc::clone(&job.budget);
    let linger = job.settings.linger;
    let mut login = Box::pin(login(job, stream));
    let mut abandoned = None;
    let result = tokio::select! {
        result = &mut login => result,
        () = waiter.closed() => {
            abandoned = Some(budget.abandon());
            let Ok(result) = timeout(linger, &mut login).await else {
                // The backend may outlive even this; closing our side at least makes it notice.
                drop(login);
                return sleep(COOL).await;
            };
            result
        }
    };
    match result {
        Ok((live, connection, dropped)) => {
            let _listed = budget.list(live.backend.pid);
            // If the waiter has gone, the client is dropped here and the connection closes.
            drop(waiter.send(Ok(live)));
            drive(connection, dropped, &budget, linger).await;
        }
        Err(error) => drop(waiter.send(Err(error))),
    }
    drop((abandoned, permit));
}

async fn login(
    job: Job,
    stream: Box<dyn Io>,
) -> Result<(Live, Connection, CancellationToken), Failed> {
    let (stream, tls, end_point) = match encrypt(&job, stream).await? {
        Stream::Plain(stream) => (stream, None, None),
        Stream::Encrypted(Secured { stream, tls, end_point }) => (stream, Some(tls), end_point),
    };
    let policy = policy(&job, tls.as_ref());
    let config = config(&job, if tls.is_some() { SslMode::Require } else { SslMode::Disable });
    let (stream, wire) = Wire::new(stream, policy.guard());
    let startup = async move { config.connect_raw(stream, Established(end_point)).await };
    let startup = prove_elsewhere(Box::pin(startup), Arc::clone(&wire));
    let startup = job.progress.time(Phase::Startup, startup).await;
    // If TLS was wanted and the server has none, the other way would be without TLS as well. It could only
    // add a second failed login to the server's log.
    let is_last_way = job.context.is_some() && tls.is_none();
    let (client, mut connection) = startup.map_err(|error| Failed {
        // libpq tries the other way after any error before the end of authentication. This crate does so
        // only after a refused login (pg_hba.conf can require TLS or forbid it). At "too many connections"
        // a second attempt would only take one more backend from a full server.
        may_switch: !is_last_way
            && !wire.is_authenticated()
            && error.code().is_some_and(|code| sqlstate::is_about_login(code.code())),
        error: ConnectError::startup(&error),
    })?;
    check_session(&client, &mut connection, job.session).await?;
    let version = cut(connection.parameter("server_version").unwrap_or("unknown"));
    let dropped = CancellationToken::new();
    let live = Live {
        client,
        context: if tls.is_some() { job.context } else { None },
        backend: Backend { pid: wire.pid(), version, peer: job.peer, tls },
        wire,
        timings: Timings::default(),
        waited: Duration::ZERO,
        born: Instant::now(),
        _dropped: dropped.clone().drop_guard(),
    };
    Ok((live, connection, dropped))
}

enum Stream {
    Plain(Box<dyn Io>),
    Encrypted(Secured),
}

/// Asks for TLS and does the handshake, if this attempt is for TLS.
async fn encrypt(job: &Job, mut stream: Box<dyn Io>) -> Result<Stream, Failed> {
    let Some(context) = &job.context else { return Ok(Stream::Plain(stream)) };
    let answer = context.request(&mut stream);
    let answer = job.progress.time(Phase::SslRequest, answer).await;
    match answer.map_err(|error| ConnectError::tls(Phase::SslRequest, &error))? {
        TlsSupport::Yes => {}
        TlsSupport::No if job.attempt == Attempt::Optional => return Ok(Stream::Plain(stream)),
        TlsSupport::No => {
            return Err(ConnectError::new(Phase::SslRequest, Reason::Tls, tls::NO_TLS).into());
        }
        TlsSupport::NotPostgres => {
            let text = "the answer is not that of a PostgreSQL server";
            return Err(ConnectError::new(Phase::SslRequest, Reason::NotPostgres, text).into());
        }
    }
    let secured = job.progress.time(Phase::Tls, context.handshake(stream)).await;
    secured
        .map(Stream::Encrypted)
        .map_err(|error| Failed { error: ConnectError::tls(Phase::Tls, &error), may_switch: true })
}

fn policy(job: &Job, tls: Option<&TlsInfo>) -> Policy {
    Policy {
        require: job.settings.dsn.require_auth.clone(),
        privacy: match (&job.context, tls) {
            (Some(context), Some(_)) if context.verifies() => Privacy::Verified,
            (Some(_), Some(_)) => Privacy::Encrypted,
            (Some(_) | None, _) => Privacy::Open,
        },
        peer: job.peer.clone(),
        warned: Arc::clone(&job.warned),
    }
}

/// The settings of the start-up packet. Nothing is added to the URL's `options`: PgBouncer refuses a start-up
/// parameter that it does not know and that `ignore_startup_parameters` does not list.
fn config(job: &Job, mode: SslMode) -> Config {
    let dsn = &job.settings.dsn;
    let mut config = Config::new();
    // The TLS handshake is done already. With `Direct` tokio-postgres sends no SSLRequest of its own, and
    // its connector only hands the outcome over. Otherwise a second SSLRequest would go into the
    // encrypted stream, and the login would fail.
    config.ssl_negotiation(SslNegotiation::Direct).ssl_mode(mode);
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
        // tokio-postgres keeps a copy of the password that is not overwritten in memory. The configuration,
        // and the copy with it, is dropped at the end of the login.
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
    let answer = tokio::select! {
        answer = client.simple_query(sql) => answer.map_err(|e| ConnectError::startup(&e))?,
        end = connection => {
            let text = end.err().map_or_else(|| "closed".to_owned(), |e| e.to_string());
            return Err(ConnectError::new(Phase::Startup, Reason::Disconnected, text));
        }
    };
    let answer = rows(&answer).next().map(|row| row.get(0) == Some("t"));
    let wants = matches!(wanted, SessionAttrs::ReadOnly | SessionAttrs::Standby);
    if answer == Some(wants) {
        return Ok(());
    }
    let message = "the server is not of the kind that target_session_attrs asks for";
    Err(ConnectError::new(Phase::Startup, Reason::WrongSession, message))
}

/// Drives a connection until the server has closed it.
///
/// Returning earlier would free the permit while the backend still exists, and the next connect would make
/// one more than the budget allows.
async fn drive(
    connection: Connection,
    dropped: CancellationToken,
    budget: &Budget,
    linger: Duration,
) {
    let mut connection = Box::pin(connection);
    tokio::select! {
        end = &mut connection => return log_end(end),
        () = dropped.cancelled() => {}
    }
    if let Ok(end) = timeout(CLOSING, &mut connection).await {
        return log_end(end);
    }
    let _abandoned = budget.abandon();
    match timeout(linger, connection).await {
        Ok(end) => log_end(end),
        Err(_) => sleep(COOL).await,
    }
}

fn log_end(end: Result<(), tokio_postgres::Error>) {
    if let Err(error) = end {
        debug!(%error, "the server ended a connection");
    }
}
