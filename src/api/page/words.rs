//! The verdict on a target in words: what is wrong first, what the server could still give, and who holds
//! connections.
//!
//! Only what is known is said. A target that is down, a snapshot that is old and a pool that cannot be seen are
//! unknown, and the last known state is said with its age.

use std::time::Duration;

use tokio::time::Instant;

use super::pooler::waits;
use super::shown::{Shown, State};
use crate::health::{Check, CheckName, CheckOutcome};
use crate::probe::{PoolSight, Snapshot};
use crate::view::activity::SessionState;
use crate::view::{Application, TightLimit, Tightest};

/// Sessions that are idle in a transaction for less than this are part of any transaction.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);

/// Names in one sentence; more are counted.
const MOST_NAMES: usize = 3;

/// A verdict in words.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words {
    /// The first sentence, without the target's name: the one for the top of the page and for lists.
    pub(super) lead: String,
    /// More sentences, each with its full stop.
    pub(super) more: Vec<String>,
}

/// Returns the verdict on a target in words.
pub(super) fn words(shown: &Shown, now: Instant) -> Words {
    let Some(snapshot) = shown.snapshot.as_deref() else {
        let lead = if shown.state == State::Disabled {
            "not probed: monitoring is disabled (DB_MONITOR_ENABLED)."
        } else {
            "unknown: not probed yet."
        };
        return Words { lead: lead.to_owned(), more: Vec::new() };
    };
    if shown.is_stale {
        return stale(shown, snapshot, now);
    }
    if let Some((part, failure)) = snapshot.failure() {
        use crate::metrics::Label as _;
        let since = shown.since(CheckName::Connection).map(|since| lasting(now, since));
        let since = since.unwrap_or_default();
        let lead =
            format!("the database cannot be used{since} ({}: {}).", part.label(), failure.message);
        return Words { lead, more: last_known(shown, snapshot, now) };
    }
    let seen = pools(shown, snapshot, now);
    let Words { lead, more } =
        seen.unwrap_or_else(|| Words { lead: answers(shown, snapshot), more: Vec::new() });
    let others = [server(snapshot), idle_in_transaction(snapshot), slow(snapshot)];
    let others = others.into_iter().flatten().chain(complaints(shown));
    Words { lead, more: more.into_iter().chain(others).collect() }
}

fn stale(shown: &Shown, snapshot: &Snapshot, now: Instant) -> Words {
    let age = age(snapshot.age(now));
    let every = span(shown.target.settings().schedule.interval);
    let lead = format!("unknown: the last probe ended {age} ago, and one is due every {every}.");
    Words { lead, more: last_known(shown, snapshot, now) }
}

/// The state of the pools when they were last seen.
fn last_known(shown: &Shown, snapshot: &Snapshot, now: Instant) -> Vec<String> {
    let target = shown.name();
    let mut all = vec!["What its pools do is unknown.".to_owned()];
    let pools = snapshot.sight.pools.iter().filter(|pool| !pool.is_gone);
    let last = pools.filter_map(|pool| pool.last.as_ref()).take(MOST_NAMES);
    all.extend(last.map(|(at, app)| {
        let ago = age(now.saturating_duration_since(*at));
        format!("{ago} ago: {}.", numbers(app, target).unwrap_or_else(|| open(app)))
    }));
    all
}

/// The pools of the applications, the deciding one first; `None` where there is none to see.
fn pools(shown: &Shown, snapshot: &Snapshot, now: Instant) -> Option<Words> {
    let name = shown.verdict.pool.application.as_deref();
    let pools = || snapshot.sight.pools.iter().filter(|pool| !pool.is_gone);
    let deciding = pools().filter(|pool| Some(pool.key.application.as_str()) == name);
    let fullest = |pool: &&PoolSight| pool.now().and_then(Application::saturation_ratio);
    let worst = deciding.max_by(|a, b| {
        let ratio = |pool| fullest(pool).unwrap_or(-1.0);
        ratio(a).total_cmp(&ratio(b))
    });
    let Some(pool) = worst else {
        let blindness = snapshot.sight.blindness.as_ref()?;
        let reason = blindness.reason();
        let lead = format!("unknown: the pools of its applications cannot be seen: {reason}.");
        return Some(Words { lead, more: Vec::new() });
    };
    let others = others(pools().filter(|other| !std::ptr::eq(*other, pool)));
    let lead = one_pool(shown, pool, snapshot, now);
    Some(Words { lead, more: last_seen(shown, pool, now).into_iter().chain(others).collect() })
}

/// Sentences about the pools beside the deciding one: how many are full, have room, or cannot be seen.
fn others<'a>(pools: impl Iterator<Item = &'a PoolSight>) -> Vec<String> {
    let (mut full, mut free, mut boundless, mut unseen) = (0, 0, 0, 0);
    for pool in pools {
        match pool.now().map(Application::saturation_ratio) {
            Some(Some(1.0..)) => full += 1,
            Some(Some(_)) => free += 1,
            Some(None) => boundless += 1,
            None => unseen += 1,
        }
    }
    let sentence = |n: usize, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("One more pool {one}.")),
        n => Some(format!("{n} more pools {many}.")),
    };
    let full = sentence(full, "has nothing left either", "have nothing left either");
    let free = sentence(free, "has connections left", "have connections left");
    let boundless = sentence(boundless, "has no known limit", "have no known limit");
    let unseen = sentence(unseen, "cannot be seen", "cannot be seen");
    [full, free, boundless, unseen].into_iter().flatten().collect()
}

/// The last known numbers of a pool that cannot be seen now.
fn last_seen(shown: &Shown, pool: &PoolSight, now: Instant) -> Option<String> {
    let (at, last) = pool.last.as_ref().filter(|_| pool.blindness.is_some())?;
    let ago = age(now.saturating_duration_since(*at));
    Some(format!("{ago} ago: {}.", numbers(last, shown.name()).unwrap_or_else(|| open(last))))
}

fn one_pool(shown: &Shown, pool: &PoolSight, snapshot: &Snapshot, now: Instant) -> String {
    let app = &pool.key.application;
    if let Some(blindness) = &pool.blindness {
        return format!("unknown: the pool of {app} cannot be seen: {}.", blindness.reason());
    }
    let Some(now_seen) = pool.now() else { return format!("no session of {app} was seen.") };
    let Some(said) = numbers(now_seen, shown.name()) else { return format!("{}.", open(now_seen)) };
    // What is assumed is said as the check says it, with both explanations.
    let is_known = now_seen.allowed.is_some_and(|allowed| allowed.instances.is_known());
    if !is_known && let Some(message) = assumed(shown) {
        return format!("{message}.");
    }
    let full_for = now_seen.saturated_for.map(|full| age(full + snapshot.age(now)));
    let duration = full_for.map(|full| format!(", for {full}")).unwrap_or_default();
    let waiting = now_seen.waiting.filter(|waiting| *waiting > 0);
    let waiting =
        waiting.map(|n| format!("; {n} {} for one", plural(n, "caller waits", "callers wait")));
    format!("{said}{duration}{}.", waiting.unwrap_or_default())
}

/// The message of the check where the number of processes is only assumed.
fn assumed(shown: &Shown) -> Option<String> {
    shown.check(CheckName::PoolSaturation)?.message.clone()
}

/// What an application has checked out, beside its limits; `None` where it cannot be seen.
fn numbers(app: &Application, target: &str) -> Option<String> {
    let active = app.active?;
    let name = &app.key.application;
    // The target's name stands in front already.
    let by = if name == target { String::new() } else { format!(" by {name}") };
    let Some(max) = app.allowed.and_then(|allowed| allowed.max).map(u64::from) else {
        let noun = plural(active, "connection", "connections");
        return Some(format!("{active} {noun} checked out{by}, without a known limit"));
    };
    let full = app.fullest.filter(|one| one.max.is_some_and(|max| one.active >= max && max > 0));
    let number = app.allowed.map_or(1, |allowed| allowed.instances.number);
    if let Some(full) = full.filter(|full| full.processes < number && active < max) {
        let of = full.max.unwrap_or_default();
        let n = app.saturated_instances.unwrap_or(1).max(1);
        let have = if n == 1 { "has" } else { "have" };
        let full = full.active;
        return Some(format!(
            "{n} of {number} processes of {name} {have} nothing left ({full} of {of} connections checked out; all together {active} of {max})"
        ));
    }
    let left = max.saturating_sub(active);
    let rest = if left == 0 { "nothing left".to_owned() } else { format!("{left} left") };
    Some(format!("{active} of {max} connections checked out{by}, {rest}"))
}

fn open(app: &Application) -> String {
    let noun = plural(app.open, "session", "sessions");
    format!("{} {noun} of {} open", app.open, app.key.application)
}

/// A target without an application to see.
fn answers(shown: &Shown, snapshot: &Snapshot) -> String {
    let took = snapshot.query.as_ref().map(|queried| millis(queried.query)).unwrap_or_default();
    let spec = shown.target.settings().kind.spec();
    if spec.shows_applications {
        format!("the database answers in {took}; no session of an application was seen.")
    } else {
        let waits = waits(snapshot).map(|waits| format!("; {waits}")).unwrap_or_default();
        format!("{} answers in {took}{waits}.", spec.product)
    }
}

/// What the server could still give.
fn server(snapshot: &Snapshot) -> Option<String> {
    let Tightest { free, limit } = snapshot.views.tightest()?;
    let amount = if free == 0 { "none".to_owned() } else { free.to_string() };
    Some(match limit {
        TightLimit::Server if free == 0 => "The server can give no more connection.".to_owned(),
        TightLimit::Server => format!("The server could give {amount} more."),
        TightLimit::Role(role) => {
            format!("The server could give {amount} more to role {role}, by its CONNECTION LIMIT.")
        }
        TightLimit::Database(name) => {
            format!(
                "The server could give {amount} more in database {name}, by its CONNECTION LIMIT."
            )
        }
    })
}

fn idle_in_transaction(snapshot: &Snapshot) -> Option<String> {
    let sets = &snapshot.views.activity.as_ref()?.sets;
    let is_long = |age: Option<Duration>| age.is_some_and(|age| age >= IDLE_IN_TRANSACTION);
    let mut sets: Vec<_> = sets.iter().filter(|(_, s)| is_long(s.idle_in_transaction)).collect();
    sets.sort_by_key(|(_, sessions)| std::cmp::Reverse(sessions.idle_in_transaction));
    let (_, first) = sets.first()?;
    let oldest = age(first.idle_in_transaction?);
    let states = [SessionState::IdleInTransaction, SessionState::IdleInTransactionAborted];
    let all = sets.iter().flat_map(|(_, set)| states.map(|state| set.count(state)));
    let n: u64 = all.sum();
    let noun = plural(n, "session", "sessions");
    let names = names(sets.iter().map(|(key, _)| key.application.as_str()));
    Some(format!("{n} {noun} idle in transaction, the oldest {oldest}: {names}."))
}

fn slow(snapshot: &Snapshot) -> Option<String> {
    let running = &snapshot.views.activity.as_ref()?.running;
    let first = running.first()?;
    let n = running.len() as u64;
    let queries = plural(n, "slow query runs", "slow queries run");
    let names = names(running.iter().map(|running| running.key.application.as_str()));
    Some(format!("{n} {queries}, the oldest for {}: {names}.", age(first.age)))
}

/// The messages of the checks that did not pass and are not said otherwise.
fn complaints(shown: &Shown) -> impl Iterator<Item = String> {
    let said = [CheckName::Connection, CheckName::Headroom];
    let checks = shown.verdict.checks.iter();
    let wrong = checks
        .filter(move |check| check.outcome != CheckOutcome::Pass && !said.contains(&check.kind));
    wrong.filter_map(unsaid).map(|message| sentence(&message))
}

/// The part of a message that the numbers do not say already.
fn unsaid(check: &Check) -> Option<String> {
    let message = check.message.as_deref()?;
    if check.kind != CheckName::PoolSaturation {
        return Some(message.to_owned());
    }
    let is_said = |part: &&str| {
        let said = [
            " in use",
            "no connection left",
            "checked out",
            "wait for a connection",
            "cannot be seen",
            " ago it was ",
        ];
        !said.iter().any(|word| part.contains(word))
    };
    let parts: Vec<&str> = message.split("; ").filter(is_said).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A message as a sentence with a full stop.
fn sentence(message: &str) -> String {
    if message.ends_with(['.', '?', '!']) { message.to_owned() } else { format!("{message}.") }
}

/// Each name once; a session without a name has none to show.
fn names<'s>(all: impl Iterator<Item = &'s str>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in all.map(|name| if name.is_empty() { "(no application_name)" } else { name }) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

pub(super) fn plural<'s>(n: u64, one: &'s str, many: &'s str) -> &'s str {
    if n == 1 { one } else { many }
}

fn lasting(now: Instant, since: Instant) -> String {
    format!(", for {}", age(now.saturating_duration_since(since)))
}

/// A time in its largest whole unit: `5 s`, `3 min`, `2 h`, `3 d`.
pub(super) fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A configured time: whole seconds as [`age`] writes them.
pub(super) fn span(time: Duration) -> String {
    if time.subsec_nanos() == 0 { age(time) } else { millis(time) }
}

/// A short time in the unit that fits: `0.42 ms`, `12.5 ms`, `1.3 s`.
pub(super) fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ms if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        ms if ms >= 1_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}
