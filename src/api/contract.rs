//! The contract, as tests: the specification's own examples, the codes, and the description.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::probe::{Failure, ProbeSample, Probing, Roster, Snapshot, fixture};
use crate::web::Verb;

const INTERVAL: Duration = Duration::from_secs(10);

/// Every answer of a GET, under its path.
const GETS: &[(&str, Endpoint)] = &[
    ("/api/v1/health", health),
    ("/api/v1/health", bare_health),
    ("/api/v1/database/pool/status", pool_status),
    ("/api/v1/database/pool/health", pool_health),
    ("/api/v1/database/slow-queries", slow_queries),
    ("/api/v1/targets", targets),
    ("/api/v1/sd", sd),
    ("/api/v1/openapi.json", openapi),
];

/// A roster whose targets are not probed: no test here lets their tasks run.
fn roster(names: &[&str]) -> Roster {
    roster_that(names, Probing::On)
}

fn roster_that(names: &[&str], probing: Probing) -> Roster {
    let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), probing);
    roster.apply(names.iter().map(|name| fixture::settings(name)).collect());
    roster
}

fn publish(roster: &Roster, name: &str, snapshot: Snapshot) {
    fixture::publish(&roster.target(name).expect("the target runs"), snapshot);
}

fn ask(roster: &Roster, target: Option<&str>, reply: Endpoint) -> (u16, Value) {
    let reply = reply(&ApiRequest { roster, now: Instant::now(), target, application: None });
    (reply.status.as_u16(), reply.body)
}

/// A probe with the specification's averages; the first was slow.
fn sample(n: u32) -> ProbeSample {
    ProbeSample {
        slow: n == 0,
        connect: Some(fixture::CONNECT),
        ..fixture::sample(Duration::from_micros(3_200))
    }
}

/// 200 probes, one of them slow.
fn example() -> Snapshot {
    Snapshot { window: Arc::new((0..200).map(sample).collect()), ..fixture::snapshot() }
}

fn failed() -> Snapshot {
    let deadline = || Failure::deadline(INTERVAL);
    Snapshot {
        connect: Some(Err(deadline())),
        query: Err(deadline()),
        last_success_at: None,
        ..fixture::snapshot()
    }
}

/// Everything of the example is in the answer: names, nesting, values, and with them the types.
fn assert_holds(example: &Value, answer: &Value, at: &str) {
    let Some(fields) = example.as_object() else {
        assert_eq!(example, answer, "{at}");
        return;
    };
    for (name, field) in fields {
        let answered = answer.get(name).unwrap_or_else(|| panic!("{at}.{name} is missing"));
        assert_holds(field, answered, &format!("{at}.{name}"));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_hold_the_specifications_examples() {
    let roster = roster(&["default"]);
    publish(&roster, "default", example());
    let check = |text: &str, reply| {
        let example: Value = serde_json::from_str(text).expect("an example is JSON");
        let (status, answer) = ask(&roster, None, reply);
        assert_eq!(status, 200);
        assert_holds(&example, &answer, "");
    };
    check(include_str!("../../tests/data/spec/health.json"), health);
    check(include_str!("../../tests/data/spec/pool-status.json"), pool_status);
}

#[tokio::test(start_paused = true)]
async fn codes_follow_the_verdict() {
    let roster = roster(&["default"]);
    let check = |expected: u16, word: &str| {
        for reply in [health, bare_health, pool_health] {
            let (status, answer) = ask(&roster, None, reply);
            assert_eq!((status, answer["status"].as_str()), (expected, Some(word)));
        }
        assert_eq!(ask(&roster, None, pool_status).0, 200);
    };
    check(503, "unhealthy");
    publish(&roster, "default", fixture::snapshot());
    check(200, "healthy");
    publish(&roster, "default", Snapshot { usage: fixture::usage(18), ..fixture::snapshot() });
    check(200, "degraded");
    publish(&roster, "default", failed());
    check(503, "unhealthy");
    publish(&roster, "default", fixture::snapshot());
    advance(INTERVAL * 3 + Duration::from_millis(1)).await;
    check(503, "unhealthy");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_monitor_and_an_unknown_target_are_told() {
    let disabled = roster_that(&["default"], Probing::Off);
    for reply in [health, bare_health, pool_status, pool_health, reset_metrics] {
        let expected = (503, json!({"detail": "Pool monitoring is disabled"}));
        assert_eq!(ask(&disabled, None, reply), expected);
    }
    let enabled = roster(&["default"]);
    for reply in [pool_status, pool_health, reset_metrics] {
        assert_eq!(ask(&enabled, Some("x"), reply), (404, json!({"detail": "Unknown target"})));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_name_it_is_default_or_the_first_by_name() {
    let check = |names: &[&str], asked, expected: &str| {
        let (_, answer) = ask(&roster(names), asked, pool_status);
        assert_eq!(answer["target"], expected);
    };
    check(&["a", "default"], None, "default");
    check(&["b", "a"], None, "a");
    check(&["a", "b"], Some("b"), "b");
}

#[tokio::test(start_paused = true)]
async fn health_is_the_worst_targets_and_shows_all() {
    let roster = roster(&["default", "orders"]);
    publish(&roster, "default", fixture::snapshot());
    publish(&roster, "orders", failed());
    let (status, answer) = ask(&roster, None, health);
    let database = &answer["components"]["database"];
    assert_eq!((status, &database["metadata"]["target"]), (503, &json!("orders")));
    assert_eq!(&answer["targets"]["orders"], database);
    assert_eq!(answer["targets"]["default"]["status"], "healthy");
    assert_eq!(ask(&roster, None, bare_health), (503, json!({"status": "unhealthy"})));
}

#[tokio::test(start_paused = true)]
async fn a_reset_clears_the_averages_and_leaves_the_verdict() {
    let roster = roster(&["default", "orders"]);
    publish(&roster, "default", example());
    publish(&roster, "orders", example());
    let (_, before) = ask(&roster, None, pool_health);
    let (_, answer) = ask(&roster, None, reset_metrics);
    assert_eq!(answer["message"], "Pool metrics reset successfully");
    let average = |target| {
        let (_, answer) = ask(&roster, Some(target), pool_status);
        answer["metrics"]["performance"]["avg_query_time_ms"].clone()
    };
    assert_eq!((average("default"), average("orders")), (json!(0.0), json!(3.2)));
    assert_eq!(ask(&roster, None, pool_health).1, before);
    advance(INTERVAL).await;
    publish(&roster, "default", example());
    assert_eq!(average("default"), json!(3.2));
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_not_there_read_as_in_the_variables() {
    let mut settings = fixture::settings("default");
    settings.limits.size = 0;
    settings.limits.max_overflow = None;
    settings.limits.recycle = None;
    let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), true.into());
    roster.apply(vec![settings]);
    let (_, answer) = ask(&roster, None, pool_status);
    let expected = json!({"size": 0, "max_overflow": -1, "timeout": 30.0, "recycle": -1});
    assert_holds(&expected, &answer["pool_config"], "");
    assert_eq!(answer["metrics"]["connections"]["max"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_did_not_pass_has_a_hint_and_no_other_has_one() {
    let roster = roster(&["default", "orders"]);
    publish(&roster, "default", fixture::snapshot());
    publish(&roster, "orders", failed());
    let (_, answer) = ask(&roster, None, health);
    let hint = |answer: &Value, check: &str| answer[check].get("hint").cloned();
    let checks = &answer["targets"]["orders"]["metadata"]["pool_health"]["checks"];
    let given = hint(checks, "connection").expect("a hint");
    assert!(given.as_str().expect("a text").contains("pg_stat_activity"), "{given}");
    assert_eq!(hint(checks, "slow_queries"), None);
    let checks = &answer["targets"]["default"]["metadata"]["pool_health"]["checks"];
    assert_eq!(hint(checks, "connection"), None);
    let (_, answer) = ask(&roster, None, targets);
    assert_eq!(hint(&answer["targets"][1]["checks"], "connection"), Some(given.clone()));
    let (_, answer) = ask(&roster, Some("orders"), pool_health);
    assert_eq!(hint(&answer["checks"], "connection"), Some(given));
}

#[tokio::test(start_paused = true)]
async fn slow_queries_are_those_that_the_last_probe_saw() {
    use crate::view::activity::{Activity, RunningQuery, SessionState, SlowQuery};
    use crate::view::{SessionKey, Views};
    let roster = roster(&["default"]);
    publish(&roster, "default", fixture::snapshot());
    let nobody_looked = ask(&roster, None, slow_queries).1;
    assert_eq!(nobody_looked["queries"], Value::Null);
    let slow =
        SlowQuery { pid: 7, started: 1, wait_event: Some("relation".to_owned()), text: None };
    let running = RunningQuery {
        key: SessionKey::new("orders", "app", "web"),
        slow,
        age: Duration::from_millis(4_500),
        state: SessionState::Active,
        waits_for: Some("Lock".to_owned()),
    };
    let activity = Some(Activity { running: vec![running], ..Activity::default() });
    let views = Views { activity: activity.map(std::sync::Arc::new), ..Views::default() };
    publish(&roster, "default", Snapshot { views, ..fixture::snapshot() });
    let (status, answer) = ask(&roster, None, slow_queries);
    let expected = json!([{
        "pid": 7, "database": "orders", "user": "app", "application": "web", "age_seconds": 4.5,
        "state": "active", "wait_event_type": "Lock", "wait_event": "relation", "query": null,
    }]);
    assert_eq!((status, &answer["queries"]), (200, &expected));
    let api = openapi::description();
    let path = "/api/v1/database/slow-queries";
    assert_eq!(schema::problems(&api, path, 200, &answer), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn discovery_names_each_target_for_probe() {
    let (status, answer) = ask(&roster(&["orders"]), None, sd);
    let labels = json!({
        "team": "payments",
        "__param_target": "orders",
        "__meta_db_pool_target": "orders",
        "__meta_db_pool_kind": "postgres",
        "__meta_db_pool_host": "",
        "__meta_db_pool_server": "",
        "__meta_db_pool_database": "orders",
    });
    assert_eq!((status, answer), (200, json!([{"targets": ["orders"], "labels": labels}])));
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_as_described() {
    let api = openapi::description();
    let check = |roster: &Roster, target: Option<&str>| {
        let reset = ("/api/v1/database/pool/reset-metrics", reset_metrics as Endpoint);
        for (path, reply) in GETS.iter().chain([&reset]) {
            let (status, answer) = ask(roster, target, *reply);
            assert_eq!(schema::problems(&api, path, status, &answer), Vec::<String>::new());
        }
    };
    let roster = roster(&["default", "orders"]);
    check(&roster, None);
    check(&roster, Some("unknown"));
    check(&roster_that(&["default"], Probing::Off), None);
    check(&roster_that(&[], Probing::On), None);
    let mut unlimited = Snapshot { connect: None, ..example() };
    unlimited.usage =
        crate::view::Usage { size: None, max_overflow: None, max: None, ..unlimited.usage };
    let saturated = Snapshot { usage: fixture::usage(18), ..example() };
    for snapshot in [example(), failed(), unlimited, saturated] {
        publish(&roster, "default", snapshot);
        check(&roster, None);
    }
    advance(INTERVAL * 4).await;
    check(&roster, None);
}

#[tokio::test(start_paused = true)]
async fn another_applications_pool_is_told_and_judged_when_asked_for() {
    let roster = roster(&["default"]);
    let applications = [("web", 3, 0), ("jobs", 8, 3)];
    let sight = applications.map(|(name, open, row)| (fixture::application(name, open), row));
    let snapshot = Snapshot { sight: fixture::sight(sight), ..fixture::snapshot() };
    publish(&roster, "default", snapshot);
    let ask = |reply: Endpoint, application| {
        let request =
            ApiRequest { roster: &roster, now: Instant::now(), target: None, application };
        let reply = reply(&request);
        (reply.status.as_u16(), reply.body)
    };
    let (code, jobs) = ask(pool_status, Some("jobs"));
    assert_eq!((code, &jobs["metrics"]["connections"]["active"]), (200, &json!(8)));
    assert_eq!(jobs["source"], "activity");
    // The server does not show what an application's pool has counted: no number of ours stands there.
    assert_eq!(jobs["metrics"]["events"]["checkouts"], json!(null));
    assert_eq!(jobs["metrics"]["performance"]["avg_query_time_ms"], json!(null));
    assert_eq!(jobs["metrics"]["connections"]["failed"], json!(null));
    let (code, jobs) = ask(pool_health, Some("jobs"));
    assert_eq!((code, &jobs["checks"]["pool_saturation"]["status"]), (503, &json!("fail")));
    assert_eq!(ask(pool_health, Some("web")).0, 200);
    let (code, worst) = ask(pool_health, None);
    assert_eq!((code, &worst["application"]), (503, &json!("jobs")), "the worst decides");
    assert_eq!(ask(pool_status, None).1["application"], "jobs");
    let unknown = (404, json!({ "detail": "Unknown application" }));
    assert_eq!(ask(pool_status, Some("nobody")), unknown);
    assert_eq!(ask(pool_health, Some("nobody")), unknown);
}

#[test]
fn the_description_and_the_routes_name_the_same() {
    let verb = |verb| match verb {
        Verb::Get => "get",
        Verb::Post => "post",
    };
    let is_described = |path: &str| path.starts_with("/api/") || path == "/probe";
    let routes = ROUTES.iter().filter(|route| is_described(route.path));
    let routes: BTreeSet<_> =
        routes.map(|route| (route.path.to_owned(), verb(route.verb).to_owned())).collect();
    let api = openapi::description();
    let paths = api["paths"].as_object().expect("paths");
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().expect("operations").keys();
            methods.map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(routes, described);
}
