//! The integration tests: one program, so that they share their set-up and link once.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the harness waits for processes, which do not follow a paused clock, and it reads the environment"
)]

mod api;
mod daemon;
mod harness;
mod password;
mod pool;
mod support;
mod tls;
mod views;
