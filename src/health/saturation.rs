//! Judges how close the pools are to their limits.
//!
//! Every application is judged, and the worst one decides. An assumed number of processes never makes the check
//! fail, because it may be wrong. A pool that cannot be seen never passes: the check warns and shows the verdict
//! of the time when the pool was last seen. The exporter's own pool is judged only where no session of an application was ever seen
//! and nothing hides them.

use std::time::Duration;

use super::check::{Check, CheckName, CheckOutcome, Measured};
use super::words::{age, number};
use super::{Clock, Thresholds};
use crate::probe::{Blindness, PoolSight, SPAN, Snapshot};
use crate::view::Application;
use crate::view::application::Fullest;

/// Consecutive saturated probes after which the check fails. One or two can be a peak.
const SATURATED: usize = 3;

/// The time for which the whole limit must be open before the check warns. A peak leaves connections open for
/// a moment, and that alone is no problem.
const WHOLE: Duration = Duration::from_secs(60);

/// The waiting time of a caller from which a full pool counts as exhausted, also at the first probe.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// The verdict on one application's pools.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PoolVerdict<'s> {
    pub(super) pool: &'s PoolSight,
    pub(super) outcome: CheckOutcome,
    pub(super) message: Option<String>,
}

/// Judges how close the judged pool is to its limits. `deciding`: the worst application's verdict.
///
/// A check-out that timed out is a failure by itself: a caller waited in vain, also if the
/// numbers look good at the moment of the probe.
pub(super) fn pool_saturation(
    snapshot: Option<&Snapshot>,
    deciding: Option<&PoolVerdict<'_>>,
    thresholds: &Thresholds,
) -> Check {
    let timeouts = snapshot.map_or(0, |s| s.window.checkout_timeouts());
    let hidden = snapshot.and_then(|s| s.sight.blindness.as_ref());
    let (outcome, message, utilization) = match (deciding, hidden) {
        (Some(verdict), _) => {
            let utilization = verdict.pool.now().and_then(Application::utilization_percent);
            (verdict.outcome, verdict.message.clone(), utilization)
        }
        (None, Some(blindness)) => (CheckOutcome::Warn, Some(unseen(None, blindness)), None),
        (None, None) => own_pool(snapshot, thresholds),
    };
    let (outcome, message) = if timeouts > 0 {
        let minutes = SPAN.as_secs() / 60;
        let timed_out = format!("{timeouts} check-outs timed out in the last {minutes} minutes");
        (CheckOutcome::Fail, Some(joined([Some(timed_out), message])))
    } else {
        (outcome, message)
    };
    let measured = Measured::Utilization(utilization);
    Check { kind: CheckName::PoolSaturation, outcome, measured, message }
}

/// Judges the exporter's own pool.
fn own_pool(
    snapshot: Option<&Snapshot>,
    thresholds: &Thresholds,
) -> (CheckOutcome, Option<String>, Option<f64>) {
    let utilization = snapshot.and_then(|s| s.usage.utilization_percent());
    let saturated = snapshot.map_or(0, |s| s.window.saturated_in_a_row());
    let limit = thresholds.saturation_percent;
    if saturated >= SATURATED {
        let message = format!("size and overflow were all in use at the last {saturated} probes");
        return (CheckOutcome::Fail, Some(message), utilization);
    }
    match utilization {
        Some(percent) if percent >= limit => {
            (CheckOutcome::Warn, Some(own_is_near(snapshot, percent, limit)), utilization)
        }
        Some(_) | None => (CheckOutcome::Pass, None, utilization),
    }
}

/// Beyond the size a percentage of it would be above 100, beside a limit of 90.
fn own_is_near(snapshot: Option<&Snapshot>, percent: f64, limit: f64) -> String {
    let usage = snapshot.map(|snapshot| &snapshot.usage);
    match usage.and_then(|usage| Some((usage.active, u64::from(usage.max?)))) {
        Some((active, max)) if percent > 100.0 => {
            let left = max.saturating_sub(active);
            format!(
                "{active} of {max} connections of the exporter's own pool checked out, {left} left"
            )
        }
        Some(_) | None => format!("{percent:.1} % of the pool size in use, {limit} % is the limit"),
    }
}

/// Returns the verdict that decides: the worst, and of several such the fullest.
pub(super) fn deciding<'s>(
    snapshot: &'s Snapshot,
    clock: &Clock,
    thresholds: &Thresholds,
) -> Option<PoolVerdict<'s>> {
    let all = snapshot.sight.pools.iter().map(|pool| judge(pool, clock, thresholds));
    let fullness = |verdict: &PoolVerdict<'_>| {
        let last = verdict.pool.last.as_ref();
        last.and_then(|(_, app)| app.saturation_ratio()).unwrap_or(0.0)
    };
    // Of equals the first by name.
    all.reduce(|one, other| {
        let order = one.outcome.cmp(&other.outcome);
        let order = order.then_with(|| fullness(&one).total_cmp(&fullness(&other)));
        if order.is_lt() { other } else { one }
    })
}

/// Judges one application's pools.
fn judge<'s>(pool: &'s PoolSight, clock: &Clock, thresholds: &Thresholds) -> PoolVerdict<'s> {
    let (outcome, message) = if let Some(blindness) = &pool.blindness {
        (CheckOutcome::Warn, Some(blind(pool, blindness, clock, thresholds)))
    } else if let (true, Some((at, _))) = (pool.is_gone, &pool.last) {
        let since = age(clock.now.saturating_duration_since(*at));
        let name = &pool.key.application;
        (CheckOutcome::Pass, Some(format!("{name}: no session for more than {since}")))
    } else {
        seen(pool, clock, thresholds)
    };
    PoolVerdict { pool, outcome, message }
}

/// The warning of a pool that cannot be seen, with its verdict of when it was last seen.
fn blind(
    pool: &PoolSight,
    blindness: &Blindness,
    clock: &Clock,
    thresholds: &Thresholds,
) -> String {
    let now = unseen(Some(&pool.key.application), blindness);
    let Some((at, _)) = pool.last.as_ref().filter(|_| !pool.is_gone) else { return now };
    let since = age(clock.now.saturating_duration_since(*at));
    let (outcome, message) = seen(pool, clock, thresholds);
    let word = match outcome {
        CheckOutcome::Pass => "healthy",
        CheckOutcome::Warn => "degraded",
        CheckOutcome::Fail => "exhausted",
    };
    let detail = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("{now}; {since} ago it was {word}{detail}")
}

fn unseen(application: Option<&str>, blindness: &Blindness) -> String {
    let owner = application.map_or_else(|| "the application".to_owned(), str::to_owned);
    format!("the pool of {owner} cannot be seen: {}", blindness.reason())
}

/// Judges pools as they were last seen. Of several reasons the worst decide.
fn seen(
    pool: &PoolSight,
    clock: &Clock,
    thresholds: &Thresholds,
) -> (CheckOutcome, Option<String>) {
    let Some((_, app)) = &pool.last else { return (CheckOutcome::Pass, None) };
    let reasons = [
        ended(pool, clock),
        exceeded(app),
        saturation(pool, app, clock, thresholds),
        whole_limit(app),
    ];
    let reasons: Vec<(CheckOutcome, String)> = reasons.into_iter().flatten().collect();
    let worst = reasons.iter().map(|(outcome, _)| *outcome).max().unwrap_or(CheckOutcome::Pass);
    let of_worst = reasons.into_iter().filter(|(outcome, _)| *outcome == worst);
    let messages: Vec<String> = of_worst.map(|(_, message)| message).collect();
    let name = &pool.key.application;
    let message = (!messages.is_empty()).then(|| format!("{name}: {}", messages.join("; ")));
    (worst, message)
}

fn ended(pool: &PoolSight, clock: &Clock) -> Option<(CheckOutcome, String)> {
    let ended = pool.ended?;
    let (name, sessions) = (&pool.key.application, ended.sessions);
    let since = age(clock.now.saturating_duration_since(ended.at));
    Some((
        CheckOutcome::Warn,
        format!("the server ended all {sessions} sessions of {name} {since} ago"),
    ))
}

fn exceeded(app: &Application) -> Option<(CheckOutcome, String)> {
    Some((CheckOutcome::Warn, app.allowed?.explain_exceeded()?))
}

fn saturation(
    pool: &PoolSight,
    app: &Application,
    clock: &Clock,
    thresholds: &Thresholds,
) -> Option<(CheckOutcome, String)> {
    let (allowed, fullest) = (app.allowed?, app.fullest?);
    let instances = allowed.instances;
    let percent = fullest.utilization_percent()?;
    let is_near = percent >= thresholds.saturation_percent;
    if instances.is_known() {
        return exhausted(pool, app, fullest, clock)
            .or_else(|| is_near.then(|| near(app, fullest, percent, thresholds)))
            .or_else(|| may_hide(app));
    }
    if app.is_saturated() {
        return Some((CheckOutcome::Warn, two_stories(fullest)));
    }
    if is_near {
        return Some((CheckOutcome::Pass, two_stories(fullest)));
    }
    instances.is_ambiguous().then(|| (CheckOutcome::Pass, at_rest(app, instances.number)))
}

/// A failure, when a process has had nothing left at several probes, or most of the last minute.
fn exhausted(
    pool: &PoolSight,
    app: &Application,
    fullest: Fullest,
    clock: &Clock,
) -> Option<(CheckOutcome, String)> {
    let recent = app.recent;
    let is_most = recent.saturated * 2 > recent.sampled && recent.sampled >= clock.interval * 2;
    let when = if pool.saturated_in_a_row >= SATURATED {
        format!("at the last {} probes", pool.saturated_in_a_row)
    } else if is_most {
        let (full, all) = (recent.saturated.as_secs_f64(), recent.sampled.as_secs_f64());
        format!("for {full:.0} of the last {all:.0} s")
    } else if is_waited_for(app) {
        "now".to_owned()
    } else {
        return None;
    };
    let number = app.allowed?.instances.number;
    let Fullest { active, max, processes, .. } = fullest;
    let of = max.unwrap_or_default();
    let waiting = app.waiting.filter(|waiting| *waiting > 0);
    let waiting = waiting.map(|n| format!("; {n} wait for a connection")).unwrap_or_default();
    let message = if number > processes {
        let full = app.saturated_instances.unwrap_or_default().max(1);
        let have = if full == 1 { "has" } else { "have" };
        format!(
            "{full} of {number} processes {have} no connection left ({active} of {of} in use) {when}{waiting}"
        )
    } else {
        format!("no connection left: {of} of {of} in use {when}{waiting}")
    };
    Some((CheckOutcome::Fail, message))
}

/// Reports whether a caller waits in vain now, which only the application's own status shows. Waits of less
/// than a second are those of a busy pool.
fn is_waited_for(app: &Application) -> bool {
    let waits = app.waiting.is_some_and(|waiting| waiting > 0);
    waits && app.is_saturated() && app.oldest_wait.is_some_and(|wait| wait >= LONG_WAIT)
}

fn near(
    app: &Application,
    fullest: Fullest,
    percent: f64,
    thresholds: &Thresholds,
) -> (CheckOutcome, String) {
    let limit = thresholds.saturation_percent;
    let Fullest { active, size, max, processes, .. } = fullest;
    let number = app.allowed.map_or(1, |allowed| allowed.instances.number);
    let user = if number > processes {
        format!(" by the fullest of {number} processes")
    } else {
        String::new()
    };
    let size = size.unwrap_or_default();
    // Beyond the size a percentage of it would be above 100, beside a limit of 90.
    let message = match max {
        Some(max) if active >= max => {
            format!("{active} of {max} connections checked out{user}, nothing left")
        }
        Some(max) if active > size => {
            let (over, left) = (active - size, max - active);
            format!(
                "{active} of {max} connections checked out{user}, {over} beyond the pool size of {size}, {left} left"
            )
        }
        Some(_) | None => format!(
            "{active} of {size} connections of the pool size in use{user} ({percent:.1} %), {limit} % is the limit"
        ),
    };
    (CheckOutcome::Warn, message)
}

/// A note where one of several processes can be full behind the free room of another.
fn may_hide(app: &Application) -> Option<(CheckOutcome, String)> {
    let allowed = app.allowed?;
    let of_one = u64::from(allowed.process.max()?);
    let (active, number) = (app.active?, allowed.instances.number);
    if app.are_told_apart || number < 2 || active < of_one {
        return None;
    }
    let max = allowed.max?;
    let message = format!(
        "{active} of {max} in use by {number} processes that cannot be told apart: one of them may be full"
    );
    Some((CheckOutcome::Pass, message))
}

/// Describes the usage if one process has all sessions, which is only assumed.
fn two_stories(fullest: Fullest) -> String {
    let Fullest { active, max, processes, .. } = fullest;
    let of = max.unwrap_or_default();
    let of_one = of / u64::from(processes.max(1));
    let left = (of + of_one).saturating_sub(active);
    let one = if processes == 1 {
        "one process has".to_owned()
    } else {
        format!("{} have", processes_in_words(processes))
    };
    let more = number(processes + 1);
    format!(
        "{active} of {of} in use if {one} them; {more} would have {left} left: set DB_MONITOR_INSTANCES"
    )
}

fn at_rest(app: &Application, at_rest: u32) -> String {
    let fewer = app.allowed.and_then(|allowed| allowed.max).map_or(1, |max| {
        let of_one = (max / at_rest.max(1)).max(1);
        u32::try_from(app.open.div_ceil(u64::from(of_one)))
            .unwrap_or(1)
            .clamp(1, at_rest.max(2) - 1)
    });
    format!(
        "cannot tell {} at rest from {} whose connections are all held: set DB_MONITOR_INSTANCES",
        processes_in_words(at_rest),
        number(fewer),
    )
}

fn processes_in_words(n: u32) -> String {
    let noun = if n == 1 { "process" } else { "processes" };
    format!("{} {noun}", number(n))
}

fn whole_limit(app: &Application) -> Option<(CheckOutcome, String)> {
    app.whole_limit_open_for.filter(|open_for| *open_for >= WHOLE)?;
    let (open, active, max) = (app.open, app.active?, app.allowed?.max?);
    Some((CheckOutcome::Warn, format!("{open} of {max} open, at least {active} checked out")))
}

fn joined(parts: [Option<String>; 2]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::probe::{ProbeSample, SessionsEnded, Sight, fixture};
    use crate::view::SessionKey;
    use crate::view::application::{ApplicationSettings, Recent};

    const INTERVAL: Duration = Duration::from_secs(10);

    fn clock() -> Clock {
        Clock { now: Instant::now(), interval: INTERVAL }
    }

    /// The sessions of an application called `shop`, in one cell, with a pool of 5 and 3.
    fn app(instances: Option<u32>, open: u64, busy: u64) -> Application {
        let settings = ApplicationSettings {
            name: Some("shop".to_owned()),
            pool: crate::view::application::ProcessPool::Sqlalchemy {
                size: 5,
                max_overflow: Some(3),
            },
            instances,
            ..ApplicationSettings::default()
        };
        let key = SessionKey::new("orders", "app", "shop");
        Application { key, ..crate::view::fixture::application(&settings, open, busy) }
    }

    fn pool(app: Application, saturated_in_a_row: usize) -> PoolSight {
        PoolSight {
            key: app.key.clone(),
            last: Some((Instant::now(), app)),
            saturated_in_a_row,
            ended: None,
            blindness: None,
            was_ambiguous: false,
            is_gone: false,
        }
    }

    fn verdict(pool: &PoolSight) -> (CheckOutcome, String) {
        let PoolVerdict { outcome, message, .. } = judge(pool, &clock(), &Thresholds::default());
        (outcome, message.unwrap_or_default())
    }

    fn check(pool: &PoolSight, outcome: CheckOutcome, message: &str) {
        assert_eq!(verdict(pool), (outcome, message.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_number_of_processes_warns_near_the_size_and_fails_when_it_stays_full() {
        let of = |open, busy, row| pool(app(Some(1), open, busy), row);
        check(&of(5, 4, 0), CheckOutcome::Pass, "");
        let near = "shop: 5 of 5 connections of the pool size in use (100.0 %), 90 % is the limit";
        check(&of(5, 5, 0), CheckOutcome::Warn, near);
        let over = "shop: 6 of 8 connections checked out, 1 beyond the pool size of 5, 2 left";
        check(&of(6, 6, 0), CheckOutcome::Warn, over);
        let full = "shop: 8 of 8 connections checked out, nothing left";
        check(&of(8, 8, 2), CheckOutcome::Warn, full);
        let exhausted = "shop: no connection left: 8 of 8 in use at the last 3 probes";
        check(&of(8, 8, 3), CheckOutcome::Fail, exhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_was_full_for_most_of_the_last_minute_fails() {
        let with = |saturated, sampled| {
            let [saturated, sampled] = [saturated, sampled].map(Duration::from_secs);
            let app = app(Some(1), 8, 2);
            let recent = Recent { saturated, sampled, ..app.recent };
            pool(Application { recent, ..app }, 0)
        };
        let full = "shop: no connection left: 8 of 8 in use for 31 of the last 60 s";
        check(&with(31, 60), CheckOutcome::Fail, full);
        assert_eq!(verdict(&with(30, 60)).0, CheckOutcome::Pass);
        assert_eq!(verdict(&with(10, 10)).0, CheckOutcome::Pass, "too few samples");
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_serves_its_status_says_how_many_wait() {
        let waits = pool(Application { waiting: Some(5), ..app(Some(1), 8, 8) }, 3);
        let message =
            "shop: no connection left: 8 of 8 in use at the last 3 probes; 5 wait for a connection";
        check(&waits, CheckOutcome::Fail, message);
        let waited = |millis, busy| {
            let oldest_wait = Some(Duration::from_millis(millis));
            pool(Application { waiting: Some(5), oldest_wait, ..app(Some(1), 8, busy) }, 0)
        };
        let message = "shop: no connection left: 8 of 8 in use now; 5 wait for a connection";
        check(&waited(1000, 8), CheckOutcome::Fail, message);
        assert_eq!(verdict(&waited(999, 8)).0, CheckOutcome::Warn);
        assert_eq!(verdict(&waited(1000, 3)).0, CheckOutcome::Pass, "one is about to get its own");
    }

    #[tokio::test(start_paused = true)]
    async fn an_assumed_number_of_processes_never_fails() {
        let full = "shop: 8 of 8 in use if one process has them; two would have 8 left: set DB_MONITOR_INSTANCES";
        check(&pool(app(None, 8, 8), 100), CheckOutcome::Warn, full);
        let near = "shop: 7 of 8 in use if one process has them; two would have 9 left: set DB_MONITOR_INSTANCES";
        check(&pool(app(None, 7, 7), 0), CheckOutcome::Pass, near);
        check(&pool(app(None, 5, 1), 0), CheckOutcome::Pass, "");
    }

    #[tokio::test(start_paused = true)]
    async fn processes_that_cannot_be_told_apart_may_hide_a_full_one() {
        let note = "shop: 8 of 16 in use by 2 processes that cannot be told apart: one of them may be full";
        check(&pool(app(Some(2), 8, 8), 0), CheckOutcome::Pass, note);
        check(&pool(app(Some(2), 8, 7), 0), CheckOutcome::Pass, "");
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_limit_open_for_a_minute_is_a_warning() {
        let open_for = |seconds| {
            let whole_limit_open_for = Some(Duration::from_secs(seconds));
            pool(Application { whole_limit_open_for, ..app(Some(1), 8, 0) }, 0)
        };
        assert_eq!(verdict(&open_for(59)).0, CheckOutcome::Pass);
        check(&open_for(60), CheckOutcome::Warn, "shop: 8 of 8 open, at least 3 checked out");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_the_server_ended_are_a_warning() {
        let ended = SessionsEnded { at: Instant::now(), sessions: 8 };
        let pool = PoolSight { ended: Some(ended), ..pool(app(Some(1), 0, 0), 0) };
        let message = "shop: the server ended all 8 sessions of shop 0 s ago";
        check(&pool, CheckOutcome::Warn, message);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_cannot_be_seen_keeps_its_last_verdict_with_its_age() {
        let blindness = Some(Blindness::Down);
        let blind = PoolSight { blindness, ..pool(app(Some(1), 8, 8), 3) };
        tokio::time::advance(Duration::from_secs(300)).await;
        let message = "the pool of shop cannot be seen: the target is down; 5 min ago it was exhausted: \
                       shop: no connection left: 8 of 8 in use at the last 3 probes";
        check(&blind, CheckOutcome::Warn, message);
        let never = PoolSight { last: None, ..blind };
        check(&never, CheckOutcome::Warn, "the pool of shop cannot be seen: the target is down");
    }

    fn with_pools(pools: Vec<PoolSight>, blindness: Option<Blindness>) -> Snapshot {
        Snapshot { sight: Arc::new(Sight { pools, blindness }), ..fixture::snapshot() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_worst_application_decides() {
        let named = |name: &str, busy, row| {
            let key = SessionKey::new("orders", "app", name);
            pool(Application { key, ..app(Some(1), 8, busy) }, row)
        };
        let snapshot = with_pools(vec![named("admin", 4, 0), named("web", 8, 3)], None);
        let deciding = deciding(&snapshot, &clock(), &Thresholds::default()).unwrap();
        let check = pool_saturation(Some(&snapshot), Some(&deciding), &Thresholds::default());
        assert_eq!(check.outcome, CheckOutcome::Fail);
        assert!(check.message.unwrap().starts_with("web: "));
        assert_eq!(check.measured, Measured::Utilization(Some(160.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn blindness_without_any_pool_is_no_clean_bill() {
        let check = |blindness, expected| {
            let snapshot = with_pools(Vec::new(), blindness);
            let check = pool_saturation(Some(&snapshot), None, &Thresholds::default());
            assert_eq!(check.outcome, expected, "{:?}", check.message);
        };
        check(None, CheckOutcome::Pass);
        check(Some(Blindness::Pooler), CheckOutcome::Warn);
        check(Some(Blindness::ViewFailed("denied".to_owned())), CheckOutcome::Warn);
    }

    fn own(samples: impl IntoIterator<Item = ProbeSample>, active: u64) -> Snapshot {
        let window = Arc::new(samples.into_iter().collect());
        Snapshot { window, usage: fixture::usage(active), ..fixture::snapshot() }
    }

    fn sample() -> ProbeSample {
        fixture::sample(Duration::from_millis(1))
    }

    fn of_own(snapshot: Option<&Snapshot>) -> Check {
        super::pool_saturation(snapshot, None, &Thresholds::default())
    }

    #[tokio::test(start_paused = true)]
    async fn pool_saturation_warns_near_the_size_and_fails_at_the_limit() {
        let check = |active, saturated: usize, timeouts, expected| {
            let calm = [ProbeSample { checkout_timeouts: timeouts, ..sample() }];
            let full = std::iter::repeat_n(ProbeSample { saturated: true, ..sample() }, saturated);
            let check = of_own(Some(&own(calm.into_iter().chain(full), active)));
            assert_eq!(check.outcome, expected, "{active} {saturated} {timeouts}");
            assert_eq!(check.message.is_none(), expected == CheckOutcome::Pass);
        };
        check(0, 0, 0, CheckOutcome::Pass);
        check(17, 0, 0, CheckOutcome::Pass);
        check(18, 0, 0, CheckOutcome::Warn);
        check(30, 2, 0, CheckOutcome::Warn);
        check(30, 3, 0, CheckOutcome::Fail);
        check(30, 4, 0, CheckOutcome::Fail);
        check(0, 0, 1, CheckOutcome::Fail);
        assert_eq!(of_own(None).outcome, CheckOutcome::Pass);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_without_a_limit_has_no_utilization() {
        let mut snapshot = fixture::snapshot();
        snapshot.usage.max = None;
        snapshot.usage.active = 1_000;
        let check = of_own(Some(&snapshot));
        assert_eq!(
            (check.outcome, check.measured),
            (CheckOutcome::Pass, Measured::Utilization(None))
        );
    }
}
