//! What a route answers, before it becomes bytes.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer: a status with a body, or a problem whose form depends on who asked for it.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without Content-Length.
    pub headers: HeaderMap,
    body: Body,
}

enum Body {
    Whole(Bytes),
    /// `{"detail": ...}` under `/api`, a line of text elsewhere.
    Problem(String),
}

impl Answer {
    /// A body of any type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => Self::new(status, "application/json", text),
            Err(_) => Self::problem(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the answer"),
        }
    }

    /// An error, told in one sentence that the client may know.
    pub fn problem(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Problem(detail.into()) }
    }

    /// No body.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
    }

    /// Adds or replaces a header. A value that cannot be one is left out.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The answer's bytes; `under_api` chooses the form of a problem, `head` leaves the body out.
    pub(super) fn into_response(self, under_api: bool, head: bool) -> Response<Bytes> {
        let Self { status, mut headers, body } = self;
        let body = match body {
            Body::Whole(body) => body,
            Body::Problem(detail) => problem_body(&mut headers, &detail, under_api),
        };
        // HTTP/2 would not set it for a body that HEAD leaves out.
        if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers
            .entry(header::X_CONTENT_TYPE_OPTIONS)
            .or_insert(HeaderValue::from_static("nosniff"));
        let mut response = Response::new(if head { Bytes::new() } else { body });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

fn problem_body(headers: &mut HeaderMap, detail: &str, under_api: bool) -> Bytes {
    let (content_type, body) = if under_api {
        ("application/json", serde_json::json!({ "detail": detail }).to_string())
    } else {
        ("text/plain; charset=utf-8", format!("{detail}\n"))
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Bytes::from(body)
}
