//! From a request to its answer: limits, authentication, access, then the route.
//!
//! The order is that of Prometheus' exporter toolkit: rate, headers, password, and only then the path. So a
//! client without a password cannot find out which paths exist, and a flood is refused at the least cost.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, header};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::access::{self, Client, ClientLogin, Peer};
use super::activity::{RequestGuard, Stage};
use super::answer::Answer;
use super::connections::Connections;
use super::instruments::HttpInstruments;
use super::live::LiveConfig;
use super::outgoing::{Key, Outgoing, Share, Standing};
use super::refusals::{BoundedLog, HandshakeFailure, LoginFailure};
use super::request::{self, Request};
use super::routes::{self, Admission, Found, Route, Verb};
use super::settings::ServerSettings;
use super::users::{BasicAuth, Login};
use crate::problem::{Problem, Problems};

/// The web configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("web configuration: {}", one_line(.0))]
pub struct StartError(
    /// All problems of the file.
    pub Problems,
);

pub(super) fn one_line(problems: &Problems) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Answers requests by a table of routes. `C` is the context from which the answers are made.
pub struct Service<C: 'static> {
    settings: ServerSettings,
    routes: &'static [Route<C>],
    context: C,
    instruments: Arc<HttpInstruments>,
    live: LiveConfig,
    auth: BasicAuth,
    outgoing: Outgoing,
    connections: Arc<Connections>,
    /// Admits pipelined requests one at a time; see [`Self::pass_turnstile`].
    turnstile: Semaphore,
    failed_logins: BoundedLog,
    failed_handshakes: BoundedLog,
}

/// The facts about the sender of a request that its connection shows.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) peer: Peer,
    /// It presented a client certificate, which was verified.
    pub(super) certified: bool,
}

impl<C: Send + Sync> Service<C> {
    /// Reads the web configuration file of the settings, if they name one. Blocks while it reads:
    /// nothing is served yet.
    ///
    /// # Errors
    /// All problems of the web configuration.
    pub fn new(
        settings: ServerSettings,
        routes: &'static [Route<C>],
        context: C,
        instruments: Arc<HttpInstruments>,
    ) -> Result<Arc<Self>, StartError> {
        let file = settings.web_config_file.as_deref();
        let live = LiveConfig::read(file, Arc::clone(&instruments)).map_err(StartError)?;
        let auth = BasicAuth::new().ok_or_else(|| {
            StartError(Problem::new("basic_auth_users", "the system has no random numbers").into())
        })?;
        Ok(Arc::new(Self {
            outgoing: Outgoing::new(settings.max_requests),
            connections: Connections::new(settings.limits.connections),
            settings,
            routes,
            context,
            instruments,
            live,
            auth,
            turnstile: Semaphore::new(1),
            failed_logins: BoundedLog::new(),
            failed_handshakes: BoundedLog::new(),
        }))
    }

    pub(super) fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    pub(super) fn live(&self) -> &LiveConfig {
        &self.live
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Counts and logs a TLS handshake that failed.
    pub(super) fn handshake_failed(
        &self,
        peer: Peer,
        reason: HandshakeFailure,
        error: Option<&std::io::Error>,
    ) {
        self.instruments.handshake_failed(reason);
        self.failed_handshakes.handshake(peer, reason, error);
    }

    /// Answers one request.
    pub(super) async fn call(
        &self,
        request: hyper::Request<Incoming>,
        caller: Caller,
        guard: RequestGuard,
    ) -> Response<TrackedBody> {
        if guard.is_pipelined {
            self.pass_turnstile(&guard).await;
        }
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let found = routes::find(self.routes, &self.settings, &parts.method, parts.uri.path());
        let handler = found.handler();
        let is_head = parts.method == Method::HEAD;
        let is_api = self.is_under_api(parts.uri.path());
        let mut place = None;
        let answering = self.answer(parts, body, found, caller, &guard, &mut place);
        let answer = timeout(self.settings.limits.request, answering).await;
        let answer = answer.unwrap_or_else(|_| {
            Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long")
        });
        self.instruments.answered(handler, answer.status, started.elapsed());
        let answer = if is_api { answer.with_json_problem() } else { answer };
        let mut response = answer.into_response();
        if is_head {
            *response.body_mut() = Bytes::new();
        }
        for header in &self.live.current().headers {
            response.headers_mut().insert(header.name.clone(), header.value.clone());
        }
        if response.status().is_success() {
            guard.succeed();
        } else {
            guard.enter(Stage::Sending);
        }
        response.map(|body| TrackedBody { body, guard, is_due: true, _place: place })
    }

    /// Lets other tasks run between any two pipelined requests, also of different connections. hyper answers
    /// the pipelined requests of a connection without a pause, so many clients that send many requests without
    /// waiting would otherwise delay all others.
    async fn pass_turnstile(&self, guard: &RequestGuard) {
        guard.enter(Stage::Queued);
        let turn = self.turnstile.acquire().await;
        yield_now().await;
        drop(turn);
        guard.enter(Stage::Answering);
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Incoming,
        found: Found<C>,
        caller: Caller,
        guard: &RequestGuard,
        place: &mut Option<Share>,
    ) -> Answer {
        let client = match self.admit(&parts, caller, guard).await {
            Ok(client) => client,
            Err(refusal) => return refusal,
        };
        let allowed = access::check(&self.settings, found.access(), &client, &parts);
        if let Err(refusal) = allowed {
            return Answer::problem(StatusCode::FORBIDDEN, refusal.detail());
        }
        match found {
            Found::Route(route) => {
                if parts.method == Method::POST
                    && let Err(refusal) = drain(body, guard).await
                {
                    return refusal;
                }
                guard.body_read();
                self.answer_route(route, Request::new(parts, client), guard, place).await
            }
            Found::Allow(methods) => other_method(&parts.method, &methods),
            Found::Outside => self.redirect_to_prefix(),
            Found::Nothing => Answer::problem(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Checks rate, form, sizes and password, in this order.
    async fn admit(
        &self,
        parts: &Parts,
        caller: Caller,
        guard: &RequestGuard,
    ) -> Result<Client, Answer> {
        let config = self.live.current();
        if config.rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Answer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        if let Some(refusal) = malformed(parts).or_else(|| oversized(parts)) {
            return Err(refusal);
        }
        let mut proof =
            if caller.certified { ClientLogin::Authenticated } else { ClientLogin::Anonymous };
        if !config.users.is_empty() {
            let header = parts.headers.get(header::AUTHORIZATION);
            // A header that is not ASCII is a malformed login and not a missing one.
            let header = header.map(|value| value.to_str().unwrap_or(""));
            let login = match self.auth.recall(&config.users, header) {
                Ok(login) => login,
                Err(attempt) => {
                    guard.enter(Stage::Queued);
                    let login = self.auth.check(attempt, caller.peer).await;
                    if login == Login::Busy {
                        sleep(LOGIN_PAUSE).await;
                    }
                    guard.enter(Stage::Answering);
                    login
                }
            };
            if let Some(refusal) = self.refuse(login, caller.peer) {
                return Err(refusal);
            }
            proof = ClientLogin::Authenticated;
        }
        Ok(Client::new(&self.settings, caller.peer, proof, parts))
    }

    /// The answer to a login that failed; `None` if it did not.
    fn refuse(&self, login: Login, peer: Peer) -> Option<Answer> {
        let failure = LoginFailure::of(login)?;
        self.instruments.login_failed(failure);
        self.failed_logins.login(peer, failure);
        Some(match failure {
            LoginFailure::Busy => {
                Answer::problem(StatusCode::TOO_MANY_REQUESTS, "too many logins are being checked")
                    .with(header::RETRY_AFTER, "1")
            }
            LoginFailure::Missing | LoginFailure::Malformed | LoginFailure::Wrong => {
                Answer::problem(StatusCode::UNAUTHORIZED, "unauthorized")
                    .with(header::WWW_AUTHENTICATE, "Basic realm=\"db_pool_exporter\"")
            }
        })
    }

    /// Makes the answer when there is a place for it. The place is kept until the answer was sent.
    async fn answer_route(
        &self,
        route: &Route<C>,
        request: Request,
        guard: &RequestGuard,
        place: &mut Option<Share>,
    ) -> Answer {
        if route.admission == Admission::Always {
            return (route.answer)(&self.context, &request).await;
        }
        let standing = if guard.is_proven() { Standing::Proven } else { Standing::Newcomer };
        guard.enter(Stage::Queued);
        match self.outgoing.place(standing, &self.connections).await {
            Ok(share) => *place = share,
            Err(_) => return busy(),
        }
        if route.verb == Verb::Post {
            guard.enter(Stage::Answering);
            return (route.answer)(&self.context, &request).await;
        }
        let key = (route.admission != Admission::Unshared).then(|| key(&request));
        if let Some(shared) = key.as_ref().and_then(|key| self.outgoing.shared(key)) {
            return shared;
        }
        let Ok(bytes) = self.outgoing.bytes(route.path, standing, &self.connections).await else {
            return busy();
        };
        guard.enter(Stage::Answering);
        let answer = (route.answer)(&self.context, &request).await;
        self.outgoing.send(route.path, key, answer, bytes)
    }

    fn redirect_to_prefix(&self) -> Answer {
        let outside = self.settings.outside_prefix();
        // A proxy may remove its own prefix before it forwards a request. The client needs the path that it
        // sees outside of the proxy.
        let prefix = if outside.is_empty() { self.settings.prefix() } else { outside };
        Answer::empty(StatusCode::FOUND).with(header::LOCATION, &format!("{prefix}/"))
    }

    fn is_under_api(&self, path: &str) -> bool {
        let inner = path.strip_prefix(self.settings.prefix().as_str()).unwrap_or(path);
        inner == "/api" || inner.starts_with("/api/")
    }
}

/// The time before a login is refused for want of room, so that a flood that tries again at once does not
/// occupy the thread with refusals.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_URI: usize = 8 * 1024;
const LARGEST_BODY: usize = 64 * 1024;

fn oversized(parts: &Parts) -> Option<Answer> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > LONGEST_URI {
        return Some(Answer::problem(StatusCode::URI_TOO_LONG, "URI over 8 KiB"));
    }
    let length = parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // hyper has already refused a Content-Length that is not a number.
    (length.parse::<usize>().ok()? > LARGEST_BODY).then(too_large)
}

fn busy() -> Answer {
    Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests in flight")
        .with(header::RETRY_AFTER, "1")
}

/// The parts of a request on which the answer to a GET depends.
fn key(request: &Request) -> Key {
    let target = request.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    Key {
        target,
        accept: request::list(&request.headers, header::ACCEPT),
        coding: request::list(&request.headers, header::ACCEPT_ENCODING),
        sees_details: request.client.sees_details,
    }
}

/// Refuses a request of HTTP/1.1 without a valid Host (RFC 9112, section 3.2), and a query that is not
/// percent-encoded UTF-8.
fn malformed(parts: &Parts) -> Option<Answer> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => "more than one Host header",
        (None, None) if parts.version == Version::HTTP_11 => "no Host header",
        (Some(host), None) if !host.is_empty() && Authority::try_from(host.as_bytes()).is_err() => {
            "the Host header is not a host"
        }
        _ if !request::is_encoded(parts.uri.query().unwrap_or("")) => {
            "the query is not percent-encoded UTF-8"
        }
        _ => return None,
    };
    Some(Answer::problem(StatusCode::BAD_REQUEST, detail))
}

/// Reads a body to its end and discards it. No route needs a body, but the next request of the same
/// connection follows behind it. The body of a GET is not read; hyper then closes the connection.
async fn drain(body: Incoming, guard: &RequestGuard) -> Result<(), Answer> {
    if body.is_end_stream() {
        return Ok(());
    }
    guard.enter(Stage::Body);
    let read = Limited::new(body, LARGEST_BODY).collect().await;
    guard.enter(Stage::Answering);
    match read {
        Ok(_) => Ok(()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Answer::problem(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

fn too_large() -> Answer {
    Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "body over 64 KiB")
}

/// Answers a method that the path does not have.
fn other_method(method: &Method, allowed: &str) -> Answer {
    let answer = if *method == Method::OPTIONS {
        Answer::empty(StatusCode::NO_CONTENT)
    } else {
        Answer::problem(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}"))
    };
    answer.with(header::ALLOW, allowed)
}

/// A body that holds the place of its request until it was sent, and records each part that is taken.
pub(super) struct TrackedBody {
    body: Bytes,
    guard: RequestGuard,
    /// The next part is due; otherwise other connections come first.
    is_due: bool,
    _place: Option<Share>,
}

/// The size of the parts of a body that are handed to hyper. hyper asks for the next part when the client has
/// taken this one, so progress can be observed, and hyper's buffers stay small.
///
/// Between two parts every other task gets its turn. Otherwise hyper writes until the socket is full,
/// some megabytes, and hundreds of connections that take large pages keep a small answer waiting.
const PART: usize = 16 * 1024;

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        if !self.is_due {
            self.is_due = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_due = false;
        self.guard.progress();
        let length = self.body.len().min(PART);
        Poll::Ready(Some(Ok(Frame::data(self.body.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.len() as u64)
    }
}
