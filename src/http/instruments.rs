//! What the web side counts and times.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;

use super::routes::ROUTES;
use crate::metrics::{Histograms, Kind, Label, PairCounters, Reading};

/// The route that answered: its path in the table, or `other`.
#[derive(Clone, Copy)]
pub(super) struct Handler(&'static str);

impl Handler {
    pub(super) const OTHER: Self = Self("other");

    pub(super) const fn of(path: &'static str) -> Self {
        Self(path)
    }
}

const HANDLERS: [Handler; ROUTES.len() + 1] = {
    let mut all = [Handler::OTHER; ROUTES.len() + 1];
    let mut row = 0;
    while row < ROUTES.len() {
        all[row] = Handler(ROUTES[row].path);
        row += 1;
    }
    all
};

impl Label for Handler {
    const ALL: &'static [Self] = &HANDLERS;

    fn label(self) -> &'static str {
        self.0
    }
}

/// The status of an answer.
#[derive(Clone, Copy)]
struct Code(&'static str);

/// Every status that we answer with; another would be counted as `other`.
const CODES: &[Code] = &[
    Code("200"),
    Code("204"),
    Code("302"),
    Code("400"),
    Code("401"),
    Code("403"),
    Code("404"),
    Code("405"),
    Code("406"),
    Code("413"),
    Code("414"),
    Code("429"),
    Code("500"),
    Code("501"),
    Code("503"),
    Code("504"),
    Code("other"),
];

impl Code {
    fn of(status: StatusCode) -> Self {
        let known = CODES.iter().find(|code| code.0 == status.as_str());
        known.copied().unwrap_or(Self("other"))
    }
}

impl Label for Code {
    const ALL: &'static [Self] = CODES;

    fn label(self) -> &'static str {
        self.0
    }
}

/// Seconds.
const EDGES: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The counters and histograms of the web side, and how its own configuration was last read.
pub struct HttpInstruments {
    requests: PairCounters<Handler, Code>,
    durations: Histograms<Handler>,
    web_config: Mutex<WebConfigReads>,
}

#[derive(Default)]
struct WebConfigReads {
    successful: Option<bool>,
    last_success: Option<Duration>,
}

impl HttpInstruments {
    /// All at zero.
    pub fn new() -> Self {
        let requests = PairCounters::new(["handler", "code"]);
        for route in ROUTES {
            requests.start(Handler::of(route.path), Code("200"));
        }
        Self {
            requests,
            durations: Histograms::new("handler", EDGES),
            web_config: Mutex::default(),
        }
    }

    pub(super) fn answered(&self, handler: Handler, status: StatusCode, took: Duration) {
        self.requests.inc(handler, Code::of(status));
        self.durations.observe(handler, took);
    }

    /// The web configuration file was read.
    pub(super) fn web_config_read(&self, successful: bool) {
        let mut config = self.web_config();
        config.successful = Some(successful);
        if successful {
            config.last_success = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
        }
    }

    fn web_config(&self) -> MutexGuard<'_, WebConfigReads> {
        self.web_config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for HttpInstruments {
    fn default() -> Self {
        Self::new()
    }
}

/// The families of [`HttpInstruments`]; read at each scrape.
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
        name: "db_pool_exporter_web_config_last_reload_successful",
        help: "Whether the web configuration file could be read when it last changed.",
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
