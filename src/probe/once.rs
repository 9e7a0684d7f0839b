//! One probe: a fresh connect and a statement through the pool, side by side, and the views, until a
//! deadline.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::endpoint::EndpointPools;
use super::history::History;
use super::instruments::{OwnQuery, RunningStatement};
use super::pooling::PoolingMode;
use super::read::{self, Extras, LEAST_TIME};
use super::settings::TargetSettings;
use super::snapshot::{Connected, Failure, Outcome, ProbePart, Queried, Snapshot};
use super::target::Target;
use crate::pool::{self, AnswerLimit, Backend, Checkout, Reason, Timings, TransactionMode};
use crate::view::{Usage, Views};

/// The choice whether a probe opens a connection of its own, beside the pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreshConnect {
    /// Opens one, because pooled connections stay good while new ones fail.
    Try,
    /// Opens none; the result of the last one stands.
    Skip,
}

/// Probes a target once.
///
/// Ends at the deadline (`timeout` in its schedule) with the results so far; statements that still run are
/// cancelled on the server. The snapshot's window holds only this probe.
pub async fn once(target: &Target, fresh: FreshConnect) -> Snapshot {
    pass(target, fresh, &mut History::default()).await
}

/// Probes a target once, as the next probe of a history.
pub(super) async fn pass(target: &Target, fresh: FreshConnect, history: &mut History) -> Snapshot {
    let pass = Pass::new(target);
    let ((connect, query), (mut views, extras), ()) =
        tokio::join!(pass.essentials(fresh), pass.extras(), pass.endpoints());
    if pass.visits {
        // It has a permit for fresh connections. A target that leads from now on keeps one of the pool's.
        target.pool().close_idle().await;
    } else {
        target.pool().release_idle().await;
    }
    let now = Instant::now();
    target.endpoints().iter().for_each(|pools| pools.replace(&mut views, now));
    let before = target.published();
    let outcome = Outcome {
        taken_at: SystemTime::now(),
        taken: Instant::now(),
        took: pass.start.elapsed(),
        connect,
        query,
        views,
        extras,
        own_pool: Usage::from(&target.pool().state()),
        totals: target.pool().instruments().totals(),
        slow: target.instruments().slow.count(OwnQuery::Probe),
        endpoints: target.endpoints().iter().filter_map(EndpointPools::report).collect(),
    };
    let before = before.as_deref().map(|published| published.snapshot.as_ref());
    let snapshot = Snapshot::assemble(outcome, before);
    count(target, &snapshot, fresh);
    if fresh == FreshConnect::Try {
        target.server().reached(&snapshot);
    }
    target.server().deliver(target, &snapshot);
    let session_fault = history.sessions.check(target, &snapshot, fresh);
    let sight = Arc::new(history.sights.update(&snapshot));
    let window = history.add(&snapshot, fresh, target.settings().slow_threshold);
    Snapshot { sight, session_fault, window, ..snapshot }
}

fn count(target: &Target, snapshot: &Snapshot, fresh: FreshConnect) {
    let instruments = target.instruments();
    instruments.duration.observe(snapshot.took);
    for (part, result) in snapshot.parts() {
        let was_tried = part != ProbePart::Connect || fresh == FreshConnect::Try;
        if let (true, Err(failure)) = (was_tried, result) {
            instruments.failures.inc(part, failure.reason);
        }
    }
}

/// A probe under way.
struct Pass<'t> {
    target: &'t Target,
    start: Instant,
    /// Connect and statement have ended.
    settled: Notify,
    /// The check-out for the statement has ended.
    checked_out: Notify,
    /// The failure of that check-out.
    refused: OnceLock<Failure>,
    /// It keeps no connection: it opens one, does everything in it, and closes it.
    visits: bool,
    /// The opening of that connection; `None` in it for one that was still open from a time when it kept one.
    opening: OnceLock<Option<(Timings, Backend)>>,
}

impl<'t> Pass<'t> {
    fn new(target: &'t Target) -> Self {
        Self {
            target,
            start: Instant::now(),
            settled: Notify::new(),
            checked_out: Notify::new(),
            refused: OnceLock::new(),
            visits: !target.pool().connector().budget().may_keep(),
            opening: OnceLock::new(),
        }
    }

    fn limit(&self) -> Duration {
        self.target.settings().schedule.timeout
    }

    fn deadline(&self) -> Instant {
        self.start + self.limit()
    }

    /// The parts that decide whether the target is up.
    async fn essentials(
        &self,
        fresh: FreshConnect,
    ) -> (Option<Result<Connected, Failure>>, Result<Queried, Failure>) {
        let results = if self.visits {
            let query = self.query().await;
            (self.opened(fresh, &query), query)
        } else {
            tokio::join!(self.connect(fresh), self.query())
        };
        self.settled.notify_one();
        results
    }

    async fn connect(&self, fresh: FreshConnect) -> Option<Result<Connected, Failure>> {
        if fresh == FreshConnect::Skip {
            return None;
        }
        let connect = timeout_at(self.deadline(), self.open()).await;
        Some(connect.unwrap_or_else(|_| Err(Failure::deadline(self.limit()))))
    }

    /// The fresh connect of a visit: the opening of its only connection, in which it does everything else.
    fn opened(
        &self,
        fresh: FreshConnect,
        query: &Result<Queried, Failure>,
    ) -> Option<Result<Connected, Failure>> {
        if fresh == FreshConnect::Skip {
            return None;
        }
        let Some(opening) = self.opening.get() else {
            return Some(Err(query.as_ref().err()?.clone()));
        };
        let (timings, server) = opening.clone()?;
        let identity = query.as_ref().ok().and_then(|queried| queried.identity.clone());
        Some(Ok(Connected { timings, server, identity }))
    }

    async fn open(&self) -> Result<Connected, Failure> {
        let pool = self.target.pool();
        if !self.target.settings().kind.spec().has_transactions {
            let (timings, server) = pool.try_connect().await?;
            return Ok(Connected { timings, server, identity: None });
        }
        let (timings, server, identity) = pool.try_connect_and_identify(self.deadline()).await?;
        Ok(Connected { timings, server, identity })
    }

    async fn query(&self) -> Result<Queried, Failure> {
        let query = timeout_at(self.deadline(), self.statement()).await;
        query.unwrap_or_else(|_| Err(Failure::deadline(self.limit())))
    }

    async fn statement(&self) -> Result<Queried, Failure> {
        let settings = self.target.settings();
        let start = Instant::now();
        let connection = self.target.pool().check_out().await.map_err(Failure::from);
        if let Err(failure) = &connection {
            let _ = self.refused.set(failure.clone());
        }
        self.checked_out.notify_one();
        let connection = connection?;
        let checkout = start.elapsed() - connection.waited();
        let opened = connection.opened().map(|timings| (timings, connection.server().clone()));
        let _ = self.opening.set(opened);
        let mut connection = self.begin(connection).await?;
        let limit = self.statement_limit()?;
        let instruments = self.target.instruments();
        let running =
            RunningStatement::begin(instruments, OwnQuery::Probe, settings.slow_threshold);
        let answer = if settings.kind.spec().has_transactions && !self.target.has_transactions() {
            connection.read_alone(&settings.query, limit).await
        } else {
            connection.simple(&settings.query, limit).await
        };
        answer.map_err(|error| of_kind(error.into(), settings))?;
        let query = running.answered();
        let server = connection.server().clone();
        let identity = if settings.kind.spec().has_transactions {
            connection.identity(self.deadline()).await
        } else {
            None
        };
        self.target.set_identity(identity.as_ref());
        connection.release(limit).await;
        Ok(Queried { checkout, query, server, identity })
    }

    /// Begins a transaction, where the kind of the target has them. Where a pooler allows none, returns another
    /// connection without one: the pooler has closed the first.
    async fn begin(&self, mut connection: Checkout) -> Result<Checkout, Failure> {
        // Nobody reads the answer, so a large one is a mistake in the configuration.
        connection.limit_answers(AnswerLimit::SMALL);
        let pooling = self.target.pooling();
        let is_of_kind = self.target.settings().kind.spec().has_transactions;
        if !is_of_kind || !pooling.is_due(Instant::now()) {
            return Ok(connection);
        }
        let begun = connection.begin(TransactionMode::ReadOnly, self.statement_limit()?).await;
        match begun {
            Ok(()) => {
                pooling.learn(PoolingMode::Transactions, Instant::now());
                return Ok(connection);
            }
            Err(error) if error.reason() == Reason::StatementPooling => connection.discard(),
            Err(error) => return Err(error.into()),
        }
        if pooling.learn(PoolingMode::Statement, Instant::now()) {
            let (target, hint) =
                (self.target.name(), pool::hint(None, Reason::StatementPooling, ""));
            info!(target, hint, "the pooler allows no transactions: statements are sent without");
        }
        let mut connection = self.target.pool().check_out().await?;
        connection.limit_answers(AnswerLimit::SMALL);
        Ok(connection)
    }

    /// Returns the limit of the next statement.
    fn statement_limit(&self) -> Result<Duration, Failure> {
        let left = self.deadline().saturating_duration_since(Instant::now());
        if left < LEAST_TIME {
            return Err(Failure::deadline(self.limit()));
        }
        let command = self.target.settings().command_timeout;
        Ok(command.map_or(left, |command| command.min(left)))
    }

    /// Reads the applications' own status for the first snapshot; later ones take that of the last poll.
    async fn endpoints(&self) {
        let name = self.target.name();
        let first = join_all(self.target.endpoints().iter().map(|pools| pools.poll_first(name)));
        let _ = timeout_at(self.deadline(), first).await;
    }

    /// Reads the views and runs the write probe.
    ///
    /// They begin only after the statement's check-out has ended: if that one hangs or fails, a second one would
    /// take another of the target's three connections. Usually they also wait for the end of connect and
    /// statement, and then reuse the statement's connection. But the views can explain why a statement hangs
    /// (locks, exhausted limits), so after a quarter of the time limit they begin while it still runs.
    async fn extras(&self) -> (Views, Extras) {
        let refused = match timeout_at(self.deadline(), self.checked_out.notified()).await {
            Ok(()) => self.refused.get().cloned(),
            Err(_) => Some(Failure::deadline(self.limit())),
        };
        let patience = self.start + self.limit() / 4;
        let _ = timeout_at(patience, self.settled.notified()).await;
        read::read(self.target, self.deadline(), refused).await
    }
}

/// Changes the reason of a failure to `WrongKind` if the server rejected the default statement of its kind: the
/// server is then of another kind.
fn of_kind(failure: Failure, settings: &TargetSettings) -> Failure {
    let is_own = settings.query == settings.kind.spec().default_query;
    if is_own && failure.reason == Reason::Query {
        Failure { reason: Reason::WrongKind, ..failure }
    } else {
        failure
    }
}
