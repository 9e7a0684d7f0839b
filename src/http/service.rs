//! From a request to its answer: limits, authentication, access, then the route.
//!
//! The order is the exporter toolkit's: rate, headers, password, and only then what is asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, header};
use tokio::sync::{Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::access::{self, Client, Peer};
use super::activity::Busy;
use super::answer::Answer;
use super::instruments::HttpInstruments;
use super::request::Request;
use super::roster::Roster;
use super::routes::{self, Found, HEALTHY, Route};
use super::settings::ServerSettings;
use super::web::{Gate, Live, Load};
use crate::metrics::Page;
use crate::probe;

/// Asks for a reload; the answer says how it went.
pub type Reload = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// What the rest of the daemon gives to the web side.
pub struct State {
    /// Writes all families of `/metrics`, those of [`HttpInstruments`] among them.
    pub exposition: Arc<dyn Fn(&mut Page<'_>) + Send + Sync>,
    /// Whether every target was probed once.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The targets, for the JSON.
    pub targets: Arc<probe::Roster>,
    /// `None`: nothing can be reloaded.
    pub reload: Option<Reload>,
    /// What the web side counts.
    pub instruments: Arc<HttpInstruments>,
}

/// What an answer is made from.
pub struct Context {
    /// As given at start.
    pub settings: ServerSettings,
    /// As given at start.
    pub state: State,
}

impl Context {
    /// Whether a client may see more than the bare status where [`access::Access::Open`] lets it in.
    pub fn shows_details(&self, client: &Client) -> bool {
        client.trusted || !self.settings.production
    }
}

/// The web configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("web configuration: {}", .0.join("; "))]
pub struct StartError(
    /// All that is wrong with it.
    pub Vec<String>,
);

/// Answers requests.
pub struct Service {
    context: Context,
    live: Live,
    gate: Gate,
    in_flight: Option<Semaphore>,
    roster: Arc<Roster>,
}

/// Who sent a request, as far as its connection tells.
#[derive(Clone, Copy)]
pub(super) struct Sender {
    pub(super) peer: Peer,
    /// It showed a client certificate, and that was verified.
    pub(super) certified: bool,
}

impl Service {
    /// Reads the web configuration. `load` is `None` without `--web.config.file`.
    ///
    /// # Errors
    /// All problems of the web configuration.
    pub fn new(
        settings: ServerSettings,
        state: State,
        load: Option<Load>,
    ) -> Result<Arc<Self>, StartError> {
        let live = Live::start(load, Arc::clone(&state.instruments)).map_err(StartError)?;
        let gate = Gate::new().ok_or_else(|| StartError(vec!["no random numbers".to_owned()]))?;
        let in_flight = (settings.max_requests > 0)
            .then(|| Semaphore::new(settings.max_requests.min(Semaphore::MAX_PERMITS)));
        let roster = Roster::new(settings.limits.connections);
        Ok(Arc::new(Self { context: Context { settings, state }, live, gate, in_flight, roster }))
    }

    pub(super) fn settings(&self) -> &ServerSettings {
        &self.context.settings
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Answers one request.
    pub(super) async fn call(
        &self,
        request: hyper::Request<Incoming>,
        sender: Sender,
        busy: Busy,
    ) -> Response<Held> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let found = routes::find(self.settings(), &parts.method, parts.uri.path());
        let (handler, head) = (found.handler(), parts.method == Method::HEAD);
        let under_api = self.is_under_api(parts.uri.path());
        let answering = self.answer(parts, body, found, sender, &busy);
        let answer = timeout(self.settings().limits.request, answering).await;
        let answer = answer.unwrap_or_else(|_| {
            Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long")
        });
        self.context.state.instruments.answered(handler, answer.status, started.elapsed());
        let mut response = answer.into_response(under_api, head);
        for header in &self.live.current().headers {
            response.headers_mut().insert(header.name.clone(), header.value.clone());
        }
        response.map(|body| Held { body, _busy: busy })
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Incoming,
        found: Found,
        sender: Sender,
        busy: &Busy,
    ) -> Answer {
        let client = match self.admit(&parts, sender).await {
            Ok(client) => client,
            Err(refusal) => return refusal,
        };
        let may =
            access::check(self.settings(), found.access(), &client, &parts.uri, &parts.headers);
        if let Err(refusal) = may {
            return Answer::problem(StatusCode::FORBIDDEN, refusal.detail());
        }
        match found {
            Found::Route(route) => {
                self.answer_route(route, Request::new(parts, client), body, busy).await
            }
            Found::Allow(methods) => not_this_way(&parts.method, &methods),
            Found::Outside => self.to_the_prefix(),
            Found::Nothing => Answer::problem(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Rate, sizes, and who it is.
    async fn admit(&self, parts: &Parts, sender: Sender) -> Result<Client, Answer> {
        let web = self.live.current();
        if web.rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Answer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        if let Some(refusal) = oversized(parts) {
            return Err(refusal);
        }
        let mut authenticated = sender.certified;
        if !web.users.is_empty() {
            let header = parts.headers.get(header::AUTHORIZATION);
            let header = header.and_then(|value| value.to_str().ok()).unwrap_or("");
            if !self.gate.admits(&web.users, header).await {
                return Err(Answer::problem(StatusCode::UNAUTHORIZED, "unauthorized")
                    .with(header::WWW_AUTHENTICATE, "Basic realm=\"db_pool_exporter\""));
            }
            authenticated = true;
        }
        let settings = self.settings();
        Ok(Client::new(settings, sender.peer, authenticated, &parts.uri, &parts.headers))
    }

    async fn answer_route(
        &self,
        route: &Route,
        mut request: Request,
        body: Incoming,
        busy: &Busy,
    ) -> Answer {
        let turn = self.in_flight.as_ref().map(Semaphore::try_acquire);
        if matches!(turn, Some(Err(TryAcquireError::NoPermits))) && route.path != HEALTHY {
            return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests in flight")
                .with(header::RETRY_AFTER, "1");
        }
        match read_body(body).await {
            Ok(bytes) => request.body = bytes,
            Err(refusal) => return refusal,
        }
        busy.body_read();
        (route.answer)(&self.context, &request).await
    }

    fn to_the_prefix(&self) -> Answer {
        let settings = self.settings();
        let outside = settings.outside_prefix();
        // Not to itself.
        let prefix = if outside.is_empty() { settings.prefix() } else { outside };
        Answer::empty(StatusCode::FOUND).with(header::LOCATION, &format!("{prefix}/"))
    }

    fn is_under_api(&self, path: &str) -> bool {
        let inner = path.strip_prefix(self.settings().prefix().as_str()).unwrap_or(path);
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
    // hyper refused what is not a number.
    (length.parse::<usize>().ok()? > LARGEST_BODY).then(too_large)
}

async fn read_body(body: Incoming) -> Result<Bytes, Answer> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Answer::problem(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

fn too_large() -> Answer {
    Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "body over 64 KiB")
}

fn not_this_way(method: &Method, allowed: &str) -> Answer {
    let answer = if *method == Method::OPTIONS {
        Answer::empty(StatusCode::NO_CONTENT)
    } else {
        Answer::problem(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}"))
    };
    answer.with(header::ALLOW, allowed)
}

/// A body that keeps its connection busy until it was sent.
pub(super) struct Held {
    body: Bytes,
    _busy: Busy,
}

impl Body for Held {
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
