//! The state of a connection, since when, and the time limit of that state.
//!
//! hyper's own header time-out also closes idle connections, so that every TLS scrape at the usual
//! 15 s would need a new handshake. Hence two timers of our own: a header's starts with its first
//! byte, which [`TimedStream`] sees, an idle connection's with the last byte of the last answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::listener::Socket;
use super::settings::HttpLimits;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The TLS handshake is under way.
    Handshake,
    /// Nothing has come since the last answer.
    Idle,
    /// A header has begun.
    Header,
    /// A request is being answered, or its answer sent.
    Answering,
}

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// Bytes that come are not always a header, so only the idle timer runs.
    Http2,
}

struct State {
    phase: Phase,
    since: Instant,
    protocol: Protocol,
    requests: usize,
    /// Bytes came while answering: the next header may have begun.
    early: bool,
}

/// Shared by the stream of a connection, its requests, and the list of connections.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        let state = State {
            phase: Phase::Handshake,
            since: Instant::now(),
            protocol: Protocol::Http1,
            requests: 0,
            early: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Records that the connection is ready for requests.
    pub(super) fn established(&self, protocol: Protocol) {
        let mut state = self.lock();
        state.protocol = protocol;
        self.enter(&mut state, Phase::Idle);
    }

    /// Records the start of a request; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> RequestGuard {
        let mut state = self.lock();
        state.requests += 1;
        state.early = false;
        self.enter(&mut state, Phase::Answering);
        RequestGuard(Arc::clone(self))
    }

    /// The phase, and the time at which it began.
    pub(super) fn now(&self) -> (Phase, Instant) {
        let state = self.lock();
        (state.phase, state.since)
    }

    /// Waits until the connection has been in one phase for too long.
    pub(super) async fn expired(&self, limits: &HttpLimits) {
        loop {
            let deadline = self.deadline(limits);
            tokio::select! {
                () = sleep_until(deadline) => if self.deadline(limits) <= Instant::now() {
                    return;
                },
                () = self.changed.notified() => {}
            }
        }
    }

    fn deadline(&self, limits: &HttpLimits) -> Instant {
        let (phase, since) = self.now();
        since
            + match phase {
                Phase::Handshake => limits.handshake,
                Phase::Idle => limits.idle,
                Phase::Header => limits.header,
                // The request's own limit answers first; then the client has to take the answer.
                Phase::Answering => limits.request + limits.header,
            }
    }

    fn received(&self) {
        let mut state = self.lock();
        match state.phase {
            Phase::Idle if state.protocol == Protocol::Http1 => {
                self.enter(&mut state, Phase::Header);
            }
            Phase::Answering => state.early = true,
            Phase::Idle | Phase::Handshake | Phase::Header => {}
        }
    }

    fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Answering && state.requests == 0 {
            let early = state.early && state.protocol == Protocol::Http1;
            let next = if early { Phase::Header } else { Phase::Idle };
            self.enter(&mut state, next);
        }
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        state.since = Instant::now();
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request being answered, until dropped.
pub(super) struct RequestGuard(Arc<Activity>);

impl RequestGuard {
    /// Records that the body was read: bytes that come from now on belong to the next request.
    pub(super) fn body_read(&self) {
        self.0.lock().early = false;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests = state.requests.saturating_sub(1);
    }
}

/// A socket that reports reads and flushes to the [`Activity`] of its connection.
///
/// Under TLS it is below the encryption, so that a TLS record that comes byte by byte is timed like
/// a header.
pub(super) struct TimedStream {
    socket: Socket,
    activity: Arc<Activity>,
}

impl TimedStream {
    pub(super) fn new(socket: Socket, activity: Arc<Activity>) -> Self {
        Self { socket, activity }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match &mut self.socket {
            Socket::Tcp(socket) => ready!(Pin::new(socket).poll_read(cx, buf))?,
            Socket::Unix(socket) => ready!(Pin::new(socket).poll_read(cx, buf))?,
        }
        if buf.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer of their own, so that there is nothing to pass on.
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn seconds_until_expired(activity: &Activity) -> u64 {
        let from = Instant::now();
        activity.expired(&HttpLimits::default()).await;
        from.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_ten_seconds_from_its_first_byte() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        let _ = timeout(Duration::from_secs(60), activity.expired(&HttpLimits::default())).await;
        activity.received();
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.received();
        assert_eq!(seconds_until_expired(&activity).await, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_seventy_five_seconds_before_and_after_a_request() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        assert_eq!(seconds_until_expired(&activity).await, 75);
        activity.received();
        drop(activity.begin());
        activity.flushed();
        assert_eq!(activity.now().0, Phase::Idle);
        assert_eq!(seconds_until_expired(&activity).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_came_while_answering_is_timed_too() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        activity.received();
        let busy = activity.begin();
        activity.received();
        activity.flushed();
        assert_eq!(activity.now().0, Phase::Answering);
        drop(busy);
        activity.flushed();
        assert_eq!(seconds_until_expired(&activity).await, 10);
    }
}
