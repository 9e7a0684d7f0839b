//! How far a connect has come, and how long each of its phases took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Phase;

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
    pub(super) fn new() -> Self {
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

    /// Another attempt begins; only the last one's times are told.
    pub(super) fn restart(&self) {
        self.with(|state| state.1 = Timings::default());
    }

    pub(super) fn phase(&self) -> Phase {
        self.with(|state| state.0)
    }

    pub(super) fn timings(&self) -> Timings {
        self.with(|state| state.1)
    }

    fn with<T>(&self, f: impl FnOnce(&mut (Phase, Timings)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The deadline of the next of `left` attempts: an equal share of the time that remains.
pub(super) fn share(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let part = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / part
}
