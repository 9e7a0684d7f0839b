//! A request as a route sees it.

use std::borrow::Cow;

use hyper::Uri;
use hyper::header::{AsHeaderName, HeaderMap};
use hyper::http::request::Parts;

use super::access::Client;

/// A request whose size and sender were checked. Its body is not kept: no route needs one.
pub struct Request {
    /// The target as it was sent, with the route prefix.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The sender.
    pub client: Client,
}

impl Request {
    pub(super) fn new(parts: Parts, client: Client) -> Self {
        let Parts { uri, headers, .. } = parts;
        Self { uri, headers, client }
    }

    /// The pairs of the query string, percent-decoded, in their order.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.uri.query().unwrap_or("").as_bytes())
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// All values of a header as one list: a list may be spread over several lines (RFC 9110, 5.3).
pub(super) fn list(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
