//! The layers of a database, from the last snapshots of the targets that watch it.
//!
//! A pooler belongs to a database if its console has the address of the database's target (then the target goes
//! through the pooler), or if the console's SHOW DATABASES leads to the target's server and database.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::layers::{
    ApplicationLayer, ApplicationPool, Layers, NetworkLayer, PoolerLayer, PoolerPool, Seen,
    ServerLayer, ServerLoad,
};
use super::{Bottleneck, judge};
use crate::metrics::UsageSource;
use crate::pool::{Phase, Reason, Timings};
use crate::probe::{Failure, PoolSight, ServerPath, Snapshot, Target};
use crate::view::activity::SessionState;
use crate::view::pgbouncer::PooledPool;
use crate::view::{Activity, Application};

/// All targets, among them those that show the layers of one database.
pub(crate) struct Neighbours<'t> {
    all: &'t [Arc<Target>],
    /// The poolers' consoles.
    consoles: Vec<&'t Target>,
}

impl<'t> Neighbours<'t> {
    /// Finds the consoles among all targets.
    pub(crate) fn new(all: &'t [Arc<Target>]) -> Self {
        let consoles = all.iter().map(Arc::as_ref);
        let consoles = consoles.filter(|target| !target.settings().kind.spec().shows_applications);
        Self { all, consoles: consoles.collect() }
    }
}

/// Judges the database of a target. `None` for a target that is no database, and before its first probe.
pub(crate) fn of(target: &Target, all: &Neighbours<'_>, now: Instant) -> Option<Bottleneck> {
    if !target.settings().kind.spec().shows_applications {
        return None;
    }
    let published = target.published()?;
    let found = judge(&layers(target, &published.snapshot, all, now));
    Some(Bottleneck { pooler_budget: pooler_budget(target, all), ..found })
}

/// The connections that all poolers together may open on the target's server. `None` where there is no pooler, or
/// a pool without a limit.
fn pooler_budget(target: &Target, all: &Neighbours<'_>) -> Option<u64> {
    let mut sum = None;
    for console in &all.consoles {
        let Some(published) = console.published() else { continue };
        let snapshot = &published.snapshot;
        let leads_here = |name: &str| {
            let mut known = snapshot.pooled_databases.iter();
            known.any(|pooled| pooled.name == name && target.is_server_of(console, &pooled.server))
        };
        for process in &snapshot.views.consoles {
            let mut pools = process.pools.iter().flatten();
            if !pools.any(|pool| leads_here(&pool.key.database)) {
                continue;
            }
            let here = process.budgets.iter().filter(|(at, _)| target.is_server_of(console, at));
            let budgets: Vec<u64> = here.map(|(_, budget)| *budget).collect();
            if budgets.is_empty() {
                return None;
            }
            sum = Some(sum.unwrap_or(0) + budgets.iter().sum::<u64>());
        }
    }
    sum
}

fn layers(target: &Target, snapshot: &Snapshot, all: &Neighbours<'_>, now: Instant) -> Layers {
    if target.is_stale(now) {
        let age = snapshot.age(now).as_secs();
        let old = format!("the last probe of the server ended {age} s ago");
        return Layers { server: Seen::Hidden(old), ..Layers::default() };
    }
    let routes = routes(target, all);
    let own = server(target, snapshot, &routes);
    let server = match own {
        Seen::Hidden(_) => direct(target, &routes, all, now).unwrap_or(own),
        Seen::Known(_) | Seen::Absent => own,
    };
    Layers {
        application: application(target, snapshot, &routes),
        pooler: pooler(snapshot, &routes, now),
        network: network(snapshot),
        server,
    }
}

/// A pooler's console, and the names that it has for the database.
struct Route<'t> {
    console: &'t Target,
    databases: Vec<String>,
    /// True if the target itself goes through this pooler.
    is_between: bool,
    /// True if it is not known yet where the pooler leads.
    is_unread: bool,
}

fn routes<'t>(target: &Target, all: &Neighbours<'t>) -> Vec<Route<'t>> {
    all.consoles.iter().filter_map(|console| route(target, console)).collect()
}

fn route<'t>(target: &Target, console: &'t Target) -> Option<Route<'t>> {
    if target.has_address_of(console) {
        let databases = vec![target.database().to_owned()];
        return Some(Route { console, databases, is_between: true, is_unread: false });
    }
    let published = console.published();
    let known = published.as_ref().map(|published| &published.snapshot.pooled_databases);
    let Some(known) = known.filter(|known| !known.is_empty()) else {
        let is_unread = published.is_none_or(|published| !published.snapshot.is_up());
        return is_unread.then(|| Route {
            console,
            databases: Vec::new(),
            is_between: false,
            is_unread,
        });
    };
    let leads_here = known.iter().filter(|pooled| {
        pooled.database == target.database() && target.is_server_of(console, &pooled.server)
    });
    let databases: Vec<String> = leads_here.map(|pooled| pooled.name.clone()).collect();
    let is_route = !databases.is_empty();
    is_route.then_some(Route { console, databases, is_between: false, is_unread: false })
}

/// The server as another target sees it, which does not go through the pooler.
fn direct(
    target: &Target,
    routes: &[Route<'_>],
    all: &Neighbours<'_>,
    now: Instant,
) -> Option<Seen<ServerLayer>> {
    let through = routes.iter().filter(|route| route.is_between);
    let consoles: Vec<&Target> = through.map(|route| route.console).collect();
    let others = all.all.iter().filter(|other| other.name() != target.name());
    let mut servers = others.filter_map(|other| {
        let published = other.published().filter(|_| !other.is_stale(now))?;
        let snapshot = published.snapshot.as_ref();
        let is_direct = snapshot.path == Some(ServerPath::Direct);
        let is_same = consoles.iter().any(|console| {
            let seen = console.published();
            let pooled = seen.iter().flat_map(|seen| seen.snapshot.pooled_databases.iter());
            let mut pooled = pooled.filter(|pooled| pooled.name == target.database());
            pooled.any(|pooled| other.is_server_of(console, &pooled.server))
        });
        (is_direct && is_same).then(|| server(other, snapshot, &[]))
    });
    servers.find(|server| matches!(server, Seen::Known(_)))
}

/// The applications' pools. Behind a pooler the sessions on the server are the pooler's: only an application that
/// serves its own status is seen, and how many of the pooler's connections are in use.
fn application(
    target: &Target,
    snapshot: &Snapshot,
    routes: &[Route<'_>],
) -> Seen<ApplicationLayer> {
    let is_pooled = snapshot.path == Some(ServerPath::Pooled) || !routes.is_empty();
    let sights = snapshot.sight.pools.iter().filter(|pool| !pool.is_gone);
    let is_own = |pool: &&PoolSight| {
        let last = pool.last.as_ref();
        last.is_some_and(|(_, app)| app.source == UsageSource::Endpoint)
    };
    let sights: Vec<&PoolSight> = sights.filter(|pool| !is_pooled || is_own(pool)).collect();
    if is_pooled && sights.is_empty() {
        return behind(target, routes);
    }
    let mut pools = Vec::new();
    for sight in sights {
        match (sight.now().and_then(application_pool), &sight.blindness) {
            (Some(pool), _) => pools.push(pool),
            (None, Some(blindness)) => {
                let (name, reason) = (&sight.key.application, blindness.reason());
                return Seen::Hidden(format!("the pool of {name} cannot be seen: {reason}"));
            }
            (None, None) => {}
        }
    }
    match &snapshot.sight.blindness {
        Some(blindness) if pools.is_empty() => {
            Seen::Hidden(format!("the application's pool cannot be seen: {}", blindness.reason()))
        }
        _ => Seen::Known(ApplicationLayer { pools }),
    }
}

fn application_pool(app: &Application) -> Option<ApplicationPool> {
    let allowed = app.allowed?;
    let (active, max) = (app.active?, allowed.max.map(u64::from));
    // Where sessions of several names share the limit of one process, none of them is full by itself.
    let is_used_up = max.is_some_and(|max| active >= max);
    Some(ApplicationPool {
        name: app.key.application.clone(),
        active,
        max,
        processes: u64::from(allowed.instances.number),
        full: u64::from(app.saturated_instances.unwrap_or(0)).max(u64::from(is_used_up)),
        waiting: app.waiting.unwrap_or(0),
        is_number_known: allowed.instances.is_known(),
        are_told_apart: app.are_told_apart || allowed.instances.number == 1,
    })
}

/// A process cannot be full while fewer of the pooler's connections are in use, or waited for, than it may open.
fn behind(target: &Target, routes: &[Route<'_>]) -> Seen<ApplicationLayer> {
    let hidden = Seen::Hidden(
        "the application's pool cannot be seen behind PgBouncer, only by its own status (status_urls)"
            .to_owned(),
    );
    let settings = &target.settings().views.applications;
    let of_one: Option<Vec<u32>> = settings.iter().map(|settings| settings.pool.max()).collect();
    let Some(least) = of_one.and_then(|all| all.into_iter().min()) else { return hidden };
    let mut in_use = 0;
    for route in routes.iter().filter(|route| !route.is_unread) {
        let Some(pools) = pools_of(route) else { return hidden };
        in_use += pools.iter().map(|pool| pool.in_use + pool.waiting).sum::<u64>();
    }
    let is_known = routes.iter().any(|route| !route.is_unread);
    if !is_known || in_use >= u64::from(least) {
        return hidden;
    }
    let pool = ApplicationPool {
        name: "the application".to_owned(),
        active: in_use,
        max: Some(u64::from(least)),
        processes: 1,
        full: 0,
        waiting: 0,
        is_number_known: true,
        are_told_apart: true,
    };
    Seen::Known(ApplicationLayer { pools: vec![pool] })
}

fn pooler(snapshot: &Snapshot, routes: &[Route<'_>], now: Instant) -> Seen<PoolerLayer> {
    if routes.is_empty() {
        return if snapshot.path == Some(ServerPath::Pooled) {
            Seen::Hidden(
                "a pooler stands between, and its console is not watched (kind: pgbouncer)"
                    .to_owned(),
            )
        } else {
            Seen::Absent
        };
    }
    let mut layer = PoolerLayer::default();
    for route in routes {
        let name = route.console.name();
        let is_stale = route.console.is_stale(now);
        match pools_of(route).filter(|_| !route.is_unread && !is_stale) {
            Some(pools) => layer.pools.extend(pools),
            None => layer.lost.push(lost(route, name)),
        }
    }
    Seen::Known(layer)
}

fn lost(route: &Route<'_>, name: &str) -> String {
    let published = route.console.published();
    let failure = published.as_ref().and_then(|published| {
        let mut parts = published.snapshot.parts();
        parts.find_map(|(_, result)| result.err().map(|failure| failure.message.clone()))
    });
    let reason = failure.unwrap_or_else(|| "it was not read yet".to_owned());
    format!("PgBouncer cannot be seen (target {name}): {reason}")
}

/// The pools that lead to the database; `None` where the console did not show them at its last probe.
fn pools_of(route: &Route<'_>) -> Option<Vec<PoolerPool>> {
    let published = route.console.published()?;
    let mut all = Vec::new();
    for console in &published.snapshot.views.consoles {
        let pools = console.pools.as_ref()?.iter();
        for pool in pools.filter(|pool| route.databases.contains(&pool.key.database)) {
            all.push(pooler_pool(pool, console.is_paused(&pool.key.database)));
        }
    }
    (!published.snapshot.views.consoles.is_empty()).then_some(all)
}

fn pooler_pool(pool: &PooledPool, is_paused: Option<bool>) -> PoolerPool {
    PoolerPool {
        name: format!("{}/{}", pool.key.database, pool.key.user),
        waiting: pool.connections.waiting().unwrap_or(0),
        waiting_for: pool.waiting_for.max(pool.max_wait).unwrap_or_default(),
        in_use: pool.connections.busy(),
        size: pool.size.filter(|size| *size > 0),
        is_paused: is_paused.or(pool.connections.is_paused) == Some(true),
    }
}

fn network(snapshot: &Snapshot) -> Seen<NetworkLayer> {
    let failure = snapshot.failure().map(|(_, failure)| failure);
    if let Some(failure) = failure.filter(|failure| is_of_network(failure)) {
        let failure = Some(failure.message.clone());
        return Seen::Known(NetworkLayer { failure, took: Duration::ZERO });
    }
    match &snapshot.connect {
        Some(Ok(connected)) => {
            let Timings { dns, tcp, .. } = connected.timings;
            let took = dns.unwrap_or_default() + tcp.unwrap_or_default();
            Seen::Known(NetworkLayer { failure: None, took })
        }
        Some(Err(_)) | None => Seen::Absent,
    }
}

fn is_of_network(failure: &Failure) -> bool {
    let is_before_server = matches!(failure.phase, Some(Phase::Dns | Phase::Tcp));
    let is_timeout = failure.reason == Reason::Timeout;
    failure.reason == Reason::Unreachable || is_timeout && is_before_server
}

fn server(target: &Target, snapshot: &Snapshot, routes: &[Route<'_>]) -> Seen<ServerLayer> {
    let is_pooled =
        snapshot.path == Some(ServerPath::Pooled) || routes.iter().any(|route| route.is_between);
    if let Some((_, failure)) = snapshot.failure() {
        let message = failure.message.clone();
        return if is_of_server(failure, is_pooled) {
            let load = Err("the server's sessions are not read".to_owned());
            Seen::Known(ServerLayer { failure: Some(message), free: None, load })
        } else {
            Seen::Hidden(format!("the server is not seen: {message}"))
        };
    }
    let free = snapshot.views.tightest().map(|tightest| tightest.free);
    let load = match &snapshot.views.activity {
        Some(activity) => load(activity, target.database()),
        None => Err("what the server's sessions do is not read (the view activity)".to_owned()),
    };
    Seen::Known(ServerLayer { failure: None, free, load })
}

/// Reports whether a failure is the server's own. Through a pooler most are the pooler's, or the wait in it.
fn is_of_server(failure: &Failure, is_pooled: bool) -> bool {
    let always = [Reason::StartingUp, Reason::PoolerNoServer, Reason::DiskFull];
    let direct = [
        Reason::ShuttingDown,
        Reason::NotAccepting,
        Reason::TooManyConnections,
        Reason::Refused,
        Reason::Disconnected,
        Reason::Timeout,
    ];
    let reason = failure.reason;
    always.contains(&reason) || !is_pooled && direct.contains(&reason) && !is_of_network(failure)
}

fn load(activity: &Activity, database: &str) -> Result<ServerLoad, String> {
    let of_database = || activity.sets.iter().filter(|(key, _)| key.database == database);
    if of_database().any(|(_, sessions)| sessions.count(SessionState::Unknown) > 0) {
        return Err("what the sessions of the database do cannot be seen: GRANT pg_read_all_stats to the exporter's role".to_owned());
    }
    let own = activity.loads.iter().find(|load| load.database == database);
    Ok(ServerLoad {
        sessions: activity.sets.iter().map(|(_, sessions)| sessions.open()).sum(),
        on_cpu: activity.loads.iter().map(|load| load.on_cpu).sum(),
        busy: of_database().map(|(_, sessions)| sessions.busy()).sum(),
        locked: own.map_or(0, |load| load.locked),
        longest_locked: own.map(|load| load.longest_locked).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture;

    #[test]
    fn a_pool_that_is_used_up_is_full_whatever_its_processes_show() {
        for (active, full) in [(8, 1), (7, 0)] {
            let app =
                Application { saturated_instances: None, ..fixture::application("shop", active) };
            let pool = application_pool(&app).expect("it has limits");
            assert_eq!((pool.active, pool.max, pool.full), (active, Some(8), full));
        }
    }
}
