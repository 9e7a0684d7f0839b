//! The answers of the daemon: `/metrics`, the status page, the JSON under `/api/v1`, and the
//! lifecycle. One file for each answer, one row of [`ROUTES`] for each path.
//!
//! The names, types and units of the JSON are a contract, that of the specification. The answer types
//! belong to this room alone. `openapi.json` describes every field; tests compare it with the routes
//! and the answers. Only `/probe` queries a database: the other answers show the last snapshot.

mod context;
mod exposition;
mod health;
mod html;
mod lifecycle;
mod openapi;
mod page;
mod pool;
mod probe;
mod request;
mod routes;
mod runbook;
mod sd;
mod slow;
mod targets;
mod units;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod schema;

pub use context::{Context, Exposition, Probes, Reload, Shown};
#[cfg(test)]
use health::bare_health;
pub use health::{health, pool_health};
pub(crate) use openapi::openapi;
pub use page::Setting;
pub use pool::{pool_status, reset_metrics};
pub use request::{ApiRequest, Endpoint, Reply};
pub use routes::ROUTES;
pub(crate) use sd::sd;
pub(crate) use slow::slow_queries;
pub(crate) use targets::targets;
