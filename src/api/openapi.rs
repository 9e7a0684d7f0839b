//! `GET /api/v1/openapi.json`: the description of the JSON endpoints, as OpenAPI 3.1.
//!
//! The file is written by hand, so that a change of the contract shows in a diff. Tests compare it with
//! the routes and the answers.

use hyper::StatusCode;
use serde_json::Value;

use super::request::{ApiRequest, Reply};

const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with this program's version.
pub(crate) fn openapi(_: &ApiRequest<'_>) -> Reply {
    Reply { status: StatusCode::OK, body: description() }
}

pub(super) fn description() -> Value {
    let mut body: Value =
        serde_json::from_str(DESCRIPTION).expect("openapi.json is JSON: tests parse it");
    body["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    body
}
