//! One target with everything that is known of it.

use std::time::SystemTime;

use tokio::time::Instant;

use super::charts::charts;
use super::gauge::pools;
use super::links::Links;
use super::overview::place;
use super::pooler::pooler;
use super::settings::{Setting, settings};
use super::shown::{Shown, State};
use super::tables::{checks, faults, holders, slow_queries};
use super::words::{Words, age, millis, span, words};
use crate::api::html::{Html, html};
use crate::health::{CheckOutcome, advice, runbook};
use crate::probe::Snapshot;

/// The clock and the surroundings of a page.
pub(super) struct Scene<'s> {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
    pub(super) links: &'s Links,
    pub(super) settings: &'s [Setting],
    /// Where the database waits, in words.
    pub(super) wait: Option<String>,
}

/// All parts of a target's page.
pub(super) fn detail(shown: &Shown, scene: &Scene<'_>) -> Html {
    let settings = settings(shown.name(), scene.settings);
    let Some(snapshot) = shown.snapshot.as_deref() else {
        return [hero(shown, scene), settings].into_iter().collect();
    };
    let own = shown.target.settings();
    let hour = shown.target.hour(scene.now);
    let interval = own.schedule.interval;
    let is_present = shown.present().is_some();
    // Sessions of a snapshot that is too old are nobody's sessions of now.
    let live = |part: Html| if is_present { part } else { Html::default() };
    [
        hero(shown, scene),
        facts(shown, snapshot, scene.now),
        if own.kind.spec().shows_applications {
            pools(snapshot, is_present, scene.now)
        } else {
            live(pooler(snapshot))
        },
        charts(&hour, interval, shown.present()),
        checks(shown, scene.links, scene.now),
        live(holders(snapshot)),
        live(slow_queries(snapshot, own.views.slow_threshold)),
        faults(shown.name(), &hour.faults, scene.wall),
        settings,
    ]
    .into_iter()
    .collect()
}

/// The verdict in words, with the first thing to do.
fn hero(shown: &Shown, scene: &Scene<'_>) -> Html {
    let Words { lead, more } = words(shown, scene.now);
    let more =
        (!more.is_empty()).then(|| html("<p class=\"more long\">{}</p>", &[&more.join(" ")]));
    let wait = scene.wait.as_ref().map(|wait| html("<p class=\"more long\">{}</p>", &[wait]));
    let place = place(shown);
    let version = shown.snapshot.as_deref().and_then(version);
    let product = version.map(|version| {
        // Leaves out the name of the package: `15.18 (Debian 15.18-0+deb12u1)`.
        let number = version.split_whitespace().next().unwrap_or_default();
        format!(" \u{b7} {} {number}", shown.target.settings().kind.spec().product)
    });
    html(
        "<section class=\"hero {}\" aria-labelledby=\"verdict\"><div class=\"row\">{}<small class=\"long\">{}{}</small></div>\
         <h1 id=\"verdict\" class=\"long\">{}: {}</h1>{}{}{}</section>",
        &[
            &shown.state.word(),
            &shown.state.badge(),
            &place,
            &product,
            &shown.name(),
            &lead,
            &more,
            &wait,
            &todo(shown, scene),
        ],
    )
}

/// The advice on the worst check, the first of several.
fn todo(shown: &Shown, scene: &Scene<'_>) -> Html {
    if shown.state == State::Disabled {
        return Html::default();
    }
    let worst = shown.verdict.checks.iter().map(|check| check.outcome).max();
    let worst = worst.filter(|worst| *worst != CheckOutcome::Pass);
    let check = shown.verdict.checks.iter().find(|check| Some(check.outcome) == worst);
    let Some(check) = check else { return Html::default() };
    let snapshot = shown.snapshot.as_deref();
    let Some(advice) = advice(shown.name(), check, snapshot) else {
        return Html::default();
    };
    let book = runbook(&shown.verdict, check, snapshot).map(|name| scene.links.runbook(name));
    html("<p class=\"todo long\"><strong>What to do first:</strong> {}. {}</p>", &[&advice, &book])
}

fn version(snapshot: &Snapshot) -> Option<String> {
    let queried = snapshot.query.as_ref().ok().map(|queried| &queried.server.version);
    let connected = snapshot.connect.as_ref().and_then(|connect| connect.as_ref().ok());
    queried.or(connected.map(|connected| &connected.server.version)).cloned()
}

fn facts(shown: &Shown, snapshot: &Snapshot, now: Instant) -> Html {
    let present = shown.present();
    let unknown = || "unknown".to_owned();
    let pool = &shown.verdict.pool;
    let max = pool.limits.and_then(|limits| limits.max).map(|max| format!(" of {max}"));
    let active = pool.active.filter(|_| present.is_some());
    let active =
        active.map_or_else(unknown, |active| format!("{active}{}", max.unwrap_or_default()));
    let left = shown.left().map_or_else(unknown, |left| left.to_string());
    let query = snapshot.query.as_ref().ok().filter(|_| present.is_some());
    let query = query.map_or_else(|| "no answer".to_owned(), |queried| millis(queried.query));
    let connect = match &snapshot.connect {
        None => "off".to_owned(),
        Some(Ok(connected)) if !shown.is_stale => millis(connected.timings.total),
        Some(_) => "failed".to_owned(),
    };
    let age_now = snapshot.age(now);
    let every = span(shown.target.settings().schedule.interval);
    let ago = format!("{} ago", age(age_now));
    html(
        "<dl class=\"facts\"><div><dt>Checked out</dt><dd>{}</dd></div><div><dt>Left on the server</dt><dd>{}</dd></div>\
         <div><dt>Query</dt><dd>{}</dd></div><div><dt>New connection</dt><dd>{}</dd></div>\
         <div><dt>Last probe</dt><dd><span data-age=\"{}\">{}</span> <small>every {}</small></dd></div></dl>",
        &[&active, &left, &query, &connect, &age_now.as_secs_f64(), &ago, &every],
    )
}
