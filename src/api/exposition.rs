//! `/metrics`.

use std::collections::HashSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::HeaderMap;
use hyper::{StatusCode, header};

use super::{Context, Shown};
use crate::metrics::{Filter, Format, Page};
use crate::probe::Roster;
use crate::web::{self, Answer, Coding, Request};

/// Answers with all families, or with those of `name[]`, of all targets, or of those of `target` and `server`, in
/// the format and coding that the scraper prefers.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let Some(shown) = shown(&context.targets, request) else {
        // Not 200 with an empty page: that would be a scrape that succeeds, and nobody would notice.
        let detail = "Unknown target or server: /api/v1/targets lists the targets";
        return Answer::problem(StatusCode::NOT_FOUND, detail);
    };
    let format = web::format(&request.headers);
    let filter = Filter::new(names(request));
    let mut page = Page::new(format, &filter);
    (context.exposition)(&shown, &mut page);
    self::page(page, format, &request.headers)
}

/// The families that a request asks for; all if it names none.
pub(super) fn names(request: &Request) -> impl Iterator<Item = String> {
    let names = request.query().filter(|(key, _)| key == "name[]");
    names.map(|(_, value)| value.into_owned())
}

/// Answers with a page in the coding that the scraper prefers.
pub(super) fn page(page: Page<'_>, format: Format, headers: &HeaderMap) -> Answer {
    let coding = web::coding(headers);
    encode(page.finish(), format.content_type(), coding).with(header::VARY, VARY)
}

/// Finds the targets of the query: those that are named, and all of each server that is named. `None` where there
/// is no such target, or no target of such a server.
fn shown(roster: &Roster, request: &Request) -> Option<Shown> {
    let all = |wanted: &str| -> HashSet<String> {
        let pairs = request.query().filter(|(key, _)| key == wanted);
        pairs.map(|(_, value)| value.into_owned()).collect()
    };
    let (names, servers) = (all("target"), all("server"));
    if names.is_empty() && servers.is_empty() {
        return Some(Shown::Everything);
    }
    let mut unknown: HashSet<&str> = names.iter().chain(&servers).map(String::as_str).collect();
    let mut targets = roster.targets();
    targets.retain(|target| {
        let server = target.server().address().to_string();
        let (is_named, is_of_server) = (names.contains(target.name()), servers.contains(&server));
        if is_named {
            unknown.remove(target.name());
        }
        if is_of_server {
            unknown.remove(server.as_str());
        }
        is_named || is_of_server
    });
    unknown.is_empty().then_some(Shown::Targets(targets))
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
