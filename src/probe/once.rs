//! One probe: a fresh connect and a statement through the pool, side by side, then the views, until
//! a deadline.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::history::History;
use super::instruments::OwnQuery;
use super::read;
use super::settings::TargetSettings;
use super::snapshot::{Connected, Failure, ProbePart, Queried, Snapshot};
use super::target::Target;
use crate::pool::{AnswerLimit, Reason, TransactionMode};
use crate::view::Usage;

/// Probes a target once.
///
/// `with_connect`: whether a fresh connect is tried; otherwise the last one's result stands. Ends at
/// the schedule's time-out with what is known then; what still runs is cancelled on the server.
///
/// The snapshot's window holds this probe alone.
pub async fn once(target: &Target, with_connect: bool) -> Snapshot {
    pass(target, with_connect, &mut History::default()).await
}

/// As [`once`], as the next probe of a history.
pub(super) async fn pass(target: &Target, with_connect: bool, history: &mut History) -> Snapshot {
    let start = Instant::now();
    let deadline = start + target.settings().schedule.timeout;
    let (settled, checked_out) = (Notify::new(), CheckedOut::default());
    let essentials = async {
        let results = tokio::join!(
            async {
                match with_connect {
                    true => Some(connect(target, deadline).await),
                    false => None,
                }
            },
            query(target, deadline, &checked_out),
        );
        settled.notify_one();
        results
    };
    let extras = async {
        // Where one check-out hangs or fails, a second would take another of our few connections.
        let limit = target.settings().schedule.timeout;
        let waited = timeout_at(deadline, checked_out.done.notified()).await;
        let refused = waited.map_or_else(
            |_| Some(Failure::deadline(limit)),
            |()| checked_out.refused.get().cloned(),
        );
        // One after the other where that is quick. A statement that hangs may be what the views
        // explain, so they do not wait for its end.
        let patience = start + target.settings().schedule.timeout / 4;
        let _ = timeout_at(patience, settled.notified()).await;
        read::read(target, deadline, refused).await
    };
    let ((fresh, query), (views, extras)) = tokio::join!(essentials, extras);
    let before = target.published();
    let before = before.as_deref().map(|published| &published.snapshot);
    let connect = fresh.or_else(|| before.and_then(|snapshot| snapshot.connect.clone()));
    let tls = Snapshot::tls_seen(connect.as_ref(), &query)
        .unwrap_or_else(|| before.and_then(|snapshot| snapshot.tls.clone()));
    let usage = views.usage(None).unwrap_or_else(|| Usage::from(&target.pool().state()));
    let mut snapshot = Snapshot {
        taken_at: SystemTime::now(),
        taken: Instant::now(),
        took: start.elapsed(),
        connect,
        query,
        views,
        extras,
        tls,
        last_success_at: before.and_then(|snapshot| snapshot.last_success_at),
        usage,
        totals: target.pool().instruments().totals(),
        slow: target.instruments().slow.count(OwnQuery::Probe),
        window: Arc::default(),
    };
    if snapshot.is_up() {
        snapshot.last_success_at = Some(snapshot.taken_at);
    }
    count(target, &snapshot, with_connect);
    snapshot.window = history.add(&snapshot, with_connect, target.settings().slow_threshold);
    snapshot
}

fn count(target: &Target, snapshot: &Snapshot, with_connect: bool) {
    let instruments = target.instruments();
    instruments.duration.observe(snapshot.took);
    for (part, result) in snapshot.parts() {
        let was_tried = with_connect || part != ProbePart::Connect;
        if let (true, Err(failure)) = (was_tried, result) {
            instruments.failures.inc(part, failure.reason);
        }
    }
}

async fn connect(target: &Target, deadline: Instant) -> Result<Connected, Failure> {
    let limit = target.settings().schedule.timeout;
    let (timings, server) = timeout_at(deadline, target.pool().try_connect())
        .await
        .map_err(|_| Failure::deadline(limit))??;
    Ok(Connected { timings, server })
}

/// How the check-out of the probe's statement went: the views begin after it.
#[derive(Default)]
struct CheckedOut {
    done: Notify,
    /// Why there was no connection.
    refused: OnceLock<Failure>,
}

async fn query(
    target: &Target,
    deadline: Instant,
    checked_out: &CheckedOut,
) -> Result<Queried, Failure> {
    let limit = target.settings().schedule.timeout;
    timeout_at(deadline, ask(target, deadline, checked_out))
        .await
        .map_err(|_| Failure::deadline(limit))?
}

async fn ask(
    target: &Target,
    deadline: Instant,
    checked_out: &CheckedOut,
) -> Result<Queried, Failure> {
    let settings = target.settings();
    let start = Instant::now();
    let connection = target.pool().check_out().await.map_err(Failure::from);
    let connection =
        connection.inspect_err(|failure| drop(checked_out.refused.set(failure.clone())));
    checked_out.done.notify_one();
    let mut connection = connection?;
    let checkout = start.elapsed();
    let left = deadline.saturating_duration_since(Instant::now());
    let limit = settings.command_timeout.map_or(left, |command| command.min(left));
    if settings.kind.spec().has_transactions {
        connection.begin(TransactionMode::ReadOnly, limit).await?;
    }
    let sent = Instant::now();
    // Nobody reads the answer, so a large one is a mistake in the configuration.
    connection.limit_answers(AnswerLimit::SMALL);
    let answer = connection.simple(&settings.query, limit).await.map_err(Failure::from);
    answer.map_err(|failure| of_kind(failure, settings))?;
    let query = sent.elapsed();
    target.instruments().queries.observe(OwnQuery::Probe, query);
    if query > settings.slow_threshold {
        target.instruments().slow.inc(OwnQuery::Probe);
    }
    let server = connection.server().clone();
    connection.release(limit).await;
    Ok(Queried { checkout, query, server })
}

/// A server that does not know its kind's own statement is of another kind.
fn of_kind(failure: Failure, settings: &TargetSettings) -> Failure {
    let is_own = settings.query == settings.kind.spec().default_query;
    if is_own && failure.reason == Reason::Query {
        Failure { reason: Reason::WrongKind, ..failure }
    } else {
        failure
    }
}
