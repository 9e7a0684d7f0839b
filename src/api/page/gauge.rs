//! A pool as a bar: what is checked out, what is idle, and what is left of its limits.
//!
//! Widths are attributes of the drawing: a style attribute would need a weaker content security policy.

use super::words::age;
use crate::api::html::{Html, html};
use crate::metrics::UsageSource;
use crate::probe::{PoolSight, SessionsEnded, Snapshot};
use crate::view::Application;
use crate::view::application::{Fullest, ProcessUsage};
use tokio::time::Instant;

/// The width of a bar in its own units.
const WIDTH: f64 = 1000.0;

/// The numbers of a pool that a bar shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) active: u64,
    pub(super) idle: u64,
    pub(super) size: Option<u64>,
    pub(super) max: Option<u64>,
}

impl Bar {
    fn of(app: &Application) -> Option<Self> {
        let allowed = app.allowed?;
        Some(Self {
            active: app.active?,
            idle: app.idle?,
            size: allowed.size.map(u64::from).filter(|_| allowed.process.closes_overflow()),
            max: allowed.max.map(u64::from),
        })
    }

    fn is_full(&self) -> bool {
        self.max.is_some_and(|max| max > 0 && self.active >= max)
    }
}

/// Draws a bar. `class`: more classes of the drawing.
pub(super) fn bar(bar: &Bar, class: &'static str) -> Html {
    let most = bar.max.unwrap_or(0).max(bar.active + bar.idle).max(1) as f64;
    let scale = |n: u64| n as f64 / most * WIDTH;
    let within = bar.size.map_or(bar.active, |size| size.min(bar.active));
    let kind = if bar.is_full() { "full" } else { "active" };
    let mut out = html("<rect class=\"track\" width=\"1000\" height=\"10\"/>", &[]);
    let mut at = 0.0;
    let over = if bar.is_full() { "full" } else { "over" };
    for (class, n) in [(kind, within), (over, bar.active - within), ("idle", bar.idle)] {
        if n > 0 {
            let wide = scale(n);
            out.fill(
                "<rect class=\"{}\" x=\"{}\" width=\"{}\" height=\"10\"/>",
                &[&class, &at, &wide],
            );
            at += wide;
        }
    }
    if let Some(size) = bar.size.filter(|size| bar.max.is_some_and(|max| *size < max)) {
        let x = scale(size);
        out.fill("<line class=\"size\" x1=\"{}\" x2=\"{}\" y1=\"0\" y2=\"10\"/>", &[&x, &x]);
    }
    drawing(class, &out)
}

/// Draws the bar of a pool that is not seen.
pub(super) fn unknown(class: &'static str) -> Html {
    drawing(class, &html("<rect class=\"blind\" width=\"1000\" height=\"10\"/>", &[]))
}

/// The words beside it say the same, so it is hidden from screen readers.
fn drawing(class: &'static str, content: &Html) -> Html {
    html(
        "<svg class=\"gauge {}\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{}</svg>",
        &[&class, content],
    )
}

/// The pools of a target's applications, each as a card.
pub(super) fn pools(snapshot: &Snapshot, is_present: bool, now: Instant) -> Html {
    let pools = snapshot.sight.pools.iter().filter(|pool| !pool.is_gone);
    let cards: Html = pools.map(|pool| card(pool, is_present, now)).collect();
    let cards = if cards.is_empty() { own(snapshot, is_present) } else { cards };
    html(
        "<section aria-labelledby=\"pools\"><h2 id=\"pools\">Connection pools</h2><div class=\"pools\">{}</div></section>",
        &[&cards],
    )
}

fn card(pool: &PoolSight, is_present: bool, now: Instant) -> Html {
    let key = &pool.key;
    // An application that serves its own status need not name its role.
    let role = if key.user.is_empty() { String::new() } else { format!("role {}, ", key.user) };
    let head = html(
        "<h3 class=\"long\">{}</h3> <small class=\"long\">{}database {}</small>",
        &[&key.application, &role, &key.database],
    );
    let seen = pool.now().filter(|_| is_present);
    let body = match seen {
        Some(app) => present(app, pool.ended.as_ref(), now),
        None => hidden(pool, is_present, now),
    };
    html("<div class=\"card pool\">{}{}</div>", &[&head, &body])
}

/// A pool that cannot be seen now: no number of before stands as if it were of now.
fn hidden(pool: &PoolSight, is_present: bool, now: Instant) -> Html {
    let reason = pool.blindness.as_ref().map(|blindness| blindness.reason());
    let reason = match reason {
        Some(reason) => reason,
        None if is_present => "its sessions were never seen".to_owned(),
        None => "the last probe tells nothing of now".to_owned(),
    };
    let last = pool.last.as_ref().map(|(at, app)| {
        let ago = age(now.saturating_duration_since(*at));
        let active = app.active.map(|active| active.to_string());
        let active = active.unwrap_or_else(|| "an unknown number".to_owned());
        html(
            "<p class=\"note\">Last seen {} ago: {} checked out, {} open.</p>",
            &[&ago, &active, &app.open],
        )
    });
    html(
        "<p class=\"top\"><b>unknown</b></p>{}<p class=\"note long\">Not seen: {}.</p>{}",
        &[&unknown(""), &reason, &last],
    )
}

fn present(app: &Application, ended: Option<&SessionsEnded>, now: Instant) -> Html {
    let Some(numbers) = Bar::of(app) else {
        return html(
            "<p class=\"top\"><b>unknown</b> <small>{} open</small></p>{}",
            &[&app.open, &unknown("")],
        );
    };
    let of = match numbers.max {
        Some(max) => format!("{} of {max}", numbers.active),
        None => format!("{}, no limit", numbers.active),
    };
    let limits = limits(app);
    let ended = ended.map(|ended| {
        let ago = age(now.saturating_duration_since(ended.at));
        html(
            "<p class=\"note leak\">The server ended all {} sessions {} ago.</p>",
            &[&ended.sessions, &ago],
        )
    });
    html(
        "<p class=\"top\"><span><b>{}</b> checked out</span> <small>{}</small></p>{}{}{}{}{}",
        &[
            &of,
            &limits,
            &bar(&numbers, ""),
            &key(app, &numbers),
            &notes(app),
            &ended,
            &processes(app),
        ],
    )
}

/// The limits as they are configured, for one process and for all.
fn limits(app: &Application) -> String {
    let Some(allowed) = app.allowed else { return String::new() };
    let number = allowed.instances.number;
    let process = &allowed.process;
    let one = match (process.size(), process.max_overflow(), process.max()) {
        (Some(size), Some(overflow), _) if process.closes_overflow() => {
            format!("{size} + {overflow}")
        }
        (_, _, Some(max)) => format!("at most {max}"),
        (_, _, None) => "no limit".to_owned(),
    };
    let assumed = if allowed.instances.is_known() { "" } else { " assumed" };
    match number {
        1 => format!("{one}, 1 process{assumed}"),
        n => format!("{one} each, {n} processes{assumed}"),
    }
}

fn key(app: &Application, bar: &Bar) -> Html {
    let within = bar.size.map_or(bar.active, |size| size.min(bar.active));
    let over = bar.active - within;
    let kind = if bar.is_full() { "full" } else { "active" };
    let mut out =
        html("<ul class=\"key\"><li class=\"{}\">{} checked out</li>", &[&kind, &bar.active]);
    if over > 0 {
        let class = if bar.is_full() { "full" } else { "over" };
        out.fill("<li class=\"{}\">{} of them beyond the size</li>", &[&class, &over]);
    }
    out.fill("<li class=\"idle\">{} idle</li>", &[&bar.idle]);
    if let Some(max) = bar.max {
        let free = max.saturating_sub(bar.active + bar.idle);
        out.fill("<li class=\"free\">{} more may open</li>", &[&free]);
    }
    if let Some(waiting) = app.waiting.filter(|waiting| *waiting > 0) {
        out.fill("<li class=\"full\">{} callers wait</li>", &[&waiting]);
    }
    out.fill("</ul>", &[]);
    out
}

fn notes(app: &Application) -> Html {
    let mut out = Html::default();
    let peak = app.recent.peak.max(app.active.unwrap_or(0));
    let source = match app.source {
        UsageSource::Endpoint => "from its own status",
        UsageSource::Activity | UsageSource::Unknown | UsageSource::Exporter => "from its sessions",
    };
    out.fill("<p class=\"note\">At most {} in the last minute; {}.", &[&peak, &source]);
    if let Some(uncertain) = app.uncertain.filter(|n| *n > 0) {
        out.fill(" {} of the idle ones may be checked out without a statement.", &[&uncertain]);
    }
    if let Some(leaked) = app.leaked.filter(|n| *n > 0) {
        out.fill(" <span class=\"leak\">{} idle in transaction for too long.</span>", &[&leaked]);
    }
    out.fill("</p>", &[]);
    out
}

fn processes(app: &Application) -> Html {
    if app.processes.is_empty() {
        return Html::default();
    }
    let rows: Html = app.processes.iter().map(process).collect();
    html("<ul class=\"processes\" aria-label=\"Processes, the fullest first\">{}</ul>", &[&rows])
}

fn process(process: &ProcessUsage) -> Html {
    let ProcessUsage { name, address, usage } = process;
    let Fullest { active, open, size, max, processes } = *usage;
    let numbers = Bar { active, idle: open.saturating_sub(active), size, max };
    let name = match (name.as_str(), address) {
        ("", Some(address)) => address.clone(),
        ("", None) => "(no application_name)".to_owned(),
        (name, Some(address)) => format!("{name} at {address}"),
        (name, None) => name.to_owned(),
    };
    let of = max.map(|max| format!(" of {max}")).unwrap_or_default();
    let several = if processes > 1 { format!(" ({processes} processes)") } else { String::new() };
    html(
        "<li><span class=\"long\">{}{}</span>{}<span>{}{}</span></li>",
        &[&name, &several, &bar(&numbers, "small"), &active, &of],
    )
}

/// The exporter's own pool, where no session of an application was ever seen.
fn own(snapshot: &Snapshot, is_present: bool) -> Html {
    if let Some(blindness) = &snapshot.sight.blindness {
        return html(
            "<div class=\"card pool\"><h3>Applications</h3><p class=\"top\"><b>unknown</b></p>{}<p class=\"note long\">Not seen: {}.</p></div>",
            &[&unknown(""), &blindness.reason()],
        );
    }
    if !is_present {
        return html(
            "<div class=\"card pool\"><p class=\"top\"><b>unknown</b></p>{}</div>",
            &[&unknown("")],
        );
    }
    let usage = &snapshot.usage;
    let numbers = Bar {
        active: usage.active,
        idle: usage.idle,
        size: usage.size.map(u64::from),
        max: usage.max.map(u64::from),
    };
    let max = numbers.max.map(|max| format!(" of {max}")).unwrap_or_default();
    html(
        "<div class=\"card pool\"><h3>The exporter&#39;s own pool</h3><p class=\"top\"><span><b>{}{}</b> checked out</span></p>{}\
         <p class=\"note\">No session of an application was seen. Sessions of the role and the database of the \
         exporter&#39;s URL are taken for the application&#39;s (DB_MONITOR_APPLICATION).</p></div>",
        &[&numbers.active, &max, &bar(&numbers, "")],
    )
}
