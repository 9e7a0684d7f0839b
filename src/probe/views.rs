//! The views of one probe and its write probe, one after the other over one check-out.
//!
//! Each has a transaction of its own and a fair part of the time that is left, so that one that fails or
//! hangs takes nothing from the others: a failed one is rolled back, and after a timed-out one
//! the next gets another connection. None of this decides whether the target is up.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::instruments::OwnQuery;
use super::settings::TargetKind;
use super::snapshot::{Failure, ProbePart};
use super::target::Target;
use super::write;
use crate::metrics::Label;
use crate::pool::{Checkout, QueryError, Reason, TransactionMode};
use crate::view::{self, Answers, ViewName, Views, activity, databases, limits, statements};

/// What was looked at, and how that ended.
pub(super) type Extras = Vec<(ProbePart, Result<(), Failure>)>;

/// Looks at all views that are wanted, and writes if that is wanted. `refused`: why there was no
/// connection a moment ago; then no more is tried.
pub(super) async fn look(
    target: &Target,
    deadline: Instant,
    refused: Option<Failure>,
) -> (Views, Extras) {
    let mut visit = Visit { refused, ..Visit::new(target, deadline) };
    let wanted = wanted(target);
    for (n, part) in wanted.iter().enumerate() {
        visit.part(*part, wanted.len() - n).await;
    }
    if let Some(connection) = visit.connection.take() {
        connection.release(visit.limit(1)).await;
    }
    let views = target.remember(|memory| memory.digest(&target.settings().views, visit.answers));
    (views, visit.extras)
}

/// Looks at activity alone, between two probes.
pub(super) async fn sample(target: &Target, deadline: Instant) {
    let mut visit = Visit::new(target, deadline);
    visit.part(ProbePart::View(ViewName::Activity), 1).await;
    if let Some(connection) = visit.connection.take() {
        connection.release(visit.limit(1)).await;
    }
    for (part, result) in &visit.extras {
        if let Err(failure) = result {
            target.instruments().failures.inc(*part, failure.reason);
            tracing::debug!(target = target.name(), error = %failure.message, "no sample");
        }
    }
    if let Some(groups) = &visit.answers.activity {
        target.remember(|memory| memory.sample(groups));
    }
}

/// PgBouncer's console has none of these.
fn wanted(target: &Target) -> Vec<ProbePart> {
    let settings = target.settings();
    match settings.kind {
        TargetKind::PgBouncer => Vec::new(),
        TargetKind::Postgres => {
            let views = ViewName::ALL.iter().copied().filter(|name| settings.views.wants(*name));
            let write = settings.write.iter().map(|_| ProbePart::Write);
            views.map(ProbePart::View).chain(write).collect()
        }
    }
}

/// The parts that are done so far, and the connection that goes from one to the next.
struct Visit<'t> {
    target: &'t Target,
    deadline: Instant,
    connection: Option<Checkout>,
    /// Why there is no connection: then nothing more is tried.
    refused: Option<Failure>,
    answers: Answers,
    extras: Extras,
}

impl<'t> Visit<'t> {
    fn new(target: &'t Target, deadline: Instant) -> Self {
        Self {
            target,
            deadline,
            connection: None,
            refused: None,
            answers: Answers::default(),
            extras: Vec::new(),
        }
    }

    /// The time for one of so many parts that are left.
    fn limit(&self, left: usize) -> Duration {
        let all = self.deadline.saturating_duration_since(Instant::now());
        let fair = all / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        self.target.settings().command_timeout.map_or(fair, |command| command.min(fair))
    }

    async fn part(&mut self, part: ProbePart, left: usize) {
        let start = Instant::now();
        let result = match self.connected().await {
            Ok(connection) => {
                if !exists(part, &connection) {
                    self.connection = Some(connection);
                    return;
                }
                let limit = self.limit(left);
                match timeout(limit, self.visit(part, connection, limit)).await {
                    Ok(result) => result,
                    // The check-out was dropped in the middle: cancelled and closed.
                    Err(_) => Err(QueryError::Timeout { limit }.into()),
                }
            }
            Err(failure) => Err(failure),
        };
        if let ProbePart::View(name) = part {
            self.target.instruments().views.observe(name, start.elapsed());
        }
        self.extras.push((part, result));
    }

    /// Does a part; keeps the connection if it is still good.
    async fn visit(
        &mut self,
        part: ProbePart,
        mut connection: Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        let result = match part {
            ProbePart::View(name) => self.view(name, &mut connection, limit).await,
            ProbePart::Write => write::once(self.target, &mut connection, limit).await,
            ProbePart::Connect | ProbePart::Query => Ok(()),
        };
        let is_usable = !matches!(&result, Err(f) if f.reason == Reason::Timeout);
        if is_usable && connection.rollback(limit).await.is_ok() {
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
        let result = match timeout_at(self.deadline, self.target.pool().check_out()).await {
            Ok(result) => result.map_err(Failure::from),
            Err(_) => Err(Failure::deadline(limit)),
        };
        result.inspect_err(|failure| self.refused = Some(failure.clone()))
    }

    async fn view(
        &mut self,
        name: ViewName,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        connection.begin(TransactionMode::ReadOnly, limit).await?;
        match name {
            ViewName::Activity => self.activity(connection, limit).await,
            ViewName::Limits => self.limits(connection, limit).await,
            ViewName::Databases => self.databases(connection, limit).await,
            ViewName::Statements => self.statements(connection, limit).await,
        }
    }

    async fn activity(
        &mut self,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        let (settings, pool) = (&self.target.settings().views, self.target.pool());
        let ourselves = pool.connector().budget().pids();
        let question = activity::Question {
            slow: settings.slow_threshold.as_secs_f64(),
            leak: settings.leak_threshold.as_secs_f64(),
            ourselves: &ourselves,
        };
        let sql = activity::sql(settings.show_query_text);
        let sent = Instant::now();
        let rows = connection.query(&sql, &question.parameters(), limit).await?;
        self.time(ViewName::Activity, sent);
        self.answers.activity = Some(activity::read(&rows)?);
        self.answers.ourselves = pool.state().open;
        Ok(())
    }

    async fn limits(&mut self, connection: &mut Checkout, limit: Duration) -> Result<(), Failure> {
        let most = self.target.settings().views.most();
        let sent = Instant::now();
        let rows = connection.query(limits::SQL, &limits::parameters(&most), limit).await?;
        self.time(ViewName::Limits, sent);
        self.answers.limits = Some(limits::read(&rows)?);
        Ok(())
    }

    async fn databases(
        &mut self,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        let most = self.target.settings().views.most();
        let sent = Instant::now();
        let rows = connection.query(databases::SQL, &databases::parameters(&most), limit).await?;
        self.time(ViewName::Databases, sent);
        self.answers.databases = Some(databases::read(&rows)?);
        Ok(())
    }

    async fn statements(
        &mut self,
        connection: &mut Checkout,
        limit: Duration,
    ) -> Result<(), Failure> {
        let views = &self.target.settings().views;
        let settings = views.statements.clone().unwrap_or_default();
        let rows = connection.query(statements::EXTENSION, &[], limit).await?;
        let extension = statements::Extension::read(&rows)?.ok_or_else(not_installed)?;
        let top = i64::from(settings.top);
        let top = top.min(i64::try_from(views.query_cache_size).unwrap_or(i64::MAX));
        let members = self.target.remember(|memory| memory.statements());
        let sql = extension.sql(settings.show_text);
        let sent = Instant::now();
        let rows = connection.query(&sql, &statements::parameters(&top, &members), limit).await;
        let rows = rows.map_err(not_loaded)?;
        self.time(ViewName::Statements, sent);
        self.answers.statements = Some(statements::read(&rows)?);
        Ok(())
    }

    fn time(&self, name: ViewName, sent: Instant) {
        let (took, instruments) = (sent.elapsed(), self.target.instruments());
        instruments.queries.observe(OwnQuery::View(name), took);
        if took > self.target.settings().slow_threshold {
            instruments.slow.inc(OwnQuery::View(name));
        }
    }
}

/// Whether the server's version has this view at all.
fn exists(part: ProbePart, connection: &Checkout) -> bool {
    let version = &connection.server().version;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next();
    let major: Option<u32> = digits.and_then(|digits| digits.parse().ok());
    part != ProbePart::View(ViewName::Databases)
        || major.is_none_or(|major| major >= databases::SINCE)
}

fn not_installed() -> Failure {
    let message = "the extension pg_stat_statements is not installed in this database";
    Failure { reason: Reason::NoExtension, message: message.to_owned(), phase: None }
}

/// The extension is there, but its library was not loaded when the server started.
fn not_loaded(error: QueryError) -> Failure {
    const NOT_IN_PREREQUISITE_STATE: &str = "55000";
    let is_unloaded = error.sqlstate() == Some(NOT_IN_PREREQUISITE_STATE);
    let failure = Failure::from(error);
    if is_unloaded { Failure { reason: Reason::NoExtension, ..failure } } else { failure }
}

impl From<view::ViewError> for Failure {
    fn from(error: view::ViewError) -> Self {
        Self { reason: Reason::Other, message: error.to_string(), phase: None }
    }
}
