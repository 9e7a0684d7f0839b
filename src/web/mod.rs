//! The web server of an exporter: listeners, TLS, authentication, limits, negotiation, and its
//! configuration file in the format of the Prometheus exporter toolkit.
//!
//! It knows nothing of pools. The caller hands in a table of [`Route`]s and the context from which
//! their answers are made; see [`Service::new`].

mod access;
mod activity;
mod answer;
mod config;
mod connection;
mod connections;
mod instruments;
mod listener;
mod live;
mod logins;
mod negotiate;
mod outgoing;
mod rate;
mod refusals;
mod request;
mod routes;
mod serve;
mod service;
mod settings;
mod tls;
mod users;
mod verify;

pub use access::{Access, Client, Peer};
pub use answer::Answer;
pub use instruments::{HttpInstruments, READINGS};
pub use listener::{Address, BindError, Listener, bind};
pub use live::check;
pub(crate) use negotiate::{Coding, coding, format};
pub use request::Request;
pub use routes::{Admission, Answering, Route, TELEMETRY, Verb};
pub use serve::serve;
pub use service::{Service, StartError};
pub use settings::{ExternalUrl, HttpLimits, Listen, NotAllowed, ServerSettings};

/// The sockets of systemd's socket activation: `Inherited::from_env()`, before any thread runs.
pub use listenfd::ListenFd as Inherited;
