//! What a route is asked.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{AsHeaderName, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Uri};

use super::access::Client;

/// A request whose size and sender were checked.
pub struct Request {
    /// The method; HEAD where a route answers GET.
    pub method: Method,
    /// The target as it was sent, with the route prefix.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most 64 KiB.
    pub body: Bytes,
    /// Who asks.
    pub client: Client,
}

impl Request {
    pub(super) fn new(parts: Parts, client: Client) -> Self {
        let Parts { method, uri, headers, .. } = parts;
        Self { method, uri, headers, body: Bytes::new(), client }
    }

    /// The pairs of the query string, percent-decoded, in their order.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.uri.query().unwrap_or("").as_bytes())
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// All values of a header as one list, as if they had been sent in one line.
pub(super) fn list(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
