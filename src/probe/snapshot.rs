//! What one probe learned: whole and immutable when it is published.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::history::Window;
use crate::metrics::{Kind, Label, Reading, Rendered, Samples};
use crate::pool::{
    Backend, CheckoutError, ConnectError, Phase, QueryError, Reason, Timings, TlsInfo, Totals,
};
use crate::view::{self, Usage, ViewName, Views};

/// So many intervals after its end a snapshot says nothing about now.
pub const STALE: u32 = 3;

/// A part of a probe; the label `probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePart {
    /// Opening a connection that is not of the pool.
    Connect,
    /// A check-out through the pool, and the probe's statement.
    Query,
    /// Rows written and taken out again.
    Write,
    /// A view of the server's.
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

/// Why a part of a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the metrics tell it.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// The phase of connecting in which it failed, if it did there.
    pub phase: Option<Phase>,
}

impl Failure {
    /// The part was not done at the probe's deadline.
    pub fn deadline(limit: Duration) -> Self {
        let message = format!("not done at the probe's deadline of {} s", limit.as_secs_f64());
        Self { reason: Reason::Timeout, message, phase: None }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self { reason: error.reason, message: error.to_string(), phase: error.phase }
    }
}

impl From<CheckoutError> for Failure {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Connect(error) => error.into(),
            CheckoutError::Timeout { .. } | CheckoutError::Closed => {
                Self { reason: error.reason(), message: error.to_string(), phase: None }
            }
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self { reason: error.reason(), message: error.to_string(), phase: None }
    }
}

/// A fresh connect that worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// How long its phases took.
    pub timings: Timings,
    /// Whom it reached.
    pub server: Backend,
}

/// The probe's statement, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queried {
    /// From asking the pool to having a connection.
    pub checkout: Duration,
    /// From sending the statement to its answer.
    pub query: Duration,
    /// Who answered.
    pub server: Backend,
}

/// What one probe learned.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the probe ended, by the wall.
    pub taken_at: SystemTime,
    /// When the probe ended.
    pub taken: Instant,
    /// How long it took.
    pub took: Duration,
    /// The last fresh connect, of this probe or of one before; `None` when it is switched off.
    pub connect: Option<Result<Connected, Failure>>,
    /// The statement through the pool.
    pub query: Result<Queried, Failure>,
    /// What the server told, as far as it did.
    pub views: Views,
    /// The views and the write probe that were tried, and how that ended.
    pub extras: Vec<(ProbePart, Result<(), Failure>)>,
    /// What TLS came to at the last connect that succeeded; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// When a probe last succeeded, by the wall.
    pub last_success_at: Option<SystemTime>,
    /// The pool that is judged: the application's where it is known, otherwise our own without the
    /// probe's check-out.
    pub usage: Usage,
    /// What happened in our own pool so far.
    pub totals: Totals,
    /// Probe statements above the threshold so far.
    pub slow: u64,
    /// The probes of the last minutes, this one among them.
    pub window: Arc<Window>,
}

impl Snapshot {
    /// Whether a connection can be opened and a statement answered.
    pub fn is_up(&self) -> bool {
        self.query.is_ok() && !matches!(self.connect, Some(Err(_)))
    }

    /// The same snapshot, with the pool of this application as the judged one; `None` where it is not
    /// known.
    pub fn of_application(&self, name: &str) -> Option<Self> {
        let usage = self.views.usage(Some(name))?;
        let window = Arc::new(self.window.of_application(name));
        Some(Self { usage, window, ..self.clone() })
    }

    /// How long ago the probe ended.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.taken)
    }

    /// Whether it is too old to say anything about now, at this interval of probes.
    pub fn is_stale(&self, now: Instant, interval: Duration) -> bool {
        self.age(now) > interval * STALE
    }

    /// What TLS came to in this probe: `None` when nothing succeeded, `Some(None)` without TLS.
    pub(super) fn tls_seen(
        connect: Option<&Result<Connected, Failure>>,
        query: &Result<Queried, Failure>,
    ) -> Option<Option<TlsInfo>> {
        let fresh = connect.and_then(|connect| connect.as_ref().ok()).map(|c| &c.server);
        let server = fresh.or_else(|| query.as_ref().ok().map(|query| &query.server));
        server.map(|server| server.tls.clone())
    }

    /// Each part of the probe and whether it succeeded.
    pub fn parts(&self) -> impl Iterator<Item = (ProbePart, Result<(), &Failure>)> {
        let extras = self.extras.iter().map(|(part, r)| (*part, r.as_ref().copied()));
        self.essentials().chain(extras)
    }

    /// The first failure that makes the target be down.
    pub fn failure(&self) -> Option<(ProbePart, &Failure)> {
        self.essentials().find_map(|(part, result)| Some((part, result.err()?)))
    }

    /// Whether the write probe succeeded; `None` when it was not tried.
    pub fn is_writable(&self) -> Option<bool> {
        let write = self.extras.iter().find(|(part, _)| *part == ProbePart::Write);
        write.map(|(_, result)| result.is_ok())
    }

    /// The parts that decide whether the target is up.
    fn essentials(&self) -> impl Iterator<Item = (ProbePart, Result<(), &Failure>)> {
        let connect = self.connect.as_ref().map(|c| (ProbePart::Connect, c.as_ref().map(|_| ())));
        connect.into_iter().chain([(ProbePart::Query, self.query.as_ref().map(|_| ()))])
    }
}

/// A snapshot and its lines of the exposition, written once.
#[derive(Debug)]
pub struct Published {
    /// What was learned.
    pub snapshot: Arc<Snapshot>,
    /// A text for each row of [`READINGS`].
    pub rendered: Rendered,
    /// A text for each row of [`view::READINGS`].
    pub views: Rendered,
}

impl Published {
    /// Renders a snapshot with the target's label.
    pub fn new(snapshot: Snapshot, base: &str) -> Self {
        let rendered = Rendered::new(READINGS, &snapshot, base);
        let views = Rendered::new(view::readings(), &snapshot.views, base);
        Self { snapshot: Arc::new(snapshot), rendered, views }
    }
}

/// The families of [`Snapshot`]; rendered once a snapshot.
pub const READINGS: &[Reading<Snapshot>] = &[
    Reading {
        name: "db_pool_probe_success",
        help: "1 when this part of the last probe succeeded.",
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
        help: "When a probe last succeeded, in seconds since 1970; absent before the first.",
        kind: Kind::Gauge,
        labels: &[],
        read: last_success,
    },
    Reading {
        name: "db_pool_write_up",
        help: "1 when the last write probe succeeded; absent when it is off.",
        kind: Kind::Gauge,
        labels: &[],
        read: |snapshot, out| out.push([], snapshot.is_writable()),
    },
    Reading {
        name: "db_pool_tls_info",
        help: "1, with the version and the cipher suite of TLS at the last connect that succeeded; absent without TLS.",
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
        help: "When the certificate ends that the server showed at the last connect that succeeded, in seconds since 1970; absent without TLS.",
        kind: Kind::Gauge,
        labels: &[],
        read: certificate_expiry,
    },
];

fn certificate_expiry(snapshot: &Snapshot, out: &mut Samples<'_>) {
    out.push([], snapshot.tls.as_ref().and_then(|tls| tls.not_after).map(unix));
}

fn last_success(snapshot: &Snapshot, out: &mut Samples<'_>) {
    out.push([], snapshot.last_success_at.map(unix));
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
