//! What a connection is doing, since when, and when it has done so for too long.
//!
//! hyper's own header time-out also closes idle connections, so that every TLS scrape at the usual
//! 15 s would shake hands anew. Hence two timers of ours: a header's starts with its first byte,
//! which [`Watched`] sees go by, an idle connection's with the last byte of the last answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::settings::HttpLimits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Shaking hands for TLS.
    Handshake,
    /// Nothing has come since the last answer.
    Idle,
    /// A header has begun.
    Header,
    /// A request is being answered, or its answer sent.
    Answering,
}

struct State {
    phase: Phase,
    since: Instant,
    requests: usize,
    /// Bytes came while answering: the next header may have begun.
    early: bool,
    /// HTTP/2: bytes that come are not always a header, so only its idle timer runs.
    multiplexed: bool,
}

/// Shared by a connection's stream, its requests and the roster.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        let since = Instant::now();
        let phase = Phase::Handshake;
        let state = State { phase, since, requests: 0, early: false, multiplexed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// The handshake is done, if there was one.
    pub(super) fn established(&self, multiplexed: bool) {
        let mut state = self.lock();
        state.multiplexed = multiplexed;
        self.enter(&mut state, Phase::Idle);
    }

    /// A request begins; it ends when the answer is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        let mut state = self.lock();
        state.requests += 1;
        state.early = false;
        self.enter(&mut state, Phase::Answering);
        Busy(Arc::clone(self))
    }

    /// The body was read: what comes from now on is another request.
    pub(super) fn body_read(&self) {
        self.lock().early = false;
    }

    /// What it is doing, and since when.
    pub(super) fn now(&self) -> (Phase, Instant) {
        let state = self.lock();
        (state.phase, state.since)
    }

    /// Waits until it has done the same for too long.
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
            Phase::Idle if !state.multiplexed => self.enter(&mut state, Phase::Header),
            Phase::Answering => state.early = true,
            Phase::Idle | Phase::Handshake | Phase::Header => {}
        }
    }

    fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Answering && state.requests == 0 {
            let next = if state.early && !state.multiplexed { Phase::Header } else { Phase::Idle };
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
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    /// The body was read: what comes from now on is another request.
    pub(super) fn body_read(&self) {
        self.0.body_read();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests = state.requests.saturating_sub(1);
    }
}

/// A stream that tells its connection's [`Activity`] what goes by.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
        activity.established(false);
        let _ = timeout(Duration::from_secs(60), activity.expired(&HttpLimits::default())).await;
        activity.received();
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.received();
        assert_eq!(seconds_until_expired(&activity).await, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_seventy_five_seconds_before_and_after_a_request() {
        let activity = Arc::new(Activity::new());
        activity.established(false);
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
        activity.established(false);
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
