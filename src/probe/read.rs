//! Reads the views of one probe and runs its write probe, one after the other over one check-out.
//!
//! Each part has its own transaction and an equal share of the remaining time, so a part that fails or hangs does
//! not harm the others: after a failure the transaction is rolled back, and after a time-out the next part gets
//! another connection. No part of this file decides whether the target is up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;

use super::console;
use super::instruments::{OwnQuery, RunningStatement};
use super::server::{self, Part};
use super::snapshot::{Failure, ProbePart};
use super::target::Target;
use super::write;
use crate::pool::{Checkout, NOT_IN_PREREQUISITE_STATE, Pool, QueryError, Reason, TransactionMode};
use crate::view::{Answer, Context, Extension, Memory, Query, View, ViewError, ViewSource, Views};

/// The least time for a statement. With less time before the probe's deadline none is sent: it would only report
/// that the server gave no answer within 0 s, as if the server were slow.
pub(super) const LEAST_TIME: Duration = Duration::from_millis(10);

/// The parts that were tried, and their results.
pub(super) type Extras = Vec<(ProbePart, Result<(), Failure>)>;

/// Reads the enabled views, then runs the write probe if it is configured.
///
/// `refused`: the failure of the check-out for the probe's statement. If it is set, no other check-out is
/// tried, and every part fails with it.
pub(super) async fn read(
    target: &Target,
    deadline: Instant,
    refused: Option<Failure>,
) -> (Views, Extras) {
    // A sample that is under way ends first: two scans at once would cost the server twice and show the same.
    // If it has not ended by the deadline, the probe goes on without the lock: every wait below then ends at
    // once with the deadline's failure, which the snapshot needs for each part.
    let _reading = timeout_at(deadline, target.reading()).await;
    if let Some(processes) = target.processes() {
        return processes.read(target, deadline, refused).await;
    }
    let seat = (target.pool(), target.memory());
    let mut visit = Visit { refused, ..Visit::new(target, seat, deadline) };
    let part =
        if visit.refused.is_some() { Part::Reads } else { target.server().part(target).await };
    let is_own = |view: &&View| matches!(part, Part::Reads) || !view.name.is_of_server();
    let mut tasks: Vec<Task> = enabled(target).filter(is_own).map(Task::View).collect();
    if target.settings().writes() {
        tasks.push(Task::Write);
    }
    visit.run(&tasks).await;
    let Visit { answers, mut extras, .. } = visit;
    let settings = &target.settings().views;
    let views = target.remember(|memory| match &part {
        Part::Follows(reading) => {
            memory.digest_followed(settings, answers, &reading.views, reading.read_by())
        }
        Part::Reads | Part::Blind(_) => memory.digest(settings, answers),
    });
    extras.extend(part.results(enabled(target)));
    server::pass_on_scan(target);
    (views, extras)
}

/// Reads the sampled views alone, between two probes; not while a probe reads its own.
pub(super) async fn sample(target: &Target, deadline: Instant) {
    let Some(_reading) = target.try_reading() else { return };
    let extras = match target.processes() {
        Some(processes) => processes.sample(target, deadline).await,
        None => {
            let seat = (target.pool(), target.memory());
            let (answers, extras) = visit(target, seat, deadline, Scope::Sample).await;
            target.remember(|memory| memory.sample(&target.settings().views, answers));
            server::pass_on_scan(target);
            extras
        }
    };
    for (part, result) in &extras {
        if let Err(failure) = result {
            target.instruments().failures.inc(*part, failure.reason);
            tracing::debug!(target = target.name(), error = %failure.message, "sampling failed");
        }
    }
}

/// A pool to a server, and the memory of the views that are read through it.
pub(super) type Seat<'t> = (&'t Arc<Pool>, &'t Mutex<Memory>);

/// The views that a visit reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that are enabled.
    Probe,
    /// Those that are sampled.
    Sample,
}

/// Reads views through a pool, without the write probe.
pub(super) async fn visit(
    target: &Target,
    seat: Seat<'_>,
    deadline: Instant,
    scope: Scope,
) -> (Vec<Box<dyn Answer>>, Extras) {
    let mut visit = Visit::new(target, seat, deadline);
    let views = enabled(target).filter(|view| scope == Scope::Probe || view.is_sampled);
    visit.run(&views.map(Task::View).collect::<Vec<_>>()).await;
    (visit.answers, visit.extras)
}

/// The views that the target's kind has and its settings enable.
pub(super) fn enabled(target: &Target) -> impl Iterator<Item = &'static View> {
    target.settings().enabled_views()
}

/// A part of the probe that this file can do.
#[derive(Clone, Copy)]
enum Task {
    View(&'static View),
    Write,
}

impl Task {
    fn part(self) -> ProbePart {
        match self {
            Self::View(view) => ProbePart::View(view.name),
            Self::Write => ProbePart::Write,
        }
    }

    fn exists_in(self, major: Option<u32>) -> bool {
        match self {
            Self::View(view) => view.exists_in(major),
            Self::Write => true,
        }
    }
}

/// The parts that are done so far, and the connection that goes from one to the next.
struct Visit<'t> {
    target: &'t Target,
    seat: Seat<'t>,
    deadline: Instant,
    connection: Option<Checkout>,
    /// The reason for which there is no connection: then nothing more is tried.
    refused: Option<Failure>,
    answers: Vec<Box<dyn Answer>>,
    extras: Extras,
    /// The time of the last statement that costs the server next to nothing.
    round_trip: Duration,
}

impl<'t> Visit<'t> {
    fn new(target: &'t Target, seat: Seat<'t>, deadline: Instant) -> Self {
        Self {
            target,
            seat,
            deadline,
            connection: None,
            refused: None,
            answers: Vec::new(),
            extras: Vec::new(),
            round_trip: Duration::ZERO,
        }
    }

    /// Gives access to what the views remember.
    fn remember<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.seat.1.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(&mut self, tasks: &[Task]) {
        for (n, task) in tasks.iter().enumerate() {
            self.part(*task, tasks.len() - n).await;
        }
        if let Some(connection) = self.connection.take() {
            connection.release(self.share(1)).await;
        }
    }

    /// Returns the limit of the next part: the remaining time divided by the number of remaining parts. With the
    /// whole remaining time, the first part that hangs would use up that of all others.
    fn share(&self, left: usize) -> Duration {
        let share = self.left() / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        self.target.settings().command_timeout.map_or(share, |command| command.min(share))
    }

    /// Returns the time until the deadline.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    async fn part(&mut self, task: Task, left: usize) {
        let start = Instant::now();
        let result = match self.connected().await {
            Ok(connection) if !task.exists_in(major(&connection.server().version)) => {
                self.connection = Some(connection);
                return;
            }
            Ok(connection) if self.left() < LEAST_TIME => {
                self.connection = Some(connection);
                Err(Failure::deadline(self.target.settings().schedule.timeout))
            }
            Ok(connection) => {
                let limit = self.share(left);
                // A time-out drops the check-out in the middle of its statement: it is cancelled on the
                // server, and the connection closed.
                let end = timeout(limit, self.attempt(task, connection, limit)).await;
                end.unwrap_or_else(|_| Err(QueryError::Timeout { limit }.into()))
            }
            Err(failure) => Err(failure),
        };
        if let Task::View(view) = task {
            self.target.instruments().views.observe(view.name, start.elapsed());
        }
        self.extras.push((task.part(), result));
    }

    /// Does a part, and keeps the connection if it can still be used.
    async fn attempt(
        &mut self,
        task: Task,
        mut connection: Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        let result = match task {
            Task::View(view) => self.view(view, &mut connection, limit).await,
            Task::Write => write::once(self.target, &mut connection, limit).await,
        };
        let has_timed_out = matches!(&result, Err(failure) if failure.reason == Reason::Timeout);
        if !has_timed_out && connection.rollback(limit).await.is_ok() {
            self.connection = Some(connection);
        }
        result
    }

    async fn connected(&mut self) -> Result<Checkout, Failure> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        if let Some(failure) = &self.refused {
            return Err(failure.clone());
        }
        let limit = self.target.settings().schedule.timeout;
        let result = match timeout_at(self.deadline, self.seat.0.check_out()).await {
            Ok(result) => result.map_err(Failure::from),
            Err(_) => Err(Failure::deadline(limit)),
        };
        result.inspect_err(|failure| self.refused = Some(failure.clone()))
    }

    async fn view(
        &mut self,
        view: &View,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        if self.target.has_transactions() {
            let sent = Instant::now();
            connection.begin(TransactionMode::ReadOnly, limit).await?;
            self.round_trip = sent.elapsed();
        }
        let answer = match &view.source {
            ViewSource::Sql { ask, read } => {
                let query = self.in_context(ask);
                let rows = self.send(view, &query, connection, limit).await?;
                self.in_context(|context| read(context, &rows))?
            }
            ViewSource::Extension { name, ask, read } => {
                let find = Extension::find(name);
                let rows = connection.query(&find.sql, &find.parameters(), limit).await?;
                let extension = Extension::read(name, &rows)?;
                let query = self.in_context(|context| ask(context, &extension));
                let rows = self.send(view, &query, connection, limit).await;
                let rows = rows.map_err(extension_failure)?;
                self.in_context(|context| read(context, &rows))?
            }
            ViewSource::Console { ask, read } => {
                let version = connection.server().version.clone();
                let commands = self.in_context(|context| ask(context, &version));
                let shown = self.show(view, &commands, connection, limit).await;
                // Answers that came before a failure are shown all the same.
                if !shown.answers.tables.is_empty() {
                    self.answers.push(self.in_context(|context| read(context, &shown.answers))?);
                }
                return shown.failure.map_or(Ok(()), Err);
            }
        };
        self.answers.push(answer);
        Ok(())
    }

    /// Sends a view's commands to a console, and counts them as one of the exporter's own statements.
    async fn show(
        &self,
        view: &View,
        commands: &[&'static str],
        connection: &mut Checkout,
        limit: Duration,
    ) -> console::Shown {
        let threshold = self.target.settings().slow_threshold;
        let (instruments, own) = (self.target.instruments(), OwnQuery::View(view.name));
        let running = RunningStatement::begin(instruments, own, threshold);
        let memory = |with: &mut dyn FnMut(&mut Memory)| self.remember(|memory| with(memory));
        let shown = console::show(commands, connection, limit, memory).await;
        if shown.failure.is_none() {
            let took = running.answered();
            if view.is_sampled {
                self.remember(|memory| memory.sampling().observe(took));
            }
        }
        shown
    }

    /// Sends a view's statement, and counts it with the exporter's own statements.
    async fn send(
        &self,
        view: &View,
        query: &Query,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<Vec<Row>, QueryError> {
        let threshold = self.target.settings().slow_threshold;
        let (instruments, own) = (self.target.instruments(), OwnQuery::View(view.name));
        let running = RunningStatement::begin(instruments, own, threshold);
        let rows = connection.query(&query.sql, &query.parameters(), limit).await;
        let rows = rows.inspect_err(|error| {
            self.remember(|memory| memory.refused(view.name, error.sqlstate()));
        })?;
        let took = running.answered();
        if view.is_sampled {
            // The cost is processor time of the server, so the network's round trip is taken off. Otherwise a
            // distant server would be sampled less often than a near one.
            let cost = took.saturating_sub(self.round_trip);
            self.remember(|memory| memory.sampling().observe(cost));
        }
        Ok(rows)
    }

    fn in_context<T>(&self, with: impl FnOnce(&Context<'_>) -> T) -> T {
        let pool = self.seat.0;
        let own_pids = pool.connector().budget().pids();
        let own_open = pool.connector().budget().pooled();
        let settings = &self.target.settings().views;
        self.target
            .remember(|memory| with(&Context { settings, memory, own_pids: &own_pids, own_open }))
    }
}

/// The server's major version, read as libpq does: from the text that the server reports at login, so
/// that it is known before any view was read. `None` where the text does not begin with a number.
fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// An extension can be installed in the database although its library was not loaded when the server
/// started. Its functions then fail.
fn extension_failure(error: QueryError) -> Failure {
    let is_unloaded = error.sqlstate() == Some(NOT_IN_PREREQUISITE_STATE);
    let failure = Failure::from(error);
    if is_unloaded { Failure { reason: Reason::NoExtension, ..failure } } else { failure }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        let reason = match error {
            ViewError::NoExtension(_) => Reason::NoExtension,
            ViewError::NoRow | ViewError::Column { .. } | ViewError::NoColumn(_) => Reason::Other,
        };
        Self::new(reason, error.to_string())
    }
}
