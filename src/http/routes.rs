//! The table of what we answer: a row an endpoint.
//!
//! To add one: a file with its answer, and a row here. HEAD comes with GET, OPTIONS and 405 with
//! every row; limits, authentication and access were checked before the answer is asked for.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use super::access::Access;
use super::answer::Answer;
use super::instruments::Handler;
use super::request::Request;
use super::service::Context;
use super::settings::ServerSettings;
use super::{api, exposition, landing, lifecycle};

/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The method that a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD.
    Get,
    /// POST.
    Post,
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        match self {
            Self::Get => *method == Method::GET || *method == Method::HEAD,
            Self::Post => *method == Method::POST,
        }
    }
}

/// A row of the table.
pub struct Route {
    /// The method.
    pub verb: Verb,
    /// The path behind the route prefix; [`TELEMETRY`] stands for `--web.telemetry-path`.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    /// The answer.
    pub answer: for<'a> fn(&'a Context, &'a Request) -> Answering<'a>,
}

/// The path of `/metrics` in the table, and its label.
pub const TELEMETRY: &str = "/metrics";
/// Answered however many requests are in flight: liveness is not load.
pub(super) const HEALTHY: &str = "/-/healthy";

/// All that we answer.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: TELEMETRY,
        access: Access::Open,
        answer: |context, request| Box::pin(exposition::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(landing::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: HEALTHY,
        access: Access::Open,
        answer: |_, _| Box::pin(lifecycle::healthy()),
    },
    Route {
        verb: Verb::Get,
        path: "/-/ready",
        access: Access::Open,
        answer: |context, _| Box::pin(lifecycle::ready(context)),
    },
    Route {
        verb: Verb::Post,
        path: "/-/reload",
        access: Access::Change,
        answer: |context, _| Box::pin(lifecycle::reload(context)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/health",
        access: Access::Open,
        answer: |context, request| Box::pin(api::answer_health(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/database/pool/status",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::pool_status)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/database/pool/health",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::pool_health)),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/database/pool/reset-metrics",
        access: Access::Change,
        answer: |context, request| Box::pin(api::answer(context, request, api::reset_metrics)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/database/slow-queries",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::slow_queries)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/targets",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::targets)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/sd",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::sd)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/openapi.json",
        access: Access::Sensitive,
        answer: |context, request| Box::pin(api::answer(context, request, api::openapi)),
    },
];

/// Where a request leads.
pub(super) enum Found {
    Route(&'static Route),
    /// The path is there, but not with this method; what it allows.
    Allow(String),
    /// The root, while everything is under a prefix.
    Outside,
    Nothing,
}

impl Found {
    pub(super) fn handler(&self) -> Handler {
        match self {
            Self::Route(route) => Handler::of(route.path),
            Self::Allow(_) | Self::Outside | Self::Nothing => Handler::OTHER,
        }
    }

    /// What is not there is nobody's business either.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Route(route) => route.access,
            Self::Allow(_) | Self::Outside | Self::Nothing => Access::Sensitive,
        }
    }
}

/// Looks a method and a path up.
pub(super) fn find(settings: &ServerSettings, method: &Method, path: &str) -> Found {
    if *method == Method::OPTIONS && path == "*" {
        return Found::Allow("GET, HEAD, POST, OPTIONS".to_owned());
    }
    let prefix = settings.prefix();
    if path == "/" && !prefix.is_empty() {
        return Found::Outside;
    }
    let Some(path) = path.strip_prefix(prefix.as_str()) else { return Found::Nothing };
    let path = if path.is_empty() { "/" } else { path };
    let mut rows = ROUTES.iter().filter(|route| path == path_of(settings, route)).peekable();
    if rows.peek().is_none() {
        return Found::Nothing;
    }
    let rows: Vec<&'static Route> = rows.collect();
    match rows.iter().find(|route| route.verb.is(method)) {
        Some(route) => Found::Route(route),
        None => Found::Allow(allowed(&rows)),
    }
}

fn path_of<'a>(settings: &'a ServerSettings, route: &Route) -> &'a str {
    if route.path == TELEMETRY { &settings.telemetry_path } else { route.path }
}

fn allowed(rows: &[&Route]) -> String {
    let mut methods = Vec::new();
    for route in rows {
        match route.verb {
            Verb::Get => methods.extend(["GET", "HEAD"]),
            Verb::Post => methods.push("POST"),
        }
    }
    methods.push("OPTIONS");
    methods.join(", ")
}
