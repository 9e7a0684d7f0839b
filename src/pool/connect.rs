//! Opening a connection, host after host, phase by phase, all under one limit.
//!
//! tokio-postgres' own `connect` limits only TCP's part, tells no phases, and forgets the address
//! that a cancel request needs; so hosts and addresses are walked here, and its `connect_raw` does
//! the start-up. What comes after TCP runs in a task of its own ([`super::login`]): a caller that
//! gives up does not make the server's backend go away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::budget::{Budget, Permit};
use super::error::ConnectError;
use super::login::{self, Failed, Live};
use super::password::{Keychain, Proof};
use super::policy::Warned;
use super::reach::reach;
use super::settings::ConnectSettings;
use super::timings::{Progress, Timings, share};
use super::tls::{self, Attempt};
use crate::dsn::{Host, SessionAttrs};
use crate::metrics::{Gauge, Phase, PoolInstruments, Purpose, Reason};
use crate::secret::Secret;

/// How long a connect waits for a permit: long enough for a connection that is closing, and no
/// longer, because one that was given up can hold its permit for minutes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens the connections of one target, and counts and times them.
pub struct Connector {
    settings: ConnectSettings,
    budget: Arc<Budget>,
    instruments: Arc<PoolInstruments>,
    keychain: Arc<Keychain>,
    warned: Arc<Warned>,
    connecting: Gauge,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Connector {
    /// `tasks` and `stop`: where the connections' tasks are tracked, and what ends them at once.
    pub fn new(
        settings: ConnectSettings,
        budget: Arc<Budget>,
        instruments: Arc<PoolInstruments>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            keychain: Arc::new(Keychain::new(settings.credentials.clone())),
            warned: Arc::default(),
            settings,
            budget,
            instruments,
            connecting: Gauge::new(),
            tasks,
            stop,
        })
    }

    /// How the target is reached.
    pub fn settings(&self) -> &ConnectSettings {
        &self.settings
    }

    /// The permits that connections take.
    pub fn budget(&self) -> &Arc<Budget> {
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
        let _held = (purpose == Purpose::Pool).then(|| self.connecting.inc_guard());
        let start = Instant::now();
        let deadline = start + self.settings.timeout;
        let patience = deadline.min(start + PATIENCE);
        let permit = match timeout_at(patience, self.budget.permit(purpose)).await {
            Ok(Some(permit)) => permit,
            Ok(None) | Err(_) => return Err(ConnectError::budget()),
        };
        let result = self.with_password(permit, start, deadline).await;
        if result.as_ref().is_err_and(|error| error.reason == Reason::Auth) {
            self.keychain.refused();
        }
        self.count(purpose, &result);
        result
    }

    async fn with_password(
        &self,
        permit: Permit,
        start: Instant,
        deadline: Instant,
    ) -> Result<Live, ConnectError> {
        let proof = self.keychain.common(&self.settings.dsn, |task| self.spawn(task));
        let proof = match timeout_at(deadline, proof).await {
            Ok(proof) => proof?,
            Err(_) => return Err(ConnectError::no_password(deadline - start)),
        };
        // Waiting for a permit and a password is our own matter: it is not the server's connect time.
        let ready = Instant::now();
        let (mut live, mut timings) = self.hosts(&proof, &permit, deadline).await?;
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
            Err(ConnectError { phase: None, .. }) => {}
        }
    }

    /// Tries host after host; with `prefer-standby`, a second time for any.
    async fn hosts(
        &self,
        proof: &Proof,
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
                match self.host(&Door { host, session: *session, proof, permit }, limit).await {
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

    /// Tries a host in the ways of its sslmode, all within the same limit.
    async fn host(
        &self,
        door: &Door<'_>,
        deadline: Instant,
    ) -> Result<(Live, Timings), ConnectError> {
        let start = Instant::now();
        let progress = Progress::new();
        match timeout_at(deadline, self.attempts(door, &progress, deadline)).await {
            Ok(result) => result.map(|live| (live, progress.timings())),
            Err(_) => Err(ConnectError::timeout(progress.phase(), deadline - start)),
        }
    }

    async fn attempts(
        &self,
        door: &Door<'_>,
        progress: &Progress,
        deadline: Instant,
    ) -> Result<Live, ConnectError> {
        let mut before: Option<(Attempt, ConnectError)> = None;
        for attempt in tls::attempts(self.settings.dsn.tls.mode, door.host) {
            progress.restart();
            let error = match self.attempt(door, *attempt, progress, deadline).await {
                Ok(live) => return Ok(live),
                Err(failed) if before.is_none() && failed.may_switch => failed.error,
                Err(failed) => return Err(tls::worse(before, failed.error)),
            };
            debug!(host = ?door.host.address, ?attempt, %error, "trying the other way of the sslmode");
            before = Some((*attempt, error));
        }
        let nothing = || ConnectError::new(Phase::Tcp, Reason::Other, "nothing was tried");
        Err(before.map_or_else(nothing, |(_, error)| error))
    }

    async fn attempt(
        &self,
        door: &Door<'_>,
        attempt: Attempt,
        progress: &Progress,
        deadline: Instant,
    ) -> Result<Live, Failed> {
        let (password, context) = self.prepare(door, attempt).await?;
        let (stream, peer) = reach(door.host, &self.settings.dsn.tcp, progress, deadline).await?;
        let job = login::Job {
            settings: self.settings.clone(),
            user: door.proof.user.clone(),
            password,
            attempt,
            context,
            peer,
            session: door.session,
            progress: progress.clone(),
            permit: Arc::clone(door.permit),
            budget: Arc::clone(&self.budget),
            warned: Arc::clone(&self.warned),
        };
        login::start(job, stream, |task| self.spawn(task)).await
    }

    /// Reads the files that an attempt needs: certificates, keys, passwords. Disks can be slow.
    async fn prepare(
        &self,
        door: &Door<'_>,
        attempt: Attempt,
    ) -> Result<(Option<Secret>, Option<Arc<tls::Context>>), ConnectError> {
        let (dsn, keychain) = (Arc::clone(&self.settings.dsn), Arc::clone(&self.keychain));
        let (host, password) = (door.host.clone(), door.proof.password.clone());
        let files = tokio::task::spawn_blocking(move || {
            let password = password.or_else(|| keychain.for_host(&dsn, &host));
            let context = match attempt {
                Attempt::Plain => None,
                Attempt::Optional | Attempt::Encrypted => {
                    Some(Arc::new(tls::Context::load(&dsn.tls, &host, keychain.home())?))
                }
            };
            Ok::<_, tls::Problem>((password, context))
        });
        let stopping = |_| ConnectError::new(Phase::Tls, Reason::Other, "the exporter is stopping");
        let problem =
            |problem: tls::Problem| ConnectError::new(Phase::Tls, Reason::Tls, problem.to_string());
        files.await.map_err(stopping)?.map_err(problem)
    }
}

/// What one host is tried with.
struct Door<'a> {
    host: &'a Host,
    session: SessionAttrs,
    proof: &'a Proof,
    permit: &'a Permit,
}
