//! Infers an application's pools from its cells.
//!
//! The server shows sessions, not check-outs. A session that runs a statement or is in a transaction is
//! certainly checked out. All others may be idle in the pool, or checked out without having sent
//! anything yet. Only a configured number of processes turns idle sessions into checked-out ones:
//! QueuePool closes what is above its size at check-in, so what is open beyond that is checked out. A
//! learned number is a lower bound and could be too small, so it never does: what is inferred as
//! checked out is never above the truth.

use super::cell::{Cell, SessionCounts};
use super::instances::{Evidence, Instances, conclude};
use super::settings::ApplicationSettings;
use super::{
    AllowedConnections, Application, Exceeded, Fullest, MOST_PROCESSES, ProcessUsage, Recent,
};
use crate::metrics::UsageSource;
use crate::view::key::SessionKey;

/// Infers the pools behind the cells of an application that are alive.
pub(super) fn infer(
    settings: &ApplicationSettings,
    key: SessionKey,
    cells: &[Cell<'_>],
) -> Application {
    let pool = &settings.pool;
    let instances = conclude(settings, cells);
    let all = cells.iter().fold(SessionCounts::default(), |sum, cell| sum.plus(&cell.now));
    let parts: Vec<Part<'_>> = parts(settings, instances, cells);
    let active: u64 = parts.iter().map(|part| part.active).sum();
    let active = all.if_visible(active);
    let mean = active.and_then(|active| mean(settings, instances, cells, active));
    let number = instances.number;
    let allowed = AllowedConnections {
        instances,
        process: *pool,
        size: pool.size().map(|size| size.saturating_mul(number)),
        max_overflow: pool.max_overflow().map(|overflow| overflow.saturating_mul(number)),
        max: pool.max().map(|max| max.saturating_mul(number)),
        overflow: pool.closes_overflow().then(|| overflow(settings, number, cells, all.open)),
        exceeded: exceeded(settings, instances, cells),
    };
    Application {
        key,
        source: UsageSource::Activity,
        waiting: None,
        oldest_wait: None,
        open: all.open,
        active,
        idle: active.map(|active| all.open.saturating_sub(active)),
        uncertain: active.map(|active| all.idle.min(all.open.saturating_sub(active))),
        in_transaction: all.if_visible(all.in_transaction),
        leaked: all.if_visible(all.leaked),
        unseen: all.unseen(),
        allowed: Some(allowed),
        fullest: active.and_then(|_| fullest(&parts)).or(mean),
        mean,
        saturated_instances: active.and_then(|_| saturated(settings, &parts)),
        are_told_apart: parts.len() > 1 || number == 1,
        recent: Recent::default(),
        since_probe: Recent::default(),
        saturated_for: None,
        processes: active.map(|_| processes(&parts)).unwrap_or_default(),
        whole_limit_open_for: None,
        vanished: None,
    }
}

/// A cell with the number of processes that share its limits.
struct Part<'c> {
    name: &'c str,
    address: Option<&'c str>,
    open: u64,
    /// Certainly checked out.
    active: u64,
    processes: u32,
    size: Option<u64>,
    max: Option<u64>,
}

impl Part<'_> {
    fn is_full(&self) -> bool {
        self.max.is_some_and(|max| max > 0 && self.active >= max)
    }

    fn usage(&self) -> Fullest {
        let Self { active, open, processes, size, max, .. } = *self;
        Fullest { active, open, processes, size, max }
    }
}

fn parts<'c>(
    settings: &ApplicationSettings,
    instances: Instances,
    cells: &[Cell<'c>],
) -> Vec<Part<'c>> {
    let cells: Vec<&Cell<'_>> = cells.iter().filter(|cell| cell.now.open > 0).collect();
    let pools = cells.iter().filter(|cell| !cell.is_tool()).count();
    cells
        .iter()
        .map(|cell| {
            let processes =
                if cell.is_tool() { 1 } else { sharing(settings, instances, cell, pools) };
            let times = |limit: Option<u32>| Some(u64::from(limit?) * u64::from(processes));
            Part {
                name: cell.name,
                address: cell.address,
                open: cell.now.open,
                active: cell.now.busy.max(beyond(settings, cell, pools)),
                processes,
                size: times(settings.pool.size()),
                max: times(settings.pool.max()),
            }
        })
        .collect()
}

/// Returns the number of processes behind a cell. `pools`: the number of cells that are pools.
///
/// One cell has all of them. Several share them evenly where the number is configured, unless one has
/// shown that it needs more.
fn sharing(settings: &ApplicationSettings, known: Instances, cell: &Cell<'_>, pools: usize) -> u32 {
    let by_open = cell.by_open(&settings.pool);
    let by_rest = cell.by_rest(&settings.pool);
    let pools = u32::try_from(pools.max(1)).unwrap_or(u32::MAX);
    let shown = match known.evidence {
        Evidence::Configured => by_rest.min(known.number).max(known.number.div_ceil(pools)),
        // The names tell processes apart, and so do endpoints, which are not inferred.
        Evidence::Names | Evidence::Endpoint => 1,
        Evidence::Addresses | Evidence::Open | Evidence::Idle if pools > 1 => by_rest,
        Evidence::Addresses | Evidence::Open | Evidence::Idle | Evidence::Assumed => known.number,
    };
    shown.max(by_open).max(1)
}

/// Returns how many sessions of a cell are above what its pools keep, and so are checked out.
fn beyond(settings: &ApplicationSettings, cell: &Cell<'_>, pools: usize) -> u64 {
    let (Some(size), Some(instances)) = (settings.pool.size(), settings.instances) else {
        return 0;
    };
    if !settings.pool.closes_overflow() {
        return 0;
    }
    // Any cell can have all processes, unless each has a name of its own.
    let names = settings.sessions.names_processes();
    let processes = if names && pools == instances as usize { 1 } else { instances };
    cell.held.min(cell.now.open).saturating_sub(u64::from(size) * u64::from(processes))
}

/// Returns the number of open connections above the size.
///
/// The number is exact if every process has its own name. Otherwise all processes are counted as one large
/// pool, and the free room of one process can hide the overflow of another: the number is a lower bound.
fn overflow(settings: &ApplicationSettings, number: u32, cells: &[Cell<'_>], open: u64) -> u64 {
    let Some(size) = settings.pool.size().map(u64::from) else { return 0 };
    if settings.sessions.names_processes() && cells.len() >= number as usize {
        cells.iter().map(|cell| cell.now.open.saturating_sub(size)).sum()
    } else {
        open.saturating_sub(size * u64::from(number))
    }
}

/// Reports what is open beyond the configured limits, all cells together or in one with a name of its own.
fn exceeded(
    settings: &ApplicationSettings,
    known: Instances,
    cells: &[Cell<'_>],
) -> Option<Exceeded> {
    let max = settings.pool.max().map(u64::from).filter(|max| *max > 0)?;
    let configured = settings.instances?;
    let pools = || cells.iter().filter(|cell| !cell.is_tool());
    let held = |cell: &Cell<'_>| cell.held.min(cell.now.open);
    let is_by_name = settings.sessions.names_processes() && pools().count() == configured as usize;
    let one = pools().map(held).filter(|open| is_by_name && *open > max).max();
    let all = pools().map(held).sum::<u64>();
    let (open, processes) = match one {
        Some(open) => (open, 1),
        None if all > max * u64::from(known.number) => (all, known.number),
        None => return None,
    };
    let allowed = max * u64::from(processes);
    let fits = u32::try_from(open.div_ceil(max)).unwrap_or(u32::MAX);
    Some(Exceeded { open, allowed, processes, fits })
}

fn fullest(parts: &[Part<'_>]) -> Option<Fullest> {
    parts.iter().max_by(|one, other| fuller(one, other)).map(Part::usage)
}

/// Compares by cross-multiplication, exactly; a pool without a limit is the least full.
fn fuller(one: &Part<'_>, other: &Part<'_>) -> std::cmp::Ordering {
    match (one.max, other.max) {
        (Some(of_one), Some(of_other)) => (one.active * of_other).cmp(&(other.active * of_one)),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// Lists processes that can be told apart, the fullest first.
fn processes(parts: &[Part<'_>]) -> Vec<ProcessUsage> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let mut sorted: Vec<&Part<'_>> = parts.iter().collect();
    sorted.sort_by(|one, other| fuller(other, one));
    let one = |part: &&Part<'_>| ProcessUsage {
        name: part.name.to_owned(),
        address: part.address.map(str::to_owned),
        usage: part.usage(),
    };
    sorted.iter().take(MOST_PROCESSES).map(one).collect()
}

fn mean(
    settings: &ApplicationSettings,
    instances: Instances,
    cells: &[Cell<'_>],
    active: u64,
) -> Option<Fullest> {
    let shown: u32 = cells.iter().map(|cell| cell.by_open(&settings.pool)).sum();
    // More open than the configuration allows means more processes than configured.
    let processes = instances.number.max(if settings.instances.is_some() {
        exceeded(settings, instances, cells).map_or(0, |_| shown)
    } else {
        0
    });
    let times = |limit: Option<u32>| Some(u64::from(limit?) * u64::from(processes));
    let open = cells.iter().map(|cell| cell.now.open).sum();
    let (size, max) = (times(settings.pool.size()), times(settings.pool.max()));
    Some(Fullest { active, open, processes, size, max })
}

fn saturated(settings: &ApplicationSettings, parts: &[Part<'_>]) -> Option<u32> {
    settings.pool.max()?;
    Some(parts.iter().filter(|part| part.is_full()).map(|part| part.processes).sum())
}

/// Infers an application of one cell, for tests.
#[cfg(any(test, feature = "testing"))]
pub(in crate::view) fn of_one_cell(
    settings: &ApplicationSettings,
    key: SessionKey,
    open: u64,
    busy: u64,
) -> Application {
    let now = SessionCounts { open, busy, idle: open - busy, ..SessionCounts::default() };
    let cell = Cell { name: "", address: None, now, held: open, peak: open, rest: 0 };
    infer(settings, key, &[cell])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::application::{ProcessPool, SessionMatch};
    use crate::view::pattern::Pattern;

    fn settings(size: u32, overflow: Option<u32>, instances: Option<u32>) -> ApplicationSettings {
        let pool = ProcessPool::Sqlalchemy { size, max_overflow: overflow };
        ApplicationSettings { pool, instances, ..ApplicationSettings::default() }
    }

    fn by_name(instances: Option<u32>) -> ApplicationSettings {
        let application_name = Some(Pattern::new("x-*"));
        let sessions = SessionMatch { application_name, ..SessionMatch::default() };
        ApplicationSettings { sessions, ..settings(5, Some(3), instances) }
    }

    /// A cell with this many open and busy sessions; its peak is the open ones.
    fn cell(name: &'static str, open: u64, busy: u64) -> Cell<'static> {
        let now = SessionCounts { open, busy, idle: open - busy, ..SessionCounts::default() };
        Cell { name, address: None, now, held: open, peak: open, rest: 0 }
    }

    fn at(address: &'static str, open: u64, busy: u64) -> Cell<'static> {
        Cell { address: Some(address), ..cell("", open, busy) }
    }

    fn resting(open: u64, rest: u64) -> Cell<'static> {
        Cell { rest, ..cell("", open, open - rest) }
    }

    fn infer(settings: &ApplicationSettings, cells: &[Cell<'_>]) -> Application {
        super::infer(settings, SessionKey::new("db", "app", "x"), cells)
    }

    /// pool_size 5, max_overflow 3, one process: the numbers of SQLAlchemy itself beside the sessions.
    #[test]
    fn one_process_is_as_it_was_measured() {
        let check = |name: &str, open, busy, active, overflow| {
            let app = infer(&settings(5, Some(3), Some(1)), &[cell("", open, busy)]);
            let shown = (app.active, app.idle, app.allowed.unwrap().overflow);
            assert_eq!(shown, (Some(active), Some(open - active), Some(overflow)), "{name}");
        };
        check("engine made, unused", 0, 0, 0, 0);
        check("all idle after a burst", 5, 0, 0, 0);
        check("3 busy", 5, 3, 3, 0);
        check("8 busy, with waiters or without", 8, 8, 8, 3);
        check("4 of 8 returned, a waiter got one and sent nothing", 8, 4, 4, 3);
        check("6 out, no statement", 6, 0, 1, 1);
        check("8 open, 2 busy", 8, 2, 3, 3);
    }

    #[test]
    fn without_limits_there_is_no_overflow_and_no_ratio() {
        let app = infer(&settings(0, Some(3), Some(2)), &[cell("", 9, 4)]);
        let usage = app.usage().unwrap();
        assert_eq!((usage.active, usage.overflow, usage.size, usage.max), (4, 0, None, None));
        let app = infer(&settings(5, None, Some(1)), &[cell("", 9, 1)]);
        let usage = app.usage().unwrap();
        assert_eq!((usage.active, usage.overflow, usage.size, usage.max), (4, 4, Some(5), None));
        assert_eq!((app.utilization_percent(), app.saturated_instances), (None, None));
    }

    /// The number of processes, and the evidence for it.
    #[test]
    fn the_largest_lower_bound_decides_and_the_strongest_evidence_is_named() {
        let check =
            |name: &str, settings: &ApplicationSettings, cells: &[Cell<'_>], n, evidence| {
                let instances = infer(settings, cells).allowed.unwrap().instances;
                assert_eq!((instances.number, instances.evidence), (n, evidence), "{name}");
            };
        let learned = settings(5, Some(3), None);
        check("no session", &learned, &[], 1, Evidence::Assumed);
        check("8 of 8", &learned, &[cell("", 8, 8)], 1, Evidence::Assumed);
        check("9 of 8", &learned, &[cell("", 9, 9)], 2, Evidence::Open);
        check("two at rest", &learned, &[resting(10, 10)], 2, Evidence::Open);
        check("two at rest, one limit", &learned, &[resting(8, 8)], 2, Evidence::Idle);
        check("four at rest", &learned, &[resting(16, 16)], 4, Evidence::Idle);
        check("two addresses", &learned, &[at("a", 2, 2), at("b", 2, 2)], 2, Evidence::Addresses);
        let nat = [at("a", 16, 12), at("b", 6, 6)];
        check("two of three behind one address", &learned, &nat, 3, Evidence::Open);
        let names = [cell("x-1", 1, 0), cell("x-2", 8, 8), cell("x-3", 0, 0)];
        check("three names alive", &by_name(None), &names, 3, Evidence::Names);
        check("configured", &by_name(Some(2)), &names, 2, Evidence::Configured);
        let psql = [cell("", 8, 8), cell("psql", 1, 0)];
        check("a psql is no process", &learned, &psql, 1, Evidence::Assumed);
        let pool = ProcessPool::Fixed { min: 2, max: 6 };
        let fixed = ApplicationSettings { pool, ..ApplicationSettings::default() };
        check("a fixed pool at its maximum", &fixed, &[resting(6, 6)], 1, Evidence::Assumed);
        check("two fixed pools", &fixed, &[resting(7, 7)], 2, Evidence::Open);
    }

    #[test]
    fn a_learned_number_makes_nothing_checked_out() {
        let cells = [resting(8, 8)];
        assert_eq!(infer(&settings(5, Some(3), None), &cells).active, Some(0));
        assert_eq!(infer(&settings(5, Some(3), Some(1)), &cells).active, Some(3));
        assert_eq!(infer(&by_name(None), &[cell("x-1", 8, 1)]).active, Some(1));
        // Four processes of one name, all at rest, and a psql: nothing is beyond what pools keep.
        let cells = [resting(20, 20), cell("psql", 1, 0)];
        assert_eq!(infer(&settings(5, Some(3), Some(4)), &cells).active, Some(0));
    }

    #[test]
    fn the_fullest_process_decides_where_they_can_be_told_apart() {
        let check = |settings: &ApplicationSettings, cells: &[Cell<'_>], ratio, mean, full| {
            let app = infer(settings, cells);
            assert_eq!(app.saturation_ratio(), Some(ratio));
            assert_eq!(app.mean.and_then(|mean| mean.saturation_ratio()), Some(mean));
            assert_eq!(app.saturated_instances, Some(full));
        };
        let names = [cell("x-1", 8, 8), cell("x-2", 3, 0)];
        check(&by_name(None), &names, 1.0, 0.5, 1);
        check(&by_name(Some(2)), &names, 1.0, 0.5, 1);
        let addresses = [at("a", 8, 8), at("b", 3, 0)];
        check(&settings(5, Some(3), None), &addresses, 1.0, 0.5, 1);
        check(&settings(5, Some(3), Some(2)), &addresses, 1.0, 0.5, 1);
        // Two processes on each address share them evenly, as far as anybody knows.
        check(&settings(5, Some(3), Some(4)), &addresses, 0.5, 0.25, 0);
        // One has shown that it is two.
        let nat = [at("a", 16, 16), at("b", 8, 0)];
        check(&settings(5, Some(3), None), &nat, 1.0, 16.0 / 24.0, 2);
        // Two that cannot be told apart.
        check(&settings(5, Some(3), Some(2)), &[cell("", 11, 8)], 0.5, 0.5, 0);
        assert!(!infer(&settings(5, Some(3), Some(2)), &[cell("", 11, 8)]).are_told_apart);
        // A psql beside a full process neither dilutes it nor is a process.
        check(&settings(5, Some(3), Some(1)), &[cell("", 8, 8), cell("psql", 1, 0)], 1.0, 1.0, 1);
    }

    #[test]
    fn more_than_allowed_names_the_settings_and_what_would_fit() {
        let app = infer(&settings(5, Some(5), Some(1)), &[cell("", 14, 14)]);
        let allowed = app.allowed.unwrap();
        assert_eq!(
            allowed.explain_exceeded().as_deref(),
            Some(
                "14 open, the settings allow 10 (1 process of 5 + 5): 2 processes? set \
                 DB_MONITOR_INSTANCES, DB_POOL_SIZE or DB_MAX_OVERFLOW"
            )
        );
        assert_eq!((allowed.max, allowed.size), (Some(10), Some(5)), "the limits stay shown");
        assert_eq!(app.saturation_ratio(), Some(14.0 / 20.0), "ratios go on with what fits");
        let two = infer(&settings(5, Some(3), Some(2)), &[cell("", 9, 2)]);
        assert_eq!(two.allowed.unwrap().exceeded, None);
        assert_eq!(two.saturation_ratio(), Some(2.0 / 16.0));
        // Where each process has a name, one can exceed its limit while all together do not.
        let app = infer(&by_name(Some(2)), &[cell("x-1", 9, 1), cell("x-2", 1, 0)]);
        let exceeded = Exceeded { open: 9, allowed: 8, processes: 1, fits: 2 };
        assert_eq!(app.allowed.unwrap().exceeded, Some(exceeded));
    }

    #[test]
    fn a_backend_that_ends_late_exceeds_nothing() {
        let late = Cell { held: 8, peak: 8, ..cell("", 9, 8) };
        let app = infer(&settings(5, Some(3), Some(1)), &[late]);
        assert_eq!(app.allowed.unwrap().exceeded, None);
        assert_eq!(app.saturation_ratio(), Some(1.0));
    }

    #[test]
    fn what_may_not_be_seen_is_not_shown() {
        let hidden = SessionCounts { open: 7, hidden: 7, ..SessionCounts::default() };
        let hidden = Cell { now: hidden, ..cell("", 7, 0) };
        let app = infer(&settings(5, Some(3), Some(1)), &[hidden]);
        assert_eq!((app.open, app.active, app.usage()), (7, None, None));
        assert_eq!((app.saturation_ratio(), app.saturated_instances), (None, None));
        assert_eq!(app.unseen, Some(super::super::Unseen::NoPrivilege));
        assert_eq!(app.allowed.unwrap().overflow, Some(2));
        let counts = SessionCounts { open: 5, untracked: 5, ..SessionCounts::default() };
        let untracked = Cell { now: counts, ..cell("", 5, 0) };
        let app = infer(&settings(5, Some(3), None), &[untracked]);
        assert_eq!((app.active, app.unseen), (None, Some(super::super::Unseen::NotTracked)));
    }

    #[test]
    fn processes_with_names_of_their_own_are_judged_one_by_one() {
        let app = infer(&by_name(Some(2)), &[cell("x-1", 8, 1), cell("x-2", 2, 2)]);
        let allowed = app.allowed.unwrap();
        assert_eq!(
            (app.active, allowed.overflow, allowed.instances.number),
            (Some(3 + 2), Some(3), 2)
        );
        // One name for several processes: as one pool of all.
        let app = infer(&by_name(Some(2)), &[cell("x-1", 8, 1)]);
        assert_eq!((app.allowed.unwrap().overflow, app.active), (Some(0), Some(1)));
    }

    #[test]
    fn a_fixed_pool_has_no_overflow_and_its_size_is_its_maximum() {
        let pool = ProcessPool::Fixed { min: 2, max: 6 };
        let settings = ApplicationSettings { pool, instances: Some(1), ..Default::default() };
        let app = infer(&settings, &[cell("", 6, 0)]);
        let allowed = app.allowed.unwrap();
        assert_eq!((app.active, app.uncertain), (Some(0), Some(6)));
        assert_eq!((allowed.size, allowed.max, allowed.overflow), (Some(6), Some(6), None));
        assert_eq!(infer(&settings, &[cell("", 6, 6)]).saturated_instances, Some(1));
    }
}
