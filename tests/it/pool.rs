//! The pool follows SQLAlchemy's rules; the server's count of sessions confirms it.

use std::sync::Arc;
use std::time::Duration;

use db_pool_exporter::dsn::{Address, Host, SessionAttrs, SslMode};
use db_pool_exporter::pool::{
    Budget, CheckoutError, Phase, Pool, PoolLimits, QueryError, Reason, TransactionMode,
};
use tokio::time::Instant;

use crate::support::free_port;
use crate::support::pools::{SOON, cluster, connect, counted, limits, pool, sessions, with_budget};
use crate::support::postgres::Cluster;

/// One step of SQLAlchemy's sequence: the action, and the expected state after it.
struct Step {
    out: usize,
    active: u64,
    idle: u64,
    overflow: u64,
}

#[tokio::test]
async fn overflow_is_opened_up_to_the_limit_and_closed_at_check_in() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(2, 2));
    let step = |out, active, idle, overflow| Step { out, active, idle, overflow };
    // Size 2, overflow 2, with SQLAlchemy's results: overflow counts open connections, not those checked out.
    let steps = [
        step(0, 0, 0, 0),
        step(1, 1, 0, 0),
        step(2, 2, 0, 0),
        step(3, 3, 0, 1),
        step(4, 4, 0, 2),
        step(3, 3, 1, 2),
        step(2, 2, 2, 2),
        step(1, 1, 2, 1),
        step(0, 0, 2, 0),
    ];
    let mut held = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        while held.len() < step.out {
            held.push(pool.check_out().await.expect("a slot is free"));
        }
        while held.len() > step.out {
            held.pop().expect("one is held").release(SOON).await;
        }
        let state = pool.state();
        let seen = (state.active, state.idle, state.overflow());
        assert_eq!(seen, (step.active, step.idle, step.overflow), "step {n}");
        assert_eq!(state.open, step.active + step.idle, "step {n}");
        wait_for("the server to count the same", || sessions(&cluster) == state.open).await;
        if step.out == 4 {
            let start = Instant::now();
            let error = pool.check_out().await.err().expect("the limit is reached");
            assert!(matches!(error, CheckoutError::Timeout { size: 2, overflow: 2, .. }));
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(300), "{took:?}");
            assert!(took < Duration::from_millis(800), "{took:?}");
        }
    }
    assert_eq!(counted(&pool, "db_pool_checkouts_total{result=\"ok\"}"), 4);
    assert_eq!(counted(&pool, "db_pool_checkouts_total{result=\"timeout\"}"), 1);
    assert_eq!(counted(&pool, "db_pool_checkins_total"), 4);
    assert_eq!(counted(&pool, "db_pool_connections_opened_total"), 4);
    assert_eq!(counted(&pool, "db_pool_connections_closed_total{reason=\"overflow\"}"), 2);
}

#[tokio::test]
async fn a_waiter_gets_the_connection_that_comes_back_and_the_first_comes_first() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(1, 0));
    let held = pool.check_out().await.expect("a slot is free");
    let pid = held.server().pid;
    let wait = async |n: u32, delay: u64| {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let got = pool.check_out().await.expect("one comes back in time");
        (n, got.server().pid, Instant::now())
    };
    let give_back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(pool.state().pending, 2);
        held.release(SOON).await;
    };
    let (first, second, ()) = tokio::join!(wait(1, 10), wait(2, 40), give_back);
    assert!(first.2 <= second.2);
    assert_eq!((first.1, second.1), (pid, pid), "the same backend goes round");
}

#[tokio::test]
async fn size_zero_keeps_everything_and_overflow_without_limit_keeps_the_size() {
    let cluster = cluster();
    let settings = connect(cluster.port());
    for (size, overflow, kept) in [(0, Some(3), 5), (2, None, 2), (2, Some(3), 2)] {
        let limits = PoolLimits { size, max_overflow: overflow, ..limits(0, 0) };
        let pool = pool(settings.clone(), limits);
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(pool.check_out().await.expect("five are allowed"));
        }
        drop(held);
        assert_eq!(pool.state().open, kept, "size {size}, overflow {overflow:?}");
        let unlimited = size == 0 || overflow.is_none();
        assert_eq!(pool.state().max.is_none(), unlimited);
        assert_eq!(pool.state().utilization_percent().is_none(), unlimited);
    }
}

/// The backends of `n` consecutive check-outs.
async fn turns(pool: &Arc<Pool>, n: usize) -> Vec<i32> {
    let mut pids = Vec::new();
    for _ in 0..n {
        pids.push(pool.check_out().await.expect("a slot is free").server().pid);
    }
    pids
}

#[tokio::test]
async fn lifo_takes_the_last_one_and_fifo_takes_turns() {
    let cluster = cluster();
    for (use_lifo, different) in [(true, 1), (false, 3)] {
        let limits = PoolLimits { use_lifo, ..limits(3, 0) };
        let pool = pool(connect(cluster.port()), limits);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(pool.check_out().await.expect("a slot is free"));
        }
        drop(held);
        let mut pids = turns(&pool, 6).await;
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), different, "lifo: {use_lifo}");
    }
}

#[tokio::test]
async fn an_old_connection_is_replaced_at_check_out_and_not_before() {
    let cluster = cluster();
    let recycle = Some(Duration::from_millis(400));
    let pool = pool(connect(cluster.port()), PoolLimits { recycle, ..limits(2, 0) });
    let held = pool.check_out().await.expect("a slot is free");
    let old = held.server().pid;
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(held);
    assert_eq!((pool.state().open, sessions(&cluster)), (1, 1), "expired in use, kept at check-in");
    let new = turns(&pool, 1).await;
    assert_ne!(new, [old]);
    assert_eq!(counted(&pool, "db_pool_connections_closed_total{reason=\"recycled\"}"), 1);
    assert_eq!(turns(&pool, 1).await, new, "a young one stays");
}

#[tokio::test]
async fn the_pre_ping_replaces_a_dead_connection_and_invalidates_the_others() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(3, 0));
    let held = [pool.check_out().await, pool.check_out().await, pool.check_out().await];
    let old: Vec<i32> = held.iter().flatten().map(|held| held.server().pid).collect();
    assert_eq!(old.len(), 3);
    drop(held);
    let killed = old[2];
    cluster.psql(&format!("SELECT pg_terminate_backend({killed})"));
    wait_for("the session to end", || sessions(&cluster) == 2).await;

    let held = [pool.check_out().await, pool.check_out().await, pool.check_out().await];
    let new: Vec<i32> = held.iter().flatten().map(|held| held.server().pid).collect();
    assert!(new.iter().all(|pid| !old.contains(pid)), "all three are new: {old:?} {new:?}");
    let closed = |reason| {
        counted(&pool, &format!("db_pool_connections_closed_total{{reason=\"{reason}\"}}"))
    };
    assert_eq!((closed("ping_failed"), closed("invalidated")), (1, 2));
}

#[tokio::test]
async fn without_the_pre_ping_a_dead_connection_goes_out_as_the_application_would_see_it() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), PoolLimits { pre_ping: false, ..limits(2, 0) });
    let pid = turns(&pool, 1).await[0];
    cluster.psql(&format!("SELECT pg_terminate_backend({pid})"));
    wait_for("the session to end", || sessions(&cluster) == 0).await;
    let mut dead = pool.check_out().await.expect("nobody looked");
    let error = dead.simple("SELECT 1", SOON).await.expect_err("the server is gone");
    assert_eq!(error.reason(), Reason::Disconnected, "{error}");
    drop(dead);
    assert_eq!(counted(&pool, "db_pool_connections_closed_total{reason=\"broken\"}"), 1);
    let mut alive = pool.check_out().await.expect("a new one is opened");
    alive.simple("SELECT 1", SOON).await.expect("it answers");
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_with_its_cause() {
    let cluster = cluster();
    cluster.psql("ALTER ROLE app PASSWORD 'another'");
    let pool = pool(connect(cluster.port()), limits(2, 0));
    let start = Instant::now();
    let Err(CheckoutError::Connect(error)) = pool.check_out().await else {
        panic!("the password is wrong");
    };
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!((error.phase, error.reason), (Some(Phase::Startup), Reason::Auth));
    assert!(error.to_string().contains("28P01"), "{error}");
    assert!(!error.to_string().contains("correct horse"), "{error}");
    let sample = "db_pool_connect_errors_total{phase=\"startup\",reason=\"auth\"}";
    assert_eq!(counted(&pool, sample), 1);
    cluster.psql("ALTER ROLE app PASSWORD 'correct horse'");
    pool.check_out().await.expect("the next one gets in");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_where_the_server_has_no_tls_to_switch_to() {
    let cluster = cluster();
    cluster.psql("ALTER ROLE app PASSWORD 'another'");
    for mode in [SslMode::Prefer, SslMode::Disable] {
        let mut settings = connect(cluster.port());
        let mut dsn = (*settings.dsn).clone();
        dsn.tls.mode = Some(mode);
        settings.dsn = Arc::new(dsn);
        let before = cluster.log().matches("password authentication failed").count();
        let error = pool(settings, limits(1, 0)).try_connect().await.expect_err("it is wrong");
        assert_eq!(error.reason, Reason::Auth, "{error}");
        let after = cluster.log().matches("password authentication failed").count();
        assert_eq!(after - before, 1, "{mode:?}: a lock-out counts every one");
    }
}

#[tokio::test]
async fn each_failure_of_a_connect_has_its_reason() {
    let cluster = cluster();
    cluster.psql("CREATE ROLE full LOGIN CONNECTION LIMIT 0 PASSWORD 'correct horse'");
    let mut settings = connect(cluster.port());
    let dsn = |change: &dyn Fn(&mut db_pool_exporter::dsn::Dsn)| {
        let mut dsn = (*settings.dsn).clone();
        change(&mut dsn);
        Arc::new(dsn)
    };
    let name = |name: &str, port| Host {
        address: Address::Name(name.to_owned()),
        hostaddr: None,
        port: Some(port),
    };
    let free = free_port();
    let cases = [
        (dsn(&|d| d.database = Some("nowhere".to_owned())), Phase::Startup, Reason::NoDatabase),
        (dsn(&|d| d.user = Some("full".to_owned())), Phase::Startup, Reason::TooManyConnections),
        (dsn(&|d| d.password = None), Phase::Startup, Reason::Auth),
        (dsn(&|d| d.hosts = vec![name("127.0.0.1", free)]), Phase::Tcp, Reason::Refused),
        (
            dsn(&|d| d.hosts = vec![name("no-such-host.invalid", 1)]),
            Phase::Dns,
            Reason::Unreachable,
        ),
        (dsn(&|d| d.session = Some(SessionAttrs::Standby)), Phase::Startup, Reason::WrongSession),
    ];
    for (dsn, phase, reason) in cases {
        settings.dsn = dsn;
        let error = pool(settings.clone(), limits(1, 0)).try_connect().await.expect_err("fails");
        assert_eq!((error.phase, error.reason), (Some(phase), reason), "{error}");
    }
}

#[tokio::test]
async fn the_next_host_is_tried_and_the_kind_of_session_is_honoured() {
    let cluster = cluster();
    let mut settings = connect(cluster.port());
    let mut dsn = (*settings.dsn).clone();
    let dead = Host { port: Some(free_port()), ..dsn.hosts[0].clone() };
    dsn.hosts.insert(0, dead);
    for session in [
        SessionAttrs::Any,
        SessionAttrs::ReadWrite,
        SessionAttrs::Primary,
        SessionAttrs::PreferStandby,
    ] {
        dsn.session = Some(session);
        settings.dsn = Arc::new(dsn.clone());
        let pool = pool(settings.clone(), limits(1, 0));
        let (timings, server) = pool.try_connect().await.expect("the second host answers");
        assert!(server.pid > 0 && server.version.starts_with(&cluster.version().to_string()));
        assert!(timings.tcp.is_some() && timings.startup.is_some() && timings.tls.is_none());
        assert!(timings.total >= timings.startup.unwrap_or_default());
    }
}

#[tokio::test]
async fn a_silent_server_costs_the_connect_timeout_and_no_more() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(1, 0));
    cluster.freeze();
    let start = Instant::now();
    let Err(CheckoutError::Connect(error)) = pool.check_out().await else {
        panic!("the server is silent");
    };
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!((error.phase, error.reason), (Some(Phase::Startup), Reason::Timeout));
    wait_for("the abandoned connection to be counted", || pool.state().abandoned == 1).await;
    cluster.thaw();
    wait_for("the abandoned one to end", || pool.state().abandoned == 0).await;
    pool.check_out().await.expect("the server answers again");
}

/// Waits without blocking the test's runtime, so that its other tasks continue.
async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_hung_ping_costs_its_limit_and_its_connection_never_comes_back() {
    let cluster = cluster();
    let quick = PoolLimits { ping_timeout: Duration::from_millis(200), ..limits(1, 0) };
    let pool = pool(connect(cluster.port()), quick);
    let old = turns(&pool, 1).await;
    cluster.freeze();
    let given_up = tokio::time::timeout(Duration::from_millis(50), pool.check_out()).await;
    assert!(given_up.is_err(), "the ping hangs");
    assert_eq!(pool.state().open, 0, "the connection whose ping was cancelled is closed");
    assert_eq!(counted(&pool, "db_pool_checkouts_total{result=\"cancelled\"}"), 1);
    cluster.thaw();
    assert_ne!(turns(&pool, 1).await, old);
}

#[tokio::test]
async fn a_statement_over_time_is_cancelled_on_the_server_and_its_connection_discarded() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(1, 0));
    let mut held = pool.check_out().await.expect("a slot is free");
    let pid = held.server().pid;
    let start = Instant::now();
    let limit = Duration::from_millis(200);
    let error = held.simple("SELECT pg_sleep(60)", limit).await.expect_err("it sleeps");
    assert!(matches!(error, QueryError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(1));
    drop(held);
    wait_for("the backend to end", || sessions(&cluster) == 0).await;
    assert_eq!(counted(&pool, "db_pool_connections_closed_total{reason=\"broken\"}"), 1);
    assert_ne!(turns(&pool, 1).await, [pid]);
}

#[tokio::test]
async fn no_transaction_is_left_open_however_a_connection_comes_back() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(1, 0));
    let in_transaction = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
        cluster.psql(sql) != "0"
    };
    let mut held = pool.check_out().await.expect("a slot is free");
    let pid = held.server().pid;
    held.begin(TransactionMode::ReadWrite, SOON).await.expect("it begins");
    held.query("SELECT 1", &[], SOON).await.expect("it answers");
    assert!(in_transaction());
    held.release(SOON).await;
    assert!(!in_transaction());
    assert_eq!(turns(&pool, 1).await, [pid], "a ROLLBACK, and it is kept");

    let mut held = pool.check_out().await.expect("a slot is free");
    held.begin(TransactionMode::ReadOnly, SOON).await.expect("it begins");
    let error = held.query("CREATE TABLE t ()", &[], SOON).await.expect_err("read only");
    assert_eq!((error.reason(), error.sqlstate()), (Reason::ReadOnly, Some("25006")));
    drop(held);
    wait_for("the session to end", || sessions(&cluster) == 0).await;
    assert_ne!(turns(&pool, 1).await, [pid], "dropped in a transaction, it is closed");
}

#[tokio::test]
async fn while_a_given_up_login_holds_the_permit_the_next_connect_fails_soon() {
    let cluster = Cluster::builder().setting("post_auth_delay", "5").start();
    cluster.role("app", "correct horse");
    let mut settings = connect(cluster.port());
    settings.timeout = Duration::from_secs(3);
    let pool = with_budget(settings, limits(20, 10), Budget::daemon());
    let first = pool.try_connect().await.expect_err("the login takes 5 s");
    assert_eq!(first.reason, Reason::Timeout, "{first}");
    let start = Instant::now();
    let second = pool.try_connect().await.expect_err("the first may still be there");
    assert_eq!(second.reason, Reason::Budget, "{second}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    wait_for("the given-up one to end", || pool.state().abandoned == 0).await;
    assert_eq!(pool.try_connect().await.expect_err("too slow still").reason, Reason::Timeout);
}

#[tokio::test]
async fn a_discarded_connection_keeps_its_permit_until_the_server_has_closed_it() {
    let cluster = cluster();
    let pool = with_budget(connect(cluster.port()), limits(1, 0), Budget::new(1));
    let mut held = pool.check_out().await.expect("a slot is free");
    cluster.freeze();
    let error = held.simple("SELECT 1", Duration::from_millis(100)).await.expect_err("frozen");
    assert_eq!(error.reason(), Reason::Timeout, "{error}");
    drop(held);
    let error = pool.check_out().await.err().expect("its backend is still there");
    assert_eq!(error.reason(), Reason::Budget, "a second one would be one too many: {error}");
    cluster.thaw();
    wait_for("the server to close it", || pool.state().abandoned == 0).await;
    pool.check_out().await.expect("the permit is free again");
}

#[tokio::test]
async fn stuck_logins_never_hold_more_than_their_permits() {
    let cluster = Cluster::builder().setting("post_auth_delay", "3").start();
    cluster.role("app", "correct horse");
    let mut settings = connect(cluster.port());
    settings.timeout = Duration::from_millis(300);
    let pool = with_budget(settings, limits(20, 10), Budget::daemon());
    let backends = || {
        let all = cluster.processes().len();
        let own = |line: &str| {
            line.contains(": app postgres 127.0.0.1") || line.contains("authentication")
        };
        let listed =
            std::process::Command::new("ps").args(["-eo", "pid,args"]).output().expect("ps runs");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let pids: Vec<String> =
            cluster.processes().iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
        assert!(all > 0);
        listed
            .lines()
            .filter(|line| own(line))
            .filter(|line| {
                line.split_whitespace().next().is_some_and(|p| pids.iter().any(|q| q == p))
            })
            .count()
    };
    let (mut most, mut failed) = (0, 0);
    for _ in 0..20 {
        let (fresh, pooled) = tokio::join!(pool.try_connect(), pool.check_out());
        failed += u32::from(fresh.is_err()) + u32::from(pooled.is_err());
        most = most.max(backends());
    }
    assert!(failed >= 30, "logins take 3 s, we wait 0.3 s: {failed}");
    assert!((1..=3).contains(&most), "{most} backends at a time");
    wait_for("the given-up ones to end", || pool.state().abandoned == 0).await;
    wait_for("the server to have none", || sessions(&cluster) == 0).await;
}

#[tokio::test]
async fn an_idle_session_is_closed_when_the_server_shuts_down_and_waits_for_it() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(2, 0));
    let held = pool.check_out().await.expect("it opens");
    held.release(SOON).await;
    assert_eq!(pool.state().idle, 1);
    let start = Instant::now();
    cluster.shut_down_when_idle();
    // A smart shutdown refuses new sessions and waits for the old ones.
    wait_for("the server to refuse", || cluster.log().contains("smart shutdown")).await;
    let error = pool.try_connect().await.expect_err("it is shutting down");
    assert_eq!(error.reason, Reason::ShuttingDown, "{error}");
    wait_for("the idle session to end", || pool.state().open == 0).await;
    assert_eq!(counted(&pool, "db_pool_connections_closed_total{reason=\"shutdown\"}"), 1);
    wait_for("the server to stop", || cluster.has_stopped()).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_session_in_use_is_closed_when_it_comes_back_to_a_pool_that_has_let_go() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(2, 0));
    let mut held = pool.check_out().await.expect("it opens");
    cluster.shut_down_when_idle();
    wait_for("the server to refuse", || cluster.log().contains("smart shutdown")).await;
    let error = pool.try_connect().await.expect_err("it is shutting down");
    assert_eq!(error.reason, Reason::ShuttingDown, "{error}");
    let answer = held.simple("SELECT 1", SOON).await;
    assert!(answer.is_ok(), "a statement in use goes on: {answer:?}");
    held.release(SOON).await;
    wait_for("the server to stop", || cluster.has_stopped()).await;
}
