//! The progress of a connect, and the time of each of its phases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Phase;

/// The time of each phase; `None` for a phase that there was not, such as TLS without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Looking the host name up.
    pub dns: Option<Duration>,
    /// Connecting the TCP or Unix socket.
    pub tcp: Option<Duration>,
    /// Asking the server for TLS.
    pub ssl_request: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// The start-up: authentication and parameters, until the server is ready.
    pub startup: Option<Duration>,
    /// The whole connect, attempts at other hosts included.
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

    /// Returns the times of the phases before this one; `None` if no phase came before it.
    pub(super) fn before(&self, phase: Phase) -> Option<Self> {
        let mut passed = Self::default();
        for (done, took) in self.phases().into_iter().take_while(|(done, _)| *done != phase) {
            if let Some(took) = took {
                passed.set(done, took);
                passed.total += took;
            }
        }
        (passed.total > Duration::ZERO).then_some(passed)
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

/// The progress of a connect. It is shared, so that a caller that gives up can report the phase in
/// which the connect hung.
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

    /// Begins another attempt: only the last one's times are reported.
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
