//! The result of one probe. Once published it never changes, so readers never see half a probe.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::history::Window;
use super::route::PooledDatabase;
use super::session::SessionFault;
use super::sight::{PoolSight, ServerPath, Sight};
use crate::duration::rounded_seconds;
use crate::metrics::{Kind, Label, Reading, Rendered, Samples, Subject};
use crate::pool::{
    Backend, CheckoutError, ConnectError, Phase, QueryError, Reason, ServerIdentity, Timings,
    TlsInfo, Totals,
};
use crate::source::SourceReport;
use crate::view::{self, Usage, ViewName, Views};

/// A snapshot older than this many intervals is stale: it says nothing about now.
pub(crate) const STALE: u32 = 3;

/// A part of a probe; the label `probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePart {
    /// Opening a connection outside of the pool.
    Connect,
    /// A check-out through the pool, and the probe's statement.
    Query,
    /// The write probe.
    Write,
    /// Reading a view.
    View(ViewName),
}

impl Label for ProbePart {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Connect, Self::Query, Self::Write].into_iter().chain(ViewName::all().map(Self::View))
    }

    fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Query => "query",
            Self::Write => "write",
            Self::View(name) => name.label(),
        }
    }
}

/// The failure of a part of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The label `reason`.
    pub reason: Reason,
    /// The error in words, without secrets.
    pub message: String,
    /// The phase of connecting that failed; `None` for failures after connecting.
    pub phase: Option<Phase>,
    /// The times of the phases of the connect that passed before; `None` if none did.
    pub passed: Option<Box<Timings>>,
}

impl Failure {
    /// A failure after connecting.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), phase: None, passed: None }
    }

    /// The part had not ended at the probe's deadline. `limit`: the time from the probe's start to it.
    pub(crate) fn deadline(limit: Duration) -> Self {
        let message = format!("not done at the probe's deadline of {} s", rounded_seconds(limit));
        Self::new(Reason::Timeout, message)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = error.to_string();
        Self { reason: error.reason, message, phase: error.phase, passed: error.passed }
    }
}

impl From<CheckoutError> for Failure {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Connect(error) => error.into(),
            CheckoutError::Timeout { .. } | CheckoutError::Closed => {
                Self::new(error.reason(), error.to_string())
            }
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// A fresh connect that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The times of its phases.
    pub timings: Timings,
    /// The server that it reached.
    pub server: Backend,
    /// The same in the server's own words; `None` where it did not say.
    pub identity: Option<ServerIdentity>,
}

/// A statement of the probe that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queried {
    /// The time of the check-out.
    pub checkout: Duration,
    /// The time from sending the statement to its answer.
    pub query: Duration,
    /// The server that answered.
    pub server: Backend,
    /// The same in the server's own words; `None` where it did not say.
    pub identity: Option<ServerIdentity>,
}

/// The results of one probe, before they are combined with the snapshot before.
pub(super) struct Outcome {
    pub(super) taken_at: SystemTime,
    pub(super) taken: Instant,
    pub(super) took: Duration,
    /// `None` when the probe opened no connection of its own.
    pub(super) connect: Option<Result<Connected, Failure>>,
    pub(super) query: Result<Queried, Failure>,
    pub(super) views: Views,
    pub(super) extras: Vec<(ProbePart, Result<(), Failure>)>,
    /// The exporter's own pool.
    pub(super) own_pool: Usage,
    pub(super) totals: Totals,
    pub(super) slow: u64,
    /// The reports of the applications that serve their own status.
    pub(super) endpoints: Vec<Arc<SourceReport>>,
}

/// The result of one probe.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The end of the probe by the wall clock.
    pub taken_at: SystemTime,
    /// The end of the probe by the monotonic clock.
    pub taken: Instant,
    /// The time of the whole probe.
    pub took: Duration,
    /// The last fresh connect, of this probe or of an earlier one; `None` when fresh connects are off.
    pub connect: Option<Result<Connected, Failure>>,
    /// The statement through the pool.
    pub query: Result<Queried, Failure>,
    /// The views that could be read.
    pub views: Views,
    /// The views and the write probe, as far as they were tried, with their results.
    pub extras: Vec<(ProbePart, Result<(), Failure>)>,
    /// What stands between the exporter and the server, as of the last answer that showed it; `None` before.
    pub path: Option<ServerPath>,
    /// The databases of a pooler, as its console showed them last; empty before, and for a server. They are kept
    /// while the console does not answer, so that the databases behind it are not taken for databases without a
    /// pooler.
    pub pooled_databases: Arc<[PooledDatabase]>,
    /// TLS of the last connection that was opened; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// The end of the last successful probe by the wall clock; `None` if there was none yet.
    pub last_success_at: Option<SystemTime>,
    /// The exporter's own pool after the probe's check-in.
    pub usage: Usage,
    /// Events in the exporter's own pool since its start.
    pub totals: Totals,
    /// Slow probe statements since the target was started.
    pub slow: u64,
    /// The last view of the applications' pools.
    pub sight: Arc<Sight>,
    /// A pooled connection that led to a wrong server in the last minutes.
    pub session_fault: Option<SessionFault>,
    /// The last reports of the applications that serve their own status.
    pub endpoints: Vec<Arc<SourceReport>>,
    /// The probes of the last minutes, including this one.
    pub window: Arc<Window>,
}

impl Snapshot {
    /// Combines what one probe brought with what is kept from the snapshot before: the last fresh
    /// connect, TLS, and the time of the last success. What a history adds stays empty.
    pub(super) fn assemble(outcome: Outcome, before: Option<&Self>) -> Self {
        let connect = outcome.connect.or_else(|| before?.connect.clone());
        let is_up = outcome.query.is_ok() && !matches!(connect, Some(Err(_)));
        let connected = connect.as_ref().and_then(|connect| connect.as_ref().ok());
        let queried = outcome.query.as_ref().ok();
        let server = connected.map(|c| &c.server).or_else(|| queried.map(|q| &q.server));
        Self {
            path: queried.and_then(ServerPath::of).or_else(|| before?.path),
            pooled_databases: match PooledDatabase::of(&outcome.views) {
                Some(databases) => databases,
                None => {
                    before.map(|before| Arc::clone(&before.pooled_databases)).unwrap_or_default()
                }
            },
            tls: match server {
                Some(server) => server.tls.clone(),
                None => before.and_then(|before| before.tls.clone()),
            },
            last_success_at: if is_up {
                Some(outcome.taken_at)
            } else {
                before.and_then(|before| before.last_success_at)
            },
            usage: outcome.own_pool,
            taken_at: outcome.taken_at,
            taken: outcome.taken,
            took: outcome.took,
            connect,
            query: outcome.query,
            views: outcome.views,
            extras: outcome.extras,
            totals: outcome.totals,
            slow: outcome.slow,
            endpoints: outcome.endpoints,
            sight: Arc::default(),
            session_fault: None,
            window: Arc::default(),
        }
    }

    /// Reports whether a statement was answered and the last fresh connect succeeded.
    pub fn is_up(&self) -> bool {
        self.query.is_ok() && !matches!(self.connect, Some(Err(_)))
    }

    /// Returns the same snapshot with the pools of this application as the only ones; `None` where it was
    /// never seen.
    pub(crate) fn of_application(&self, name: &str) -> Option<Self> {
        let pools = self.sight.pools.iter().filter(|pool| pool.key.application == name);
        let pools: Vec<PoolSight> = pools.cloned().collect();
        if pools.is_empty() {
            return None;
        }
        let sight = Arc::new(Sight { pools, blindness: self.sight.blindness.clone() });
        Some(Self { sight, ..self.clone() })
    }

    /// Returns the same snapshot with the reason of each failure in place of its message, which can have the words of
    /// the server.
    pub(crate) fn without_messages(&self) -> Self {
        let plain = |failure: &Failure| Failure {
            message: match failure.phase {
                Some(phase) => format!("{} failed: {}", phase.label(), failure.reason.label()),
                None => failure.reason.label().to_owned(),
            },
            ..failure.clone()
        };
        let extras =
            self.extras.iter().map(|(part, result)| (*part, result.clone().map_err(|f| plain(&f))));
        Self {
            connect: self.connect.clone().map(|result| result.map_err(|failure| plain(&failure))),
            query: self.query.clone().map_err(|failure| plain(&failure)),
            extras: extras.collect(),
            ..self.clone()
        }
    }

    /// The time since the probe ended.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.taken)
    }

    /// Reports whether it is too old to say anything about now. `interval`: between two probes.
    pub(crate) fn is_stale(&self, now: Instant, interval: Duration) -> bool {
        self.age(now) > interval * STALE
    }

    /// The parts of the probe with their results. A fresh connect of an earlier probe is one of them.
    pub fn parts(&self) -> impl Iterator<Item = (ProbePart, Result<(), &Failure>)> {
        let extras = self.extras.iter().map(|(part, r)| (*part, r.as_ref().copied()));
        self.essentials().chain(extras)
    }

    /// The first failure of a part that decides whether the target is up.
    pub(crate) fn failure(&self) -> Option<(ProbePart, &Failure)> {
        self.essentials().find_map(|(part, result)| Some((part, result.err()?)))
    }

    /// Reports whether the write probe succeeded; `None` when it was not tried.
    pub(crate) fn is_writable(&self) -> Option<bool> {
        self.write_result().map(|result| result.is_ok())
    }

    /// The result of the write probe; `None` when it was not tried.
    pub(crate) fn write_result(&self) -> Option<Result<(), &Failure>> {
        let write = self.extras.iter().find(|(part, _)| *part == ProbePart::Write);
        write.map(|(_, result)| result.as_ref().copied())
    }

    /// The failure of a view or of the write probe.
    pub(super) fn failure_of(&self, part: ProbePart) -> Option<&Failure> {
        let mut extras = self.extras.iter().filter(|(other, _)| *other == part);
        extras.find_map(|(_, result)| result.as_ref().err())
    }

    /// The parts that decide whether the target is up.
    fn essentials(&self) -> impl Iterator<Item = (ProbePart, Result<(), &Failure>)> {
        let connect = self.connect.as_ref().map(|c| (ProbePart::Connect, c.as_ref().map(|_| ())));
        connect.into_iter().chain([(ProbePart::Query, self.query.as_ref().map(|_| ()))])
    }
}

/// A snapshot with its lines of the exposition, which every scrape copies.
#[derive(Debug)]
pub struct Published {
    /// The result of the probe.
    pub snapshot: Arc<Snapshot>,
    /// The lines of each row of [`READINGS`].
    pub rendered: Rendered,
    /// The lines of each row of [`view::readings`].
    pub views: Rendered,
}

impl Published {
    /// Renders a snapshot of a target.
    pub fn new<'s>(snapshot: Snapshot, target: impl Into<Subject<'s>>) -> Self {
        let target = target.into();
        let rendered = Rendered::new(READINGS, &snapshot, target);
        let views = Rendered::new(view::readings(), &snapshot.views.shown(), target);
        Self { snapshot: Arc::new(snapshot), rendered, views }
    }
}

/// The families of [`Snapshot`]; rendered once a snapshot.
pub const READINGS: &[Reading<Snapshot>] = &[
    Reading {
        name: "db_pool_probe_success",
        help: "1 when this part of the last probe succeeded, otherwise 0. The part connect is that of the last fresh connect, which can be older.",
        kind: Kind::Gauge,
        labels: &["probe"],
        read: |snapshot, out| {
            snapshot.parts().for_each(|(part, result)| out.push([part.label()], result.is_ok()));
        },
    },
    Reading {
        name: "db_pool_last_probe_timestamp_seconds",
        help: "When the last probe ended, in seconds since 1970.",
        kind: Kind::Gauge,
        labels: &[],
        read: |snapshot, out| out.push([], unix(snapshot.taken_at)),
    },
    Reading {
        name: "db_pool_last_success_timestamp_seconds",
        help: "When a probe last succeeded, in seconds since 1970; absent before the first success.",
        kind: Kind::Gauge,
        labels: &[],
        read: last_success,
    },
    Reading {
        name: "db_pool_app_visible",
        help: "1 while the application's pool can be seen; 0 while something hides it: the view activity fails, the exporter's role may not see the sessions' states, they do not track them, a pooler stands between, or the target is down. It must not be taken for healthy then.",
        kind: Kind::Gauge,
        labels: &["database", "user", "application"],
        read: visible_applications,
    },
    Reading {
        name: "db_pool_applications_visible",
        help: "0 while something hides all applications of the target, also those that were never seen. Absent where there are none and nothing hides any.",
        kind: Kind::Gauge,
        labels: &[],
        read: visible,
    },
    Reading {
        name: "db_pool_write_up",
        help: "1 when the last write probe succeeded, otherwise 0, also when it got no connection. Absent when it is off.",
        kind: Kind::Gauge,
        labels: &[],
        read: |snapshot, out| out.push([], snapshot.is_writable()),
    },
    Reading {
        name: "db_pool_tls_info",
        help: "Always 1; the labels have the version and the cipher suite of TLS of the last connection that was opened. Absent without TLS.",
        kind: Kind::Gauge,
        labels: &["version", "cipher"],
        read: |snapshot, out| {
            if let Some(tls) = &snapshot.tls {
                out.push([tls.version.as_str(), tls.cipher.as_str()], 1_u32);
            }
        },
    },
    Reading {
        name: "db_pool_tls_certificate_expiry_timestamp_seconds",
        help: "End of validity of the server's certificate, as of the last connection that was opened, in seconds since 1970. Absent without TLS.",
        kind: Kind::Gauge,
        labels: &[],
        read: certificate_expiry,
    },
];

/// Nothing is written where there is no application to see, and nothing hides one. Applications that serve
/// their own status are seen also where the sessions are not.
fn visible(snapshot: &Snapshot, out: &mut Samples<'_>) {
    let Sight { pools, blindness } = snapshot.sight.as_ref();
    if blindness.is_some() || !pools.is_empty() {
        let are_seen = !pools.is_empty() && pools.iter().all(|pool| pool.blindness.is_none());
        out.push([], blindness.is_none() || are_seen);
    }
}

fn visible_applications(snapshot: &Snapshot, out: &mut Samples<'_>) {
    for pool in snapshot.sight.pools.iter().filter(|pool| !pool.is_gone) {
        out.push(pool.key.labels(), pool.blindness.is_none());
    }
}

fn certificate_expiry(snapshot: &Snapshot, out: &mut Samples<'_>) {
    out.push([], snapshot.tls.as_ref().and_then(|tls| tls.not_after).map(unix));
}

fn last_success(snapshot: &Snapshot, out: &mut Samples<'_>) {
    out.push([], snapshot.last_success_at.map(unix));
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
