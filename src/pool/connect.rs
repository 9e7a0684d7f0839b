//! Opening a connection: host after host, phase after phase, all under one limit.
//!
//! tokio-postgres' own `connect` limits only the TCP part, reports no phases, and forgets the address
//! that a cancel request needs. So hosts and addresses are tried here, and its `connect_raw` does
//! the start-up. Everything after TCP runs in a task of its own ([`super::login`]): a caller that
//! gives up does not make the server's backend go away.

use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::apart::{Resolve, Resolver, on_own_thread};
use super::budget::{Budget, Permit};
use super::error::ConnectError;
use super::login::{self, Failed, Live};
use super::password::{Credentials, Keychain, Login};
use super::policy::Warned;
use super::reach::reach;
use super::settings::ConnectSettings;
use super::timings::{Progress, Timings, share};
use super::tls::{self, Attempt};
use crate::dsn::{DEFAULT_PORT, Host, SessionAttrs};
use crate::metrics::{Gauge, Phase, PoolInstruments, Purpose, Reason};
use crate::secret::Secret;

/// Opens the connections of one target, and counts and times them.
pub struct Connector {
    settings: ConnectSettings,
    budget: Arc<Budget>,
    instruments: Arc<PoolInstruments>,
    memory: ConnectMemory,
    connecting: Gauge,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The parts of connecting that may outlive a connector: the output of a password command, the names that are being
/// looked up, the warnings that were logged.
#[derive(Clone)]
pub(crate) struct ConnectMemory {
    keychain: Arc<Keychain>,
    resolver: Arc<dyn Resolve>,
    warned: Arc<Warned>,
}

impl ConnectMemory {
    /// Remembers nothing yet. Whoever shares it must have these credentials.
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            keychain: Arc::new(Keychain::new(credentials)),
            resolver: Arc::new(Resolver::default()),
            warned: Arc::default(),
        }
    }

    /// The same, but names are looked up by this resolver.
    #[must_use]
    pub(crate) fn with_resolver(&self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self.clone() }
    }
}

impl Connector {
    /// Opens nothing yet. `tasks` tracks the connections' tasks; `stop` ends them at once.
    pub fn new(
        settings: ConnectSettings,
        budget: Arc<Budget>,
        instruments: Arc<PoolInstruments>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let memory = ConnectMemory::new(settings.credentials.clone());
        Self::with_memory(settings, budget, instruments, tasks, stop, memory)
    }

    /// As [`Self::new`], with the memory of other connectors that have the same credentials.
    pub(crate) fn with_memory(
        settings: ConnectSettings,
        budget: Arc<Budget>,
        instruments: Arc<PoolInstruments>,
        tasks: TaskTracker,
        stop: CancellationToken,
        memory: ConnectMemory,
    ) -> Arc<Self> {
        let connecting = Gauge::new();
        Arc::new(Self { settings, budget, instruments, memory, connecting, tasks, stop })
    }

    /// What its connects remember, to be shared.
    pub(crate) fn memory(&self) -> &ConnectMemory {
        &self.memory
    }

    /// The address, the login and the limits for its connections.
    pub fn settings(&self) -> &ConnectSettings {
        &self.settings
    }

    /// The permits that its connections take.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Runs work that its starter does not wait for; it ends with the daemon at the latest.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(work));
    }

    /// The number of connections being opened for the pool now.
    pub fn connecting(&self) -> u64 {
        self.connecting.value()
    }

    /// Opens a connection, ready for a statement.
    ///
    /// # Errors
    /// The most telling failure of all hosts; within the settings' time-out, whatever happens.
    ///
    /// Cancel safe: a connection that the server already knows is closed by its own task.
    pub(super) async fn open(&self, purpose: Purpose) -> Result<Live, ConnectError> {
        let _connecting = match purpose {
            Purpose::Pool => Some(self.connecting.inc_guard()),
            Purpose::Fresh => None,
        };
        let start = Instant::now();
        let deadline = start + self.settings.timeout;
        let patience = self.budget.patience(self.settings.timeout);
        let permit = match timeout_at(start + patience, self.budget.permit(purpose)).await {
            Ok(Some(permit)) => permit,
            Ok(None) | Err(_) => return Err(ConnectError::budget()),
        };
        let waited = start.elapsed();
        let mut result = self.open_with_permit(permit, deadline).await;
        if let Ok(live) = &mut result {
            live.waited = waited;
        }
        if result.as_ref().is_err_and(|error| error.reason == Reason::Auth) {
            self.memory.keychain.refused();
        }
        self.count(purpose, &result);
        result
    }

    async fn open_with_permit(
        &self,
        permit: Permit,
        deadline: Instant,
    ) -> Result<Live, ConnectError> {
        let login = self.memory.keychain.login(&self.settings.dsn, |task| self.spawn(task));
        let login = match timeout_at(deadline, login).await {
            Ok(login) => login?,
            Err(_) => return Err(ConnectError::no_password(self.settings.timeout)),
        };
        // Waiting for a permit and a password is not part of the server's connect time.
        let ready = Instant::now();
        let (mut live, mut timings) = self.try_hosts(&login, &permit, deadline).await?;
        timings.total = ready.elapsed();
        live.timings = timings;
        live.born = ready;
        Ok(live)
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
            // No attempt was made.
            Err(ConnectError { phase: None, .. }) => {}
        }
    }

    /// Tries host after host; for `prefer-standby` a second time, then for any kind of session.
    async fn try_hosts(
        &self,
        login: &Login,
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
        let hosts = self.hosts_in_order();
        let mut left = hosts.len() * passes.len();
        let mut failures = Vec::new();
        for session in passes {
            failures.clear();
            for host in &hosts {
                let limit = share(deadline, left);
                left -= 1;
                let attempt = HostAttempt { host, session: *session, login, permit };
                let error = match self.try_host(&attempt, limit).await {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                };
                let is_final = error.is_final();
                failures.push(error.at(&place(host), &self.login_as_shown(login)));
                if is_final {
                    break;
                }
            }
        }
        Err(ConnectError::most_telling(failures)
            .unwrap_or_else(|| ConnectError::new(Phase::Dns, Reason::Other, "the URL has no host")))
    }

    /// The hosts in the URL's order, or rotated by chance for `load_balance_hosts=random`.
    fn hosts_in_order(&self) -> Vec<&Host> {
        let mut hosts: Vec<&Host> = self.settings.dsn.hosts.iter().collect();
        if self.settings.dsn.load_balance && !hosts.is_empty() {
            let turn = fastrand::usize(..hosts.len());
            hosts.rotate_left(turn);
        }
        hosts
    }

    /// The database and the role, for error texts.
    fn login_as_shown(&self, login: &Login) -> String {
        let dsn = &self.settings.dsn;
        let role = login.user.as_ref().or(dsn.user.as_ref()).map_or("", String::as_str);
        // As the server does: without a database it is the role's.
        let database = dsn.database.as_deref().unwrap_or(role);
        format!("database {database}, role {role}")
    }

    /// Tries a host within a limit, and reports the phase in which that ran out.
    async fn try_host(
        &self,
        attempt: &HostAttempt<'_>,
        deadline: Instant,
    ) -> Result<(Live, Timings), ConnectError> {
        let start = Instant::now();
        let progress = Progress::new();
        match timeout_at(deadline, self.try_each_way(attempt, &progress, deadline)).await {
            Ok(result) => result.map(|live| (live, progress.timings())),
            Err(_) => {
                let error = ConnectError::timeout(progress.phase(), deadline - start);
                Err(error.after(&progress.timings()))
            }
        }
    }

    /// Tries a host with and without TLS, as its sslmode allows.
    async fn try_each_way(
        &self,
        attempt: &HostAttempt<'_>,
        progress: &Progress,
        deadline: Instant,
    ) -> Result<Live, ConnectError> {
        let mut before: Option<(Attempt, ConnectError)> = None;
        for way in tls::attempts(self.settings.dsn.tls.mode, attempt.host) {
            progress.restart();
            let failed = match self.try_once(attempt, *way, progress, deadline).await {
                Ok(live) => return Ok(live),
                Err(failed) => failed,
            };
            let error = failed.error.after(&progress.timings());
            // At most two ways, as in libpq. A third login with a wrong password could lock the
            // role out where failed logins are counted.
            if before.is_some() || !failed.may_switch {
                return Err(tls::worse(before, error));
            }
            debug!(host = ?attempt.host.address, ?way, %error, "trying the other way of the sslmode");
            before = Some((*way, error));
        }
        Err(match before {
            Some((_, error)) => error,
            None => ConnectError::new(Phase::Tcp, Reason::Other, "nothing was tried"),
        })
    }

    async fn try_once(
        &self,
        attempt: &HostAttempt<'_>,
        way: Attempt,
        progress: &Progress,
        deadline: Instant,
    ) -> Result<Live, Failed> {
        let (password, context) = self.read_files(attempt, way).await?;
        let tcp = &self.settings.dsn.tcp;
        let (stream, peer) =
            reach(attempt.host, tcp, self.memory.resolver.as_ref(), progress, deadline).await?;
        let job = login::Job {
            settings: self.settings.clone(),
            user: attempt.login.user.clone(),
            password,
            attempt: way,
            context,
            peer,
            session: attempt.session,
            progress: progress.clone(),
            permit: Arc::clone(attempt.permit),
            budget: Arc::clone(&self.budget),
            warned: Arc::clone(&self.memory.warned),
        };
        login::start(job, stream, |task| self.spawn(task)).await
    }

    /// Reads the files that an attempt needs: certificates, keys, passwords.
    ///
    /// On a thread of its own, because file systems can hang; one at a time, so that a target has at
    /// most one such thread.
    async fn read_files(
        &self,
        attempt: &HostAttempt<'_>,
        way: Attempt,
    ) -> Result<(Option<Secret>, Option<Arc<tls::Context>>), ConnectError> {
        let dsn = Arc::clone(&self.settings.dsn);
        let keychain = Arc::clone(&self.memory.keychain);
        let host = attempt.host.clone();
        let password = attempt.login.password.clone();
        let _turn = self.memory.keychain.turn_to_read().await;
        let files = on_own_thread("files", move || {
            let password = password.or_else(|| keychain.for_host(&dsn, &host));
            let context = match way {
                Attempt::Plain => None,
                Attempt::Optional | Attempt::Encrypted => {
                    let (home, files) = (keychain.home(), keychain.files());
                    Some(Arc::new(tls::Context::load(&dsn.tls, &host, home, files)?))
                }
            };
            Ok::<_, tls::Problem>((password, context))
        });
        files
            .await
            .map_err(|error| ConnectError::new(Phase::Tls, Reason::Other, error.to_string()))?
            .map_err(|problem| ConnectError::new(Phase::Tls, Reason::Tls, problem.to_string()))
    }
}

/// The input of the attempt to connect to one host.
struct HostAttempt<'a> {
    host: &'a Host,
    session: SessionAttrs,
    login: &'a Login,
    permit: &'a Permit,
}

/// A host and its port, for error texts.
fn place(host: &Host) -> String {
    let name = host.show();
    let port = host.port.unwrap_or(DEFAULT_PORT);
    if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
}
