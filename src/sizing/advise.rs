//! The advice: whether the pools fit the server and the load, which limit decides, and what to set.

use super::demand::{self, Demand, FULL};
use super::inputs::{Inputs, PoolLimit, ServerRoom, TightestLimit};

/// The answer to whether the pools fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// It cannot be judged.
    Unknown,
}

/// What decides the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// What the application needs: the server could give more.
    Application,
    /// The pools are too small: callers wait.
    Waits,
    /// max_connections, less what is reserved and what others use.
    Server,
    /// The CONNECTION LIMIT of the role.
    Role,
    /// The CONNECTION LIMIT of the database.
    Database,
    /// The server's processors: more sessions than processors are active already.
    Processors,
}

/// The limits of one process's pool that are advised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// DB_POOL_SIZE.
    pub size: u32,
    /// DB_MAX_OVERFLOW.
    pub overflow: u32,
}

impl Plan {
    /// The connections that one process may open.
    pub(crate) fn max(self) -> u32 {
        self.size.saturating_add(self.overflow)
    }

    /// Splits a number of connections: what is used nearly all the time stays open.
    fn new(size: u32, max: u32) -> Self {
        let size = size.clamp(1, max.max(1));
        Self { size, overflow: max.saturating_sub(size) }
    }
}

/// What the application needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Need {
    /// Of one process.
    pub demand: Demand,
    /// The part of the time in which a process has nothing left: measured, or computed where processes cannot be
    /// told apart.
    pub full: f64,
}

/// The advice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Advice {
    /// Whether the present limits fit the server and the load.
    pub fit: Fit,
    /// What decides.
    pub binding: Binding,
    /// What all processes may open together now; `None` without a limit, or where the limit is not known.
    pub may_open: Option<u64>,
    /// What the server gives to all processes of the application together; `None` where that is not known.
    pub given: Option<u32>,
    /// What the application needs; `None` without samples.
    pub need: Option<Need>,
    /// The limits to set; `None` where the server leaves no connection for each process, or nothing is known.
    pub plan: Option<Plan>,
    /// The connections of one process that also cover the highest peak, if the server gives them.
    pub up_to: Option<u32>,
    /// True if the plan is what the application needs, false if the server does not give that much.
    pub plan_is_enough: bool,
    /// How many more processes of the present limits fit; `None` where that is not known.
    pub room_now: Option<u32>,
    /// How many more processes of the plan fit.
    pub room_then: Option<u32>,
}

/// Judges the present limits, and advises others.
pub(crate) fn advise(inputs: &Inputs) -> Advice {
    let demand = demand::of(inputs);
    let need = demand.map(|demand| Need { demand, full: full(inputs) });
    let room = inputs.server.as_ref().map(ServerRoom::for_application);
    let processes = inputs.processes.most.max(1);
    let for_each = room.map(|(given, _)| given / processes);
    let wanted = demand.map(|demand| demand.max);
    let plan = match (demand, for_each) {
        (_, Some(0)) | (None, _) => None,
        (Some(demand), None) => Some(Plan::new(demand.size, demand.max)),
        (Some(demand), Some(limit)) => Some(Plan::new(demand.size, demand.max.min(limit))),
    };
    let is_enough = plan.zip(wanted).is_some_and(|(plan, wanted)| plan.max() >= wanted);
    let now = match inputs.pool.max {
        PoolLimit::AtMost(max) => Some(max),
        PoolLimit::Unlimited => None,
    };
    let up_to = demand.map(|demand| for_each.map_or(demand.peak, |limit| demand.peak.min(limit)));
    let may_open = now.map(|max| u64::from(max) * u64::from(processes));
    let fit = fit(may_open, room, need.as_ref());
    Advice {
        fit,
        binding: binding(inputs, fit, is_enough, need.as_ref(), may_open),
        may_open,
        given: room.map(|(given, _)| given),
        need,
        plan,
        up_to: up_to.filter(|peak| plan.is_some_and(|plan| *peak > plan.max())),
        plan_is_enough: is_enough,
        room_now: more(room, now, processes),
        room_then: more(room, plan.map(Plan::max), processes),
    }
}

/// The part of the time in which a process has nothing left. Where processes cannot be told apart, the measured part
/// is that in which all are full, and so too small.
fn full(inputs: &Inputs) -> f64 {
    let measured = inputs.usage.saturated.unwrap_or(0.0);
    let are_shared = inputs.usage.fullest.is_none() && inputs.processes.usual > 1;
    let computed = match inputs.pool.max {
        PoolLimit::AtMost(max) if are_shared => demand::full_with(inputs, max).unwrap_or(0.0),
        PoolLimit::AtMost(_) | PoolLimit::Unlimited => 0.0,
    };
    measured.max(computed)
}

fn fit(may_open: Option<u64>, room: Option<(u32, TightestLimit)>, need: Option<&Need>) -> Fit {
    let callers_wait = need.is_some_and(|need| need.full > FULL);
    match (may_open, room) {
        (_, None) => Fit::Unknown,
        // A pool without a limit can take all that the server has.
        (None, Some(_)) => Fit::No,
        (Some(may_open), Some((given, _))) if may_open > u64::from(given) || callers_wait => {
            Fit::No
        }
        (Some(_), Some(_)) => Fit::Yes,
    }
}

fn binding(
    inputs: &Inputs,
    fit: Fit,
    is_enough: bool,
    need: Option<&Need>,
    may_open: Option<u64>,
) -> Binding {
    let tightest = inputs.server.as_ref().map(ServerRoom::for_application);
    let of_server = tightest.map(|(_, limit)| match limit {
        TightestLimit::Server => Binding::Server,
        TightestLimit::Role => Binding::Role,
        TightestLimit::Database => Binding::Database,
    });
    let is_over = tightest.is_some_and(|(given, _)| may_open.is_none_or(|n| n > u64::from(given)));
    if let Some(limit) = of_server.filter(|_| is_over || need.is_some() && !is_enough) {
        return limit;
    }
    if has_busy_processors(inputs) {
        return Binding::Processors;
    }
    let callers_wait = need.is_some_and(|need| need.full > FULL);
    if fit == Fit::No && callers_wait { Binding::Waits } else { Binding::Application }
}

/// Reports whether more sessions want a processor than there are, where their number was given.
fn has_busy_processors(inputs: &Inputs) -> bool {
    let cores = inputs.server.as_ref().and_then(|server| server.cores);
    let active = inputs.usage.on_cpu.as_ref().and_then(|on_cpu| on_cpu.quantile(0.99));
    cores.zip(active).is_some_and(|(cores, active)| active > cores)
}

/// How many more processes with this limit fit.
fn more(room: Option<(u32, TightestLimit)>, max: Option<u32>, processes: u32) -> Option<u32> {
    let (given, max) = (room?.0, max.filter(|max| *max > 0)?);
    Some((given / max).saturating_sub(processes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sizing::inputs::{Measured, PoolNow, PoolUse, Processes, Span};

    /// Eight processes of 20 + 10 that use at most 44 connections together, on a server with 100.
    fn inputs() -> Inputs {
        let samples = (0..10_000).map(|n| f64::from(n % 32)).chain([44.0]);
        Inputs {
            target: "orders".to_owned(),
            application: "orders-api".to_owned(),
            user: "app".to_owned(),
            database: "orders".to_owned(),
            span: Span {
                measured: Measured::Prometheus,
                asked: Duration::from_secs(604_800),
                seen: Duration::from_secs(604_800),
                step: Duration::from_secs(60),
            },
            pool: PoolNow { size: Some(20), max: PoolLimit::AtMost(30) },
            processes: Processes { usual: 8, most: 8, are_known: true },
            usage: PoolUse { active: samples.collect(), ..PoolUse::default() },
            server: Some(ServerRoom {
                max_connections: 100,
                ordinary: 97,
                others: 4,
                role: None,
                database: None,
                cores: None,
            }),
        }
    }

    #[test]
    fn pools_that_may_open_more_than_the_server_gives_do_not_fit() {
        let advice = advise(&inputs());
        assert_eq!((advice.fit, advice.binding), (Fit::No, Binding::Server));
        assert_eq!(
            (advice.may_open, advice.given, advice.room_now),
            (Some(240), Some(93), Some(0))
        );
        let plan = advice.plan.unwrap();
        assert!(plan.max() * 8 <= 93 && plan.size >= 5, "{plan:?}");
    }

    #[test]
    fn the_same_pools_fit_a_large_server_and_the_application_decides() {
        let mut inputs = inputs();
        inputs.server.as_mut().unwrap().ordinary = 997;
        let advice = advise(&inputs);
        assert_eq!((advice.fit, advice.binding), (Fit::Yes, Binding::Application));
        assert_eq!(advice.room_now, Some(993 / 30 - 8));
        assert!(advice.plan_is_enough);
        inputs.processes.most = 40;
        assert_eq!(advise(&inputs).fit, Fit::No, "while a deploy overlaps");
    }

    #[test]
    fn the_limit_of_the_role_decides_where_it_is_smallest() {
        let mut inputs = inputs();
        inputs.server.as_mut().unwrap().ordinary = 997;
        inputs.server.as_mut().unwrap().role = Some(60);
        let advice = advise(&inputs);
        assert_eq!((advice.fit, advice.binding, advice.given), (Fit::No, Binding::Role, Some(60)));
    }

    #[test]
    fn one_process_needs_what_its_samples_show() {
        let mut inputs = inputs();
        inputs.processes = Processes { usual: 1, most: 1, are_known: true };
        inputs.usage.active =
            (0..10_000).map(|n| if n < 5 { 19.0 } else { f64::from(n % 10) }).collect();
        inputs.usage.peak = Some(22);
        let advice = advise(&inputs);
        // 9 at most but for half a thousandth of the time: with 10 something is left.
        assert_eq!(advice.plan, Some(Plan { size: 9, overflow: 1 }));
        assert_eq!(advice.up_to, Some(23));
    }

    #[test]
    fn a_pool_that_was_full_is_too_small_and_hides_what_was_wanted() {
        let mut inputs = inputs();
        inputs.processes = Processes { usual: 1, most: 1, are_known: true };
        inputs.pool.max = PoolLimit::AtMost(8);
        inputs.usage.active = (0..10_000).map(|n| f64::from(n % 9)).collect();
        inputs.usage.saturated = Some(0.11);
        inputs.usage.means = vec![5.0];
        let advice = advise(&inputs);
        assert_eq!((advice.fit, advice.binding), (Fit::No, Binding::Waits));
        let demand = advice.need.unwrap().demand;
        assert_eq!((demand.basis, demand.max), (demand::Basis::Means, 14), "callers at random");
        assert!(!demand.is_open_ended);
        inputs.usage.means = vec![7.9];
        assert!(advise(&inputs).need.unwrap().demand.is_open_ended, "overloaded");
    }

    #[test]
    fn without_samples_or_a_server_nothing_is_made_up() {
        let mut inputs = inputs();
        inputs.usage = PoolUse::default();
        let advice = advise(&inputs);
        assert_eq!((advice.plan, advice.need, advice.fit), (None, None, Fit::No));
        inputs.server = None;
        assert_eq!(advise(&inputs).fit, Fit::Unknown);
    }

    #[test]
    fn a_pool_without_a_limit_does_not_fit() {
        let mut inputs = inputs();
        inputs.pool.max = PoolLimit::Unlimited;
        let advice = advise(&inputs);
        assert_eq!((advice.fit, advice.may_open, advice.binding), (Fit::No, None, Binding::Server));
    }

    #[test]
    fn a_server_without_room_gives_no_plan() {
        let mut inputs = inputs();
        inputs.server.as_mut().unwrap().others = 95;
        let advice = advise(&inputs);
        assert_eq!((advice.plan, advice.fit, advice.given), (None, Fit::No, Some(2)));
    }

    #[test]
    fn busy_processors_decide_where_their_number_is_given() {
        let mut inputs = inputs();
        let server = inputs.server.as_mut().unwrap();
        (server.ordinary, server.cores) = (997, Some(8));
        inputs.usage.on_cpu = Some([12.0; 100].into_iter().collect());
        assert_eq!(advise(&inputs).binding, Binding::Processors);
    }
}
