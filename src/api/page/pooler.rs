//! A pooler's pools, as its console shows them: who waits for a server connection, and how full each pool is.

use std::cmp::Reverse;
use std::time::Duration;

use super::gauge::{Bar, bar};
use super::words::{age, plural};
use crate::api::html::{Html, html};
use crate::probe::Snapshot;
use crate::view::pgbouncer::{PoolConnections, PooledPool, ServerState};

/// Pools of the table; what is more is counted.
const MOST_ROWS: usize = 50;

/// Pools with an entry, those with waiting clients first, then the fullest.
fn pools(snapshot: &Snapshot) -> Vec<&PooledPool> {
    let pools = snapshot.views.consoles.iter().flat_map(|console| console.pools.iter().flatten());
    let mut pools: Vec<&PooledPool> = pools.filter(|pool| !is_idle(&pool.connections)).collect();
    pools.sort_by(|one, other| {
        let waits = |pool: &PooledPool| Reverse(pool.connections.waiting().unwrap_or(0));
        let fullness = |pool: &PooledPool| pool.saturation.unwrap_or(-1.0);
        waits(one).cmp(&waits(other)).then_with(|| fullness(other).total_cmp(&fullness(one)))
    });
    pools
}

fn is_idle(connections: &PoolConnections) -> bool {
    connections.clients.values().chain(connections.servers.values()).all(|n| *n == 0)
}

/// The waiting clients in a sentence; `None` where no console was read.
pub(super) fn waits(snapshot: &Snapshot) -> Option<String> {
    let consoles = &snapshot.views.consoles;
    consoles.iter().find(|console| console.pools.is_some())?;
    let waiting = pools(snapshot).into_iter().filter(|pool| pool.connections.waiting() > Some(0));
    let waiting: Vec<&PooledPool> = waiting.collect();
    let n: u64 = waiting.iter().filter_map(|pool| pool.connections.waiting()).sum();
    let Some(first) = waiting.first() else {
        return Some("no client waits for a server connection".to_owned());
    };
    let longest = waiting.iter().filter_map(|pool| longest(pool)).max();
    let longest = longest.map(|longest| format!(", the longest for {}", age(longest)));
    Some(format!(
        "{n} {} for a server connection{}: database {}, user {}",
        plural(n, "client waits", "clients wait"),
        longest.unwrap_or_default(),
        first.key.database,
        first.key.user
    ))
}

fn longest(pool: &PooledPool) -> Option<Duration> {
    pool.max_wait.max(pool.waiting_for)
}

/// The table of the pools; nothing where no console was read.
pub(super) fn pooler(snapshot: &Snapshot) -> Html {
    let pools = pools(snapshot);
    if snapshot.views.consoles.is_empty() {
        return Html::default();
    }
    let rows: Html = pools.iter().take(MOST_ROWS).map(|pool| row(pool)).collect();
    let more = pools.len().saturating_sub(MOST_ROWS);
    let more = (more > 0).then(|| html("<p class=\"note\">{} more are not shown.</p>", &[&more]));
    let body = if rows.is_empty() {
        html("<p class=\"none\">No pool has a connection.</p>", &[])
    } else {
        html(
            "<table class=\"stack\"><thead><tr><th scope=\"col\">Database, user</th><th scope=\"col\" class=\"n\">Clients wait</th>\
             <th scope=\"col\" class=\"n\">Longest wait</th><th scope=\"col\" class=\"n\">Server connections in use</th>\
             <th scope=\"col\">Of the pool</th></tr></thead><tbody>{}</tbody></table>{}",
            &[&rows, &more],
        )
    };
    html(
        "<section aria-labelledby=\"pooler\"><h2 id=\"pooler\">Pools of the pooler</h2><div class=\"card\">{}{}</div></section>",
        &[&one_of_several(snapshot), &body],
    )
}

/// A warning where the numbers are those of any one of several processes.
fn one_of_several(snapshot: &Snapshot) -> Option<Html> {
    let mut consoles = snapshot.views.consoles.iter();
    consoles.any(|console| console.is_one_of_several == Some(true)).then(|| {
        html(
            "<p class=\"note\"><strong>The address belongs to several processes</strong> (so_reuseport), and these are the \
             numbers of any one of them. Set <code>discover: peers</code>, or list the processes under <code>processes</code>.</p>",
            &[],
        )
    })
}

fn row(pool: &PooledPool) -> Html {
    let waiting = pool.connections.waiting();
    let shown = waiting.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let shown = match waiting {
        Some(1..) => html("<span class=\"leak\">{}</span>", &[&shown]),
        Some(0) | None => html("{}", &[&shown]),
    };
    let wait = longest(pool).filter(|_| waiting > Some(0)).map(age);
    let busy = pool.connections.busy();
    let size = pool.size.filter(|size| *size > 0);
    let of = size.map(|size| format!(" of {size}"));
    let servers = &pool.connections.servers;
    let free = [ServerState::Idle, ServerState::Used];
    let idle = free.iter().filter_map(|state| servers.get(state)).sum();
    let numbers = Bar { active: busy, idle, size, max: size };
    html(
        "<tr><th scope=\"row\" class=\"long\">{}, {}</th><td class=\"n\" data-name=\"Clients wait\">{}</td>\
         <td class=\"n\" data-name=\"Longest wait\">{}</td><td class=\"n\" data-name=\"Server connections in use\">{}{}</td><td>{}</td></tr>",
        &[&pool.key.database, &pool.key.user, &shown, &wait, &busy, &of, &bar(&numbers, "small")],
    )
}
