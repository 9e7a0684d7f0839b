//! `/`: what this is, and where to go on.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{StatusCode, header};

use super::answer::Answer;
use super::negotiate;
use super::request::Request;
use super::service::Context;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
p { margin-top: .25rem; opacity: .75; }
ul { list-style: none; padding: 0; }
li { border-top: 1px solid #8884; padding: .6rem 0; display: flex; gap: 1rem; flex-wrap: wrap; }
li a { min-width: 9rem; font-family: ui-monospace, monospace; }
";

/// Only our own style; nothing is loaded, sent or framed.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let style = STANDARD.encode(digest.as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// A page with links.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    if !negotiate::accepts(&request.headers, "text", "html") {
        return Answer::problem(StatusCode::NOT_ACCEPTABLE, "can answer as text/html");
    }
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", page(context))
        .with(header::CONTENT_SECURITY_POLICY, &POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::X_FRAME_OPTIONS, "deny")
}

fn page(context: &Context) -> String {
    let settings = &context.settings;
    let links = [
        (settings.telemetry_path.as_str(), "the metrics, for Prometheus"),
        ("/-/healthy", "whether the exporter is alive"),
        ("/-/ready", "whether every target was probed once"),
    ];
    let base = settings.outside_prefix();
    let mut items = String::new();
    for (path, meaning) in links {
        let (href, path) = (escape(&format!("{base}{path}")), escape(path));
        // Writing to a String cannot fail.
        let _ = writeln!(items, "<li><a href=\"{href}\">{path}</a> <span>{meaning}</span></li>");
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>db_pool_exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>db_pool_exporter</h1>\n<p>PostgreSQL connection pools, version {}</p>\n\
         <ul>\n{items}</ul>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Text inside HTML and its attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
