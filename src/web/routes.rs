//! The routes: a row for each endpoint, and the search for the row of a request.
//!
//! HEAD comes with GET; OPTIONS and 405 come with every row. Limits, authentication and access are
//! checked before a row's function is called.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use super::access::Access;
use super::answer::Answer;
use super::request::Request;
use super::settings::ServerSettings;

/// The future of an answer.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The method that a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD with it.
    Get,
    /// POST.
    Post,
}

impl Verb {
    fn includes(self, method: &Method) -> bool {
        match self {
            Self::Get => *method == Method::GET || *method == Method::HEAD,
            Self::Post => *method == Method::POST,
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
        }
    }
}

/// The treatment of a request when `--web.max-requests` others are being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Refused with 503.
    Limited,
    /// Refused with 503; its answer is made anew for each request, never shared with equal ones.
    Unshared,
    /// Answered all the same: liveness must not depend on load.
    Always,
}

/// A row of the table of routes. `C` is the context from which the answers are made.
pub struct Route<C> {
    /// The method.
    pub verb: Verb,
    /// The path below the route prefix; [`TELEMETRY`] stands for `--web.telemetry-path`.
    pub path: &'static str,
    /// The clients that get an answer.
    pub access: Access,
    /// The treatment under load.
    pub admission: Admission,
    /// Makes the answer.
    pub answer: for<'a> fn(&'a C, &'a Request) -> Answering<'a>,
}

/// The path of the metrics in a table of routes, and the label of their handler.
pub const TELEMETRY: &str = "/metrics";

/// The handler label of requests without a route.
pub(super) const OTHER: &str = "other";

/// The result of the search for a route.
pub(super) enum Found<C: 'static> {
    Route(&'static Route<C>),
    /// The path exists, but not with this method; the value of the Allow header.
    Allow(String),
    /// The root, while all routes are below a prefix.
    Outside,
    Nothing,
}

impl<C> Found<C> {
    /// The label under which the request is counted.
    pub(super) fn handler(&self) -> &'static str {
        match self {
            Self::Route(route) => route.path,
            Self::Allow(_) | Self::Outside | Self::Nothing => OTHER,
        }
    }

    /// Unknown paths need the same trust as sensitive ones, so that they do not reveal what exists.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Route(route) => route.access,
            Self::Allow(_) | Self::Outside | Self::Nothing => Access::Sensitive,
        }
    }
}

/// Finds the route of a method and a path.
pub(super) fn find<C>(
    routes: &'static [Route<C>],
    settings: &ServerSettings,
    method: &Method,
    path: &str,
) -> Found<C> {
    if *method == Method::OPTIONS && path == "*" {
        return Found::Allow("GET, HEAD, POST, OPTIONS".to_owned());
    }
    let prefix = settings.prefix();
    if path == "/" && !prefix.is_empty() {
        return Found::Outside;
    }
    let Some(path) = path.strip_prefix(prefix.as_str()) else { return Found::Nothing };
    let path = if path.is_empty() { "/" } else { path };
    let rows: Vec<&'static Route<C>> =
        routes.iter().filter(|route| path == path_of(settings, route)).collect();
    if rows.is_empty() {
        return Found::Nothing;
    }
    match rows.iter().find(|route| route.verb.includes(method)) {
        Some(route) => Found::Route(route),
        None => Found::Allow(allowed(&rows)),
    }
}

fn path_of<'a, C>(settings: &'a ServerSettings, route: &Route<C>) -> &'a str {
    if route.path == TELEMETRY { &settings.telemetry_path } else { route.path }
}

fn allowed<C>(rows: &[&Route<C>]) -> String {
    let mut methods: Vec<&str> = rows.iter().flat_map(|row| row.verb.methods()).copied().collect();
    methods.push("OPTIONS");
    methods.join(", ")
}
