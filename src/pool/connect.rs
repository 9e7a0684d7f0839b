//! Opening a connection, host after host, phase by phase, all under one limit.
//!
//! tokio-postgres' own `connect` limits only TCP's part, tells no phases, and forgets the address
//! that a cancel request needs; so hosts and addresses are walked here, and its `connect_raw` does
//! the start-up. What comes after TCP runs in a task of its own ([`super::login`]): a caller that
//! gives up does not make the server's backend go away.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::budget::{Budget, Permit, Purpose};
use super::error::{ConnectError, Phase, Reason};
use super::instruments::Instruments;
use super::login::{self, Live};
use super::wire::Io;
use crate::dsn::{Address, Dsn, Host, SessionAttrs};
use crate::metrics::Gauge;

/// The port where none is named.
const PORT: u16 = 5432;

/// How a target is reached.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Where, as whom, how.
    pub dsn: Arc<Dsn>,
    /// To open a connection, all hosts and phases together.
    pub timeout: Duration,
    /// As the server shows us.
    pub application_name: String,
    /// Whether it is PgBouncer's console that we talk to.
    pub console: bool,
}

impl Settings {
    /// The sslmode in force, as libpq calls it.
    pub fn sslmode(&self) -> &'static str {
        "disable"
    }
}

/// Where a connection ended up: what a cancel request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a socket of this machine.
    Unix(PathBuf),
}

impl Peer {
    /// Opens another stream to the same place.
    pub(super) async fn stream(&self) -> std::io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// How long each phase took; `None` for those that there were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Looking the name up.
    pub dns: Option<Duration>,
    /// TCP's or the socket's connect.
    pub tcp: Option<Duration>,
    /// Asking for TLS.
    pub ssl_request: Option<Duration>,
    /// TLS' handshake.
    pub tls: Option<Duration>,
    /// Start-up, authentication, readiness.
    pub startup: Option<Duration>,
    /// All together, attempts at other hosts included.
    pub total: Duration,
}

impl Timings {
    /// Every phase with its time.
    pub fn phases(&self) -> [(Phase, Option<Duration>); 5] {
        [
            (Phase::Dns, self.dns),
            (Phase::Tcp, self.tcp),
            (Phase::SslRequest, self.ssl_request),
            (Phase::Tls, self.tls),
            (Phase::Startup, self.startup),
        ]
    }

    fn set(&mut self, phase: Phase, took: Duration) {
        let place = match phase {
            Phase::Dns => &mut self.dns,
            Phase::Tcp => &mut self.tcp,
            Phase::SslRequest => &mut self.ssl_request,
            Phase::Tls => &mut self.tls,
            Phase::Startup => &mut self.startup,
        };
        *place = Some(took);
    }
}

/// How far a connect has come; the one who gives it up reads where it stood.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<(Phase, Timings)>>);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Phase::Dns, Timings::default()))))
    }

    /// Times a phase.
    pub(super) async fn time<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        self.with(|state| state.0 = phase);
        let start = Instant::now();
        let result = work.await;
        self.with(|state| state.1.set(phase, start.elapsed()));
        result
    }

    fn phase(&self) -> Phase {
        self.with(|state| state.0)
    }

    fn timings(&self) -> Timings {
        self.with(|state| state.1)
    }

    fn with<T>(&self, f: impl FnOnce(&mut (Phase, Timings)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens the connections of one target, and counts and times them.
pub struct Connector {
    settings: Settings,
    budget: Arc<Budget>,
    instruments: Arc<Instruments>,
    connecting: Gauge,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Connector {
    /// `tasks` and `stop`: where the connections' tasks are tracked, and what ends them at once.
    pub fn new(
        settings: Settings,
        budget: Arc<Budget>,
        instruments: Arc<Instruments>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { settings, budget, instruments, connecting: Gauge::new(), tasks, stop })
    }

    /// How the target is reached.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The permits that connections take.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Runs work that its starter does not wait for; it ends with the pool at the latest.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(work));
    }

    /// Connections being opened for the pool now.
    pub fn connecting(&self) -> u64 {
        self.connecting.value()
    }

    /// Opens a connection, ready for a statement.
    ///
    /// # Errors
    /// The last host's failure; within the settings' time-out, whatever happens.
    ///
    /// Cancel safe: what the server already knows of is closed by its own task.
    pub(super) async fn open(&self, purpose: Purpose) -> Result<Live, ConnectError> {
        let _held = (purpose == Purpose::Pool).then(|| self.connecting.hold());
        let start = Instant::now();
        let deadline = start + self.settings.timeout;
        let permit = match timeout_at(deadline, self.budget.permit(purpose)).await {
            Ok(Some(permit)) => permit,
            Ok(None) | Err(_) => return Err(ConnectError::budget()),
        };
        // Waiting for a permit is our own matter: it is not the server's connect time.
        let permitted = Instant::now();
        let result = self.hosts(&permit, deadline).await.map(|(mut live, mut timings)| {
            timings.total = permitted.elapsed();
            live.timings = timings;
            live.born = permitted;
            live
        });
        self.count(purpose, &result);
        result
    }

    fn count(&self, purpose: Purpose, result: &Result<Live, ConnectError>) {
        match result {
            Ok(live) => {
                let times = &self.instruments.times;
                times.connect.observe(purpose, live.timings.total);
                for (phase, took) in live.timings.phases() {
                    if let Some(took) = took {
                        times.phase.observe(phase, took);
                    }
                }
            }
            Err(ConnectError { phase: Some(phase), reason, .. }) => {
                self.instruments.connect_errors.inc(*phase, *reason);
            }
            Err(ConnectError { phase: None, .. }) => {}
        }
    }

    /// Tries host after host; with `prefer-standby`, a second time for any.
    async fn hosts(
        &self,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Live, Timings), ConnectError> {
        let wanted = self.settings.dsn.session.unwrap_or(SessionAttrs::Any);
        let passes: &[SessionAttrs] = match wanted {
            SessionAttrs::PreferStandby => &[SessionAttrs::Standby, SessionAttrs::Any],
            SessionAttrs::Any => &[SessionAttrs::Any],
            SessionAttrs::ReadWrite => &[SessionAttrs::ReadWrite],
            SessionAttrs::ReadOnly => &[SessionAttrs::ReadOnly],
            SessionAttrs::Primary => &[SessionAttrs::Primary],
            SessionAttrs::Standby => &[SessionAttrs::Standby],
        };
        let hosts = self.order();
        let mut left = hosts.len() * passes.len();
        let mut last = ConnectError::new(Phase::Dns, Reason::Other, "no host is named");
        for session in passes {
            for host in &hosts {
                let limit = share(deadline, left);
                left -= 1;
                match self.host(host, *session, permit, limit).await {
                    Ok(found) => return Ok(found),
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// The hosts as the URL has them, or turned by chance for `load_balance_hosts=random`.
    fn order(&self) -> Vec<&Host> {
        let mut hosts: Vec<&Host> = self.settings.dsn.hosts.iter().collect();
        if self.settings.dsn.load_balance && !hosts.is_empty() {
            let turn = fastrand::usize(..hosts.len());
            hosts.rotate_left(turn);
        }
        hosts
    }

    async fn host(
        &self,
        host: &Host,
        session: SessionAttrs,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Live, Timings), ConnectError> {
        let start = Instant::now();
        let progress = Progress::new();
        let work = async {
            let (stream, peer) = self.reach(host, &progress, deadline).await?;
            let job = login::Job {
                settings: self.settings.clone(),
                peer,
                session,
                progress: progress.clone(),
                permit: Arc::clone(permit),
                budget: Arc::clone(&self.budget),
            };
            login::start(job, stream, |task| self.spawn(task)).await
        };
        match timeout_at(deadline, work).await {
            Ok(result) => result.map(|live| (live, progress.timings())),
            Err(_) => Err(ConnectError::timeout(progress.phase(), deadline - start)),
        }
    }

    /// A stream to the first of the host's addresses that takes one.
    async fn reach(
        &self,
        host: &Host,
        progress: &Progress,
        deadline: Instant,
    ) -> Result<(Box<dyn Io>, Peer), ConnectError> {
        let port = host.port.unwrap_or(PORT);
        if let (Address::Unix(folder), None) = (&host.address, host.hostaddr) {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            let stream = progress.time(Phase::Tcp, UnixStream::connect(&path)).await;
            let stream = stream.map_err(|e| ConnectError::network(Phase::Tcp, &e))?;
            return Ok((Box::new(stream), Peer::Unix(path)));
        }
        let addresses = lookup(host, port, progress).await?;
        let mut last =
            ConnectError::new(Phase::Dns, Reason::Unreachable, "the host has no address");
        for (n, address) in addresses.iter().enumerate() {
            let limit = share(deadline, addresses.len() - n);
            let connect = timeout_at(limit, TcpStream::connect(address));
            match progress.time(Phase::Tcp, connect).await {
                Ok(Ok(stream)) => {
                    self.tune(&stream).map_err(|e| ConnectError::network(Phase::Tcp, &e))?;
                    return Ok((Box::new(stream), Peer::Tcp(*address)));
                }
                Ok(Err(error)) => last = ConnectError::network(Phase::Tcp, &error),
                Err(_) => last = ConnectError::timeout(Phase::Tcp, self.settings.timeout),
            }
        }
        Err(last)
    }

    /// Sets what finds a dead peer while nothing or something is under way.
    fn tune(&self, stream: &TcpStream) -> std::io::Result<()> {
        let tcp = &self.settings.dsn.tcp;
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(stream);
        if tcp.keepalives {
            let alive = socket2::TcpKeepalive::new()
                .with_time(tcp.idle.unwrap_or(Duration::from_secs(30)))
                .with_interval(tcp.interval.unwrap_or(Duration::from_secs(10)))
                .with_retries(tcp.count.unwrap_or(3));
            socket.set_tcp_keepalive(&alive)?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(tcp.user_timeout.unwrap_or(Duration::from_secs(30))))?;
        Ok(())
    }
}

async fn lookup(
    host: &Host,
    port: u16,
    progress: &Progress,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Some(address) = host.hostaddr {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = match &host.address {
        Address::Name(name) => name.as_str(),
        Address::Unix(_) | Address::Unset => "localhost",
    };
    if let Ok(address) = name.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = progress.time(Phase::Dns, lookup_host((name, port))).await;
    // A name that does not exist is no host that we could reach, whatever the resolver calls it.
    found
        .map(Iterator::collect)
        .map_err(|error| ConnectError::new(Phase::Dns, Reason::Unreachable, error.to_string()))
}

/// The end of one of so many attempts that are left, the same time for each.
fn share(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let part = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / part
}
