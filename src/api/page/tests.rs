//! The words of the page in every situation, its escaping, and its order. What a browser makes of it is tested in
//! `tests/web/page.rs`.
//!
//! | situation | must be said |
//! | --- | --- |
//! | some left | how many of how many, what is left, what the server could give |
//! | nothing left | since when, who holds connections idle in transaction |
//! | one of several processes full | that one, and all together |
//! | number of processes assumed | both explanations |
//! | database down | unknown, never 0; since when, the error, the last known numbers with their age |
//! | last probe too old | unknown, how old, the last known numbers |
//! | pools hidden | unknown, why, the last known numbers |
//! | not probed yet, monitoring off | exactly that |
//! | no application seen | the time of the answer, and that there was no session |

use std::sync::Arc;

use tokio::time::advance;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::metrics::Phase;
use crate::pool::Reason;
use crate::probe::{Blindness, Failure, Probing, Roster, Sight, Snapshot, fixture};
use crate::view::activity::{Activity, SessionState, SessionStats};
use crate::view::{Application, Headroom, SessionKey, Views};
use crate::web::ServerSettings;

/// A context with targets that are not probed by themselves.
pub(super) fn context(targets: &[(&str, Option<Snapshot>)], probing: Probing) -> Context {
    let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), probing);
    roster.apply(targets.iter().map(|(name, _)| fixture::settings(name)).collect());
    for (name, snapshot) in targets {
        if let Some(snapshot) = snapshot.clone() {
            fixture::publish(&roster.target(name).expect("it runs"), snapshot);
        }
    }
    Context {
        settings: ServerSettings::default(),
        exposition: Arc::new(|_, _| {}),
        ready: Arc::new(|| true),
        targets: Arc::new(roster),
        configuration: Arc::default(),
        probes: None,
        reload: None,
    }
}

fn said(context: &Context) -> String {
    let all = judged(context);
    let words::Words { lead, more } = words(&all[0], Instant::now());
    [vec![lead], more].concat().join(" ")
}

fn say(snapshot: Snapshot) -> String {
    said(&context(&[("orders", Some(snapshot))], Probing::On))
}

fn with_pool(app: Application, row: usize) -> Snapshot {
    Snapshot { sight: fixture::sight([(app, row)]), ..fixture::snapshot() }
}

fn refused() -> Failure {
    Failure {
        reason: Reason::Refused,
        message: "tcp failed: connection refused by 127.0.0.1:5432".to_owned(),
        phase: Some(Phase::Tcp),
        passed: None,
    }
}

/// Three sessions that are idle in transaction, the oldest for four minutes, and 61 connections left.
fn holding() -> Views {
    let mut sessions = SessionStats {
        idle_in_transaction: Some(Duration::from_secs(240)),
        leaked: 3,
        ..SessionStats::default()
    };
    sessions.states[SessionState::IdleInTransaction as usize] = 3;
    let sets = vec![(SessionKey::new("orders", "app", "orders-api"), sessions)];
    Views {
        activity: Some(Activity { sets, ..Activity::default() }.into()),
        headroom: Some(Headroom { ordinary: 61, ..Headroom::default() }.into()),
        ..Views::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_said_with_its_time_and_its_holders() {
    let full = Application {
        saturated_for: Some(Duration::from_secs(42)),
        ..fixture::application("orders", 8)
    };
    assert_eq!(
        say(Snapshot { views: holding(), ..with_pool(full, 4) }),
        "8 of 8 connections checked out, nothing left, for 42 s. The server could give 61 more. \
         3 sessions idle in transaction, the oldest 4 min: orders-api."
    );
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pool_is_said_with_what_is_left() {
    let app = fixture::application("shop", 3);
    assert_eq!(say(with_pool(app, 0)), "3 of 8 connections checked out by shop, 5 left.");
    let nobody = say(fixture::snapshot());
    assert_eq!(nobody, "the database answers in 2.50 ms; no session of an application was seen.");
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_are_said() {
    let app = Application { waiting: Some(3), ..fixture::application("shop", 8) };
    let text = say(with_pool(app, 3));
    assert_eq!(
        text,
        "8 of 8 connections checked out by shop, nothing left; 3 callers wait for one."
    );
}

#[tokio::test(start_paused = true)]
async fn other_pools_are_full_or_not_as_they_are() {
    let all = [("shop", 8), ("a", 8), ("b", 8), ("c", 2)];
    let all = all.map(|(name, active)| (fixture::application(name, active), 3));
    let text = say(Snapshot { sight: fixture::sight(all), ..fixture::snapshot() });
    assert!(
        text.ends_with(
            "2 more pools have nothing left either. One more pool has connections left."
        ),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_percentage_of_a_size_is_above_100() {
    let text = say(with_pool(fixture::application("shop", 6), 0));
    assert_eq!(text, "6 of 8 connections checked out by shop, 2 left.");
    let page = shown(&context(
        &[("orders", Some(with_pool(fixture::application("shop", 8), 0)))],
        Probing::On,
    ));
    assert!(!page.contains("is the limit"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_down_is_unknown_and_never_0() {
    let before = with_pool(fixture::application("shop", 3), 0);
    let mut sight = (*before.sight).clone();
    sight.pools[0].blindness = Some(Blindness::Down);
    let down = Snapshot {
        query: Err(refused()),
        connect: Some(Err(refused())),
        sight: Arc::new(sight),
        ..before
    };
    let context = context(&[("orders", Some(down))], Probing::On);
    judged(&context);
    advance(Duration::from_secs(20)).await;
    assert_eq!(
        said(&context),
        "the database cannot be used, for 20 s (connect: tcp failed: connection refused by 127.0.0.1:5432). \
         What its pools do is unknown. 20 s ago: 3 of 8 connections checked out by shop, 5 left."
    );
    let page = shown(&context);
    assert!(page.contains("<dt>Checked out</dt><dd>unknown</dd>"), "{page}");
    assert!(page.contains("What to do first:</strong> nobody listens there"), "{page}");
    assert!(page.contains("/runbook?name=DbPoolTargetDown"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn an_old_snapshot_is_unknown_and_says_how_old() {
    let context =
        context(&[("orders", Some(with_pool(fixture::application("shop", 3), 0)))], Probing::On);
    advance(Duration::from_secs(95)).await;
    assert_eq!(
        said(&context),
        "unknown: the last probe ended 95 s ago, and one is due every 10 s. What its pools do is unknown. \
         95 s ago: 3 of 8 connections checked out by shop, 5 left."
    );
    let page = shown(&context);
    assert!(page.contains("<span class=\"badge unknown\">"), "{page}");
    assert!(page.contains("<dt>Checked out</dt><dd>unknown</dd>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_hidden_pool_is_unknown_with_the_reason() {
    let before = with_pool(fixture::application("shop", 8), 3);
    let mut sight = (*before.sight).clone();
    sight.pools[0].blindness = Some(Blindness::NoPrivilege);
    let reason = Blindness::NoPrivilege.reason();
    assert_eq!(
        say(Snapshot { sight: Arc::new(sight), ..before.clone() }),
        format!(
            "unknown: the pool of shop cannot be seen: {reason}. 0 s ago: 8 of 8 connections checked out by shop, nothing left."
        )
    );
    let sight = Sight { pools: Vec::new(), blindness: Some(Blindness::NotTracked) };
    let text = say(Snapshot { sight: Arc::new(sight), ..before });
    assert!(
        text.starts_with("unknown: the pools of its applications cannot be seen: its sessions"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_the_first_probe_and_while_monitoring_is_off() {
    let of = |probing| said(&context(&[("orders", None)], probing));
    assert_eq!(of(Probing::On), "unknown: not probed yet.");
    assert_eq!(of(Probing::Off), "not probed: monitoring is disabled (DB_MONITOR_ENABLED).");
    let page = shown(&context(&[("orders", Some(fixture::snapshot()))], Probing::Off));
    assert!(page.contains("badge unknown") && !page.contains("active"), "{page}");
}

/// The content of the page, without style and script.
fn shown(context: &Context) -> String {
    part(context, Query::default())
}

fn part(context: &Context, query: Query) -> String {
    let query = Query { is_part: true, ..query };
    page(context, &query, &judged(context)).into_string()
}

#[tokio::test(start_paused = true)]
async fn the_worst_stands_first_and_the_list_can_be_filtered_and_sorted() {
    let bad = Snapshot { query: Err(refused()), ..fixture::snapshot() };
    let near = with_pool(fixture::application("shop", 5), 0);
    let fuller = with_pool(fixture::application("shop", 7), 0);
    let all = [
        ("alpha", Some(fixture::snapshot())),
        ("new", None),
        ("near", Some(near)),
        ("fuller", Some(fuller)),
        ("bad", Some(bad)),
    ];
    let context = context(&all, Probing::On);
    let order = |query: Query| {
        let page = part(&context, query);
        let names = page.split("data-key=\"").skip(1);
        names.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order(Query::default()), ["bad", "fuller", "near", "new", "alpha"]);
    let by_name = order(Query { order: query::Order::Name, ..Query::default() });
    assert_eq!(by_name, ["alpha", "bad", "fuller", "near", "new"]);
    assert_eq!(order(Query { filter: "FULL".to_owned(), ..Query::default() }), ["fuller"]);
    assert_eq!(order(Query { filter: "team=pay".to_owned(), ..Query::default() }).len(), 5);
    assert_eq!(
        order(Query { state: "degraded".to_owned(), ..Query::default() }),
        ["fuller", "near"]
    );
    let page = shown(&context);
    assert!(page.contains("1 unhealthy, 2 degraded, 1 unknown of 5 targets."), "{page}");
}

#[tokio::test(start_paused = true)]
async fn of_many_targets_the_first_hundred_are_shown_until_all_are_asked_for() {
    let names: Vec<String> = (0..150).map(|n| format!("t{n:03}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), Some(fixture::snapshot()))).collect();
    let context = context(&all, Probing::On);
    let count = |query| part(&context, query).matches("<li class=\"target").count();
    assert_eq!(count(Query::default()), 100);
    assert_eq!(count(Query { shows_all: true, ..Query::default() }), 150);
    assert!(shown(&context).contains("50 more, none of them worse"));
}

#[tokio::test(start_paused = true)]
async fn hostile_names_stay_text() {
    const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>\u{202e}";
    let mut views = holding();
    if let Some(activity) = views.activity.as_mut().map(std::sync::Arc::make_mut) {
        let key = SessionKey::new(EVIL, EVIL, EVIL);
        activity.sets[0].0 = key.clone();
        let slow = crate::view::activity::SlowQuery {
            pid: 7,
            started: 1,
            wait_event: Some(EVIL.to_owned()),
            text: Some(EVIL.to_owned()),
        };
        activity.running = vec![crate::view::RunningQuery {
            key,
            slow,
            age: Duration::from_secs(9),
            state: SessionState::Active,
            waits_for: Some(EVIL.to_owned()),
        }];
    }
    let app = fixture::application(EVIL, 8);
    let failure = Failure { message: EVIL.to_owned(), ..refused() };
    let evil = Snapshot { views, connect: Some(Err(failure)), ..with_pool(app, 3) };
    let context = context(&[(EVIL, Some(evil.clone())), ("other", Some(evil))], Probing::On);
    let setting = Setting {
        path: ["targets", EVIL, EVIL].map(str::to_owned).to_vec(),
        value: EVIL.to_owned(),
        source: EVIL.to_owned(),
    };
    context.configuration.store(Arc::new(vec![setting]));
    let list = part(&context, Query { filter: "script".to_owned(), ..Query::default() });
    let detail = part(&context, Query { target: Some(EVIL.to_owned()), ..Query::default() });
    for page in [list, detail] {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(
            !page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'),
            "{page}"
        );
        // No attribute ended early: no quotation mark of the name is left as it was.
        assert!(!page.contains("onerror='"), "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_of_the_configuration_are_not_shown() {
    let context = context(&[("orders", None)], Probing::On);
    let setting = |key: &str, value: &str| Setting {
        path: ["targets", "orders", key].map(str::to_owned).to_vec(),
        value: value.to_owned(),
        source: "file: x".to_owned(),
    };
    let all = vec![setting("password_command", "/bin/give me"), setting("interval", "10s")];
    context.configuration.store(Arc::new(all));
    let page = shown(&context);
    assert!(page.contains("<code>10s</code>") && page.contains("<code>set</code>"), "{page}");
    assert!(!page.contains("/bin/give"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_poolers_waiting_clients_are_said_and_its_pools_are_shown() {
    let mut console = crate::view::pgbouncer::fixture::console();
    console.is_one_of_several = Some(true);
    let snapshot = Snapshot {
        views: Views { consoles: vec![console], ..Views::default() },
        ..fixture::snapshot()
    };
    let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), Probing::On);
    let bouncer = crate::probe::TargetSettings {
        kind: crate::probe::TargetKind::PgBouncer,
        ..fixture::settings("bouncer")
    };
    roster.apply(vec![bouncer]);
    fixture::publish(&roster.target("bouncer").expect("it runs"), snapshot);
    let context = Context { targets: Arc::new(roster), ..context(&[], Probing::On) };
    let text = said(&context);
    assert!(text.starts_with("PgBouncer answers in 2.50 ms; "), "{text}");
    assert!(text.contains(" for a server connection, the longest for "), "{text}");
    let page = shown(&context);
    assert!(page.contains("<h2 id=\"pooler\">Pools of the pooler</h2>"), "{page}");
    assert!(page.contains("<span class=\"leak\">"), "who waits stands out: {page}");
    assert!(page.contains("belongs to several processes"), "{page}");
    assert!(!page.contains("own pool"), "no pool of the exporter's stands there: {page}");
}
