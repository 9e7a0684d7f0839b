//! Against managers that do what a test wants, on a paused clock. tests/it/library.rs of the workspace has the
//! same against PostgreSQL.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "sums of milliseconds are small, and tests await their tasks"
)]

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::Reason;

/// The outcomes of the next connects and tests.
#[derive(Default)]
struct Script {
    connect: Mutex<Duration>,
    test: Mutex<Duration>,
    refuses: AtomicBool,
    fails_tests: AtomicBool,
    breaks: AtomicBool,
}

/// A manager without a server; its connections are numbers.
#[derive(Clone, Default)]
struct Scripted(Arc<Script>);

impl Scripted {
    fn connects_in(&self, ms: u64) -> &Self {
        *self.0.connect.lock().unwrap() = Duration::from_millis(ms);
        self
    }

    fn tests_in(&self, ms: u64) -> &Self {
        *self.0.test.lock().unwrap() = Duration::from_millis(ms);
        self
    }
}

impl ManageConnection for Scripted {
    type Connection = u64;
    type Error = &'static str;

    async fn connect(&self) -> Result<u64, &'static str> {
        let takes = *self.0.connect.lock().unwrap();
        let refuses = self.0.refuses.load(Ordering::Relaxed);
        sleep(takes).await;
        if refuses { Err("refused") } else { Ok(7) }
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), &'static str> {
        let takes = *self.0.test.lock().unwrap();
        sleep(takes).await;
        if self.0.fails_tests.swap(false, Ordering::Relaxed) { Err("gone") } else { Ok(()) }
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        self.0.breaks.swap(false, Ordering::Relaxed)
    }
}

fn builder(size: u32) -> bb8::Builder<Metered<Scripted>> {
    bb8::Pool::builder().max_size(size).connection_timeout(Duration::from_secs(1))
}

fn pool(builder: bb8::Builder<Metered<Scripted>>, manager: &Scripted) -> Watched<Scripted> {
    let metered = Metered::new(manager.clone()).with_reasons(|_| Reason::Refused);
    Watched::new(builder.build_unchecked(metered), "orders")
}

impl Watched<Scripted> {
    fn sample(&self, sample: &str) -> f64 {
        let registry = Registry::new();
        self.register(&registry).expect("an empty registry");
        let mut text = String::new();
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_utf8(&registry.gather(), &mut text).expect("a String takes it");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not in\n{text}")).parse().expect("a number")
    }

    /// The sums of the histograms in milliseconds: waits, connects, tests, check-outs, uses.
    fn times(&self) -> [u64; 5] {
        let sum = |name: &str, labels: &str| {
            let sample = format!("db_pool_{name}_seconds_sum{{{labels}target=\"orders\"}}");
            (self.sample(&sample) * 1000.0).round() as u64
        };
        let connect = self.watch.meter.instruments.times.connect.distribution(crate::Purpose::Pool);
        [
            sum("checkout_wait", ""),
            (connect.sum * 1000.0).round() as u64,
            sum("ping_duration", ""),
            sum("checkout_duration", ""),
            sum("use_duration", ""),
        ]
    }

    /// Check-outs: ok, time-out, connect error, cancelled.
    fn results(&self) -> [u64; 4] {
        [
            CheckOutOutcome::Ok,
            CheckOutOutcome::Timeout,
            CheckOutOutcome::ConnectError,
            CheckOutOutcome::Cancelled,
        ]
        .map(|outcome| self.checkouts(outcome))
    }

    /// Connections closed: broken, ping failed, idle time-out, recycled.
    fn closings(&self) -> [u64; 4] {
        let view = self.view();
        [Closed::Broken, Closed::PingFailed, Closed::IdleTimeout, Closed::Recycled]
            .map(|reason| view.closed(reason))
    }

    fn assert_nobody_waits(&self) {
        let queue = self.watch.meter.board.queue();
        assert_eq!((queue.waiting, queue.connecting, queue.oldest), (0, 0, Duration::ZERO));
    }
}

async fn after(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn to_make_it_opens_no_connection_and_counts_nothing() {
    let manager = Scripted::default();
    let pool = pool(builder(2), &manager);
    after(10).await;
    assert_eq!(pool.inner().state().connections, 0);
    assert_eq!((pool.results(), pool.times()), ([0; 4], [0; 5]));
    pool.assert_nobody_waits();
}

#[tokio::test(start_paused = true)]
async fn connect_and_test_are_no_wait() {
    let manager = Scripted::default();
    manager.connects_in(40).tests_in(5);
    let pool = pool(builder(1), &manager);
    let connection = pool.get().await.expect("a connection");
    assert_eq!(*connection, 7);
    after(100).await;
    drop(connection);
    assert_eq!(pool.times(), [0, 40, 5, 45, 100]);
    drop(pool.get_owned().await.expect("the idle one"));
    assert_eq!(pool.times(), [0, 40, 10, 50, 100]);
    assert_eq!(pool.results(), [2, 0, 0, 0]);
    assert_eq!(pool.sample("db_pool_checkins_total{target=\"orders\"}"), 2.0);
    pool.assert_nobody_waits();
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_a_wait_and_the_oldest_is_known() {
    let manager = Scripted::default();
    manager.connects_in(40).tests_in(5);
    let pool = pool(builder(1), &manager);
    let first = pool.get().await.expect("a connection");
    let mine = pool.clone();
    let second = tokio::spawn(async move { mine.get_owned().await.map(|_| ()) });
    after(300).await;
    assert_eq!(pool.sample("db_pool_pending_requests{target=\"orders\"}"), 1.0);
    assert_eq!(pool.sample("db_pool_oldest_wait_seconds{target=\"orders\"}"), 0.3);
    drop(first);
    second.await.expect("no panic").expect("the connection of the first");
    assert_eq!(pool.times(), [300, 40, 10, 350, 300]);
    pool.assert_nobody_waits();
}

#[tokio::test(start_paused = true)]
async fn in_a_burst_those_beyond_the_size_wait_and_the_others_connect() {
    let manager = Scripted::default();
    manager.connects_in(40);
    let pool = pool(builder(3), &manager);
    let gets: Vec<_> = (0..10)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let _connection = pool.get().await.expect("a connection");
                after(100).await;
            })
        })
        .collect();
    after(20).await;
    let queue = pool.watch.meter.board.queue();
    assert_eq!((queue.waiting, queue.connecting), (7, 3));
    assert_eq!(queue.oldest, Duration::from_millis(20));
    for get in gets {
        get.await.expect("no panic");
    }
    // Three groups of three get theirs after 40, 140 and 240 ms, the last one after 340 ms.
    assert_eq!(pool.times(), [3 * 140 + 3 * 240 + 340, 120, 0, 3 * 420 + 340, 1000]);
    assert_eq!(pool.results(), [10, 0, 0, 0]);
    assert_eq!(pool.inner().state().connections, 3);
    pool.assert_nobody_waits();
}

#[tokio::test(start_paused = true)]
async fn only_a_lack_of_slots_is_a_timeout() {
    let manager = Scripted::default();
    let full = pool(builder(1), &manager);
    let held = full.get().await.expect("a connection");
    full.get().await.expect_err("no slot");
    assert_eq!(full.results(), [1, 1, 0, 0]);
    assert_eq!(full.times()[0], 1000);
    drop(held);

    // A connect that hangs, then a test that hangs.
    manager.connects_in(1_500);
    let slow = pool(builder(1), &manager);
    slow.get().await.expect_err("no connection in time");
    assert_eq!(slow.results(), [0, 0, 1, 0]);
    after(1_000).await;
    manager.tests_in(5_000);
    slow.get().await.expect_err("no answer in time");
    assert_eq!(slow.results(), [0, 0, 2, 0]);
    assert_eq!(slow.times(), [0, 1_500, 0, 0, 0]);
    slow.assert_nobody_waits();
}

#[tokio::test(start_paused = true)]
async fn failed_connects_are_counted_by_reason_and_are_no_wait() {
    for retries in [true, false] {
        let manager = Scripted::default();
        manager.connects_in(10).0.refuses.store(true, Ordering::Relaxed);
        let pool = pool(builder(1).retry_connection(retries), &manager);
        pool.get().await.expect_err("no connection");
        assert_eq!(pool.results(), [0, 0, 1, 0]);
        assert_eq!(pool.times(), [0; 5]);
        let refused = "db_pool_connect_errors_total{reason=\"refused\",target=\"orders\"}";
        assert_eq!(pool.sample(refused), if retries { 3.0 } else { 1.0 });
        assert_eq!(
            pool.sample("db_pool_connect_errors_total{reason=\"other\",target=\"orders\"}"),
            0.0
        );
        after(5_000).await;
        pool.assert_nobody_waits();
        assert_eq!(pool.inner().state().connections, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_arrives_while_another_waits_to_connect_again_has_its_own_connect() {
    let manager = Scripted::default();
    manager.connects_in(10).0.refuses.store(true, Ordering::Relaxed);
    let pool = pool(builder(2), &manager);
    let first = pool.get();
    let second = async {
        after(100).await;
        pool.get().await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_err());
    assert_eq!(pool.results(), [0, 0, 2, 0]);
    assert_eq!(pool.times()[0], 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_get_is_cancelled_at_every_stage_and_leaves_nothing() {
    let manager = Scripted::default();
    manager.connects_in(40).tests_in(20);
    let pool = pool(builder(1), &manager);
    let drop_after = async |ms| {
        let limit = Duration::from_millis(ms);
        tokio::time::timeout(limit, pool.get()).await.expect_err("dropped");
        pool.assert_only_connects();
    };
    drop(pool.get());
    assert_eq!(pool.results(), [0; 4], "never polled");
    drop_after(20).await;
    assert_eq!(pool.results(), [0, 0, 0, 1], "while it is opened");
    // bb8 goes on with the connect and keeps the connection.
    after(40).await;
    assert_eq!(pool.inner().state().idle_connections, 1);
    drop_after(10).await;
    assert_eq!(pool.results(), [0, 0, 0, 2], "in the test");
    let held = pool.get().await.expect("it went back");
    drop_after(30).await;
    assert_eq!(pool.results(), [1, 0, 0, 3], "while all are out");
    assert_eq!(pool.times()[0], 30);
    drop(held);
    assert_eq!(pool.inner().state().idle_connections, 1);
    assert_eq!(pool.inner().state().statistics.pending_gets(), 3, "why it is not used");
    pool.assert_nobody_waits();
}

impl Watched<Scripted> {
    fn assert_only_connects(&self) {
        let queue = self.watch.meter.board.queue();
        assert_eq!((queue.waiting, queue.oldest), (0, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_for_a_get_that_left_is_for_the_next_one() {
    let manager = Scripted::default();
    manager.connects_in(40);
    let pool = pool(builder(1), &manager);
    let left = tokio::time::timeout(Duration::from_millis(10), pool.get());
    let (left, stayed) = tokio::join!(left, pool.get());
    assert!(left.is_err() && stayed.is_ok());
    // Ten milliseconds without a slot, thirty for the connect.
    assert_eq!(pool.times(), [10, 40, 0, 40, 0]);
}

#[tokio::test(start_paused = true)]
async fn closings_have_their_reasons_once() {
    let manager = Scripted::default();
    let builder = builder(2)
        .idle_timeout(Duration::from_secs(60))
        .max_lifetime(Duration::from_secs(300))
        .reaper_rate(Duration::from_secs(600));
    let pool = pool(builder, &manager);
    manager.0.breaks.store(true, Ordering::Relaxed);
    drop(pool.get().await.expect("a connection"));
    assert_eq!(pool.closings(), [1, 0, 0, 0]);

    drop(pool.get().await.expect("a connection"));
    manager.0.fails_tests.store(true, Ordering::Relaxed);
    manager.0.breaks.store(true, Ordering::Relaxed);
    drop(pool.get().await.expect("another one"));
    // bb8 counts this one as invalid and as broken.
    assert_eq!(pool.inner().state().statistics.connections_closed_broken, 2);
    assert_eq!(pool.closings(), [1, 1, 0, 0]);
    let state = pool.pool_state();
    assert_eq!((state.open, pool.view().opened), (1, 3));
    assert_eq!(pool.view().disconnects(), 2);
}

#[tokio::test]
async fn an_old_connection_that_was_also_idle_is_closed_once() {
    // bb8's ages follow the real clock.
    let manager = Scripted::default();
    let short = Duration::from_millis(50);
    let builder =
        builder(2).idle_timeout(short).max_lifetime(short).reaper_rate(Duration::from_millis(100));
    let pool = pool(builder, &manager);
    let held = pool.get().await.expect("a connection");
    after(80).await;
    drop(held);
    assert_eq!(pool.closings(), [0, 0, 0, 1], "too old when it came back");
    drop(pool.get().await.expect("another one"));
    after(250).await;
    let view = pool.view();
    assert_eq!((view.state.open, view.opened), (0, 2));
    assert_eq!(view.disconnects(), 2, "{:?}", pool.closings());
}

#[tokio::test(start_paused = true)]
async fn two_pools_share_a_registry_but_not_a_name() {
    let manager = Scripted::default();
    let metered = || builder(1).build_unchecked(Metered::new(manager.clone()));
    let registry = Registry::new();
    Watched::new(metered(), "orders").register(&registry).expect("the first");
    Watched::new(metered(), "stock").register(&registry).expect("the second");
    Watched::new(metered(), "orders").register(&registry).expect_err("the name is taken");
    let families = registry.gather();
    let active = families.iter().find(|f| f.name() == "db_pool_active_connections").expect("it");
    let targets: Vec<_> = active.get_metric().iter().map(|m| m.get_label()[0].value()).collect();
    assert_eq!(targets, ["orders", "stock"]);
}

#[tokio::test]
async fn help_texts_and_types_are_those_of_the_exporter() {
    let pool = pool(builder(1), &Scripted::default());
    let known: Vec<_> = crate::POOL_READINGS.iter().map(crate::Reading::describe).collect();
    for row in &known {
        let Some(desc) = pool.watch.descriptors.iter().find(|d| d.fq_name == row.name) else {
            assert_eq!(row.name, "db_pool_connect_phase_duration_seconds");
            continue;
        };
        if row.name != "db_pool_connect_errors_total" {
            assert_eq!(
                (desc.help.as_str(), desc.variable_labels.len()),
                (row.help, row.labels.len())
            );
        }
    }
}

#[test]
fn names_become_what_the_document_allows() {
    for (name, expected) in [
        ("orders", "orders"),
        ("Orders api/1", "Orders_api_1"),
        ("_x", "x"),
        ("é", "pool"),
        ("", "pool"),
    ] {
        assert_eq!(application(name), expected);
    }
    assert_eq!(application(&"x".repeat(100)).len(), 64);
}

#[tokio::test(start_paused = true)]
async fn the_document_is_json_with_the_numbers_of_the_pool() {
    let manager = Scripted::default();
    manager.connects_in(40);
    let pool = pool(builder(2), &manager);
    let held = pool.get().await.expect("a connection");
    drop(pool.get().await.expect("another one"));
    let json: serde_json::Value = serde_json::from_str(&pool.status_json()).expect("JSON");
    assert_eq!(json["metrics"]["connections"]["active"], 1);
    assert_eq!(json["metrics"]["connections"]["idle"], 1);
    assert_eq!(json["metrics"]["performance"]["avg_connection_time_ms"], 40.0);
    let own = &json["db_pool_status"];
    assert_eq!(own["totals"]["checkouts"]["ok"], 2);
    assert_eq!(own["limits"]["max_connections"], 2);
    let connects = &own["histograms"]["connect_duration_seconds"];
    assert_eq!((&connects["counts"][6], &connects["count"]), (&2.into(), &2.into()));
    assert_eq!(own["process"]["instance_id"].as_str().map(str::len), Some(32));
    drop(held);
}

/// Checks a value against the part of JSON Schema that the contract uses, and that it has no field unknown to it.
fn check(value: &serde_json::Value, rule: &serde_json::Value, root: &serde_json::Value, at: &str) {
    if let Some(path) = rule["$ref"].as_str() {
        let target =
            root.pointer(path.trim_start_matches('#')).expect("a reference leads somewhere");
        return check(value, target, root, at);
    }
    if let Some(constant) = rule.get("const") {
        assert_eq!(value, constant, "{at}");
    }
    let is_right = match rule["type"].as_str() {
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    assert!(is_right, "{at}: {value} is no {}", rule["type"]);
    if let (Some(number), Some(minimum)) = (value.as_f64(), rule["minimum"].as_f64()) {
        assert!(number >= minimum, "{at}: {number}");
    }
    for name in rule["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().expect("a name")).is_some(), "{at}: {name} is missing");
    }
    for item in value.as_array().into_iter().flatten() {
        check(item, &rule["items"], root, at);
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let known = rule["properties"].get(name).or(rule.get("additionalProperties"));
        let known = known.unwrap_or_else(|| panic!("{at}: {name} is not in the contract"));
        check(inner, known, root, &format!("{at}.{name}"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_document_keeps_the_contract() {
    let schema = include_str!("../../../../integrations/status.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).expect("the schema is JSON");
    for lifetime in [None, Some(Duration::from_secs(60))] {
        let pool = pool(builder(2).max_lifetime(lifetime), &Scripted::default());
        drop(pool.get().await.expect("a connection"));
        let json = serde_json::from_str(&pool.status_json()).expect("JSON");
        check(&json, &schema, &schema, "status");
    }
}

#[tokio::test(start_paused = true)]
async fn the_set_up_of_a_connection_is_no_wait() {
    #[derive(Debug)]
    struct Slowly;
    impl bb8::CustomizeConnection<u64, &'static str> for Slowly {
        fn on_acquire<'a>(
            &'a self,
            _: &'a mut u64,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), &'static str>> + Send + 'a>> {
            Box::pin(async {
                after(70).await;
                Ok(())
            })
        }
    }
    let manager = Scripted::default();
    manager.connects_in(40);
    let pool = pool(builder(1).connection_customizer(Box::new(Slowly)), &manager);
    drop(pool.get().await.expect("a connection"));
    assert_eq!(pool.times(), [0, 40, 0, 110, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_get_whose_connection_went_to_a_newcomer_waits_for_a_slot() {
    let manager = Scripted::default();
    manager.connects_in(40);
    let pool = pool(builder(1), &manager);
    let newcomer = async {
        // At that time the connection arrives; the first get has then been notified but not polled yet.
        after(40).await;
        tokio::task::yield_now().await;
        let connection = pool.get().await.expect("it is idle");
        after(200).await;
        drop(connection);
    };
    // Futures of one task: the newcomer is polled first.
    let (_, first) = tokio::join!(biased; newcomer, pool.get());
    assert!(first.is_ok());
    assert_eq!(pool.times()[0], 200);
    pool.assert_nobody_waits();
}
