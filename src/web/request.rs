//! A request as a route sees it.

use std::borrow::Cow;

use hyper::Uri;
use hyper::header::{AsHeaderName, HeaderMap};
use hyper::http::request::Parts;

use super::access::Client;

/// A request after the checks of its size and its sender. Its body is not kept, because no route needs one.
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

/// Reports whether a query decodes without replacing anything: every `%` has two hexadecimal digits, and
/// the text is UTF-8.
pub(super) fn is_encoded(query: &str) -> bool {
    let mut bytes = query.bytes();
    let mut decoded = Vec::with_capacity(query.len());
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(hexadecimal);
            let [Some(high), Some(low)] = digits else { return false };
            high << 4 | low
        } else {
            byte
        };
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

fn hexadecimal(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_percent_encoded_utf8() {
        for query in ["", "a=b", "name[]=x", "a=%C3%A4", "a=%e2%82%ac", "a=+"] {
            assert!(is_encoded(query), "{query}");
        }
        for query in ["%", "a=%z", "a=%zz", "a=%4", "name[]=%zz", "a=%ff", "a=%C3"] {
            assert!(!is_encoded(query), "{query}");
        }
    }
}
