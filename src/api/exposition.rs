//! `/metrics`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::{StatusCode, header};

use super::Context;
use crate::metrics::{Filter, Page};
use crate::web::{self, Answer, Coding, Request};

/// Answers with all families, or with those of `name[]`, in the format and coding that the scraper
/// prefers.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let format = web::format(&request.headers);
    let coding = web::coding(&request.headers);
    let names = request.query().filter(|(key, _)| key == "name[]");
    let filter = Filter::new(names.map(|(_, value)| value.into_owned()));
    let mut page = Page::new(format, &filter);
    (context.exposition)(&mut page);
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

/// Compresses at the fastest level: the page is repetitive, so that more effort gains little.
fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 6), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
