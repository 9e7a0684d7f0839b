//! `GET /api/v1/openapi.json`: the description of all this, as OpenAPI 3.1.
//!
//! Checked in beside this file, so that a change of the contract shows in a diff; tests hold it
//! against the routes and the answers.

use hyper::StatusCode;
use serde_json::Value;

use super::{Asked, Reply};

const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with this program's version.
pub fn openapi(_: &Asked<'_>) -> Reply {
    Reply { status: StatusCode::OK, body: description() }
}

pub(super) fn description() -> Value {
    let mut body: Value =
        serde_json::from_str(DESCRIPTION).expect("openapi.json is JSON, as the tests see");
    body["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    body
}
