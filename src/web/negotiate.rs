//! Content negotiation: the media type and the coding that a client prefers (RFC 9110, section 12).

use hyper::header::{self, HeaderMap};

use super::request::list;
use crate::metrics::Format;

/// A media type of our answers.
struct Offer {
    kind: &'static str,
    subtype: &'static str,
    version: &'static str,
}

const TEXT: Offer = Offer { kind: "text", subtype: "plain", version: "0.0.4" };
const OPEN_METRICS: Offer =
    Offer { kind: "application", subtype: "openmetrics-text", version: "1.0.0" };

/// The exposition format that the scraper prefers; text where both are equal, and where it accepts
/// neither, as every exporter does: a scraper with an odd Accept header is better served than refused.
pub(crate) fn format(headers: &HeaderMap) -> Format {
    let Some(accept) = list(headers, header::ACCEPT) else { return Format::Text };
    if quality(&accept, &OPEN_METRICS) > quality(&accept, &TEXT) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// The quality of the most specific range that includes the offer, in thousandths.
fn quality(accept: &str, offer: &Offer) -> u16 {
    if accept.trim().is_empty() {
        return 1000;
    }
    let matching = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let specific = specificity(parts.next()?, parts.clone(), offer)?;
        Some((specific, q_value(parts)))
    });
    matching.max().map_or(0, |(_, q)| q)
}

/// The specificity of a range for the offer; `None` if it does not include it.
fn specificity<'a>(
    range: &str,
    mut parameters: impl Iterator<Item = &'a str>,
    offer: &Offer,
) -> Option<u8> {
    let (kind, subtype) = range.split_once('/')?;
    if kind == "*" && subtype == "*" {
        return Some(0);
    }
    if !kind.eq_ignore_ascii_case(offer.kind) {
        return None;
    }
    if subtype == "*" {
        return Some(1);
    }
    if !subtype.eq_ignore_ascii_case(offer.subtype) {
        return None;
    }
    match parameters.find_map(|p| parameter(p, "version")) {
        Some(version) if version == offer.version => Some(3),
        Some(_) => None,
        None => Some(2),
    }
}

/// The coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// Compressed with gzip.
    Gzip,
}

/// The coding that the client prefers, gzip where both are equal, and none where it accepts neither.
pub(crate) fn coding(headers: &HeaderMap) -> Coding {
    let Some(accept) = list(headers, header::ACCEPT_ENCODING) else { return Coding::Identity };
    let any = coding_quality(&accept, "*");
    let gzip = coding_quality(&accept, "gzip").or(any).unwrap_or(0);
    let identity = coding_quality(&accept, "identity").unwrap_or(0);
    if gzip > 0 && gzip >= identity { Coding::Gzip } else { Coding::Identity }
}

fn coding_quality(accept: &str, name: &str) -> Option<u16> {
    accept.split(',').find_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        parts.next()?.eq_ignore_ascii_case(name).then(|| q_value(parts))
    })
}

fn parameter<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = part.split_once('=')?;
    key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
}

/// The q-value in thousandths: 1000 if it is absent, 0 if it is invalid.
fn q_value<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    parameters.find_map(|p| parameter(p, "q")).map_or(1000, thousandths)
}

fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    let fraction = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "1" => 1000,
        "0" => fraction,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn scrapers_and_browsers_get_what_they_prefer() {
        let (text, open) = (Format::Text, Format::OpenMetrics);
        for (accept, expected) in [
            ("*/*", text),
            ("", text),
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                open,
            ),
            // Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                open,
            ),
            // Prometheus with native histograms
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                open,
            ),
            // A browser
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text),
            ("application/openmetrics-text", open),
            ("application/openmetrics-text;version=0.0.1", text),
            ("application/openmetrics-text; version=\"1.0.0\"; q=0.2, text/plain; q=0.3", text),
            ("text/*", text),
            ("application/*;q=0.9, text/*;q=0.1", open),
            ("text/plain;q=0, application/openmetrics-text;q=0", text),
            ("*/*, text/plain;q=0", open),
            ("application/json", text),
            ("application/openmetrics-text;q=2", text),
            (";;,,=/", text),
        ] {
            assert_eq!(format(&headers(header::ACCEPT, accept)), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), text);
    }

    #[test]
    fn codings_go_by_their_q_values() {
        let (identity, gzip) = (Coding::Identity, Coding::Gzip);
        for (accept, expected) in [
            ("gzip", gzip),
            ("GZIP", gzip),
            ("gzip, deflate, br, zstd", gzip),
            ("*", gzip),
            ("", identity),
            ("br", identity),
            ("gzip;q=0", identity),
            ("gzip;q=0.5, identity", identity),
            ("gzip;q=0.5, identity;q=0.5", gzip),
            ("identity;q=0", identity),
            ("*;q=0", identity),
            ("*;q=0, gzip", gzip),
            ("gzip;q=0.0001", identity),
        ] {
            assert_eq!(coding(&headers(header::ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
    }
}
