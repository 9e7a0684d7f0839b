//! The metrics of the web server itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;

use super::refusals::{HandshakeFailure, LoginFailure};
use super::routes::{OTHER, Route};
use crate::metrics::{Counters, Histograms, Kind, LabelText, PairCounters, Reading};

/// The label of the route that answered: its path in the table, or [`OTHER`].
#[derive(Clone, Copy)]
struct Handler(&'static str);

impl LabelText for Handler {
    fn text(self) -> &'static str {
        self.0
    }
}

/// The status of an answer as a label.
#[derive(Clone, Copy)]
struct Code(&'static str);

/// Every status that is answered with. A closed set, so that no answer can add a label value.
const CODES: &[&str] = &[
    "200", "204", "302", "400", "401", "403", "404", "405", "413", "414", "429", "500", "501",
    "503", "504",
];

impl Code {
    fn of(status: StatusCode) -> Self {
        Self(CODES.iter().find(|code| **code == status.as_str()).copied().unwrap_or("other"))
    }
}

impl LabelText for Code {
    fn text(self) -> &'static str {
        self.0
    }
}

/// Upper bounds of the buckets, in seconds.
const EDGES: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The counters and histograms of the web server, and how its configuration was last read.
pub struct HttpInstruments {
    requests: PairCounters<Handler, Code>,
    durations: Histograms<Handler>,
    logins: Counters<LoginFailure>,
    handshakes: Counters<HandshakeFailure>,
    web_config: Mutex<WebConfigReads>,
}

#[derive(Default)]
struct WebConfigReads {
    successful: Option<bool>,
    last_success: Option<Duration>,
}

impl HttpInstruments {
    /// Starts the counters of these routes at zero.
    pub fn new<C>(routes: &[Route<C>]) -> Self {
        let requests = PairCounters::new(["handler", "code"]);
        for route in routes {
            requests.start(Handler(route.path), Code("200"));
        }
        Self {
            requests,
            durations: Histograms::new("handler", EDGES),
            logins: Counters::new("reason"),
            handshakes: Counters::new("reason"),
            web_config: Mutex::default(),
        }
    }

    /// Counts an answer. `handler` is the path of a route, or [`OTHER`].
    pub(super) fn answered(&self, handler: &'static str, status: StatusCode, took: Duration) {
        debug_assert!(handler == OTHER || handler.starts_with('/'), "a route's path");
        self.requests.inc(Handler(handler), Code::of(status));
        self.durations.observe(Handler(handler), took);
    }

    pub(super) fn login_failed(&self, reason: LoginFailure) {
        self.logins.inc(reason);
    }

    pub(super) fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshakes.inc(reason);
    }

    /// Records that the web configuration file was read and taken into use.
    pub(super) fn web_config_taken(&self) {
        let mut config = self.web_config();
        config.successful = Some(true);
        config.last_success = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    }

    /// Records that the web configuration file was refused.
    pub(super) fn web_config_refused(&self) {
        self.web_config().successful = Some(false);
    }

    fn web_config(&self) -> MutexGuard<'_, WebConfigReads> {
        self.web_config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The families of [`HttpInstruments`], read at each scrape.
pub const READINGS: &[Reading<HttpInstruments>] = &[
    Reading {
        name: "db_pool_exporter_http_requests_total",
        help: "HTTP requests answered, by route and status.",
        kind: Kind::Counter,
        labels: &["handler", "code"],
        read: |i, out| i.requests.show(out),
    },
    Reading {
        name: "db_pool_exporter_http_request_duration_seconds",
        help: "Time from an HTTP request's header to its answer, by route.",
        kind: Kind::Histogram,
        labels: &["handler"],
        read: |i, out| i.durations.show(out),
    },
    Reading {
        name: "db_pool_exporter_http_login_failures_total",
        help: "HTTP requests refused for their login, by reason; `missing` includes the first request of every browser.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |i, out| i.logins.show(out),
    },
    Reading {
        name: "db_pool_exporter_http_tls_handshake_failures_total",
        help: "Connections that ended in the TLS handshake, by reason; `closed` includes TCP health checks.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |i, out| i.handshakes.show(out),
    },
    Reading {
        name: "db_pool_exporter_web_config_last_reload_successful",
        help: "1 if the web configuration file was valid when it was last read; absent without such a file.",
        kind: Kind::Gauge,
        labels: &[],
        read: |i, out| out.push([], i.web_config().successful),
    },
    Reading {
        name: "db_pool_exporter_web_config_last_reload_success_timestamp_seconds",
        help: "Unix time at which the web configuration file was last read without a problem.",
        kind: Kind::Gauge,
        labels: &[],
        read: |i, out| out.push([], i.web_config().last_success),
    },
];
