//! Many targets on one server.
//!
//! | case | what is expected |
//! | --- | --- |
//! | a hundred targets, over reloads that add, remove and rename | never more than three connections on the server |
//! | several databases, a role that sees all | one set of series of the server; each target's own application is seen |
//! | the target that reads is removed, or its database refuses it | the next one reads |
//! | an address that leads to two servers in turns | each target reads for itself |

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::forwarder::Forwarder;
use crate::support::pools::{ROLE, cluster};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::web::get;

/// Counts the exporter's connections on a server again and again, as the server sees them.
struct Poller {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicI64>,
    thread: Option<JoinHandle<()>>,
}

/// Everything that takes a slot of max_connections, also logins in progress, which have no role yet.
const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

impl Poller {
    fn start(cluster: &Cluster) -> Poller {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (ends, peak) = (Arc::clone(&stop), Arc::clone(&most));
        let folder = cluster.folder().to_owned();
        let port = cluster.port();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let client = admin(&folder, port).await;
                while !ends.load(Ordering::Relaxed) {
                    let row = client.query_one(CONNECTIONS, &[]).await.expect("an answer");
                    peak.fetch_max(row.get(0), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        });
        Poller { stop, most, thread: Some(thread) }
    }

    /// The most connections at once until now.
    fn most(&self) -> i64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        assert!(thread.join().is_ok() || std::thread::panicking(), "the poller failed");
    }
}

async fn admin(folder: &Path, port: u16) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).port(port).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Writes a configuration with these targets, all on the cluster.
fn write(file: &Path, cluster: &Cluster, names: &[String], defaults: &str) {
    let port = cluster.port();
    let mut text = format!("defaults: {{ {defaults} }}\ntargets:\n");
    for name in names {
        text.push_str(&format!(
            "  {name}: {{ url: 'postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable', password: '{}' }}\n",
            ROLE.0, ROLE.1
        ));
    }
    fs::write(file, text).expect("the folder is writable");
}

fn start(file: &Path) -> (Program, SocketAddr) {
    let mut daemon = Program::daemon().arg("--config.file").arg(file).start();
    let address = daemon.address();
    (daemon, address)
}

fn file() -> PathBuf {
    crate::support::workplace::folder("configuration").join("exporter.yml")
}

fn names(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("db{n:03}")).collect()
}

/// Waits until all of these targets are up, and no others are there.
fn wait_until_up(address: SocketAddr, names: &[String]) {
    wait_for("all targets to be up", Duration::from_secs(60), || {
        let page = get(address, "/metrics?name[]=db_pool_up").body;
        let up = names.iter().filter(|name| page.contains(&format!("\"{name}\"}} 1"))).count();
        // A scrape costs the daemon time; it is not what is tested here.
        std::thread::sleep(Duration::from_millis(100));
        (up == names.len() && page.matches("db_pool_up{").count() == up).then_some(())
    });
}

#[test]
fn a_hundred_targets_hold_three_connections_whatever_the_configuration_becomes() {
    let cluster = cluster();
    let poller = Poller::start(&cluster);
    let file = file();
    let defaults = "interval: 15s";
    write(&file, &cluster, &names(0..100), defaults);
    let (daemon, address) = start(&file);
    wait_until_up(address, &names(0..100));
    for now in [names(0..90), names(40..140), names(120..122), names(0..100)] {
        write(&file, &cluster, &now, defaults);
        daemon.signal(Signal::HUP);
        wait_until_up(address, &now);
    }
    assert_eq!(poller.most(), 3, "all three are used, and never more");
    let page = get(address, "/metrics");
    let closed = page.sum("db_pool_connections_closed_total");
    let opened = page.sum("db_pool_connections_opened_total");
    assert!(opened >= 100.0 && opened - closed <= 3.0, "{opened} opened, {closed} closed");
    let first =
        page.sample("db_pool_connections_closed_total{target=\"db001\",reason=\"released\"}");
    assert!(first.is_some_and(|n| n >= 1.0), "{first:?}");
    let server = format!("server=\"127.0.0.1:{}\"", cluster.port());
    assert_eq!(page.body.matches(&server).count(), 100, "each target names its server");
}

/// A cluster with three databases, and applications with sessions in them.
fn three_databases() -> Cluster {
    let cluster = cluster();
    cluster.psql(&format!("GRANT pg_monitor TO {}", ROLE.0));
    for name in ["a", "b", "c"] {
        cluster.psql(&format!("CREATE DATABASE {name}"));
    }
    cluster
}

fn write_databases(file: &Path, port: u16, names: &[&str]) {
    let mut text = "defaults: { interval: 1s, slow_query_sampling: 200ms }\ntargets:\n".to_owned();
    for name in names {
        text.push_str(&format!(
            "  {name}: {{ url: 'postgresql://{}@127.0.0.1:{port}/{name}?sslmode=disable', password: '{}' }}\n",
            ROLE.0, ROLE.1
        ));
    }
    fs::write(file, text).expect("the folder is writable");
}

/// The targets that show series of their server.
fn readers(address: SocketAddr) -> Vec<String> {
    let page = get(address, "/metrics?name[]=db_pool_server_max_connections").body;
    let lines = page.lines().filter(|line| line.starts_with("db_pool_server_max_connections{"));
    lines.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

fn wait_for_readers(address: SocketAddr, expected: &[&str]) {
    wait_for(&format!("{expected:?} to read"), Duration::from_secs(30), || {
        std::thread::sleep(Duration::from_millis(100));
        (readers(address) == expected).then_some(())
    });
}

#[test]
fn a_server_is_read_once_and_each_target_sees_its_own_application() {
    let cluster = three_databases();
    let file = file();
    write_databases(&file, cluster.port(), &["a", "b", "c"]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let open = |database: &str, sessions: usize| -> Vec<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(cluster.port()).user(ROLE.0).password(ROLE.1);
        config.dbname(database).application_name("web");
        let one = |_| {
            runtime.block_on(async {
                let (client, connection) =
                    config.connect(tokio_postgres::NoTls).await.expect("a session");
                tokio::spawn(connection);
                client
            })
        };
        (0..sessions).map(one).collect()
    };
    let sessions = (open("b", 2), open("c", 3));
    let (daemon, address) = start(&file);
    wait_for_readers(address, &["a"]);
    let seen = |database: &str| {
        let labels = format!("database=\"{database}\",user=\"{0}\",application=\"{0}\"", ROLE.0);
        format!("{{target=\"{database}\",{labels},source=\"activity\"}}")
    };
    wait_for("both applications", Duration::from_secs(20), || {
        let page = get(address, "/metrics");
        let open =
            |database| page.sample(&format!("db_pool_app_open_connections{}", seen(database)));
        // The samples of the one that reads count for the others too.
        let sampled = page.sample("db_pool_sampled_seconds_total{target=\"c\"}")?;
        (open("b") == Some(2.0) && open("c") == Some(3.0) && sampled > 0.0).then_some(())
    });
    let page = get(address, "/metrics");
    for part in ["activity", "limits"] {
        let success = format!("db_pool_probe_success{{target=\"b\",probe=\"{part}\"}}");
        assert_eq!(page.sample(&success), Some(1.0), "{}", page.body);
    }
    let health = get(address, "/api/v1/database/pool/health?target=c");
    assert!(health.body.contains("read by target a"), "{}", health.body);
    drop(sessions);

    write_databases(&file, cluster.port(), &["b", "c"]);
    daemon.signal(Signal::HUP);
    wait_for_readers(address, &["b"]);
    write_databases(&file, cluster.port(), &["a", "b", "c"]);
    daemon.signal(Signal::HUP);
    wait_until_up(address, &["a", "b", "c"].map(str::to_owned));
    wait_for_readers(address, &["b"]);
    cluster.psql("ALTER DATABASE b ALLOW_CONNECTIONS false");
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'b'");
    wait_for("the next one to read", Duration::from_secs(30), || {
        let readers = readers(address);
        (readers.len() == 1 && readers[0] != "b").then_some(())
    });
}

#[test]
fn behind_a_balancer_each_target_reads_for_itself() {
    let (one, two) = (three_databases(), three_databases());
    let forwarder = Forwarder::start(Ipv4Addr::LOCALHOST, one.port());
    let file = file();
    write_databases(&file, forwarder.port(), &["a", "b", "c"]);
    let (_daemon, address) = start(&file);
    let mut turns = [two.port(), one.port()].into_iter().cycle();
    wait_for("each to read", Duration::from_secs(40), || {
        forwarder.turn_to(turns.next()?);
        std::thread::sleep(Duration::from_millis(170));
        (readers(address) == ["a", "b", "c"]).then_some(())
    });
}
