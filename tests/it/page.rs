//! The status page of a real exporter in a real browser, while the database and the exporter itself go down.

use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, Window};
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::workers::{self, Library, Plan, Worker};

/// Waits until the open page has words in it; the page updates itself.
fn says(browser: &mut Browser, words: &str) -> Value {
    wait_for(words, Duration::from_secs(60), || {
        let report = browser.report();
        report["text"].as_str().is_some_and(|text| text.contains(words)).then_some(report)
    })
}

#[test]
fn the_open_page_follows_a_full_pool_a_dead_database_and_a_dead_exporter() {
    let cluster = workers::cluster(Cluster::builder());
    let password = ROLE.1.replace(' ', "%20");
    let mut daemon = Program::daemon()
        .env("DATABASE_URL", cluster.url(ROLE.0, &password) + "?sslmode=disable")
        .env("DB_POOL_SIZE", "5")
        .env("DB_MAX_OVERFLOW", "3")
        .env("DB_MONITOR_INSTANCES", "1")
        .env("DB_MONITOR_INTERVAL", "1")
        .env("DB_MONITOR_APPLICATION", "shop")
        .start();
    let url = format!("http://{}/", daemon.address());
    let plan = Plan { library: Library::Asyncpg, name: "shop", ..Plan::USUAL };
    let mut worker = Worker::start(&cluster, plan);
    let mut browser = Browser::start();
    worker.tell("hold 2");
    browser.open(&url, Window::default());
    says(&mut browser, "default: 2 of 8 connections checked out by shop, 6 left.");
    worker.tell("hold 6");
    let full =
        says(&mut browser, "default: 8 of 8 connections checked out by shop, nothing left, for ");
    let text = full["text"].as_str().unwrap_or_default();
    assert!(text.contains("The server could give "), "{text}");
    says(&mut browser, "8 sessions idle in transaction, the oldest ");
    cluster.stop();
    let down = says(&mut browser, "default: the database cannot be used, for ");
    let text = down["text"].as_str().unwrap_or_default();
    assert!(text.contains("What its pools do is unknown."), "{text}");
    assert!(text.contains("ago: 8 of 8 connections checked out by shop"), "{text}");
    assert!(text.contains("Checked out\nunknown"), "no number of before stands there: {text}");
    assert!(text.contains("phase tcp, reason refused"), "{text}");
    assert_eq!(down["old"], "", "the exporter itself is well");
    cluster.start_again();
    says(&mut browser, "default: 0 of 8 connections checked out by shop");
    assert!(daemon.terminate().success());
    browser.ask(&json!({"do": "wait", "selector": "#old", "ms": 60_000}));
    let old = browser.report();
    assert!(old["old"].as_str().is_some_and(|text| text.contains("does not answer")), "{old}");
    assert!(old["title"].as_str().is_some_and(|title| title.starts_with("OLD DATA")), "{old}");
    assert_eq!(old["elsewhere"], json!([]));
}
