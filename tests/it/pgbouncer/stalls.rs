//! The stalls in which PgBouncer's own numbers say nothing: `maxwait` is 0, and `total_wait_time` stands still.

use std::net::SocketAddr;
use std::time::Duration;

use super::daemon;
use super::real::{client, cluster, of_pool_of, target};
use crate::http::Answer;
use crate::support::console::{Console, Recorded, Shown};
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::watched::Watched;
use crate::support::web::{get, scrape_until};

const SOON: Duration = Duration::from_secs(30);
const UP: &str = "db_pool_pgbouncer_up{target=\"bouncer\"}";

/// Clients that try again and again, as an application does.
fn applications(port: u16, user: &'static str) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |_| {
        tokio::spawn(async move {
            loop {
                if let Ok(client) = client(port, user, "shop").await {
                    let _ = client.simple_query("SELECT 1").await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    (0..3).map(one).collect()
}

/// The number of samples of a second in which waiters must be seen.
fn waits(address: SocketAddr, what: &str, user: &str) {
    let of = |found: &Answer, name: &str, state: Option<&str>| {
        of_pool_of(found, name, ("shop", user), state)
    };
    let seen =
        |found: &Answer| of(found, "client_connections", Some("waiting")).unwrap_or(0.0) >= 1.0;
    let first = wait_for(&format!("{what}: waiters"), SOON, || {
        let found = get(address, "/metrics");
        seen(&found).then_some(found)
    });
    let start = of(&first, "waiting_client_seconds_total", None).unwrap_or(0.0);
    wait_for(&format!("{what}: a wait that grows"), SOON, || {
        let found = get(address, "/metrics");
        let (wait, sum) = (
            of(&found, "max_wait_seconds", None)?,
            of(&found, "waiting_client_seconds_total", None)?,
        );
        (seen(&found) && wait >= 1.5 && sum > start + 1.0).then_some(())
    });
}

/// One stall: a PgBouncer of its own, and a daemon that has seen it well.
async fn stall(
    cluster: &Cluster,
    what: &str,
    user: &'static str,
    is_warm: bool,
    begin: impl FnOnce(&Watched),
    end: impl FnOnce(),
) {
    let bouncer = Watched::start(cluster, "server_login_retry = 1\n");
    if is_warm {
        client(bouncer.port(), user, "shop")
            .await
            .expect("a login")
            .simple_query("SELECT 1")
            .await
            .expect("an answer");
    }
    let mut daemon = daemon(&target(&bouncer));
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    begin(&bouncer);
    let clients = applications(bouncer.port(), user);
    tokio::task::block_in_place(|| waits(address, what, user));
    let found = get(address, "/metrics");
    assert_eq!(found.sample(UP), Some(1.0), "{what}: the console answers");
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_and_a_missing_role_show_waiters() {
    let cluster = cluster();
    stall(&cluster, "a role that the server lacks", "ghost", false, |_| {}, || {}).await;
    let stop = |_: &Watched| cluster.stop();
    stall(&cluster, "stopped, cold", "app", false, stop, || cluster.start_again()).await;
    stall(&cluster, "stopped, warm", "app", true, stop, || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_and_a_pause_show_waiters() {
    let cluster = cluster();
    let freeze = |_: &Watched| cluster.freeze();
    stall(&cluster, "frozen, cold", "app", false, freeze, || cluster.thaw()).await;
    stall(&cluster, "frozen, warm", "app", true, freeze, || cluster.thaw()).await;
    stall(&cluster, "PAUSE", "app", true, |bouncer| bouncer.command("PAUSE"), || {}).await;
    stall(&cluster, "PAUSE shop", "app", false, |bouncer| bouncer.command("PAUSE shop"), || {})
        .await;
}

#[test]
fn a_suspended_pgbouncer_takes_no_login_so_the_target_is_down() {
    let cluster = cluster();
    let bouncer = Watched::start(&cluster, "");
    let mut daemon = daemon(&target(&bouncer));
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    // The console that is connected may go on to answer. New logins get no answer, so the target is down.
    let _suspended = bouncer.suspend();
    scrape_until(address, "db_pool_up{target=\"bouncer\"}", 0.0);
}

#[test]
fn a_console_that_hangs_is_down_by_the_deadline_and_up_again_afterwards() {
    let pools = Shown::of(
        "database user cl_active cl_waiting sv_active sv_idle maxwait maxwait_us",
        &["shop app 1 0 1 0 0 0"],
    );
    let shown = [("SHOW POOLS", pools), ("SHOW VERSION", Shown::of("version", &["PgBouncer"]))];
    let console = Console::start(Recorded {
        version: "1.25.2/bouncer".to_owned(),
        shown: shown.map(|(command, shown)| (command.to_owned(), shown)).into(),
        unknown: "invalid command '{}', use SHOW HELP;",
    });
    let mut daemon = daemon(&format!(
        "  bouncer:\n    url: 'postgresql://stats@127.0.0.1:{}/pgbouncer?sslmode=disable'\n    interval: 1s\n",
        console.port()
    ));
    let address = daemon.address();
    scrape_until(address, UP, 1.0);
    console.hang(true);
    let found = scrape_until(address, UP, 0.0);
    assert_eq!(
        of_pool_of(&found, "max_wait_seconds", ("shop", "app"), None),
        None,
        "absent is not zero"
    );
    std::thread::sleep(Duration::from_secs(5));
    assert!(console.most_connections() <= 3, "{}", console.most_connections());
    console.hang(false);
    scrape_until(address, UP, 1.0);
}
