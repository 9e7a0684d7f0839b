//! The web side: listeners, limits, TLS, authentication, and the routes with their answers.
//!
//! An endpoint is a row of [`routes::ROUTES`] and a file with its answer. The only room that knows
//! a status code.

mod access;
mod activity;
mod answer;
pub mod api;
mod begun;
mod connection;
mod exposition;
mod instruments;
mod landing;
mod lifecycle;
mod listener;
mod negotiate;
mod request;
mod roster;
mod routes;
mod serve;
mod service;
mod settings;
pub mod web;

pub use access::{Access, Client, Peer};
pub use answer::Answer;
pub use instruments::{HttpInstruments, READINGS};
pub use listener::{Address, BindError, Listener, bind};
pub use negotiate::accepts;
pub use request::Request;
pub use routes::{Answering, ROUTES, Route, TELEMETRY, Verb};
pub use serve::serve;
pub use service::{Context, Reload, Service, StartError, State};
pub use settings::{ExternalUrl, HttpLimits, Listen, NotAllowed, ServerSettings};

/// The sockets of systemd's socket activation: `Inherited::from_env()`, before any thread runs.
pub use listenfd::ListenFd as Inherited;
