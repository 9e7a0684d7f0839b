//! The state of a connection, since when, and the time limit of that state.
//!
//! hyper's own header time-out also closes idle connections, so that every TLS scrape at the usual
//! 15 s would need a new handshake. Hence two timers of our own: a header's starts with its first
//! byte, which [`TimedStream`] sees, an idle connection's with the last byte of the last answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::listener::Socket;
use super::settings::HttpLimits;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The TLS handshake is under way.
    Handshake,
    /// Nothing has come since the last answer.
    Idle,
    /// A header has begun.
    Header,
    /// At least one request is being answered.
    Busy,
}

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// Bytes that come are not always a header, so only the idle timer runs.
    Http2,
}

/// The stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its body is awaited.
    Body,
    /// It waits behind others: for its turn, for a place, or for the check of its password.
    Queued,
    /// Its answer is being made.
    Answering,
    /// Its answer is being sent.
    Sending,
}

struct InFlight {
    id: u64,
    stage: Stage,
    /// The start of the stage; while sending, the last progress.
    since: Instant,
    begun: Instant,
    is_success: bool,
}

/// The value of keeping a connection, lowest first: the order in which connections are closed when
/// there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// It has not taken an answer yet, sends no request, and had time for both.
    Unproven,
    /// Its requests wait: for the client, which does not send a body or take an answer, or behind others.
    Waiting,
    /// It is idle and has taken an answer, but there are more of those than there are scrapers.
    Crowd,
    /// It was accepted just now: its request may be on the way.
    Fresh,
    /// It is idle, and has taken an answer before: perhaps a scraper between two scrapes.
    Proven,
}

struct State {
    /// The start of the task that serves the connection; `None` while it waits for the thread.
    started: Option<Instant>,
    phase: Phase,
    since: Instant,
    protocol: Protocol,
    requests: Vec<InFlight>,
    next_id: u64,
    /// Bytes came while answering: the next header may have begun.
    early: bool,
    /// The header in progress came in part before the last answer was sent.
    pipelined: bool,
    /// The successful answers that were taken to the end. Refusals prove nothing of a client.
    answered: u64,
    /// The bytes that an HTTP/2 client may still send, and when this was last computed.
    inbound: usize,
    refilled: Instant,
}

/// The time in which a new connection is expected to send its request.
const FRESH: Duration = Duration::from_secs(1);

/// An answer without progress for this long may be cut when others wait for its place.
const STALL: Duration = Duration::from_millis(250);

/// The bytes that an HTTP/2 client may send at once, those that each request adds, and those that a
/// second adds. Frames that are no requests (PRIORITY, WINDOW_UPDATE, PING, SETTINGS) are processed
/// inside the h2 crate without a limit of their own; this one bounds them all. A scraper's request has
/// some hundred bytes.
const INBOUND_MOST: usize = 32 * 1024;
const INBOUND_PER_REQUEST: usize = 4 * 1024;
const INBOUND_PER_SECOND: usize = 16 * 1024;
/// The bytes that are added when a body is read: the largest one in small frames.
const INBOUND_PER_BODY: usize = 96 * 1024;

/// Shared by the stream of a connection, its requests, and the list of connections.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State {
            started: None,
            phase: Phase::Handshake,
            since: now,
            protocol: Protocol::Http1,
            requests: Vec::new(),
            next_id: 0,
            early: false,
            pipelined: false,
            answered: 0,
            inbound: INBOUND_MOST,
            refilled: now,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Records that the connection's task runs. A busy thread must not count against the client.
    pub(super) fn started(&self) {
        self.lock().started = Some(Instant::now());
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
        let is_pipelined = match state.protocol {
            // Without a byte since the last answer, the header was in the buffer already.
            Protocol::Http1 => state.pipelined || state.phase != Phase::Header,
            Protocol::Http2 => !state.requests.is_empty(),
        };
        let (id, now) = (state.next_id, Instant::now());
        state.next_id += 1;
        state.requests.push(InFlight {
            id,
            stage: Stage::Answering,
            since: now,
            begun: now,
            is_success: false,
        });
        state.inbound = (state.inbound + INBOUND_PER_REQUEST).min(INBOUND_MOST.max(state.inbound));
        state.early = false;
        state.pipelined = false;
        self.enter(&mut state, Phase::Busy);
        RequestGuard { activity: Arc::clone(self), id, is_pipelined }
    }

    /// The worth of keeping the connection, the answers that it has taken, and the start of its
    /// phase; `None` while an answer is being made or taken.
    pub(super) fn worth(&self) -> Option<(Worth, u64, Instant)> {
        let state = self.lock();
        let worth = match state.phase {
            Phase::Idle if state.answered > 0 => Worth::Proven,
            Phase::Handshake | Phase::Idle | Phase::Header => {
                let is_fresh = state.started.is_none_or(|started| started.elapsed() < FRESH);
                if is_fresh { Worth::Fresh } else { Worth::Unproven }
            }
            Phase::Busy if state.requests.iter().all(InFlight::waits) => Worth::Waiting,
            Phase::Busy => return None,
        };
        Some((worth, state.answered, state.since))
    }

    /// The last progress of the answer that has made none for the longest time.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let state = self.lock();
        let sending = state.requests.iter().filter(|request| request.stage == Stage::Sending);
        sending.map(|request| request.since).min().filter(|since| since.elapsed() >= STALL)
    }

    /// Waits until the connection, or one of its requests, has been in one state for too long.
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
        let state = self.lock();
        let of_phase = match state.phase {
            Phase::Handshake => limits.handshake,
            Phase::Idle => limits.idle,
            Phase::Header => limits.header,
            Phase::Busy => limits.request + limits.header,
        };
        let requests = state.requests.iter().map(|request| request.deadline(limits));
        requests.min().unwrap_or(state.since + of_phase)
    }

    fn received(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.lock();
        match state.phase {
            Phase::Idle if state.protocol == Protocol::Http1 => {
                self.enter(&mut state, Phase::Header);
            }
            Phase::Busy => state.early = true,
            Phase::Idle | Phase::Handshake | Phase::Header => {}
        }
        match state.protocol {
            Protocol::Http1 => Ok(()),
            Protocol::Http2 => state.take_inbound(bytes),
        }
    }

    /// Records that everything that was written has left.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Busy && state.requests.is_empty() {
            state.pipelined = state.early && state.protocol == Protocol::Http1;
            let next = if state.pipelined { Phase::Header } else { Phase::Idle };
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

impl State {
    fn take_inbound(&mut self, bytes: usize) -> io::Result<()> {
        let elapsed = self.refilled.elapsed().as_millis();
        // Added whole milliseconds at a time, so that many small reads do not round it away.
        if elapsed > 0 {
            let added =
                usize::try_from(elapsed).unwrap_or(INBOUND_MOST) * INBOUND_PER_SECOND / 1000;
            self.inbound = (self.inbound + added).min(INBOUND_MOST.max(self.inbound));
            self.refilled = Instant::now();
        }
        match self.inbound.checked_sub(bytes) {
            Some(left) => {
                self.inbound = left;
                Ok(())
            }
            None => Err(io::Error::other("more HTTP/2 frames than requests need")),
        }
    }
}

impl InFlight {
    fn waits(&self) -> bool {
        match self.stage {
            Stage::Body | Stage::Queued => true,
            Stage::Sending => self.since.elapsed() >= STALL,
            Stage::Answering => false,
        }
    }

    fn deadline(&self, limits: &HttpLimits) -> Instant {
        // The request's own limit answers first; then the client has to take the answer.
        let whole = self.begun + limits.request + limits.header;
        match self.stage {
            Stage::Sending => whole.min(self.since + limits.header),
            Stage::Body | Stage::Queued | Stage::Answering => whole,
        }
    }
}

/// One request being answered, until dropped.
pub(super) struct RequestGuard {
    activity: Arc<Activity>,
    id: u64,
    /// It came while another request of the connection was being answered.
    pub(super) is_pipelined: bool,
}

impl RequestGuard {
    /// Records that the request has reached another stage.
    pub(super) fn enter(&self, stage: Stage) {
        self.update(|request| request.stage = stage);
        if stage == Stage::Body {
            self.activity.lock().inbound += INBOUND_PER_BODY;
        }
    }

    /// Records that the answer is a successful one, and is being sent.
    pub(super) fn succeed(&self) {
        self.update(|request| {
            request.stage = Stage::Sending;
            request.is_success = true;
        });
    }

    /// Records that a part of the answer was taken.
    pub(super) fn progress(&self) {
        self.update(|_| {});
    }

    /// Records that the body was read: bytes that come from now on belong to the next request.
    pub(super) fn body_read(&self) {
        self.activity.lock().early = false;
    }

    /// Reports whether the connection has taken an answer before, and sends requests one at a time.
    pub(super) fn is_proven(&self) -> bool {
        !self.is_pipelined && self.activity.lock().answered > 0
    }

    fn update(&self, change: impl FnOnce(&mut InFlight)) {
        let mut state = self.activity.lock();
        if let Some(request) = state.requests.iter_mut().find(|request| request.id == self.id) {
            change(request);
            request.since = Instant::now();
        }
        // The deadline may be another one now.
        self.activity.changed.notify_one();
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        if let Some(at) = state.requests.iter().position(|request| request.id == self.id)
            && state.requests.swap_remove(at).is_success
        {
            state.answered += 1;
        }
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
        let received = buf.filled().len() - before;
        if received > 0 {
            self.activity.received(received)?;
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
        activity.received(1).unwrap();
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.received(1).unwrap();
        assert_eq!(seconds_until_expired(&activity).await, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_seventy_five_seconds_before_and_after_a_request() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        assert_eq!(seconds_until_expired(&activity).await, 75);
        activity.received(1).unwrap();
        drop(activity.begin());
        activity.flushed();
        assert_eq!(activity.lock().phase, Phase::Idle);
        assert_eq!(seconds_until_expired(&activity).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_came_while_answering_is_timed_too() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        activity.received(1).unwrap();
        let busy = activity.begin();
        activity.received(1).unwrap();
        activity.flushed();
        assert_eq!(activity.lock().phase, Phase::Busy);
        drop(busy);
        activity.flushed();
        assert_eq!(seconds_until_expired(&activity).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_were_in_the_buffer_are_pipelined() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http1);
        activity.received(1).unwrap();
        for is_pipelined in [false, true, true] {
            let request = activity.begin();
            assert_eq!(request.is_pipelined, is_pipelined);
            drop(request);
            activity.flushed();
        }
        activity.received(1).unwrap();
        let request = activity.begin();
        assert!(!request.is_pipelined);
        activity.received(1).unwrap();
        drop(request);
        activity.flushed();
        assert!(activity.begin().is_pipelined, "it came while the other was being answered");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_expires_by_its_last_progress() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http2);
        let request = activity.begin();
        request.enter(Stage::Sending);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(activity.stalled_since().is_some());
        request.progress();
        assert!(activity.stalled_since().is_none());
        // Another request of the connection does not keep it.
        tokio::time::advance(Duration::from_secs(5)).await;
        let _other = activity.begin();
        assert_eq!(seconds_until_expired(&activity).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_are_no_requests_are_limited_in_http2() {
        let activity = Arc::new(Activity::new());
        activity.established(Protocol::Http2);
        assert!(activity.received(INBOUND_MOST).is_ok() && activity.received(1).is_err());
        drop(activity.begin());
        assert!(activity.received(INBOUND_PER_REQUEST).is_ok() && activity.received(1).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(activity.received(INBOUND_PER_SECOND).is_ok() && activity.received(1).is_err());
    }
}
