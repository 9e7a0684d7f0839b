//! Checks of a pooler's pools: who waits, how full they are, and whether they are paused.
//!
//! They exist for a target that is a pooler's console. Pools that cannot be seen are a warning: a console that
//! answers `SHOW VERSION` and no more proves nothing of its pools. The thresholds of waits are those of the
//! alerts DbPoolPoolerStuck and DbPoolPoolerWaiting.

use std::time::Duration;

use super::Thresholds;
use super::check::{Check, CheckName, CheckOutcome, Measured};
use super::words::age;
use crate::probe::{ProbePart, Snapshot};
use crate::view::pgbouncer::{PooledPool, pools};

/// One client that waits for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Clients may wait one after the other, without a break, for so long.
const WAITING: Duration = Duration::from_secs(60);

/// The checks of a pooler; none for a server, and where its pools are not to be read.
pub(super) fn checks(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Check> {
    let part = ProbePart::View(pools::VIEW.name);
    let tried = snapshot.extras.iter().find(|(tried, _)| *tried == part);
    let Some((_, result)) = tried else { return Vec::new() };
    if let Err(failure) = result {
        let message = format!("the pools cannot be seen: {}", failure.message);
        return vec![check(CheckName::PoolerWaiting, CheckOutcome::Warn, Some(message))];
    }
    vec![waiting(snapshot), saturation(snapshot, thresholds), paused(snapshot)]
}

fn check(kind: CheckName, outcome: CheckOutcome, message: Option<String>) -> Check {
    Check { kind, outcome, measured: Measured::Nothing, message }
}

fn all(snapshot: &Snapshot) -> impl Iterator<Item = &PooledPool> {
    snapshot.views.consoles.iter().flat_map(|console| console.pools.iter().flatten())
}

/// Judges the pool whose clients wait for longest.
fn waiting(snapshot: &Snapshot) -> Check {
    let waits = all(snapshot).filter(|pool| pool.connections.waiting().is_some_and(|n| n > 0));
    let worst = waits.max_by_key(|pool| (pool.max_wait, pool.waiting_for));
    let Some(pool) = worst else {
        return check(CheckName::PoolerWaiting, CheckOutcome::Pass, None);
    };
    let longest = pool.max_wait.unwrap_or_default();
    let without_break = pool.waiting_for.unwrap_or_default();
    let outcome = match () {
        () if longest >= STUCK => CheckOutcome::Fail,
        () if without_break >= WAITING => CheckOutcome::Warn,
        () => CheckOutcome::Pass,
    };
    let clients = pool.connections.waiting().unwrap_or_default();
    let noun = if clients == 1 { "client waits" } else { "clients wait" };
    let time = if longest >= STUCK {
        format!("one of them for {}", age(longest))
    } else {
        format!("without a break for {}", age(without_break))
    };
    let message = format!("{clients} {noun} for {}, {time}; {}", name(pool), in_use(pool));
    check(CheckName::PoolerWaiting, outcome, Some(message))
}

fn name(pool: &PooledPool) -> String {
    format!("{}/{}", pool.key.database, pool.key.user)
}

fn in_use(pool: &PooledPool) -> String {
    let busy = pool.connections.busy();
    let of = pool.size.filter(|size| *size > 0).map(|size| format!(" of {size}"));
    format!("{busy}{} server connections in use", of.unwrap_or_default())
}

/// Judges the fullest pool. A pool without a limit has no ratio and is never full.
fn saturation(snapshot: &Snapshot, thresholds: &Thresholds) -> Check {
    let ratio = |pool: &&PooledPool| pool.saturation.unwrap_or(-1.0);
    let fullest = all(snapshot).max_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let percent = fullest.and_then(|pool| pool.saturation).map(|ratio| ratio * 100.0);
    let limit = thresholds.saturation_percent;
    let near = fullest.zip(percent.filter(|percent| *percent >= limit));
    let message = near.map(|(pool, percent)| {
        format!("{}: {} ({percent:.1} %), {limit} % is the limit", name(pool), in_use(pool))
    });
    let outcome = if message.is_some() { CheckOutcome::Warn } else { CheckOutcome::Pass };
    let measured = Measured::Utilization(percent);
    Check { kind: CheckName::PoolerSaturation, outcome, measured, message }
}

/// Judges whether something is paused or suspended. Before 1.19 a pause of the whole process cannot be seen.
fn paused(snapshot: &Snapshot) -> Check {
    let mut names = Vec::new();
    for console in &snapshot.views.consoles {
        let Some(limits) = &console.limits else { continue };
        if limits.is_suspended == Some(true) {
            names.push("the whole process (suspended)".to_owned());
        }
        let databases = limits.databases.keys();
        names.extend(databases.filter(|name| console.is_paused(name) == Some(true)).cloned());
    }
    let message = (!names.is_empty()).then(|| format!("paused: {}", names.join(", ")));
    let outcome = if message.is_some() { CheckOutcome::Warn } else { CheckOutcome::Pass };
    check(CheckName::PoolerPaused, outcome, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::probe::{Failure, fixture};
    use crate::view::pgbouncer::{
        ClientState, ConsoleLimits, DatabaseLimits, PoolConnections, PoolKey, ServerState,
    };
    use crate::view::{Console, Views};

    fn pool(waiting: u64, longest: u64, without_break: u64, size: u64) -> PooledPool {
        PooledPool {
            key: PoolKey { database: "shop".to_owned(), user: "app".to_owned() },
            connections: PoolConnections {
                clients: BTreeMap::from([(ClientState::Waiting, waiting)]),
                servers: BTreeMap::from([(ServerState::Active, 19), (ServerState::Idle, 1)]),
                ..PoolConnections::default()
            },
            size: Some(size),
            saturation: (size > 0).then(|| 19.0 / size as f64),
            max_wait: Some(Duration::from_secs(longest)),
            waiting_for: Some(Duration::from_secs(without_break)),
            ..PooledPool::default()
        }
    }

    fn console(pools: Vec<PooledPool>, result: Result<(), Failure>) -> Snapshot {
        let is_seen = result.is_ok();
        let shop = DatabaseLimits { is_paused: Some(false), ..DatabaseLimits::default() };
        let limits = ConsoleLimits {
            databases: BTreeMap::from([("shop".to_owned(), shop)]),
            is_paused: Some(false),
            ..ConsoleLimits::default()
        };
        let console =
            Console { pools: is_seen.then_some(pools), limits: Some(limits), ..Console::default() };
        Snapshot {
            views: Views { consoles: vec![console], ..Views::default() },
            extras: vec![(ProbePart::View(pools::VIEW.name), result)],
            ..fixture::snapshot()
        }
    }

    fn judged(snapshot: &Snapshot) -> Vec<(CheckName, CheckOutcome, String)> {
        let all = checks(snapshot, &Thresholds::default()).into_iter();
        all.map(|c| (c.kind, c.outcome, c.message.unwrap_or_default())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_that_waits_for_long_fails_and_many_that_take_turns_warn() {
        use CheckOutcome::{Fail, Pass, Warn};
        let check = |pool: PooledPool, outcome, words: &str| {
            let found = judged(&console(vec![pool], Ok(()))).remove(0);
            assert_eq!((found.0, found.1), (CheckName::PoolerWaiting, outcome), "{found:?}");
            assert_eq!(found.2, words);
        };
        check(pool(0, 0, 0, 20), Pass, "");
        let turns = "22 clients wait for shop/app, without a break for 59 s; 19 of 20 server connections in use";
        check(pool(22, 1, 59, 20), Pass, turns);
        let turns = "22 clients wait for shop/app, without a break for 60 s; 19 of 20 server connections in use";
        check(pool(22, 1, 60, 20), Warn, turns);
        let stuck =
            "1 client waits for shop/app, one of them for 30 s; 19 server connections in use";
        check(pool(1, 30, 30, 0), Fail, stuck);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_is_near_a_limit_only_where_it_has_one() {
        let outcome = |pools| {
            let (kind, outcome, message) = judged(&console(pools, Ok(()))).remove(1);
            assert_eq!(kind, CheckName::PoolerSaturation);
            (outcome, message)
        };
        let near = "shop/app: 19 of 20 server connections in use (95.0 %), 90 % is the limit";
        let expected = (CheckOutcome::Warn, near.to_owned());
        assert_eq!(outcome(vec![pool(0, 0, 0, 0), pool(0, 0, 0, 20)]), expected);
        assert_eq!(outcome(vec![pool(0, 0, 0, 0)]), (CheckOutcome::Pass, String::new()));
        assert_eq!(outcome(vec![pool(0, 0, 0, 40)]), (CheckOutcome::Pass, String::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_named_and_blindness_is_no_pass() {
        let mut snapshot = console(vec![pool(0, 0, 0, 20)], Ok(()));
        assert_eq!(judged(&snapshot)[2].1, CheckOutcome::Pass);
        let limits = snapshot.views.consoles[0].limits.as_mut().unwrap();
        limits.databases.get_mut("shop").unwrap().is_paused = Some(true);
        let paused = (CheckName::PoolerPaused, CheckOutcome::Warn, "paused: shop".to_owned());
        assert_eq!(judged(&snapshot)[2], paused);
        let failure = Failure::deadline(Duration::from_secs(1));
        let lost = judged(&console(Vec::new(), Err(failure)));
        let [(CheckName::PoolerWaiting, CheckOutcome::Warn, message)] = &lost[..] else {
            panic!("{lost:?}")
        };
        assert!(message.starts_with("the pools cannot be seen: not done"), "{message}");
        assert_eq!(judged(&fixture::snapshot()), [], "a server has no such checks");
    }
}
