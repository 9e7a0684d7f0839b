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
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Peer;
use super::activity::Watched;
use super::begun::Begun;
use super::listener::Stream;
use super::roster::Place;
use super::service::{Held, Sender, Service};
use super::settings::HttpLimits;
use super::web::Web;

/// A connection that is ready for requests.
struct Line {
    place: Place,
    /// Its web configuration was replaced.
    retired: CancellationToken,
    http2: bool,
}

/// What every connection needs of its surroundings.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) service: Arc<Service>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Surroundings {
    /// Serves a connection until one of the two ends it.
    ///
    /// Until its first byte has come a connection is little more than a socket: no buffers, no
    /// TLS session, and the boxed rest of this not yet made.
    pub(super) async fn serve(self, mut stream: Box<dyn Stream>, peer: Peer, place: Place) {
        let web = self.service.live().current();
        if web.tls.is_none() {
            place.activity.established(false);
        }
        let first = tokio::select! {
            first = stream.read_u8() => first,
            () = place.activity.expired(self.limits()) => return,
            () = place.close.cancelled() => return,
            () = web.retired.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        let Ok(first) = first else { return };
        let stream = Begun::new(first, stream);
        if web.tls.is_some() {
            return Box::pin(self.shake_hands(stream, peer, place, web)).await;
        }
        let line = Line { place, retired: web.retired.clone(), http2: false };
        drop(web);
        Box::pin(self.speak(stream, Sender { peer, certified: false }, line)).await;
    }

    async fn shake_hands(self, stream: impl Stream, peer: Peer, place: Place, web: Arc<Web>) {
        let Some(tls) = &web.tls else { return };
        let shaken = tokio::select! {
            shaken = tls.acceptor.accept(stream) => shaken,
            () = place.activity.expired(self.limits()) => return,
            () = place.close.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        let stream = match shaken {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(?peer, %error, "no TLS handshake"),
        };
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        let certified = tls.verifies && session.peer_certificates().is_some();
        let line = Line { place, retired: web.retired.clone(), http2 };
        drop(web);
        self.speak(stream, Sender { peer, certified }, line).await;
    }

    async fn speak(self, stream: impl Stream, sender: Sender, line: Line) {
        let Line { place, retired, http2 } = line;
        place.activity.established(http2);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&place.activity)));
        let (service, activity) = (Arc::clone(&self.service), Arc::clone(&place.activity));
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (service, busy) = (Arc::clone(&service), activity.begin());
            async move { Ok::<_, Infallible>(service.call(request, sender, busy).await) }
        });
        if http2 {
            let builder = http2_rules(Tracked(self.tasks.clone()));
            Box::pin(self.drive(builder.serve_connection(io, answer), place, retired)).await;
        } else {
            self.drive(http1_rules().serve_connection(io, answer), place, retired).await;
        }
    }

    async fn drive(self, connection: impl Closing, place: Place, retired: CancellationToken) {
        let mut connection = pin!(connection);
        let last = tokio::select! {
            _ = connection.as_mut() => return,
            () = place.activity.expired(self.limits()) => GOODBYE,
            () = place.close.cancelled() => GOODBYE,
            () = retired.cancelled() => self.limits().request,
            () = self.stop.cancelled() => self.limits().grace,
        };
        connection.as_mut().close();
        tokio::select! {
            _ = timeout(last, connection.as_mut()) => {}
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

/// Time to tell an idle client that the connection ends.
const GOODBYE: Duration = Duration::from_millis(100);

const LARGEST_HEADER: u16 = 16 * 1024;

fn http1_rules() -> http1::Builder {
    let mut rules = http1::Builder::new();
    rules
        .timer(TokioTimer::new())
        // Ours begins with the first byte: see `activity`.
        .header_read_timeout(None)
        .max_header_size(LARGEST_HEADER.into())
        .max_buf_size(2 * usize::from(LARGEST_HEADER));
    rules
}

fn http2_rules(tasks: Tracked) -> http2::Builder<Tracked> {
    let mut rules = http2::Builder::new(tasks);
    rules
        .timer(TokioTimer::new())
        .max_header_list_size(LARGEST_HEADER.into())
        .max_concurrent_streams(16)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    rules
}

/// hyper's tasks for the streams of HTTP/2.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(async move {
            future.await;
        });
    }
}

/// A connection that can be asked to end: it still sends what it is answering.
trait Closing: Future<Output = hyper::Result<()>> {
    fn close(self: Pin<&mut Self>);
}

impl<I, S> Closing for http1::Connection<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = Held, Error = Infallible>,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Closing for http2::Connection<I, S, Tracked>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = Held, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
