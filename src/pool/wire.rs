//! The stream between us and the server, above TLS: inspected on the way in, closed politely.
//!
//! tokio-postgres drops the socket right after Terminate, when the backend still counts among the
//! server's connections. Here the end of a stream waits for the server's own end, so that a permit
//! is not freed while its backend exists.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::inspect::{Guard, Inspector, WireState};

/// The longest time that a closing stream waits for the server to close its side.
const FAREWELL: Duration = Duration::from_secs(5);

/// The maximum number of bytes that are read during this wait. A server that sends more is cut off.
const FAREWELL_BYTES: usize = 64 * 1024;

/// The requirements for a stream below the PostgreSQL protocol.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The stream.
pub(super) struct Wire {
    inner: Box<dyn Io>,
    state: Arc<WireState>,
    inspector: Inspector,
    /// A SCRAM challenge that waits for a thread that may compute.
    held: Vec<u8>,
    farewell: Option<Farewell>,
}

/// The end of a stream under way.
struct Farewell {
    limit: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Wire {
    pub(super) fn new(inner: Box<dyn Io>, guard: Guard) -> (Self, Arc<WireState>) {
        let state = Arc::new(WireState::default());
        let inspector = Inspector::new(Arc::clone(&state), guard);
        let wire =
            Self { inner, state: Arc::clone(&state), inspector, held: Vec::new(), farewell: None };
        (wire, state)
    }

    /// Inspects what was read into `buf` behind `before`.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let bytes = &buf.filled()[before..];
        if bytes.is_empty() && self.inspector.is_starting() {
            // tokio-postgres would report the end of a cut message as an error of another kind.
            let text = "the server closed the connection during the start-up";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if let Err(refusal) = self.inspector.take(bytes) {
            return Err(io::Error::other(self.state.refuse(refusal)));
        }
        if self.state.is_challenged() {
            self.held = bytes.to_vec();
            buf.set_filled(before);
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            this.inspect(buf, before)?;
        }
        if this.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if this.state.is_challenged() {
            // No waker: the owner sees the challenge after this very poll and polls again itself.
            return Poll::Pending;
        }
        let part = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..part]);
        this.held.drain(..part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Closes our side, then reads until the server has closed its own, for at most [`FAREWELL`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let farewell = this.farewell.get_or_insert_with(|| Farewell {
            limit: Box::pin(tokio::time::sleep(FAREWELL)),
            bytes: 0,
        });
        let mut rest = [0; 1024];
        while farewell.bytes < FAREWELL_BYTES {
            let mut buf = ReadBuf::new(&mut rest);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    farewell.bytes += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return farewell.limit.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Runs a login and computes its SCRAM proof on a thread for blocking work. The proof takes milliseconds with
/// the usual number of rounds and up to a second with the largest accepted number. On the runtime's only
/// thread it would delay scrapes.
pub(super) async fn prove_elsewhere<T: Send + 'static>(
    mut login: Pin<Box<dyn Future<Output = T> + Send>>,
    state: Arc<WireState>,
) -> T {
    loop {
        let outcome = std::future::poll_fn(|cx| match login.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if state.is_challenged() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(outcome) = outcome.await {
            return outcome;
        }
        let releasing = Arc::clone(&state);
        let computing = tokio::task::spawn_blocking(move || {
            releasing.release_challenge();
            // One poll computes the proof and sends it. Its waker is of no use: the next poll, back
            // on the runtime, registers the right one.
            let poll = login.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
            (login, poll)
        });
        let Ok((back, poll)) = computing.await else {
            // The runtime is shutting down; the login's own limit ends this wait.
            return std::future::pending().await;
        };
        login = back;
        if let Poll::Ready(outcome) = poll {
            return outcome;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn wire(bytes: &'static [u8]) -> (Wire, Arc<WireState>) {
        Wire::new(Box::new(std::io::Cursor::new(bytes.to_vec())), Box::new(|_| Ok(())))
    }

    const CHALLENGE: &[u8] = b"R\0\0\0\x1e\0\0\0\x0br=abc,s=c2FsdA==,i=4096";

    #[tokio::test]
    async fn a_challenge_is_read_on_another_thread_than_the_runtimes() {
        let (mut wire, state) = wire(CHALLENGE);
        let login = async move {
            let mut bytes = [0; 64];
            let length = wire.read(&mut bytes).await.expect("it is whole");
            (bytes[..length].to_vec(), thread::current().id())
        };
        let (bytes, reader) = prove_elsewhere(Box::pin(login), state).await;
        assert_eq!(bytes, CHALLENGE);
        assert_ne!(reader, thread::current().id());
    }

    #[tokio::test]
    async fn other_messages_are_read_where_they_are_awaited() {
        let (mut wire, state) = wire(b"R\0\0\0\x08\0\0\0\0");
        let login = async move {
            let mut bytes = [0; 9];
            wire.read_exact(&mut bytes).await.expect("it is whole");
            thread::current().id()
        };
        assert_eq!(prove_elsewhere(Box::pin(login), state).await, thread::current().id());
    }

    #[tokio::test]
    async fn the_end_of_a_startup_in_the_middle_is_an_end_of_the_connection() {
        let (mut wire, _) = wire(b"R\0\0");
        let mut bytes = Vec::new();
        let error = wire.read_to_end(&mut bytes).await.expect_err("it is not whole");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
