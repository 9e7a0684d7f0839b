//! `/metrics`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::{StatusCode, header};

use super::answer::Answer;
use super::negotiate::{self, Coding};
use super::request::Request;
use super::service::Context;
use crate::metrics::{Filter, Page};

/// All families, or those that `name[]` asks for, in the format and coding that the scraper prefers.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let format = negotiate::format(&request.headers);
    let coding = negotiate::coding(&request.headers);
    let (Some(format), Some(coding)) = (format, coding) else {
        return Answer::problem(
            StatusCode::NOT_ACCEPTABLE,
            "can answer as text/plain; version=0.0.4 or application/openmetrics-text; \
             version=1.0.0, as it is or with gzip",
        )
        .with(header::VARY, VARY);
    };
    let names = request.query().filter(|(key, _)| key == "name[]");
    let filter = Filter::new(names.map(|(_, value)| value.into_owned()));
    let mut page = Page::new(format, &filter);
    (context.state.exposition)(&mut page);
    let text = page.finish();
    encode(text, format.content_type(), coding).with(header::VARY, VARY)
}

const VARY: &str = "Accept, Accept-Encoding";

fn encode(text: String, content_type: &'static str, coding: Coding) -> Answer {
    let packed = match coding {
        Coding::Gzip => gzip(text.as_bytes()),
        Coding::Identity => None,
    };
    match packed {
        Some(packed) => {
            Answer::new(StatusCode::OK, content_type, packed).with(header::CONTENT_ENCODING, "gzip")
        }
        None => Answer::new(StatusCode::OK, content_type, text),
    }
}

/// The fastest level: the page is repetitive, so that more effort hardly makes it smaller.
fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 6), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
