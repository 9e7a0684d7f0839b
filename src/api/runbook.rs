//! `GET /runbook?name=...`: the runbooks, which are built in, so that they can be read where an alert is seen.

use hyper::StatusCode;

use super::Context;
use super::html::{Html, html};
use super::page::{plain, secured};
use crate::web::{Answer, Request};

mod markdown;

/// Answers with a runbook, or with the list of all.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let Some(name) = request.parameter("name") else {
        return secured(StatusCode::OK, plain(context, "Runbooks", &list()));
    };
    match named(&name) {
        Some((name, text)) => {
            secured(StatusCode::OK, plain(context, name, &markdown::html_of(text)))
        }
        None => {
            let body = html("<h1>There is no such runbook.</h1>{}", &[&list()]);
            secured(StatusCode::NOT_FOUND, plain(context, "No such runbook", &body))
        }
    }
}

/// Finds a runbook. The pages link to each other as files, `NAME.md`. Alerts append `/NAME.md` to the address in
/// `db_pool:links`, which may be this one: `http://exporter:9956/runbook?name=`.
fn named(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let name = name.trim_start_matches('/').trim_end_matches(".md");
    RUNBOOKS.iter().find(|(known, _)| *known == name)
}

fn list() -> Html {
    let items: Html = RUNBOOKS
        .iter()
        .map(|(name, _)| html("<li><a href=\"?name={}\">{}</a></li>", &[name, name]))
        .collect();
    html("<h1>Runbooks</h1><ul>{}</ul>", &[&items])
}

/// Name and text of every page of docs/runbooks, by name.
const RUNBOOKS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runbooks.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_alerts_and_of_pages_lead_to_their_runbook() {
        for name in ["DbPoolTargetDown", "DbPoolTargetDown.md", "/DbPoolTargetDown.md"] {
            assert_eq!(named(name).map(|(known, _)| *known), Some("DbPoolTargetDown"), "{name}");
        }
        assert!(named("../DbPoolTargetDown.md").is_none() && named("").is_none());
    }

    #[test]
    fn every_runbook_becomes_html_without_markup_left() {
        assert!(RUNBOOKS.iter().any(|(name, _)| *name == "DbPoolTargetDown"));
        for (name, text) in RUNBOOKS {
            let page = markdown::html_of(text).into_string();
            assert!(page.starts_with(&format!("<h1>{name}</h1>")), "{name}");
            assert!(
                !page.contains("```") && !page.contains("](") && !page.contains("**"),
                "{page}"
            );
        }
    }
}
