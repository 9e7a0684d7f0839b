//! The stream between us and the server, above TLS: it watches the server's side of the start-up
//! and closes politely.
//!
//! tokio-postgres tells neither the backend's pid nor which authentication the server asks for, and
//! answers a demand for the cleartext password by itself; so the messages are read here on their way
//! (their layout: <https://www.postgresql.org/docs/current/protocol-message-formats.html>). And it
//! drops the socket right after Terminate, when the backend still counts among the server's
//! connections: here the end of a stream waits for the server's own end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long the end of a stream waits for the server's end of it.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a stream must be able to do.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An authentication that the server asks for, by its protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Nothing is asked.
    None,
    /// The password as it is.
    Cleartext,
    /// The password in an MD5 hash.
    Md5,
    /// SCRAM-SHA-256, with or without channel binding.
    Scram,
    /// Kerberos or the like, which we do not speak.
    Gss,
    /// A newer one that we do not know.
    Unknown,
}

impl Method {
    /// As `require_auth` calls it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cleartext => "password",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Gss => "gss",
            Self::Unknown => "unknown",
        }
    }
}

/// Why we ended a start-up ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// The user allows others only.
    #[error("the server asks for the authentication `{}`, which require_auth does not allow", .0.label())]
    NotListed(Method),
    /// Anybody on the way could read it.
    #[error(
        "the server asks for the password in clear text over a connection that is neither encrypted nor local; it was not sent (require_auth=password would allow it)"
    )]
    InTheClear,
}

/// What the server told during the start-up; shared with the connection's owner.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pid: AtomicI32,
    authenticated: AtomicBool,
}

impl Seen {
    /// The backend's process id; 0 before the server told it.
    pub(super) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Whether the server has let us in.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }
}

/// Decides about an authentication that the server asks for.
pub(super) type Guard = Box<dyn FnMut(Method) -> Result<(), Refusal> + Send>;

/// The stream. It is watched until the server is ready for the first query.
pub(super) struct Wire {
    inner: Box<dyn Io>,
    watch: Option<Watch>,
    farewell: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(inner: Box<dyn Io>, guard: Guard) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let watch = Watch { seen: Arc::clone(&seen), guard, head: Vec::new(), skip: 0 };
        (Self { inner, watch: Some(watch), farewell: None }, seen)
    }
}

/// Reads the server's messages on their way: a letter, a length, a body.
struct Watch {
    seen: Arc<Seen>,
    guard: Guard,
    /// The start of a message that is not whole yet.
    head: Vec<u8>,
    /// How much of a message's body is still to come and of no interest.
    skip: usize,
}

/// A message is looked at with so much of its body.
const LOOK: usize = 9;

impl Watch {
    /// Takes bytes from the server; `Ok(true)` once it is ready for a query.
    fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Refusal> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(false);
            }
            let wanted = self.wanted().saturating_sub(self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.head.len() < self.wanted() {
                continue;
            }
            let rest = self.length().saturating_sub(self.head.len());
            let ready = self.look()?;
            if ready {
                return Ok(true);
            }
            self.skip = rest;
            self.head.clear();
        }
    }

    /// The whole message's length; at least its head's.
    fn length(&self) -> usize {
        match self.head.get(1..5) {
            Some(&[a, b, c, d]) => 1 + u32::from_be_bytes([a, b, c, d]).max(4) as usize,
            _ => 5,
        }
    }

    /// How many bytes of the message must be there before it is looked at.
    fn wanted(&self) -> usize {
        self.length().min(LOOK)
    }

    fn look(&mut self) -> Result<bool, Refusal> {
        let number = match self.head.get(5..9) {
            Some(&[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]),
            _ => 0,
        };
        match self.head.first() {
            Some(b'R') => {
                if let Some(method) = method(number) {
                    (self.guard)(method)?;
                    self.seen.authenticated.store(method == Method::None, Ordering::Relaxed);
                }
            }
            Some(b'K') => self.seen.pid.store(number, Ordering::Relaxed),
            Some(b'Z') => return Ok(true),
            _ => {}
        }
        Ok(false)
    }
}

/// The method behind an authentication request's number; `None` for a step of one.
fn method(number: i32) -> Option<Method> {
    match number {
        0 => Some(Method::None),
        3 => Some(Method::Cleartext),
        5 => Some(Method::Md5),
        7 | 9 => Some(Method::Gss),
        8 | 11 | 12 => None,
        10 => Some(Method::Scram),
        _ => Some(Method::Unknown),
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if let Some(watch) = &mut self.watch {
            match watch.take(&buf.filled()[before..]) {
                Ok(false) => {}
                Ok(true) => self.watch = None,
                Err(refusal) => return Poll::Ready(Err(io::Error::other(refusal))),
            }
        }
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

    /// Ends our side, then reads until the server has ended its own, for at most [`FAREWELL`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let limit = this.farewell.get_or_insert_with(|| Box::pin(tokio::time::sleep(FAREWELL)));
        let mut rest = [0; 256];
        loop {
            let mut buf = ReadBuf::new(&mut rest);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return limit.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Feeds a start-up in pieces of `size` bytes; tells pid, methods seen, and whether it ended.
    fn watch(size: usize, refuse: Option<Method>) -> (i32, bool, Result<(), Refusal>) {
        let mut bytes = message(b'R', &10_i32.to_be_bytes());
        bytes.extend(message(b'R', &[0, 0, 0, 11, b'r', b'=', 1, 2, 3, 4, 5, 6, 7]));
        bytes.extend(message(b'R', &0_i32.to_be_bytes()));
        bytes.extend(message(b'S', b"server_version\x0015.18\0"));
        bytes.extend(message(b'K', &[0, 0, 4, 210, 9, 9, 9, 9]));
        bytes.extend(message(b'Z', b"I"));
        let seen = Arc::new(Seen::default());
        let guard: Guard =
            Box::new(move |m| if Some(m) == refuse { Err(Refusal::NotListed(m)) } else { Ok(()) });
        let mut watch = Watch { seen: Arc::clone(&seen), guard, head: Vec::new(), skip: 0 };
        let mut ready = false;
        for piece in bytes.chunks(size) {
            match watch.take(piece) {
                Ok(end) => ready |= end,
                Err(refusal) => return (seen.pid(), ready, Err(refusal)),
            }
        }
        (seen.pid(), ready, Ok(()))
    }

    #[test]
    fn pid_and_methods_are_read_however_the_bytes_are_cut() {
        for size in [1, 2, 3, 5, 7, 64, 1024] {
            assert_eq!(watch(size, None), (1234, true, Ok(())), "pieces of {size}");
            assert_eq!(
                watch(size, Some(Method::Scram)),
                (0, false, Err(Refusal::NotListed(Method::Scram)))
            );
            assert_eq!(watch(size, Some(Method::Cleartext)), (1234, true, Ok(())));
        }
    }
}
