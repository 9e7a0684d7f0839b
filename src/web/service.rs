//! From a request to its answer: limits, authentication, access, then the route.
//!
//! The order is that of the exporter toolkit: rate, headers, password, and only then the path.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, header};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout};

use super::access::{self, Client, Peer};
use super::activity::RequestGuard;
use super::answer::Answer;
use super::connections::Connections;
use super::instruments::HttpInstruments;
use super::live::LiveConfig;
use super::request::Request;
use super::routes::{self, Admission, Found, Route};
use super::settings::ServerSettings;
use super::users::BasicAuth;
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
    in_flight: Option<Semaphore>,
    connections: Arc<Connections>,
}

/// The sender of a request, as far as its connection shows.
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
        let in_flight = (settings.max_requests > 0)
            .then(|| Semaphore::new(settings.max_requests.min(Semaphore::MAX_PERMITS)));
        let connections = Connections::new(settings.limits.connections);
        let service =
            Self { settings, routes, context, instruments, live, auth, in_flight, connections };
        Ok(Arc::new(service))
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

    /// Answers one request.
    pub(super) async fn call(
        &self,
        request: hyper::Request<Incoming>,
        caller: Caller,
        guard: RequestGuard,
    ) -> Response<TrackedBody> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let found = routes::find(self.routes, &self.settings, &parts.method, parts.uri.path());
        let handler = found.handler();
        let is_head = parts.method == Method::HEAD;
        let is_api = self.is_under_api(parts.uri.path());
        let answering = self.answer(parts, body, found, caller, &guard);
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
        response.map(|body| TrackedBody { body, _guard: guard })
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Incoming,
        found: Found<C>,
        caller: Caller,
        guard: &RequestGuard,
    ) -> Answer {
        let client = match self.admit(&parts, caller).await {
            Ok(client) => client,
            Err(refusal) => return refusal,
        };
        let allowed =
            access::check(&self.settings, found.access(), &client, &parts.uri, &parts.headers);
        if let Err(refusal) = allowed {
            return Answer::problem(StatusCode::FORBIDDEN, refusal.detail());
        }
        match found {
            Found::Route(route) => {
                self.answer_route(route, Request::new(parts, client), body, guard).await
            }
            Found::Allow(methods) => other_method(&parts.method, &methods),
            Found::Outside => self.redirect_to_prefix(),
            Found::Nothing => Answer::problem(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Checks rate, sizes and password, in this order.
    async fn admit(&self, parts: &Parts, caller: Caller) -> Result<Client, Answer> {
        let config = self.live.current();
        if config.rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Answer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        if let Some(refusal) = oversized(parts) {
            return Err(refusal);
        }
        let mut authenticated = caller.certified;
        if !config.users.is_empty() {
            let header = parts.headers.get(header::AUTHORIZATION);
            let header = header.and_then(|value| value.to_str().ok()).unwrap_or("");
            if !self.auth.admits(&config.users, header).await {
                return Err(Answer::problem(StatusCode::UNAUTHORIZED, "unauthorized")
                    .with(header::WWW_AUTHENTICATE, "Basic realm=\"db_pool_exporter\""));
            }
            authenticated = true;
        }
        Ok(Client::new(&self.settings, caller.peer, authenticated, &parts.uri, &parts.headers))
    }

    async fn answer_route(
        &self,
        route: &Route<C>,
        request: Request,
        body: Incoming,
        guard: &RequestGuard,
    ) -> Answer {
        let permit = self.in_flight.as_ref().map(Semaphore::try_acquire);
        if matches!(permit, Some(Err(TryAcquireError::NoPermits)))
            && route.admission == Admission::Limited
        {
            return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests in flight")
                .with(header::RETRY_AFTER, "1");
        }
        if let Err(refusal) = drain(body).await {
            return refusal;
        }
        guard.body_read();
        (route.answer)(&self.context, &request).await
    }

    fn redirect_to_prefix(&self) -> Answer {
        let outside = self.settings.outside_prefix();
        // A proxy that takes the prefix away would otherwise be sent to where it is.
        let prefix = if outside.is_empty() { self.settings.prefix() } else { outside };
        Answer::empty(StatusCode::FOUND).with(header::LOCATION, &format!("{prefix}/"))
    }

    fn is_under_api(&self, path: &str) -> bool {
        let inner = path.strip_prefix(self.settings.prefix().as_str()).unwrap_or(path);
        inner == "/api" || inner.starts_with("/api/")
    }
}

const LONGEST_URI: usize = 8 * 1024;
const LARGEST_BODY: usize = 64 * 1024;

fn oversized(parts: &Parts) -> Option<Answer> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > LONGEST_URI {
        return Some(Answer::problem(StatusCode::URI_TOO_LONG, "URI over 8 KiB"));
    }
    let length = parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // hyper has refused what is not a number.
    (length.parse::<usize>().ok()? > LARGEST_BODY).then(too_large)
}

/// Reads a body to its end and discards it: no route needs one, but the next request of the
/// connection comes behind it.
async fn drain(body: Incoming) -> Result<(), Answer> {
    if body.is_end_stream() {
        return Ok(());
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
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

/// A body that keeps its connection busy until it was sent.
pub(super) struct TrackedBody {
    body: Bytes,
    _guard: RequestGuard,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = std::mem::take(&mut self.body);
        Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.len() as u64)
    }
}
