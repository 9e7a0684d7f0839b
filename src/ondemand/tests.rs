//! A module, a resolver that answers as the test wants, and a server that counts who comes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;

use super::*;
use crate::metrics::Label as _;
use crate::pool::Resolved;
use crate::probe::{Probing, fixture};

/// Answers with one list after the other; the last one stays.
struct Scripted {
    answers: Mutex<VecDeque<Vec<&'static str>>>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(answers: &[&[&'static str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolve for Scripted {
    fn look_up<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, Resolved> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let found = next.unwrap_or_default().into_iter();
        let found = found.map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
        Box::pin(async move { Ok(found) })
    }
}

fn module(allowed: &[&str]) -> AuthModule {
    let mut template = fixture::settings("");
    let mut dsn = template.connect.dsn.as_ref().clone();
    dsn.user = Some("monitor".to_owned());
    dsn.database = None;
    template.connect.dsn = Arc::new(dsn);
    template.schedule.timeout = Duration::from_millis(300);
    let allowed = allowed.iter().map(|text| Allowed::parse(text).expect(text)).collect();
    AuthModule { allowed: AllowList(allowed), template }
}

fn on_demand(allowed: &[&str], resolver: Arc<dyn Resolve>) -> Arc<OnDemand> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let roster = Roster::new(tasks.clone(), stop.clone(), Probing::ByCaller);
    roster.apply(vec![fixture::settings("orders")]);
    let on_demand = OnDemand { resolver, ..OnDemand::new(Arc::new(roster), 2, tasks, stop) };
    on_demand.apply(BTreeMap::from([("app".to_owned(), module(allowed))]));
    Arc::new(on_demand)
}

/// The outcome of a request: up or not, or the reason without a probe.
async fn ask(on_demand: &Arc<OnDemand>, target: &str) -> Result<bool, NoProbe> {
    let request = ProbeRequest { target, module: Some("app"), limit: None };
    let probe = on_demand.probe(&request).await?;
    Ok(probe.finish(|probe| probe.target().published().unwrap().snapshot.is_up()).await)
}

/// A listener, and the number of connections that it has got so far.
struct Trap(TcpListener);

impl Trap {
    async fn new(address: &str) -> Self {
        Self(TcpListener::bind((address, 0)).await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    async fn has_visitors(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(20), self.0.accept()).await.is_ok()
    }
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_and_nobody_is_connected_to() {
    let trap = Trap::new("127.0.0.1").await;
    let target = format!("db.internal:{}", trap.port());
    for answer in [
        ["127.0.0.1"].as_slice(),
        &["10.0.0.1", "127.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["::1", "10.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["169.254.169.254"],
    ] {
        let resolver = Scripted::new(&[answer]);
        let on_demand = on_demand(&["*.internal:*", "0.0.0.0/0:*", "[::/0]:*"], resolver.clone());
        assert_eq!(ask(&on_demand, &target).await, Err(NoProbe::NotAllowed), "{answer:?}");
        assert_eq!(resolver.asked(), 1, "one lookup for all connects");
    }
    assert!(!trap.has_visitors().await);
}

#[tokio::test]
async fn a_name_is_looked_up_once_so_that_a_second_answer_cannot_lead_elsewhere() {
    let trap = Trap::new("127.0.0.1").await;
    let resolver = Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let on_demand = on_demand(&["db.internal:*", "127.0.0.2:*"], resolver.clone());
    let target = format!("db.internal:{}", trap.port());
    assert_eq!(ask(&on_demand, &target).await, Ok(false), "nobody listens at the first address");
    assert_eq!(resolver.asked(), 1);
    assert!(!trap.has_visitors().await, "the second address is never used");
}

#[tokio::test]
async fn an_allowed_name_is_connected_to_at_the_address_that_was_checked() {
    let trap = Trap::new("127.0.0.1").await;
    let resolver = Scripted::new(&[&["127.0.0.1"]]);
    let on_demand = on_demand(&["db.internal:*", "127.0.0.0/8:*"], resolver.clone());
    let target = format!("DB.internal:{}/orders", trap.port());
    let (outcome, visited) = tokio::join!(ask(&on_demand, &target), trap.has_visitors());
    assert_eq!((outcome, visited), (Ok(false), true), "the trap says nothing, so it is down");
}

#[tokio::test]
async fn a_name_that_no_pattern_allows_is_not_looked_up() {
    let resolver = Scripted::new(&[&["10.0.0.1"]]);
    let on_demand = on_demand(&["*.internal", "10.0.0.0/8"], resolver.clone());
    for target in ["secret.example", "db.internal:6432", "localhost", "db.internal.evil.example"] {
        assert_eq!(ask(&on_demand, target).await, Err(NoProbe::NotAllowed), "{target}");
    }
    assert_eq!(resolver.asked(), 0);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_database_that_is_down() {
    let on_demand = on_demand(&["*.internal"], Scripted::new(&[&[]]));
    assert_eq!(ask(&on_demand, "db.internal").await, Ok(false));
}

#[tokio::test]
async fn names_of_targets_and_addresses_are_never_mistaken_for_each_other() {
    let resolver = Scripted::new(&[&["10.0.0.1"]]);
    let on_demand = on_demand(&["*.internal"], resolver.clone());
    let probe = |target, module| {
        let on_demand = &on_demand;
        async move {
            let request = ProbeRequest { target, module, limit: Some(Duration::from_secs(5)) };
            on_demand.probe(&request).await.err()
        }
    };
    assert_eq!(probe("orders", None).await, None, "a target of the configuration");
    assert_eq!(probe("orders", Some("app")).await, Some(NoProbe::NotAllowed), "no address");
    assert_eq!(probe("db.internal", None).await, Some(NoProbe::NotAllowed), "no name");
    assert_eq!(probe("db.internal", Some("other")).await, Some(NoProbe::UnknownModule));
    assert_eq!(resolver.asked(), 0);
}

#[tokio::test]
async fn ten_thousand_addresses_leave_nothing_behind() {
    let on_demand = on_demand(&["*.internal"], Scripted::new(&[&["127.0.0.1"]]));
    // One in ten is looked up.
    for n in 0..10_000_u32 {
        let target = format!("db{n}.{}", if n % 10 == 0 { "internal" } else { "example" });
        assert_eq!(ask(&on_demand, &target).await, Err(NoProbe::NotAllowed));
    }
    assert!(on_demand.turns.len() <= 1 && on_demand.tasks.is_empty());
    assert_eq!(on_demand.places.available_permits(), 2);
}

#[tokio::test]
async fn more_probes_than_places_are_refused_at_once_and_a_dropped_one_frees_its_place() {
    let (first, second) = (Trap::new("127.0.0.1").await, Trap::new("127.0.0.1").await);
    let on_demand = on_demand(&["127.0.0.1:*"], Scripted::new(&[]));
    let targets = [&first, &second].map(|trap| format!("127.0.0.1:{}", trap.port()));
    {
        let slow = [ask(&on_demand, &targets[0]), ask(&on_demand, &targets[1])];
        let mut slow = slow.map(Box::pin);
        for probe in &mut slow {
            assert!(futures_util::poll!(probe.as_mut()).is_pending());
        }
        assert_eq!(ask(&on_demand, &targets[0]).await, Err(NoProbe::Busy));
    }
    while on_demand.places.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&on_demand, &targets[0]).await, Ok(false));
}

#[tokio::test]
async fn probes_of_one_server_take_turns() {
    let trap = Trap::new("127.0.0.1").await;
    let on_demand = on_demand(&["127.0.0.1:*"], Scripted::new(&[]));
    let [a, b] = ["a", "b"].map(|name| format!("127.0.0.1:{}/{name}", trap.port()));
    // The trap never answers, so the first takes all its time, and the second has none left.
    let outcomes = tokio::join!(ask(&on_demand, &a), ask(&on_demand, &b));
    assert_eq!(outcomes, (Ok(false), Err(NoProbe::Busy)));
}

#[test]
fn the_modules_options_win_and_a_request_cannot_weaken_the_encryption() {
    let settings =
        |module: &AuthModule, target: &str| module.settings_for(&Requested::parse(target).unwrap());
    let plain = module(&["db"]);
    let found = settings(&plain, "db/orders?sslmode=require").unwrap();
    assert_eq!(found.name, "db:5432/orders");
    let dsn = &found.connect.dsn;
    assert_eq!(dsn.to_string(), "postgresql://monitor@db:5432/orders?sslmode=require");
    let console = settings(&plain, "db:5432/pgbouncer").unwrap();
    assert_eq!((console.kind.label(), console.query.as_str()), ("pgbouncer", "SHOW VERSION"));
    assert!(settings(&plain, "db?sslmode=disable").is_none());
    assert!(settings(&plain, "db?sslmode=prefer").is_none());
    let mut strict = plain.clone();
    let mut dsn = strict.template.connect.dsn.as_ref().clone();
    dsn.tls.mode = Some(crate::dsn::SslMode::VerifyFull);
    dsn.database = Some("own".to_owned());
    strict.template.connect.dsn = Arc::new(dsn);
    let found = settings(&strict, "db/orders?sslmode=disable").unwrap();
    assert_eq!(found.connect.sslmode(), "verify-full");
    assert_eq!(found.connect.dsn.database.as_deref(), Some("own"));
}

#[tokio::test]
async fn the_first_answer_serves_every_later_lookup_of_a_probe() {
    let resolver = Scripted::new(&[&["10.0.0.1"], &["10.0.0.2"]]);
    let checked = CheckedResolver::new(resolver.clone(), module(&["*.internal"]).allowed);
    let first = checked.look_up("db.internal", 5432).await;
    assert_eq!(first, Ok(vec!["10.0.0.1:5432".parse().unwrap()]));
    assert_eq!(checked.look_up("db.internal", 5432).await, first);
    assert_eq!(resolver.asked(), 1);
}
