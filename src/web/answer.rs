//! The answer of a route, before it becomes bytes.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer: a status with a body, or a problem, which is JSON or plain text depending on the path.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without Content-Length.
    pub headers: HeaderMap,
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) enum Body {
    Whole(Bytes),
    /// A line of text.
    Problem(String),
    /// `{"detail": ...}`.
    JsonProblem(String),
}

impl Body {
    /// The bytes; a problem has none yet.
    pub(super) fn into_whole(self) -> Result<Bytes, Self> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            problem @ (Self::Problem(_) | Self::JsonProblem(_)) => Err(problem),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl Answer {
    /// An answer with a body of any type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// An answer in plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// An answer in JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => Self::new(status, "application/json", text),
            Err(_) => Self::problem(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the answer"),
        }
    }

    /// An error in one sentence, which every client may read.
    pub fn problem(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Problem(detail.into()) }
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
    }

    /// Adds or replaces a header. Leaves out a value that a header cannot hold.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Writes a problem as JSON, as all answers under `/api` are.
    pub(super) fn with_json_problem(mut self) -> Self {
        self.body = match self.body {
            Body::Problem(detail) => Body::JsonProblem(detail),
            body @ (Body::Whole(_) | Body::JsonProblem(_)) => body,
        };
        self
    }

    /// The answer with all its headers and its body, also for HEAD: the length is that of GET.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let Self { status, mut headers, body } = self;
        let (content_type, body) = match body {
            Body::Whole(body) => (None, body),
            Body::Problem(detail) => {
                (Some("text/plain; charset=utf-8"), Bytes::from(format!("{detail}\n")))
            }
            Body::JsonProblem(detail) => {
                let text = serde_json::json!({ "detail": detail }).to_string();
                (Some("application/json"), Bytes::from(text))
            }
        };
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // hyper sets no length over HTTP/2 for a body that HEAD leaves out.
        if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers
            .entry(header::X_CONTENT_TYPE_OPTIONS)
            .or_insert(HeaderValue::from_static("nosniff"));
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
