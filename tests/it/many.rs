//! Many targets on one server.
//!
//! | case | what is expected |
//! | --- | --- |
//! | a hundred targets, over reloads that add, remove and rename | never more than three connections on the server |

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

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
    let defaults = "interval: 20s, views: { activity: false, limits: false, databases: false }";
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
