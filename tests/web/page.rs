//! The status page in a real browser, with targets whose snapshots are made here. The words of each situation are
//! tested in `src/api/page/tests.rs`; a real database goes down in `tests/it/page.rs`.

use std::time::{Duration, SystemTime};

use db_pool_exporter::api::Setting;
use db_pool_exporter::metrics::{Reason, UsageSource};
use db_pool_exporter::pool::{self, Timings};
use db_pool_exporter::probe::{
    Blindness, Connected, Failure, Queried, Schedule, Sight, Snapshot, TargetSettings, fixture,
};
use db_pool_exporter::view::activity::{
    Activity, RunningQuery, SessionState, SessionStats, SlowQuery,
};
use db_pool_exporter::view::application::{
    AllowedConnections, Evidence, Fullest, Instances, ProcessPool, ProcessUsage, Recent,
};
use db_pool_exporter::view::{Application, Headroom, ServerLimits, SessionKey, Views};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::browser::{Browser, Window};
use crate::support::{Server, settings, start_unprobed};

/// A moment of the example: an application of two processes with 5 + 5 connections each.
#[derive(Clone, Copy)]
struct Moment {
    active: u64,
    peak: u64,
    saturated: Duration,
    connect: Duration,
    query: Duration,
    left: u64,
    /// Sessions idle in transaction.
    holding: u64,
}

const CALM: Moment = Moment {
    active: 4,
    peak: 6,
    saturated: Duration::ZERO,
    connect: Duration::from_micros(4_200),
    query: Duration::from_micros(420),
    left: 71,
    holding: 0,
};

const FULL: Moment = Moment {
    active: 20,
    peak: 20,
    saturated: Duration::from_secs(10),
    connect: Duration::from_micros(31_000),
    query: Duration::from_micros(5_300),
    left: 61,
    holding: 3,
};

fn application(moment: &Moment) -> Application {
    let Moment { active, peak, saturated, .. } = *moment;
    let open = active.max(10);
    let usage = |active, open| Fullest { active, open, processes: 1, size: Some(5), max: Some(10) };
    let process = |name: &str, active, open| ProcessUsage {
        name: name.to_owned(),
        address: Some("10.0.3.17".to_owned()),
        usage: usage(active, open),
    };
    let half = active / 2;
    let full = u32::from(active >= 20) * 2;
    Application {
        source: UsageSource::Activity,
        active: Some(active),
        idle: Some(open - active),
        uncertain: Some(open - active),
        open,
        in_transaction: Some(moment.holding),
        leaked: Some(moment.holding),
        allowed: Some(AllowedConnections {
            instances: Instances { number: 2, evidence: Evidence::Configured },
            process: ProcessPool::Sqlalchemy { size: 5, max_overflow: Some(5) },
            size: Some(10),
            max_overflow: Some(10),
            max: Some(20),
            overflow: Some(open - 10),
            exceeded: None,
        }),
        fullest: Some(usage(active - half, open - open / 2)),
        saturated_instances: Some(full),
        are_told_apart: true,
        recent: Recent { peak, ..Recent::default() },
        since_probe: Recent {
            active: Duration::from_secs(10) * u32::try_from(active).unwrap(),
            peak,
            saturated,
            sampled: Duration::from_secs(10),
        },
        saturated_for: (full > 0).then_some(Duration::from_secs(42)),
        processes: vec![
            process("orders-api-1", active - half, open - open / 2),
            process("orders-api-2", half, open / 2),
        ],
        ..fixture::application("orders", open)
    }
}

fn sessions(states: &[(SessionState, u64)]) -> SessionStats {
    let mut stats = SessionStats::default();
    states.iter().for_each(|(state, n)| stats.states[*state as usize] = *n);
    stats
}

fn views(moment: &Moment) -> Views {
    let Moment { active, holding, left, .. } = *moment;
    let api = SessionStats {
        transaction: Some(Duration::from_secs(if holding > 0 { 247 } else { 0 })),
        idle_in_transaction: (holding > 0).then_some(Duration::from_secs(241)),
        leaked: holding,
        ..sessions(&[
            (SessionState::Active, active - holding),
            (SessionState::Idle, active.max(10) - active),
            (SessionState::IdleInTransaction, holding),
        ])
    };
    let key = |application: &str, user: &str| SessionKey::new("orders", user, application);
    let running = (holding > 0).then(|| RunningQuery {
        key: key("orders-api-1", "app"),
        slow: SlowQuery {
            pid: 48_213,
            started: 1,
            wait_event: Some("transactionid".to_owned()),
            text: Some("UPDATE stock SET reserved = reserved + $1 WHERE sku = $2".to_owned()),
        },
        age: Duration::from_secs(12),
        state: SessionState::Active,
        waits_for: Some("Lock".to_owned()),
    });
    Views {
        activity: Some(
            Activity {
                sets: vec![
                    (key("orders-api", "app"), api),
                    (key("nightly-report", "report"), sessions(&[(SessionState::Active, 2)])),
                    (key("psql", "anna"), sessions(&[(SessionState::Idle, 1)])),
                ],
                running: running.into_iter().collect(),
                used: 97 - left,
                ..Activity::default()
            }
            .into(),
        ),
        limits: Some(ServerLimits { max: 100, ..ServerLimits::default() }.into()),
        headroom: Some(Headroom { ordinary: left, ..Headroom::default() }.into()),
        ..Views::default()
    }
}

fn snapshot(moment: &Moment) -> Snapshot {
    let mut snapshot = fixture::snapshot();
    if let Some(Ok(Connected { timings, .. })) = &mut snapshot.connect {
        let part = moment.connect / 10;
        *timings = Timings {
            dns: Some(part / 2),
            tcp: Some(part),
            ssl_request: Some(part / 2),
            tls: Some(part * 4),
            startup: Some(part * 4),
            total: moment.connect,
        };
    }
    if let Ok(Queried { query, .. }) = &mut snapshot.query {
        *query = moment.query;
    }
    let row = if moment.active >= 20 { 4 } else { 0 };
    Snapshot {
        views: views(moment),
        sight: fixture::sight([(application(moment), row)]),
        ..snapshot
    }
}

fn down() -> Snapshot {
    let failure = Failure {
        reason: Reason::Refused,
        message: "tcp failed: 127.0.0.1:5432 (host db.example, database orders, role app): connection refused"
            .to_owned(),
        phase: Some(db_pool_exporter::metrics::Phase::Tcp),
        passed: None,
    };
    hidden(
        Snapshot {
            connect: Some(Err(failure.clone())),
            query: Err(failure),
            views: Views::default(),
            ..snapshot(&CALM)
        },
        Blindness::Down,
    )
}

fn hidden(snapshot: Snapshot, why: Blindness) -> Snapshot {
    let mut sight = Sight::clone(&snapshot.sight);
    sight.pools.iter_mut().for_each(|pool| pool.blindness = Some(why.clone()));
    sight.blindness = Some(why);
    Snapshot { sight: sight.into(), ..snapshot }
}

/// An hour of a day: calm, a burst, an outage of two minutes, and what it is now.
fn hour(now: &Snapshot) -> Vec<Snapshot> {
    let moment = |n: u64| {
        let wave = (n as f64 / 17.0).sin() + (n as f64 / 5.3).sin() / 2.0;
        let active = 3 + [0, 1, 1, 2, 4, 3, 3, 1, 0, 2][usize::try_from(n / 6 % 10).unwrap()];
        let about = |time: Duration| time.mul_f64(1.0 + wave / 4.0);
        let calm = Moment {
            active,
            peak: active + n % 4,
            left: 75 - active,
            connect: about(CALM.connect),
            query: about(CALM.query),
            ..CALM
        };
        match n {
            150..162 => FULL,
            _ => calm,
        }
    };
    let past =
        (0..356).map(|n| if (200..212).contains(&n) { down() } else { snapshot(&moment(n)) });
    past.chain((0..4).map(|_| now.clone())).collect()
}

/// An interval so long that no snapshot becomes too old while a test runs, however busy the machine is.
const LONG: Duration = Duration::from_secs(600);

fn with(names: &[&str], interval: Duration) -> Server {
    let server = start_unprobed(settings());
    let connect = pool::fixture::connect("postgresql://app@db.example:5432/orders?sslmode=disable");
    let one = |name: &&str| {
        let usual = fixture::settings(name);
        let schedule = Schedule { interval, ..usual.schedule };
        TargetSettings { connect: connect.clone(), schedule, ..usual }
    };
    server.targets.apply(names.iter().map(one).collect());
    let setting = |key: &str, value: &str, source: &str| Setting {
        path: ["targets", "orders"].into_iter().chain(key.split('.')).map(str::to_owned).collect(),
        value: value.to_owned(),
        source: source.to_owned(),
    };
    let shown = vec![
        setting("url", "postgresql://app:***@db.example:5432/orders", "environment: DATABASE_URL"),
        setting("interval", "10s", "default"),
        setting("pool.size", "5", "environment: DB_POOL_SIZE"),
        setting("password_file", "/run/secrets/orders", "file: targets.orders.password_file"),
    ];
    server.configuration.store(shown.into());
    server
}

/// A server with one target in a situation.
fn showing(now: &Snapshot, interval: Duration) -> Server {
    let server = with(&["orders"], interval);
    fixture::publish_past(&server.targets.target("orders").unwrap(), hour(now));
    server
}

fn situation(name: &str) -> Snapshot {
    match name {
        "calm" => snapshot(&CALM),
        "full" => snapshot(&FULL),
        "down" => down(),
        "blind" => hidden(snapshot(&CALM), Blindness::NoPrivilege),
        other => panic!("{other}"),
    }
}

const WINDOWS: [Window; 4] = [
    Window { width: 1280, dark: false, scripts: true },
    Window { width: 1280, dark: true, scripts: true },
    Window { width: 390, dark: false, scripts: true },
    Window { width: 390, dark: true, scripts: true },
];

fn text<'r>(report: &'r Value, field: &str) -> &'r str {
    report[field].as_str().unwrap_or_default()
}

/// Nothing is wrong with a page: in its console, its requests, its width, and for people with a handicap.
fn assert_sound(browser: &mut Browser, report: &Value, what: &str) {
    assert_eq!(report["errors"], json!([]), "{what}: the console");
    assert_eq!(report["elsewhere"], json!([]), "{what}: requests to others");
    assert_eq!(report["wide"], json!([]), "{what}: off the screen");
    assert!(report["width"].as_u64() <= report["window"].as_u64(), "{what}: scrolls sideways");
    let found = browser.ask(&json!({"do": "axe"}));
    let serious: Vec<&Value> = found["violations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| matches!(text(one, "impact"), "serious" | "critical"))
        .collect();
    assert!(serious.is_empty(), "{what}: {serious:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_situation_is_in_words_on_every_screen() {
    let said = [
        (
            "calm",
            "orders: 4 of 20 connections checked out, 16 left.",
            "The server could give 71 more.",
        ),
        (
            "full",
            "orders: 20 of 20 connections checked out, nothing left, for ",
            "The server could give 61 more. 3 sessions idle in transaction, the oldest 4 min: orders-api.",
        ),
        ("down", "orders: the database cannot be used", "What its pools do is unknown."),
        ("blind", "orders: unknown: the pool of orders cannot be seen", "ago: 4 of 20 connections"),
    ];
    for (name, lead, more) in said {
        let server = showing(&situation(name), LONG);
        let url = format!("http://{}/", server.address);
        spawn_blocking(move || {
            let mut browser = Browser::start();
            for window in WINDOWS {
                let opened = browser.open(&url, window);
                assert!(!text(&opened, "policy").contains("unsafe"), "{opened}");
                let report = browser.report();
                let what = format!("{name} {window:?}");
                for words in [lead, more] {
                    assert!(text(&report, "text").contains(words), "{what}: {words} in {report}");
                }
                if name == "down" || name == "blind" {
                    assert!(text(&report, "text").contains("unknown"), "{report}");
                    assert!(!text(&report, "text").contains("0 active"), "{report}");
                }
                assert_sound(&mut browser, &report, &what);
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_new_numbers_by_itself_and_says_when_it_is_old() {
    let server = showing(&situation("calm"), Duration::from_secs(10));
    let (url, stop) = (format!("http://{}/", server.address), server.stop.clone());
    let target = server.targets.target("orders").unwrap();
    spawn_blocking(move || {
        let mut browser = Browser::start();
        browser.open(&url, Window::default());
        browser.ask(&json!({"do": "click", "selector": "summary"})).as_object().unwrap();
        fixture::publish(&target, Snapshot { taken_at: SystemTime::now(), ..situation("full") });
        let full = ".hero.unhealthy";
        browser.ask(&json!({"do": "wait", "selector": full, "ms": 15_000}));
        let report = browser.report();
        assert!(text(&report, "title").starts_with("orders: unhealthy"), "{report}");
        assert_eq!((text(&report, "old"), &report["errors"]), ("", &json!([])));
        let focused = browser.ask(&json!({"do": "focused"}));
        assert!(text(&focused, "html").starts_with("<summary"), "the focus stays: {focused}");
        stop.cancel();
        browser.ask(&json!({"do": "wait", "selector": "#old", "ms": 30_000}));
        let report = browser.report();
        assert!(text(&report, "old").contains("Old data"), "{report}");
        assert!(text(&report, "old").contains("the exporter does not answer"), "{report}");
        assert!(text(&report, "title").starts_with("OLD DATA"), "{report}");
    })
    .await
    .unwrap();
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_the_page_is_whole_and_the_list_can_be_searched() {
    let server = with(&["orders", "billing"], LONG);
    for name in ["orders", "billing"] {
        fixture::publish(&server.targets.target(name).unwrap(), situation("full"));
    }
    let url = format!("http://{}/", server.address);
    spawn_blocking(move || {
        let mut browser = Browser::start();
        let window = Window { scripts: false, width: 390, dark: false };
        browser.open(&url, window);
        browser.ask(&json!({"do": "fill", "selector": "input[name=filter]", "value": "bill"}));
        browser.ask(&json!({"do": "click", "selector": ".finder button"}));
        browser.ask(&json!({"do": "click", "selector": ".target a"}));
        browser.ask(&json!({"do": "wait", "selector": ".facts"}));
    })
    .await
    .unwrap();
    let page = server.get("/?target=billing").await;
    assert!(page.body.contains("<noscript><meta http-equiv=\"refresh\""), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_targets_are_quick() {
    let names: Vec<String> = (0..1_000).map(|n| format!("service-{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = with(&names, LONG);
    let [calm, full, down] = ["calm", "full", "down"].map(situation);
    for (n, name) in names.iter().enumerate() {
        let now = match n % 100 {
            3 => &down,
            7 => &full,
            _ => &calm,
        };
        fixture::publish(&server.targets.target(name).unwrap(), now.clone());
    }
    let url = format!("http://{}/", server.address);
    spawn_blocking(move || {
        let mut browser = Browser::start();
        for (path, rows) in [("", 100), ("?show=all", 1_000)] {
            let mut best = (f64::MAX, f64::MAX);
            for _ in 0..3 {
                browser.open(&format!("{url}{path}"), Window::default());
                let report = browser.report();
                assert_eq!((&report["rows"], &report["errors"]), (&json!(rows), &json!([])));
                let time = |field: &str| report[field].as_f64().unwrap();
                best = (best.0.min(time("served")), best.1.min(time("ready")));
            }
            eprintln!(
                "{rows} of 1,000 targets: first byte {:.0} ms, ready {:.0} ms",
                best.0, best.1
            );
            // An unoptimized build on a busy machine has another limit than a release.
            let limit = if cfg!(debug_assertions) { 2_000.0 } else { 100.0 };
            assert!(best.0 < limit, "made in {} ms", best.0);
        }
        let report = browser.report();
        let words = text(&report, "text");
        assert!(words.contains("20 unhealthy of 1,000 targets"), "{}", &words[..300]);
        browser.ask(&json!({"do": "fill", "selector": "input[name=filter]", "value": "0777"}));
        browser.ask(&json!({"do": "wait", "selector": ".targets .target:only-child"}));
        browser.open(&format!("{url}?filter=service-00"), WINDOWS[3]);
        let report = browser.report();
        assert_sound(&mut browser, &report, "the list");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runbook_can_be_read_where_the_trouble_is() {
    let server = showing(&situation("full"), LONG);
    let url = format!("http://{}/", server.address);
    spawn_blocking(move || {
        let mut browser = Browser::start();
        browser.open(&url, WINDOWS[2]);
        browser.ask(&json!({"do": "click", "selector": ".todo a"}));
        browser.ask(&json!({"do": "wait", "selector": "article h1"}));
        let report = browser.report();
        assert!(text(&report, "text").contains("DbPoolAppExhausted"), "{report}");
        assert_sound(&mut browser, &report, "a runbook");
    })
    .await
    .unwrap();
    assert_eq!(server.get("/runbook?name=nobody").await.status, 404);
}

/// Makes pictures of every situation into the folder PAGE_PICTURES, to be looked at.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes pictures for people: PAGE_PICTURES=folder cargo test --test web pictures -- --ignored"]
#[expect(clippy::disallowed_methods, reason = "the folder for the pictures is a variable")]
async fn pictures() {
    let folder = std::env::var("PAGE_PICTURES").expect("PAGE_PICTURES names a folder");
    for name in ["calm", "full", "down", "blind"] {
        let server = showing(&situation(name), Duration::from_secs(30));
        picture(&format!("http://{}/", server.address), &folder, name).await;
    }
    let server = showing(&situation("calm"), Duration::from_secs(5));
    let (url, stop) = (format!("http://{}/", server.address), server.stop.clone());
    let path = format!("{folder}/old-1280-light.png");
    let old = spawn_blocking(move || {
        let mut browser = Browser::start();
        browser.open(&url, WINDOWS[0]);
        stop.cancel();
        browser.ask(&json!({"do": "wait", "selector": "#old", "ms": 30_000}));
        browser.ask(&json!({"do": "picture", "path": path, "whole": false}));
    });
    old.await.unwrap();
    let server = with(&["orders", "billing", "search", "users"], LONG);
    for (target, now) in [("orders", "full"), ("billing", "calm"), ("search", "down")] {
        fixture::publish(&server.targets.target(target).unwrap(), situation(now));
    }
    picture(&format!("http://{}/", server.address), &folder, "list").await;
    picture(
        &format!("http://{}/runbook?name=DbPoolAppExhausted", server.address),
        &folder,
        "runbook",
    )
    .await;
}

async fn picture(url: &str, folder: &str, name: &str) {
    let (url, folder, name) = (url.to_owned(), folder.to_owned(), name.to_owned());
    spawn_blocking(move || {
        let mut browser = Browser::start();
        for window in WINDOWS {
            browser.open(&url, window);
            let colours = if window.dark { "dark" } else { "light" };
            let path = format!("{folder}/{name}-{}-{colours}.png", window.width);
            browser.ask(&json!({"do": "picture", "path": path}));
        }
    })
    .await
    .unwrap();
}
