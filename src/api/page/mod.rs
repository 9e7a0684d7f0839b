//! `/`: the status page.
//!
//! One self-contained page, made from the last snapshots: style and script stand in it, and the content security
//! policy permits these two by their hashes and nothing else. It works without scripts, which only keep it fresh:
//! they fetch its `main` again, and show a sign when that fails. Names and messages come from configuration,
//! clients and servers; `html.rs` escapes them.

mod chart;
mod charts;
mod detail;
mod gauge;
mod links;
mod overview;
mod pooler;
mod query;
mod settings;
mod shown;
mod tables;
#[cfg(test)]
mod tests;
mod words;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{StatusCode, header};
use tokio::time::Instant;

use self::detail::{Scene, detail};

pub(super) use self::links::Links;
use self::overview::{capital, chosen, finder, headline, list};
use self::query::Query;
pub use self::settings::Setting;
use self::shown::{Shown, State};
use self::words::words;
use super::Context;
use super::html::{Html, Part, html};
use crate::health::{Neighbours, bottleneck};
use crate::metrics::Label as _;
use crate::probe::Target;
use crate::web::{Answer, Request};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Permits our own style and script, requests to ourselves, and the form of the list.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
});

fn digest(text: &str) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// The limits of the time between two updates of a page.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(15);

/// Answers with the page.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let query = Query::new(request);
    let all = judged(context);
    let (status, page) = match &query.target {
        Some(name) if !all.iter().any(|shown| shown.name() == name) => {
            (StatusCode::NOT_FOUND, missing(context, &query))
        }
        Some(_) | None => (StatusCode::OK, page(context, &query, &all)),
    };
    secured(status, page)
}

/// An answer in HTML under the policy.
pub(super) fn secured(status: StatusCode, page: Html) -> Answer {
    Answer::new(status, "text/html; charset=utf-8", page.into_string())
        .with(header::CONTENT_SECURITY_POLICY, &POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::X_FRAME_OPTIONS, "deny")
}

fn judged(context: &Context) -> Vec<Shown> {
    let (roster, now) = (context.targets.as_ref(), Instant::now());
    roster.targets().into_iter().map(|target| Shown::new(target, roster, now)).collect()
}

/// The layer in which the database of a target waits, and what each layer shows.
fn where_is_the_wait(context: &Context, target: &Target, now: Instant) -> Option<String> {
    let all = context.targets.targets();
    let found = bottleneck(target, &Neighbours::new(&all), now)?;
    Some(format!("Where is the wait? {}: {}.", found.layer.label(), found.message))
}

fn page(context: &Context, query: &Query, all: &[Shown]) -> Html {
    let links = Links::new(&context.settings);
    let now = Instant::now();
    let configuration = context.configuration.load();
    let one = match &query.target {
        Some(name) => all.iter().find(|shown| shown.name() == name),
        None if all.len() == 1 => all.first(),
        None => None,
    };
    match one {
        Some(shown) => {
            let wait = where_is_the_wait(context, &shown.target, now);
            let (wall, settings) = (SystemTime::now(), configuration.as_slice());
            let scene = Scene { now, wall, links: &links, settings, wait };
            let said = format!("{}: {}", shown.name(), words(shown, now).lead);
            let content = Content {
                state: shown.state,
                title: format!("{}: {}", shown.name(), shown.state.word()),
                every: every([shown].into_iter()),
                head: detail(shown, &scene),
                finder: Html::default(),
                list: Html::default(),
                has_list: all.len() > 1,
                said,
            };
            frame(query, &links, content)
        }
        None => {
            let (state, said) = headline(all);
            let hero = html(
                "<section class=\"hero {}\" aria-labelledby=\"verdict\"><div class=\"row\">{}</div><h1 id=\"verdict\">{}</h1></section>",
                &[&state.word(), &state.badge(), &capital(&said)],
            );
            let chosen = chosen(all, query);
            let list = list(&chosen, query, &links, now);
            let content = Content {
                state,
                title: said.clone(),
                every: every(all.iter()),
                head: hero,
                list,
                finder: if all.len() > 1 { finder(query, &links) } else { Html::default() },
                has_list: false,
                said,
            };
            frame(query, &links, content)
        }
    }
}

/// The time between two updates: that of the shortest interval, within limits.
fn every<'s>(all: impl Iterator<Item = &'s Shown>) -> u64 {
    let shortest = all.map(|shown| shown.target.settings().schedule.interval).min();
    (shortest.unwrap_or(LONGEST) / 2).clamp(SHORTEST, LONGEST).as_secs()
}

fn missing(context: &Context, query: &Query) -> Html {
    let links = Links::new(&context.settings);
    let body = html(
        "<section class=\"hero unknown\"><h1>There is no such target.</h1><p class=\"more\"><a href=\"{}\">All targets</a></p></section>",
        &[&links.home()],
    );
    let said = "There is no such target.".to_owned();
    let content = Content {
        state: State::Unknown,
        title: said.clone(),
        every: LONGEST.as_secs(),
        head: body,
        finder: Html::default(),
        list: Html::default(),
        has_list: false,
        said,
    };
    frame(query, &links, content)
}

/// The parts of a page that differ.
struct Content {
    state: State,
    title: String,
    /// Seconds between two updates.
    every: u64,
    head: Html,
    /// The form of the list. It stays as it is when the other parts are replaced.
    finder: Html,
    list: Html,
    /// True where a link leads back to the list.
    has_list: bool,
    /// The verdict in one sentence, for screen readers when it changes.
    said: String,
}

fn frame(query: &Query, links: &Links, content: Content) -> Html {
    let Content { state, title, every, head, finder, list, has_list, said } = content;
    let title = format!("{title} \u{b7} db_pool_exporter");
    let icon = icon(state);
    let main = html(
        "<main id=\"main\" data-every=\"{}\" data-say=\"{}\" data-title=\"{}\" data-icon=\"{}\">\
         <div data-part>{}</div>{}<div data-part>{}</div></main>",
        &[&every, &said, &title, &icon, &head, &finder, &list],
    );
    if query.is_part {
        return main;
    }
    let home = links.home();
    let back = has_list.then(|| html("<nav><a href=\"{}\">All targets</a></nav>", &[&home]));
    let at = tables::clock(SystemTime::now());
    html(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<link rel=\"icon\" href=\"{}\">\n<style>{}</style>\n\
         <noscript><meta http-equiv=\"refresh\" content=\"{}\"></noscript>\n</head>\n<body>\n\
         <div id=\"old\" role=\"alert\" hidden><strong>Old data</strong><span></span></div>\n<div class=\"page\">\n\
         <a class=\"skip\" href=\"#main\">To the content</a>\n\
         <header><a class=\"brand\" href=\"{}\">db_pool_exporter</a>{}<p class=\"live\" id=\"live\">as of {}</p></header>\n\
         <p class=\"unseen\" id=\"announce\" aria-live=\"polite\"></p>\n{}{}\n</div>\n{}<script>{}</script>\n</body>\n</html>\n",
        &[
            &title,
            &icon,
            &Asset(STYLE),
            &every,
            &home,
            &back,
            &at,
            &main,
            &links.footer(),
            &hatch(),
            &Asset(SCRIPT),
        ],
    )
}

/// A file of this folder, as it is.
struct Asset(&'static str);

impl Part for Asset {
    fn write(&self, out: &mut String) {
        out.push_str(self.0);
    }
}

/// The pattern of what is not known, used by the drawings.
fn hatch() -> Html {
    html(
        "<svg class=\"hatch\" aria-hidden=\"true\" focusable=\"false\"><defs><pattern id=\"hatch\" width=\"8\" height=\"8\" \
         patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/><path d=\"M0 8L8 0M-2 2L2 -2M6 10L10 6\"/></pattern></defs></svg>\n",
        &[],
    )
}

/// A dot in the colour of the state, for the browser's tab.
fn icon(state: State) -> String {
    let colour = match state {
        State::Healthy => "1a7f37",
        State::Degraded => "d8a028",
        State::Unhealthy => "cf222e",
        State::Unknown | State::Disabled => "6b7480",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

/// A page of text in the frame, without updates.
pub(super) fn plain(context: &Context, title: &str, body: &Html) -> Html {
    let links = Links::new(&context.settings);
    let home = links.home();
    html(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} \u{b7} db_pool_exporter</title>\n<link rel=\"icon\" href=\"{}\">\n<style>{}</style>\n</head>\n<body>\n<div class=\"page\">\n\
         <header><a class=\"brand\" href=\"{}\">db_pool_exporter</a></header>\n<main id=\"main\"><article>{}</article></main>\n{}</div>\n</body>\n</html>\n",
        &[&title, &icon(State::Unknown), &Asset(STYLE), &home, body, &links.footer()],
    )
}
