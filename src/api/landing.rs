//! `/`: the status page, with every target and links to the other pages.
//!
//! One self-contained page: no script, no further files. Names and messages come from configuration and
//! from servers, so everything is escaped.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{StatusCode, header};
use tokio::time::Instant;

use super::Context;
use super::request::ApiRequest;
use super::targets::{TargetJson, UsageJson, all};
use crate::probe::Probing;
use crate::text;
use crate::web::Answer;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
h1 + p, small { opacity: .75; }
p { margin-top: .25rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-top: 1px solid #8884; padding: .6rem 1rem .6rem 0; text-align: left; vertical-align: top; }
thead th { border: 0; white-space: nowrap; }
tbody th small, td small { display: block; font-weight: normal; }
td strong { padding: .1rem .5rem; border-radius: .3rem; white-space: nowrap; }
.healthy { color: #fff; background: #1b7a3d; }
.degraded { color: #000; background: #f0b429; }
.unhealthy { color: #fff; background: #b3261e; }
.unknown { color: #fff; background: #5f6368; }
ul { list-style: none; padding: 0; }
li { border-top: 1px solid #8884; padding: .6rem 0; display: flex; gap: 1rem; flex-wrap: wrap; }
li a { min-width: 19rem; font-family: ui-monospace, monospace; }
";

/// Permits our own style and nothing else: no file is loaded, no form sent, no frame made.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let style = STANDARD.encode(digest.as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// Answers with the page.
pub(super) async fn answer(context: &Context) -> Answer {
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", page(context))
        .with(header::CONTENT_SECURITY_POLICY, &POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::X_FRAME_OPTIONS, "deny")
}

/// The page reloads itself, so that one that was left open does not show old values.
fn page(context: &Context) -> String {
    let roster = context.targets.as_ref();
    let request = ApiRequest { roster, now: Instant::now(), target: None, application: None };
    let targets = targets(all(&request), roster.is_probing().into());
    let links = links(context);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"15\">\n\
         <title>db_pool_exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>db_pool_exporter</h1>\n<p>PostgreSQL connection pools, version {}</p>\n\
         {targets}<h2>Pages</h2>\n<ul>\n{links}</ul>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The table of targets, the worst first.
fn targets(mut shown: Vec<TargetJson>, probing: Probing) -> String {
    let up = shown.iter().filter(|target| target.up == Some(true)).count();
    let head = if probing == Probing::On {
        format!("{up} of {} up", shown.len())
    } else {
        "not probed: monitoring is disabled".to_owned()
    };
    shown.sort_by_key(|target| place(target, probing));
    let rows: String = shown.iter().map(|target| row(target, probing)).collect();
    format!(
        "<h2>Targets: {head}</h2>\n<div><table>\n<thead><tr><th>Target</th><th>Status</th>\
         <th>Message</th><th>Last probe</th><th>Pool</th><th>Server</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn place(target: &TargetJson, probing: Probing) -> u8 {
    match status(target, probing) {
        "unhealthy" => 0,
        "degraded" => 1,
        "healthy" => 3,
        _ => 2,
    }
}

/// The word on the page. Before the first probe it is `unknown`, where the JSON has `unhealthy`.
fn status(target: &TargetJson, probing: Probing) -> &'static str {
    if probing == Probing::On && target.up.is_some() { target.status } else { "unknown" }
}

fn row(target: &TargetJson, probing: Probing) -> String {
    let status = status(target, probing);
    let message = match target.up {
        Some(_) => target.message.as_str(),
        None if probing == Probing::On => "not probed yet",
        None => "",
    };
    let notes: String = match target.up {
        Some(_) => target.notes.iter().map(|n| format!("<small>{}</small>", escape(n))).collect(),
        None => String::new(),
    };
    let age = target.age_seconds.map(|age| format!("{age:.0} s ago")).unwrap_or_default();
    let pool = target.usage.as_ref().map(pool).unwrap_or_default();
    // Leaves out the name of the package: `15.18 (Debian 15.18-0+deb12u1)`.
    let version = target.server_version.as_ref().and_then(|v| v.split_whitespace().next());
    let server = version.map(|version| format!("{} {version}", target.kind.spec().product));
    format!(
        "<tr><th scope=\"row\">{}<small>{} {}</small></th>\
         <td><strong class=\"{status}\">{status}</strong></td><td>{}{notes}</td><td>{age}</td>\
         <td>{pool}</td><td>{}</td></tr>\n",
        escape(&target.name),
        escape(&target.host),
        escape(&target.database),
        escape(message),
        escape(&server.unwrap_or_default())
    )
}

/// The judged pool in a line. A limit that is not known is left out; no limit is something else.
fn pool(used: &UsageJson) -> String {
    let whose = match (used.source, used.application.as_deref()) {
        ("exporter", _) => "the exporter&#39;s own".to_owned(),
        (_, Some(application)) => escape(application),
        (_, None) => "the application&#39;s".to_owned(),
    };
    let numbers = match (used.active, used.idle) {
        (Some(active), Some(idle)) => format!("{active} active, {idle} idle"),
        _ => "not seen".to_owned(),
    };
    let max = match used.max {
        Some(max) => format!(", at most {max}"),
        None if used.limits_known => ", no limit".to_owned(),
        None => String::new(),
    };
    let processes = match (used.instances, used.instances_known) {
        (Some(1), Some(true)) | (None, _) | (_, None) => String::new(),
        (Some(n), Some(true)) => format!(", {n} processes"),
        (Some(n), Some(false)) => {
            format!(", {n} {} assumed", if n == 1 { "process" } else { "processes" })
        }
    };
    format!("{numbers}{max}<small>{whose}{processes}</small>")
}

fn links(context: &Context) -> String {
    let base = context.settings.outside_prefix();
    let mut items = String::new();
    let metrics = (context.settings.telemetry_path.as_str(), "the metrics, for Prometheus");
    for (path, meaning) in [metrics].iter().chain(LINKS) {
        let (href, path) = (escape(&format!("{base}{path}")), escape(path));
        // Writing to a String cannot fail.
        let _ = writeln!(items, "<li><a href=\"{href}\">{path}</a> <span>{meaning}</span></li>");
    }
    items
}

const LINKS: &[(&str, &str)] = &[
    ("/api/v1/health", "the verdict on every target, for load balancers"),
    ("/api/v1/targets", "this page as JSON, with phases and errors"),
    ("/api/v1/database/pool/status", "a pool in numbers"),
    ("/api/v1/database/pool/health", "a pool's checks"),
    ("/api/v1/database/slow-queries", "slow queries that run now"),
    ("/api/v1/sd", "the targets, for Prometheus' service discovery"),
    ("/api/v1/openapi.json", "the description of all this"),
    ("/-/healthy", "whether the exporter is alive"),
    ("/-/ready", "whether every target was probed once"),
];

/// Returns text for use inside of HTML and its attributes.
fn escape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in text::printable(raw).chars() {
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

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::api::ROUTES;
    use crate::probe::{Failure, Roster, Snapshot, fixture};
    use crate::web::Verb;

    /// The table for targets that are not probed by themselves.
    fn table(targets: &[(&str, Option<Snapshot>)], probing: Probing) -> String {
        let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), probing);
        roster.apply(targets.iter().map(|(name, _)| fixture::settings(name)).collect());
        for (name, snapshot) in targets {
            if let Some(snapshot) = snapshot.clone() {
                fixture::publish(&roster.target(name).unwrap(), snapshot);
            }
        }
        let request =
            ApiRequest { roster: &roster, now: Instant::now(), target: None, application: None };
        super::targets(all(&request), probing)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_stands_first_with_its_reason() {
        let good = fixture::snapshot();
        let message = "tcp failed: <refused> & \"gone\"".to_owned();
        let failure = Failure { message, ..Failure::deadline(std::time::Duration::from_secs(1)) };
        let bad = Snapshot { query: Err(failure), ..good.clone() };
        let near = Snapshot { usage: fixture::usage(18), ..good.clone() };
        let all = [("a<b>", Some(good)), ("new", None), ("near", Some(near)), ("bad", Some(bad))];
        let table = table(&all, Probing::On);
        let places = ["bad<small>", "near<small>", "new<small>", "a&lt;b&gt;<small>"]
            .map(|name| table.find(name).unwrap_or_else(|| panic!("{name} in {table}")));
        assert!(places.is_sorted(), "{table}");
        for text in [
            "Targets: 2 of 4 up",
            "<strong class=\"unhealthy\">unhealthy</strong>",
            "tcp failed: &lt;refused&gt; &amp; &quot;gone&quot;",
            "<strong class=\"unknown\">unknown</strong></td><td>not probed yet</td>",
            "<td>0 s ago</td>",
            "5 active, 15 idle, at most 30<small>the exporter&#39;s own</small>",
            "<td>PostgreSQL 15.18</td>",
            " orders</small>",
        ] {
            assert!(table.contains(text), "{text} in {table}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disabled_monitor_is_told() {
        let table = table(&[("default", None)], Probing::Off);
        assert!(table.contains("not probed: monitoring is disabled"), "{table}");
        assert!(table.contains(">unknown<") && !table.contains("unhealthy"), "{table}");
    }

    #[test]
    fn every_page_that_can_be_looked_at_has_its_link() {
        let looked_at = ROUTES.iter().filter(|route| route.verb == Verb::Get && route.path != "/");
        for route in looked_at.skip(1) {
            assert!(LINKS.iter().any(|(path, _)| *path == route.path), "{}", route.path);
        }
        assert_eq!(LINKS.len() + 2, ROUTES.iter().filter(|r| r.verb == Verb::Get).count());
    }
}
