//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Peer;
use super::activity::{Protocol, TimedStream};
use super::connections::ConnectionSlot;
use super::listener::Socket;
use super::live::ActiveConfig;
use super::refusals::HandshakeFailure;
use super::service::{Caller, Service, TrackedBody};
use super::settings::HttpLimits;

/// The parts of the server that every connection uses.
pub(super) struct ConnectionContext<C: 'static> {
    pub(super) service: Arc<Service<C>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// By hand, because a derived one would ask for `C: Clone`.
impl<C> Clone for ConnectionContext<C> {
    fn clone(&self) -> Self {
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        Self { service: Arc::clone(&self.service), stop, tasks }
    }
}

impl<C: Send + Sync + 'static> ConnectionContext<C> {
    /// Serves a connection until the client or the server ends it.
    ///
    /// Until its first byte has come a connection is little more than a socket: no buffers, no TLS
    /// session, and the future of the rest is boxed only then. So connections that send nothing
    /// cost almost no memory.
    pub(super) async fn serve(self, socket: Socket, peer: Peer, slot: ConnectionSlot) {
        slot.activity.started();
        let config = self.service.live().current();
        if config.tls.is_none() {
            slot.activity.established(Protocol::Http1);
        }
        let readable = tokio::select! {
            readable = socket.readable() => readable,
            () = slot.activity.expired(self.limits()) => return,
            () = slot.close.cancelled() => return,
            () = config.retired.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        if readable.is_err() {
            return;
        }
        let stream = TimedStream::new(socket, Arc::clone(&slot.activity));
        if config.tls.is_some() {
            return Box::pin(self.serve_tls(stream, peer, slot, config)).await;
        }
        let retired = config.retired.clone();
        drop(config);
        Box::pin(self.serve_http1(stream, Caller { peer, certified: false }, slot, retired)).await;
    }

    async fn serve_tls(
        self,
        stream: TimedStream,
        peer: Peer,
        slot: ConnectionSlot,
        config: Arc<ActiveConfig>,
    ) {
        let Some(tls) = &config.tls else { return };
        let accepted = tokio::select! {
            accepted = tls.acceptor.accept(stream) => accepted,
            () = slot.activity.expired(self.limits()) => {
                return self.service.handshake_failed(peer, HandshakeFailure::Timeout, None);
            }
            () = slot.close.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                let reason = HandshakeFailure::of(&error);
                return self.service.handshake_failed(peer, reason, Some(&error));
            }
        };
        let session = stream.get_ref().1;
        let certified = tls.verifies && session.peer_certificates().is_some();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let retired = config.retired.clone();
        drop(config);
        let caller = Caller { peer, certified };
        if is_http2 {
            self.serve_http2(stream, caller, slot, retired).await;
        } else {
            self.serve_http1(stream, caller, slot, retired).await;
        }
    }

    async fn serve_http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        caller: Caller,
        slot: ConnectionSlot,
        retired: CancellationToken,
    ) {
        slot.activity.established(Protocol::Http1);
        let service = self.request_service(caller, &slot);
        let connection = http1_builder().serve_connection(TokioIo::new(stream), service);
        self.drive(connection, slot, retired).await;
    }

    async fn serve_http2(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        caller: Caller,
        slot: ConnectionSlot,
        retired: CancellationToken,
    ) {
        slot.activity.established(Protocol::Http2);
        let service = self.request_service(caller, &slot);
        let builder = http2_builder(TrackedExecutor(self.tasks.clone()));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        Box::pin(self.drive(connection, slot, retired)).await;
    }

    /// The requests of a connection, answered by the service.
    fn request_service(
        &self,
        caller: Caller,
        slot: &ConnectionSlot,
    ) -> impl HttpService<
        Incoming,
        ResBody = TrackedBody,
        Error = Infallible,
        Future: Send + 'static + Future<Output = Result<hyper::Response<TrackedBody>, Infallible>>,
    > + use<C> {
        let service = Arc::clone(&self.service);
        let activity = Arc::clone(&slot.activity);
        service_fn(move |request: hyper::Request<Incoming>| {
            let (service, guard) = (Arc::clone(&service), activity.begin());
            async move { Ok::<_, Infallible>(service.call(request, caller, guard).await) }
        })
    }

    /// Runs a connection to its end, which it reaches by itself or is asked to.
    async fn drive(
        self,
        connection: impl GracefulShutdown,
        slot: ConnectionSlot,
        retired: CancellationToken,
    ) {
        let mut connection = pin!(connection);
        let time_left = tokio::select! {
            _ = connection.as_mut() => return,
            () = slot.activity.expired(self.limits()) => GOODBYE,
            () = slot.close.cancelled() => GOODBYE,
            () = retired.cancelled() => self.limits().request,
            () = self.stop.cancelled() => self.limits().grace,
        };
        connection.as_mut().shut_down();
        tokio::select! {
            _ = timeout(time_left, connection.as_mut()) => {}
            () = sleep_after(&self.stop, self.limits().grace) => {}
        }
    }

    fn limits(&self) -> &HttpLimits {
        &self.service.settings().limits
    }
}

async fn sleep_after(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    sleep(grace).await;
}

/// Time to announce the end to an idle client.
const GOODBYE: Duration = Duration::from_millis(20);

const LARGEST_HEADER: u16 = 16 * 1024;

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `activity` has a timer of its own, which starts with the first byte.
        .header_read_timeout(None)
        .max_header_size(LARGEST_HEADER.into())
        .max_buf_size(2 * usize::from(LARGEST_HEADER));
    builder
}

fn http2_builder(executor: TrackedExecutor) -> http2::Builder<TrackedExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(LARGEST_HEADER.into())
        // A scraper uses one; each of more costs memory while its client does not take the answer.
        .max_concurrent_streams(8)
        .max_send_buf_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// Spawns hyper's tasks for the streams of HTTP/2, so that the end of the daemon waits for them.
#[derive(Clone)]
struct TrackedExecutor(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for TrackedExecutor {
    fn execute(&self, future: F) {
        self.0.spawn(async move {
            future.await;
        });
    }
}

/// A connection that can be asked to end: it still sends the answer that it has begun.
trait GracefulShutdown: Future<Output = hyper::Result<()>> {
    fn shut_down(self: Pin<&mut Self>);
}

impl<I, S> GracefulShutdown for http1::Connection<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = TrackedBody, Error = Infallible>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> GracefulShutdown for http2::Connection<I, S, TrackedExecutor>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = TrackedBody, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
