//! Several processes behind one address.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemon;
use super::real::{client, cluster};
use crate::support::console::{Console, Recorded, Shown};
use crate::support::free_port;
use crate::support::wait_for;
use crate::support::watched::Watched;
use crate::support::web::{get, scrape_until};

const SOON: Duration = Duration::from_secs(30);

/// The number of clients of the pool `shop` of the role `app` in a process, as SHOW POOLS has it.
fn clients(bouncer: &Watched) -> f64 {
    let rows = bouncer.show("SHOW POOLS");
    let shop = rows.iter().find(|row| row["database"] == "shop" && row["user"] == "app");
    shop.map_or(0.0, |row| row["cl_active"].parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_port_are_told_apart_from_one_target() {
    let cluster = cluster();
    let port = free_port();
    let one = Watched::start_at(&cluster, port, "so_reuseport = 1\n");
    let two = Watched::start_at(&cluster, port, "so_reuseport = 1\n");
    let mut held = Vec::new();
    let mut spread = [0.0; 2];
    for _ in 0..100 {
        let client = client(port, "app", "shop").await.unwrap();
        client.simple_query("SELECT 1").await.unwrap();
        held.push(client);
        spread = [clients(&one), clients(&two)];
        if spread[0] >= 2.0 && spread[1] >= 2.0 && spread[0] != spread[1] {
            break;
        }
    }
    assert!(spread[0] >= 2.0 && spread[1] >= 2.0, "the kernel spreads connections: {spread:?}");
    let url = format!("'postgresql://stats@127.0.0.1:{port}/pgbouncer?sslmode=disable'");
    let mut daemon = daemon(&format!(
        "  both:\n    url: {url}\n    interval: 1s\n    processes: ['{}', '{}']\n  any:\n    url: {url}\n    interval: 1s\n",
        one.folder().display(),
        two.folder().display(),
    ));
    let address = daemon.address();
    for (n, bouncer) in [&one, &two].into_iter().enumerate() {
        let process = bouncer.folder().display();
        let sample = format!(
            "db_pool_pgbouncer_client_connections{{target=\"both\",database=\"shop\",user=\"app\",state=\"active_or_idle\",process=\"{process}\"}}"
        );
        scrape_until(address, &sample, spread[n]);
        let up = format!("db_pool_pgbouncer_up{{target=\"both\",process=\"{process}\"}}");
        assert_eq!(get(address, "/metrics").sample(&up), Some(1.0));
    }
    scrape_until(address, "db_pool_pgbouncer_one_of_several{target=\"any\"}", 1.0);
    let line = daemon.logged("so_reuseport");
    assert!(line.contains("target=any") && line.contains("discover: peers"), "{line}");
    let found = get(address, "/metrics");
    let label = "target=\"both\"";
    let both = found
        .body
        .lines()
        .filter(|line| line.starts_with("db_pool_pgbouncer_") && line.contains(label));
    assert!(both.clone().all(|line| line.contains("process=")), "every sample has its process");
    let fresh = found.body.lines().any(|line| {
        line.starts_with("db_pool_pgbouncer_waiting_client_seconds_total")
            && line.contains(label)
            && line.contains("process=")
    });
    assert!(fresh, "the counter of waits too");
    // One process stops: it is down, the other one is not.
    crate::support::workplace::signal(one.pid(), rustix::process::Signal::STOP);
    let up = |bouncer: &Watched| {
        format!(
            "db_pool_pgbouncer_up{{target=\"both\",process=\"{}\"}}",
            bouncer.folder().display()
        )
    };
    scrape_until(address, &up(&one), 0.0);
    assert_eq!(get(address, "/metrics").sample(&up(&two)), Some(1.0));
    crate::support::workplace::signal(one.pid(), rustix::process::Signal::CONT);
    scrape_until(address, &up(&one), 1.0);
}

/// A recorded process with this number of waiting clients.
fn process(id: u32, waiting: u32) -> Console {
    let pools = Shown::of(
        "database user cl_active cl_waiting sv_active sv_idle maxwait maxwait_us",
        &[format!("shop app 1 {waiting} 1 0 0 0").as_str()],
    );
    let config = Shown::of(
        "key value",
        &[format!("peer_id {id}").as_str(), "so_reuseport 1", "unix_socket_dir /tmp"],
    );
    let shown: BTreeMap<String, Shown> = [
        ("SHOW VERSION", Shown::of("version", &["PgBouncer"])),
        ("SHOW POOLS", pools),
        ("SHOW CONFIG", config),
        ("SHOW STATS", Shown::of("database total_query_count", &["shop 1"])),
        (
            "SHOW DATABASES",
            Shown::of("name host port pool_size max_connections", &["shop - 5432 20 0"]),
        ),
    ]
    .map(|(command, shown)| (command.to_owned(), shown))
    .into();
    let version = "1.25.2/bouncer".to_owned();
    Console::start(Recorded { version, shown, unknown: "invalid command '{}', use SHOW HELP;" })
}

fn peers(consoles: &[(u32, &Console)]) -> Shown {
    let rows: Vec<String> = consoles
        .iter()
        .map(|(id, console)| format!("{id} 127.0.0.1 {} 20", console.port()))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    Shown::of("peer_id host port pool_size", &rows)
}

#[test]
fn peers_are_found_and_asked_apart_with_three_connections_at_the_most() {
    let (one, two) = (process(1, 3), process(2, 5));
    one.answer("SHOW PEERS", peers(&[(1, &one), (2, &two)]));
    let mut daemon = daemon(&format!(
        "  both:\n    url: 'postgresql://stats@127.0.0.1:{}/pgbouncer?sslmode=disable'\n    interval: 1s\n    \
         discover: peers\n    slow_query_sampling: 100ms\n",
        one.port()
    ));
    let address = daemon.address();
    let waiting = |id: u32| {
        format!(
            "db_pool_pgbouncer_client_connections{{target=\"both\",database=\"shop\",user=\"app\",state=\"waiting\",process=\"{id}\"}}"
        )
    };
    scrape_until(address, &waiting(1), 3.0);
    scrape_until(address, &waiting(2), 5.0);
    assert_eq!(
        get(address, "/metrics").sum("db_pool_probe_failures_total"),
        0.0,
        "{}",
        daemon.log()
    );
    wait_for("samples between the probes", SOON, || {
        (one.asked("SHOW POOLS") > 3 * one.asked("SHOW STATS")).then_some(())
    });
    // A hanging process is given up, and not filled up.
    two.hang(true);
    scrape_until(address, "db_pool_pgbouncer_up{target=\"both\",process=\"2\"}", 0.0);
    assert_eq!(get(address, "/metrics").sample(&waiting(1)), Some(3.0));
    two.hang(false);
    scrape_until(address, &waiting(2), 5.0);
    for console in [&one, &two] {
        assert!(console.most_connections() <= 3, "{}", console.most_connections());
    }
    // A peer that is removed is not shown any more.
    one.answer("SHOW PEERS", peers(&[(1, &one)]));
    wait_for("the end of the other process", SOON, || {
        get(address, "/metrics").sample(&waiting(2)).is_none().then_some(())
    });
}

#[test]
fn a_version_without_peers_names_the_other_way() {
    let console = process(1, 0);
    let daemon = daemon(&format!(
        "  both:\n    url: 'postgresql://stats@127.0.0.1:{}/pgbouncer?sslmode=disable'\n    interval: 1s\n    discover: peers\n",
        console.port()
    ));
    let line = daemon.logged("SHOW PEERS");
    assert!(line.contains("1.19") && line.contains("processes"), "{line}");
}
