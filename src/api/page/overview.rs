//! The list of targets, the worst first.

use tokio::time::Instant;

use super::gauge::{Bar, bar, unknown};
use super::links::Links;
use super::query::{FIRST, Order, Query};
use super::shown::{Shown, State};
use super::words::words;
use crate::api::html::{Html, html};

/// The headline: how many targets need attention.
pub(super) fn headline(all: &[Shown]) -> (State, String) {
    let worst = all.iter().map(|shown| shown.state).min().unwrap_or(State::Unknown);
    let count = |state| all.iter().filter(|shown| shown.state == state).count();
    let parts =
        [State::Unhealthy, State::Degraded, State::Unknown].map(|state| (state, count(state)));
    let wrong: Vec<String> = parts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(state, n)| format!("{n} {}", state.word()))
        .collect();
    let number = thousands(all.len());
    let text = match (all.len(), worst) {
        (0, _) => "No target is configured.".to_owned(),
        (_, State::Disabled) => {
            format!("Monitoring is disabled: nothing is known of {number} targets.")
        }
        (_, State::Healthy) => format!("All {number} targets are healthy."),
        (_, State::Unhealthy | State::Degraded | State::Unknown) => {
            format!("{} of {number} targets.", wrong.join(", "))
        }
    };
    (worst, text)
}

fn thousands(n: usize) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) }
}

/// The form that filters and sorts; it works without scripts.
pub(super) fn finder(query: &Query, links: &Links) -> Html {
    let option = |value: &'static str, text: &'static str, is_chosen: bool| {
        let chosen = if is_chosen { html(" selected", &[]) } else { Html::default() };
        html("<option value=\"{}\"{}>{}</option>", &[&value, &chosen, &text])
    };
    let orders: Html = Order::ALL
        .iter()
        .map(|(order, word, text)| option(word, text, *order == query.order))
        .collect();
    let states = [
        ("", "all"),
        ("unhealthy", "unhealthy"),
        ("degraded", "degraded"),
        ("unknown", "unknown"),
        ("healthy", "healthy"),
    ];
    let states: Html =
        states.map(|(word, text)| option(word, text, word == query.state)).into_iter().collect();
    html(
        "<form id=\"finder\" class=\"finder\" method=\"get\" action=\"{}\" role=\"search\" aria-label=\"Targets\">\
         <label class=\"name\">Find a target<input type=\"search\" name=\"filter\" value=\"{}\" autocomplete=\"off\"></label>\
         <label>State<select name=\"state\">{}</select></label><label>Order<select name=\"sort\">{}</select></label>\
         <button>Show</button></form>",
        &[&links.home(), &query.filter, &states, &orders],
    )
}

/// The targets that the query asks for, in its order.
pub(super) fn chosen<'s>(all: &'s [Shown], query: &Query) -> Vec<&'s Shown> {
    let wanted = query.filter.to_lowercase();
    let is_wanted = |shown: &&Shown| {
        let is_of_state = query.state.is_empty() || shown.state.word() == query.state;
        is_of_state
            && (wanted.is_empty() || texts(shown).any(|text| text.to_lowercase().contains(&wanted)))
    };
    let mut chosen: Vec<&Shown> = all.iter().filter(is_wanted).collect();
    let fuller = |one: &&Shown, other: &&Shown| other.fullness().total_cmp(&one.fullness());
    match query.order {
        Order::Worst => chosen
            .sort_by(|one, other| one.state.cmp(&other.state).then_with(|| fuller(one, other))),
        Order::Name => chosen.sort_by(|one, other| one.name().cmp(other.name())),
        Order::Fullest => chosen.sort_by(fuller),
        Order::Left => chosen.sort_by_key(|shown| shown.left().unwrap_or(u64::MAX)),
    }
    chosen
}

fn texts(shown: &Shown) -> impl Iterator<Item = String> {
    let target = &shown.target;
    let labels = target.settings().labels.iter().map(|(name, value)| format!("{name}={value}"));
    [target.name().to_owned(), target.host(), target.database().to_owned()]
        .into_iter()
        .chain(labels)
}

/// The list.
pub(super) fn list(chosen: &[&Shown], query: &Query, links: &Links, now: Instant) -> Html {
    let shown = if query.shows_all { chosen.len() } else { chosen.len().min(FIRST) };
    let items: Html = chosen[..shown].iter().map(|shown| item(shown, links, now)).collect();
    if items.is_empty() {
        return html("<p class=\"none card\">No target fits.</p>", &[]);
    }
    let more = chosen.len() - shown;
    let more = (more > 0).then(|| {
        let mut address = form_urlencoded::Serializer::new(String::new());
        address.append_pair("show", "all");
        for (name, value) in [("filter", &query.filter), ("state", &query.state)] {
            if !value.is_empty() {
                address.append_pair(name, value);
            }
        }
        let address = format!("{}?{}", links.home(), address.finish());
        let number = thousands(chosen.len());
        html(
            "<p class=\"more-targets\">{} more, none of them worse. <a href=\"{}\" data-key=\"all\">Show all {}</a></p>",
            &[&more, &address, &number],
        )
    });
    html("<ul class=\"targets\">{}</ul>{}", &[&items, &more])
}

fn item(shown: &Shown, links: &Links, now: Instant) -> Html {
    let name = shown.name();
    let place = place(shown);
    let said = words(shown, now);
    let age = shown.snapshot.as_ref().map(|snapshot| snapshot.age(now).as_secs_f64());
    let age =
        age.map(|age| html(" \u{b7} <span data-age=\"{}\">{} s ago</span>", &[&age, &age.floor()]));
    html(
        "<li class=\"target {}\"><div><div class=\"head\"><h3 class=\"long\"><a href=\"{}\" data-key=\"{}\">{}</a></h3>{}\
         <small class=\"long\">{}{}</small></div><p class=\"say\">{}</p></div><div class=\"side\">{}</div></li>",
        &[
            &shown.state.word(),
            &links.target(name),
            &name,
            &name,
            &shown.state.badge(),
            &place,
            &age,
            &capital(&said.lead),
            &side(shown),
        ],
    )
}

/// Host and database.
pub(super) fn place(shown: &Shown) -> String {
    let (host, database) = (shown.target.host(), shown.target.database());
    [host.as_str(), database]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" / ")
}

fn side(shown: &Shown) -> Html {
    let pool = &shown.verdict.pool;
    let max = pool.limits.and_then(|limits| limits.max).map(u64::from);
    let numbers = pool.active.zip(pool.idle).filter(|_| shown.present().is_some());
    let (checked_out, drawn) = match numbers {
        Some((active, idle)) => {
            let of = max.map(|max| format!(" of {max}")).unwrap_or_default();
            let size = pool.limits.and_then(|limits| limits.size).map(u64::from);
            (format!("{active}{of}"), bar(&Bar { active, idle, size, max }, "small"))
        }
        None => ("unknown".to_owned(), unknown("small")),
    };
    let left = shown.left().map_or_else(|| "unknown".to_owned(), |left| left.to_string());
    html(
        "<p><span>checked out</span><b>{}</b></p>{}<p><span>left on the server</span><b>{}</b></p>",
        &[&checked_out, &drawn, &left],
    )
}

/// The text with a capital letter first.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
