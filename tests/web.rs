//! The web server as clients see it: `serve` on a free port, with an example exposition.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]
#![allow(clippy::disallowed_types, reason = "the test client measures real time")]

#[path = "web/access.rs"]
mod access;
#[path = "web/api.rs"]
mod api;
#[path = "web/auth.rs"]
mod auth;
#[path = "shared/browser.rs"]
mod browser;
#[path = "shared/http.rs"]
#[allow(
    clippy::disallowed_types,
    reason = "a client outside of the runtime measures with std's clock"
)]
mod http;
#[path = "web/limits.rs"]
mod limits;
#[path = "web/metrics.rs"]
mod metrics;
#[path = "web/page.rs"]
mod page;
#[path = "web/prometheus.rs"]
mod prometheus;
#[path = "web/routes.rs"]
mod routes;
#[path = "web/sockets.rs"]
mod sockets;
#[path = "web/support.rs"]
mod support;
#[path = "web/tls.rs"]
mod tls;
