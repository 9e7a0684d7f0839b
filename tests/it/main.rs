//! The integration tests: one program, so that they share their set-up and link once.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the harness waits for processes, which do not follow a paused clock, and it reads the environment"
)]

mod api;
mod between;
#[path = "../shared/browser.rs"]
mod browser;
mod certificates;
mod check;
mod commands;
mod daemon;
mod dashboards;
mod demo;
mod discovery;
mod drill;
mod endpoints;
mod floods;
mod harness;
mod hostile;
#[path = "../shared/http.rs"]
mod http;
mod incidents;
mod library;
mod log;
mod many;
mod page;
mod password;
mod pgbouncer;
mod pool;
mod probe;
mod production;
mod reload;
mod role;
mod rules;
mod scrape;
mod secrets;
mod series;
mod sessions;
mod size;
mod sqlalchemy;
mod support;
mod targets_from;
mod tls;
mod truth;
mod urls;
mod usage;
mod views;
mod workers;
