//! Situations, and what is said in each.
//!
//! | situation | layer | first words |
//! | --- | --- | --- |
//! | everything is watched and idle | none | shop has 3 of 8 connections in use |
//! | no application is connected | none | no application is connected |
//! | one process is full | application | shop has no connection left |
//! | one of four workers with names of their own is full | application | 1 of 4 processes of shop |
//! | four workers under one name, more in use than one may open | unknown | a process of shop may have none left |
//! | PgBouncer's pool is full, the server idle | pooler | 22 clients wait in PgBouncer |
//! | clients wait for the first moment only | none | - |
//! | PgBouncer is paused | pooler | which is paused |
//! | PgBouncer gets no server connection, the server is calm | pooler | which gets no server connection |
//! | PgBouncer's console is lost | unknown | the console does not answer |
//! | PgBouncer is fine, the server has no connection left | server | the server has no connection left |
//! | PgBouncer's pool is full of sessions that wait for a lock | server | 15 of 20 busy sessions wait for a lock |
//! | PgBouncer's pool is full, one session of many waits for a lock | pooler | 22 clients wait |
//! | a session waits for a lock, nothing else waits | server | 1 of 2 busy sessions |
//! | the server is frozen behind a full PgBouncer | server | the server serves nobody |
//! | the exporter's role has no rights, nothing waits | unknown | the sessions' states |
//! | the exporter's role has no rights, PgBouncer's pool is full | unknown | 22 clients wait |
//! | the server cannot be reached | network | the server cannot be reached |
//! | the network is slow | network | the network takes 0.8 s |

use std::time::Duration;

use super::layers::{
    ApplicationLayer, ApplicationPool, Layers, NetworkLayer, PoolerLayer, PoolerPool, Seen,
    ServerLayer, ServerLoad,
};
use super::{BottleneckLayer, judge};

fn application(active: u64) -> ApplicationPool {
    ApplicationPool {
        name: "shop".to_owned(),
        active,
        max: Some(8),
        processes: 1,
        full: u64::from(active >= 8),
        waiting: 0,
        is_number_known: true,
        are_told_apart: true,
    }
}

fn of(pool: ApplicationPool) -> Seen<ApplicationLayer> {
    Seen::Known(ApplicationLayer { pools: vec![pool] })
}

fn pool(waiting: u64, in_use: u64) -> PoolerPool {
    PoolerPool {
        name: "shop/app".to_owned(),
        waiting,
        waiting_for: Duration::from_secs(if waiting > 0 { 34 } else { 0 }),
        in_use,
        size: Some(20),
        is_paused: false,
    }
}

fn pooler(pool: PoolerPool) -> Seen<PoolerLayer> {
    Seen::Known(PoolerLayer { pools: vec![pool], lost: Vec::new() })
}

fn load(locked: u64, busy: u64) -> ServerLoad {
    let longest_locked = Duration::from_secs(if locked > 0 { 4 } else { 0 });
    ServerLoad { sessions: 20, on_cpu: 3, busy, locked, longest_locked }
}

fn server(load: ServerLoad) -> Seen<ServerLayer> {
    Seen::Known(ServerLayer { failure: None, free: Some(61), load: Ok(load) })
}

/// Everything is watched and calm.
fn calm() -> Layers {
    Layers {
        application: of(application(3)),
        pooler: pooler(pool(0, 3)),
        network: Seen::Known(NetworkLayer::default()),
        server: server(load(0, 3)),
    }
}

fn full() -> Layers {
    Layers { application: Seen::Absent, pooler: pooler(pool(22, 20)), ..calm() }
}

#[track_caller]
fn check(layers: &Layers, layer: BottleneckLayer, message: &str) {
    let found = judge(layers);
    assert_eq!((found.layer, found.message.as_str()), (layer, message));
}

const SERVER: &str = "the server has 61 connections free and 3 of 20 sessions on CPU";

#[test]
fn nothing_waits_where_everything_is_seen_and_calm() {
    let idle = "no client waits in PgBouncer";
    let used = "shop has 3 of 8 connections in use";
    check(&calm(), BottleneckLayer::None, &format!("{used}; {idle}; {SERVER}"));
    let none = Seen::Known(ApplicationLayer::default());
    let layers = Layers { application: none, pooler: Seen::Absent, ..calm() };
    check(&layers, BottleneckLayer::None, &format!("no application is connected; {SERVER}"));
    let moment = PoolerPool { waiting_for: Duration::ZERO, ..pool(2, 20) };
    let layers = Layers { pooler: pooler(moment), ..calm() };
    let message =
        format!("{used}; 2 clients wait in PgBouncer for pool shop/app, 20 of 20 in use; {SERVER}");
    check(&layers, BottleneckLayer::None, &message);
}

#[test]
fn a_full_process_is_the_applications_wait() {
    let direct = |pool| Layers { application: of(pool), pooler: Seen::Absent, ..calm() };
    let one = "shop has no connection left: 8 of 8 connections in use";
    check(&direct(application(8)), BottleneckLayer::Application, &format!("{one}; {SERVER}"));
    let workers = ApplicationPool { max: Some(32), processes: 4, full: 1, ..application(9) };
    let message = "1 of 4 processes of shop has no connection left: 9 of 32 connections in use";
    check(&direct(workers), BottleneckLayer::Application, &format!("{message}; {SERVER}"));
    let told = ApplicationPool { waiting: 3, is_number_known: false, ..application(8) };
    let message = "shop has no connection left and 3 callers wait: 8 of 8 connections in use";
    check(&direct(told), BottleneckLayer::Application, &format!("{message}; {SERVER}"));
}

#[test]
fn the_fullest_application_decides() {
    let named =
        |name: &str, active| ApplicationPool { name: name.to_owned(), ..application(active) };
    let pools = vec![named("orders", 1), named("shop", 6), named("admin", 0)];
    let layer = |pools| Layers {
        application: Seen::Known(ApplicationLayer { pools }),
        pooler: Seen::Absent,
        ..calm()
    };
    let message = format!("shop has 6 of 8 connections in use; {SERVER}");
    check(&layer(pools), BottleneckLayer::None, &message);
    let pools = vec![named("orders", 7), named("shop", 8)];
    let message = format!("shop has no connection left: 8 of 8 connections in use; {SERVER}");
    check(&layer(pools), BottleneckLayer::Application, &message);
}

#[test]
fn processes_that_cannot_be_told_apart_may_hide_a_full_one() {
    let merged = ApplicationPool {
        max: Some(32),
        processes: 4,
        full: 0,
        are_told_apart: false,
        ..application(9)
    };
    let direct = |pool| Layers { application: of(pool), pooler: Seen::Absent, ..calm() };
    let message = "a process of shop may have no connection left: 9 of 32 connections in use, and its processes cannot be told apart";
    check(&direct(merged.clone()), BottleneckLayer::Unknown, &format!("{message}; {SERVER}"));
    let assumed = ApplicationPool { is_number_known: false, ..application(8) };
    assert_eq!(judge(&direct(assumed)).layer, BottleneckLayer::Unknown, "two would have 8 left");
    let few = ApplicationPool { active: 7, ..merged };
    let message = "shop has 7 of 32 connections in use";
    check(&direct(few), BottleneckLayer::None, &format!("{message}; {SERVER}"));
}

#[test]
fn a_full_pooler_in_front_of_an_idle_server_is_the_poolers_wait() {
    let waits = "22 clients wait in PgBouncer for 34 s for pool shop/app, 20 of 20 in use";
    check(&full(), BottleneckLayer::Pooler, &format!("{waits}; {SERVER}"));
    let seen_too = Layers { application: of(application(8)), ..full() };
    let application = "shop has no connection left: 8 of 8 connections in use";
    let message = format!("{waits}; {application}; {SERVER}");
    check(&seen_too, BottleneckLayer::Pooler, &message);
    let paused = PoolerPool { is_paused: true, waiting_for: Duration::ZERO, ..pool(1, 0) };
    let message =
        format!("1 client waits in PgBouncer for pool shop/app, which is paused; {SERVER}");
    check(&Layers { pooler: pooler(paused), ..full() }, BottleneckLayer::Pooler, &message);
    let stuck = pool(3, 0);
    let message = format!(
        "3 clients wait in PgBouncer for 34 s for pool shop/app, which gets no server connection (0 of 20 in use); {SERVER}"
    );
    check(&Layers { pooler: pooler(stuck), ..full() }, BottleneckLayer::Pooler, &message);
}

#[test]
fn the_pool_with_the_most_waiters_is_named_and_the_others_counted() {
    let other = PoolerPool { name: "bill/app".to_owned(), ..pool(3, 20) };
    let layer = PoolerLayer { pools: vec![other, pool(22, 20)], lost: Vec::new() };
    let message = format!(
        "22 clients wait in PgBouncer for 34 s for pool shop/app, 20 of 20 in use, and 3 for others; {SERVER}"
    );
    check(&Layers { pooler: Seen::Known(layer), ..full() }, BottleneckLayer::Pooler, &message);
}

#[test]
fn a_lost_console_is_never_calm() {
    let lost = "console bouncer: no answer".to_owned();
    let layer = |pools| Seen::Known(PoolerLayer { pools, lost: vec![lost.clone()] });
    let layers = Layers { pooler: layer(Vec::new()), ..calm() };
    let message = format!("{lost}; shop has 3 of 8 connections in use; {SERVER}");
    check(&layers, BottleneckLayer::Unknown, &message);
    let application = Layers { application: of(application(8)), ..layers };
    let found = judge(&application);
    assert_eq!(found.layer, BottleneckLayer::Unknown, "PgBouncer can be the cause: {found:?}");
    let beside = Layers { pooler: layer(vec![pool(22, 20)]), ..full() };
    assert_eq!(judge(&beside).layer, BottleneckLayer::Pooler, "another console shows the wait");
}

#[test]
fn a_server_that_is_full_frozen_or_locked_is_the_cause_of_what_waits_above() {
    let waits = "22 clients wait in PgBouncer for 34 s for pool shop/app, 20 of 20 in use";
    let gone = ServerLayer { failure: None, free: Some(0), load: Ok(load(0, 20)) };
    let layers = Layers { server: Seen::Known(gone), ..full() };
    check(&layers, BottleneckLayer::Server, &format!("the server has no connection left; {waits}"));
    let layers = Layers { server: server(load(15, 20)), ..full() };
    let locked = "15 of 20 busy sessions wait for a lock on the server, the oldest query for 4 s";
    check(&layers, BottleneckLayer::Server, &format!("{locked}; {waits}"));
    let failure = Some("startup failed: no answer within 5 s".to_owned());
    let frozen = ServerLayer { failure, free: None, load: Err("not read".to_owned()) };
    let layers = Layers { server: Seen::Known(frozen), ..full() };
    let message =
        format!("the server serves nobody: startup failed: no answer within 5 s; {waits}");
    check(&layers, BottleneckLayer::Server, &message);
}

#[test]
fn one_lock_among_much_work_is_not_the_cause_of_a_full_pooler() {
    let layers = Layers { server: server(load(1, 20)), ..full() };
    assert_eq!(judge(&layers).layer, BottleneckLayer::Pooler);
    let alone = Layers { server: server(load(1, 9)), ..calm() };
    assert_eq!(judge(&alone).layer, BottleneckLayer::Server, "nothing else waits");
    let brief = ServerLoad { longest_locked: Duration::from_millis(20), ..load(1, 9) };
    let layers = Layers { server: server(brief), ..calm() };
    assert_eq!(judge(&layers).layer, BottleneckLayer::None, "every busy server has such");
}

#[test]
fn a_server_whose_sessions_may_not_be_seen_leaves_the_verdict_open() {
    let reason = "what its sessions do cannot be seen".to_owned();
    let blind = ServerLayer { failure: None, free: Some(61), load: Err(reason) };
    let server = "the server has 61 connections free, and what its sessions do cannot be seen";
    let layers = Layers { server: Seen::Known(blind.clone()), ..full() };
    let waits = "22 clients wait in PgBouncer for 34 s for pool shop/app, 20 of 20 in use";
    check(&layers, BottleneckLayer::Unknown, &format!("{waits}; {server}"));
    let layers = Layers { server: Seen::Known(blind), pooler: Seen::Absent, ..calm() };
    let message = format!("{server}; shop has 3 of 8 connections in use");
    check(&layers, BottleneckLayer::Unknown, &message);
}

#[test]
fn a_network_that_fails_explains_that_the_server_is_not_seen() {
    let network = NetworkLayer { failure: Some("no route".to_owned()), took: Duration::ZERO };
    let layers = Layers {
        network: Seen::Known(network),
        server: Seen::Hidden("the server was not reached".to_owned()),
        ..full()
    };
    let found = judge(&layers);
    assert_eq!(found.layer, BottleneckLayer::Network);
    assert!(found.message.starts_with("the server cannot be reached: no route; 22 clients wait"));
    let slow = NetworkLayer { failure: None, took: Duration::from_millis(800) };
    let layers = Layers { network: Seen::Known(slow), ..calm() };
    let found = judge(&layers);
    assert_eq!(found.layer, BottleneckLayer::Network);
    assert!(found.message.starts_with("the network takes 0.8 s to open a connection"), "{found:?}");
}
