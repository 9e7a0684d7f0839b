//! The tables of a target: checks, who holds connections, slow queries, and the last failures.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::links::Links;
use super::shown::Shown;
use super::words::{age, millis, span};
use crate::api::html::{Html, html};
use crate::api::units::moment;
use crate::health::{Check, CheckName, CheckOutcome, Measured, advice, runbook};
use crate::metrics::Label as _;
use crate::probe::{Fault, Snapshot, hint};
use crate::view::RunningQuery;
use crate::view::SessionKey;
use crate::view::activity::{SessionState, SessionStats};

/// Rows of each table; what is more is counted.
const MOST_ROWS: usize = 20;

/// The characters of a query that are shown.
const LONGEST_QUERY: usize = 300;

/// The checks with their numbers, since when, and what to do.
pub(super) fn checks(shown: &Shown, links: &Links, now: Instant) -> Html {
    let rows: Html =
        shown.verdict.checks.iter().map(|check| row(shown, check, links, now)).collect();
    html(
        "<section aria-labelledby=\"checks\"><h2 id=\"checks\">Checks</h2><div class=\"card\">\
         <table class=\"stack\"><thead><tr><th scope=\"col\">Check</th><th scope=\"col\">Result</th><th scope=\"col\">Measured</th>\
         <th scope=\"col\">Since</th><th scope=\"col\">What it says</th></tr></thead><tbody>{}</tbody></table></div></section>",
        &[&rows],
    )
}

fn row(shown: &Shown, check: &Check, links: &Links, now: Instant) -> Html {
    let snapshot = shown.snapshot.as_deref();
    let since = shown.since(check.kind).map(|since| age(now.saturating_duration_since(since)));
    let todo = advice(shown.name(), check, snapshot);
    let todo = todo.map(|todo| html("<span class=\"hint\">To do: {}.</span>", &[&todo]));
    let book = runbook(&shown.verdict, check, snapshot).map(|name| links.runbook(name));
    let book = book.map(|link| html("<span class=\"hint\">{}</span>", &[&link]));
    let message = check.message.as_deref();
    html(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td data-name=\"Measured\">{}</td><td data-name=\"Since\">{}</td>\
         <td class=\"long\">{}{}{}</td></tr>",
        &[
            &title(check.kind),
            &result(check.outcome),
            &measured(shown, check),
            &since,
            &message,
            &todo,
            &book,
        ],
    )
}

/// The name of a check for people.
pub(super) fn title(name: CheckName) -> String {
    let words = name.label().replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn result(outcome: CheckOutcome) -> Html {
    let sign = match outcome {
        CheckOutcome::Pass => "\u{2713}",
        CheckOutcome::Warn => "!",
        CheckOutcome::Fail => "\u{2715}",
    };
    let word = outcome.label();
    html(
        "<span class=\"badge {}\"><span class=\"sign\" aria-hidden=\"true\">{}</span>{}</span>",
        &[&word, &sign, &word],
    )
}

fn measured(shown: &Shown, check: &Check) -> String {
    let pool = &shown.verdict.pool;
    let max = pool.limits.and_then(|limits| limits.max);
    match check.measured {
        Measured::Time(Some(time)) => millis(time),
        Measured::Time(None) => "no answer".to_owned(),
        // Above the size a percentage of it would be above 100.
        Measured::Utilization(Some(percent)) => match pool.active.zip(max) {
            Some((active, max)) => format!("{active} of {max} checked out"),
            None => format!("{percent:.0} % of the pool size"),
        },
        Measured::Utilization(None) => "unknown".to_owned(),
        Measured::Rate(percent) => format!("{percent:.1} % of the probe's statements"),
        Measured::Available(left) => format!("{left} left"),
        Measured::Nothing => String::new(),
    }
}

/// Who holds the server's connections, the largest first.
pub(super) fn holders(snapshot: &Snapshot) -> Html {
    let Some(activity) = &snapshot.views.activity else { return Html::default() };
    let mut sets: Vec<&(SessionKey, SessionStats)> =
        activity.sets.iter().filter(|(_, sessions)| sessions.open() > 0).collect();
    sets.sort_by_key(|(_, sessions)| (Reverse(sessions.leaked), Reverse(sessions.open())));
    let rows: Html =
        sets.iter().take(MOST_ROWS).map(|(key, sessions)| holder(key, sessions)).collect();
    let body = if rows.is_empty() {
        html("<p class=\"none\">No client session but the exporter&#39;s own.</p>", &[])
    } else {
        html(
            "<table class=\"stack\"><thead><tr><th scope=\"col\">Application</th><th scope=\"col\">Role, database</th>\
             <th scope=\"col\" class=\"n\">Open</th><th scope=\"col\" class=\"n\">Active</th><th scope=\"col\" class=\"n\">Idle</th>\
             <th scope=\"col\" class=\"n\">Idle in transaction</th><th scope=\"col\" class=\"n\">Oldest transaction</th></tr></thead>\
             <tbody>{}</tbody></table>{}",
            &[&rows, &left_out(sets.len())],
        )
    };
    let used = snapshot.views.limits.as_ref().map(|limits| format!(" of {}", limits.max));
    html(
        "<section aria-labelledby=\"holders\"><h2 id=\"holders\">Who holds connections <small>{}{} on the server</small></h2>\
         <div class=\"card\">{}</div></section>",
        &[&activity.used, &used, &body],
    )
}

fn holder(key: &SessionKey, sessions: &SessionStats) -> Html {
    let name = if key.application.is_empty() { "(no application_name)" } else { &key.application };
    let states = [SessionState::IdleInTransaction, SessionState::IdleInTransactionAborted];
    let in_transaction: u64 = states.map(|state| sessions.count(state)).iter().sum();
    let seen = |n: u64| if sessions.are_visible() { n.to_string() } else { "unknown".to_owned() };
    let longest = sessions.idle_in_transaction.filter(|_| in_transaction > 0);
    let longest = longest.map(|longest| format!(" (oldest {})", age(longest)));
    let leak = (sessions.leaked > 0)
        .then(|| html(" <span class=\"leak\">leaks {}</span>", &[&sessions.leaked]));
    let oldest = sessions.transaction.map(age);
    html(
        "<tr><th scope=\"row\" class=\"long\">{}{}</th><td class=\"long\" data-name=\"Role, database\">{}, {}</td>\
         <td class=\"n\" data-name=\"Open\">{}</td><td class=\"n\" data-name=\"Active\">{}</td><td class=\"n\" data-name=\"Idle\">{}</td>\
         <td class=\"n\" data-name=\"Idle in transaction\">{}{}</td><td class=\"n\" data-name=\"Oldest transaction\">{}</td></tr>",
        &[
            &name,
            &leak,
            &key.user,
            &key.database,
            &sessions.open(),
            &seen(sessions.count(SessionState::Active)),
            &seen(sessions.count(SessionState::Idle)),
            &seen(in_transaction),
            &longest,
            &oldest,
        ],
    )
}

fn left_out(all: usize) -> Html {
    let more = all.saturating_sub(MOST_ROWS);
    if more == 0 {
        return Html::default();
    }
    html("<p class=\"note\">{} more are not shown.</p>", &[&more])
}

/// The slow queries that ran at the last probe, the oldest first.
pub(super) fn slow_queries(snapshot: &Snapshot, threshold: Duration) -> Html {
    let Some(activity) = &snapshot.views.activity else { return Html::default() };
    let rows: Html = activity.running.iter().take(MOST_ROWS).map(running).collect();
    let body = if rows.is_empty() {
        html("<p class=\"none\">None ran at the last probe.</p>", &[])
    } else {
        html(
            "<table class=\"stack\"><thead><tr><th scope=\"col\" class=\"n\">Runs for</th><th scope=\"col\">Application</th>\
             <th scope=\"col\">Role, database</th><th scope=\"col\" class=\"n\">pid</th><th scope=\"col\">Waits for</th>\
             <th scope=\"col\">Statement</th></tr></thead><tbody>{}</tbody></table>{}",
            &[&rows, &left_out(activity.running.len())],
        )
    };
    html(
        "<section aria-labelledby=\"slow\"><h2 id=\"slow\">Slow queries running <small>longer than {}</small></h2>\
         <div class=\"card\">{}</div></section>",
        &[&span(threshold), &body],
    )
}

fn running(query: &RunningQuery) -> Html {
    let waits: Vec<&str> = [&query.waits_for, &query.slow.wait_event]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let text: Option<String> =
        query.slow.text.as_ref().map(|text| text.chars().take(LONGEST_QUERY).collect());
    let text = match text {
        Some(text) => html("<code>{}</code>", &[&text]),
        None => html("<span class=\"soft\">hidden (show_query_text)</span>", &[]),
    };
    let name = if query.key.application.is_empty() {
        "(no application_name)"
    } else {
        &query.key.application
    };
    html(
        "<tr><td class=\"n\" data-name=\"Runs for\">{}</td><td class=\"long\" data-name=\"Application\">{}</td>\
         <td class=\"long\" data-name=\"Role, database\">{}, {}</td><td class=\"n\" data-name=\"pid\">{}</td>\
         <td class=\"long\" data-name=\"Waits for\">{}</td><td class=\"long\">{}</td></tr>",
        &[
            &age(query.age),
            &name,
            &query.key.user,
            &query.key.database,
            &u64::try_from(query.slow.pid).unwrap_or(0),
            &waits.join(": "),
            &text,
        ],
    )
}

/// The last failures of probes, newest first, each with its hint.
pub(super) fn faults(target: &str, faults: &[Fault], now: SystemTime) -> Html {
    // A server that does not answer fails the connect and the statement alike.
    let is_same = |one: &Fault, other: &Fault| {
        one.failure.message == other.failure.message
            && one.last == other.last
            && one.times == other.times
    };
    let groups = faults.chunk_by(is_same);
    let items: Html = groups.map(|group| one_fault(target, group, now)).collect();
    let body = if items.is_empty() {
        html("<p class=\"none\">None since the exporter was started.</p>", &[])
    } else {
        html("<ol class=\"faults\">{}</ol>", &[&items])
    };
    html(
        "<section aria-labelledby=\"faults\"><h2 id=\"faults\">Last errors of the probe</h2><div class=\"card\">{}</div></section>",
        &[&body],
    )
}

fn one_fault(target: &str, group: &[Fault], now: SystemTime) -> Html {
    let Some(fault) = group.first() else { return Html::default() };
    let parts: Vec<&str> = group.iter().map(|fault| fault.part.label()).collect();
    let parts = parts.join(", ");
    let ago = now.duration_since(fault.last).unwrap_or_default();
    let times = if fault.times > 1 {
        Some(html(", {} times since {}", &[&fault.times, &clock(fault.first)]))
    } else {
        None
    };
    let phase = fault.failure.phase.map(|phase| html(", phase <b>{}</b>", &[&phase.label()]));
    let hint = hint(target, fault.part, &fault.failure);
    html(
        "<li class=\"fault\"><p class=\"when\">{} ({} ago){}: part <b>{}</b>{}, reason <b>{}</b></p><p class=\"long\">{}</p>\
         <p class=\"hint\">To do: {}.</p></li>",
        &[
            &clock(fault.last),
            &age(ago),
            &times,
            &parts,
            &phase,
            &fault.failure.reason.label(),
            &fault.failure.message,
            &hint,
        ],
    )
}

/// A clock time, in UTC until a script writes it in the reader's own time zone.
pub(super) fn clock(at: SystemTime) -> Html {
    let moment = moment(at);
    let short = moment.get(11..19).unwrap_or_default();
    html("<time datetime=\"{}\">{} UTC</time>", &[&moment, &short])
}
