//! From a broken database to a notification: PostgreSQL, the daemon, Prometheus, Alertmanager and a webhook.
//!
//! One daemon watches one target per incident, so that all incidents happen at the same time. One more target has no
//! incident, and must cause no alert. The rules run sixty times as fast as in production.

#![allow(clippy::print_stdout, reason = "how many seconds each alert took is worth reading")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::checks::{file, succeeds};
use crate::support::nothing_may_happen_for;
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::{get, scrape_until};
use crate::support::{installed, wait_for, workplace};

/// The kinds of incident.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incident {
    Nothing,
    Stopped,
    Silent,
    Password,
    Exhausted,
    HalfExhausted,
    Leak,
    SlowQueries,
    Headroom,
    NoWrites,
}

/// An incident, the alerts that it must cause, and a metric that the target must have first.
struct Row {
    target: &'static str,
    incident: Incident,
    alerts: &'static [(&'static str, &'static str)],
    metric: &'static str,
}

/// Each alert is its name and, if it has one, the value of its label `reason`.
const ROWS: &[Row] = &[
    Row { target: "quiet", incident: Incident::Nothing, alerts: &[], metric: "db_pool_up" },
    Row {
        target: "stopped",
        incident: Incident::Stopped,
        alerts: &[("DbPoolTargetDown", ""), ("DbPoolConnectFailing", "refused")],
        metric: "db_pool_up",
    },
    Row {
        target: "silent",
        incident: Incident::Silent,
        // After three attempts the exporter waits until the server ends them: too few for DbPoolConnectFailing.
        alerts: &[("DbPoolTargetDown", "")],
        metric: "db_pool_up",
    },
    Row {
        target: "password",
        incident: Incident::Password,
        alerts: &[("DbPoolTargetDown", ""), ("DbPoolConnectFailing", "auth")],
        metric: "db_pool_up",
    },
    Row {
        target: "exhausted",
        incident: Incident::Exhausted,
        alerts: &[("DbPoolAppExhausted", "")],
        metric: "db_pool_app_saturation_ratio",
    },
    Row {
        // Full half of the time: a look now and then finds it free as often as full.
        target: "half",
        incident: Incident::HalfExhausted,
        alerts: &[("DbPoolAppExhausted", "")],
        metric: "db_pool_app_saturated_seconds_total",
    },
    Row {
        target: "leak",
        incident: Incident::Leak,
        alerts: &[("DbPoolIdleInTransaction", "")],
        metric: "db_pool_server_longest_idle_in_transaction_seconds",
    },
    Row {
        target: "slow",
        incident: Incident::SlowQueries,
        alerts: &[("DbPoolSlowQueries", "")],
        metric: "db_pool_server_slow_queries_total",
    },
    Row {
        target: "headroom",
        incident: Incident::Headroom,
        alerts: &[("DbPoolHeadroomGone", "")],
        metric: "db_pool_server_available_connections",
    },
    Row {
        target: "writes",
        incident: Incident::NoWrites,
        alerts: &[("DbPoolWriteFailing", "")],
        metric: "db_pool_write_up",
    },
];

const APP: (&str, &str) = ("app", "apple");
const JOB: &str = "batch";
/// The factor by which all times of the rules are divided.
const FACTOR: &str = "60";
/// The time without any incident. With the incidents' time this is an hour of the rules' time for the quiet target.
const QUIET: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_incident_is_told_and_resolved_and_a_quiet_target_is_not_spoken_of() {
    let mut stage = Stage::start();
    let began = now();
    nothing_may_happen_for(QUIET);
    assert!(stage.receiver.all().is_empty(), "all was well");
    let broken = Instant::now();
    let mut held = Vec::new();
    for (row, cluster) in &stage.clusters {
        held.extend(break_it(row.incident, cluster).await);
    }
    stage.every_alert("firing", broken);
    stage.evaluate(began);
    stage.draw(began);
    let mended = Instant::now();
    drop(held);
    stage.clusters.iter().for_each(|(row, cluster)| mend(row.incident, cluster));
    stage.every_alert("resolved", mended);
    stage.evaluate(began);
    stage.a_refused_reload_and_a_lost_exporter_are_told();
    for Message { notes, .. } in stage.receiver.all() {
        assert!(!notes.to_string().contains("error expanding"), "{notes}");
    }
    let quiet = stage.receiver.all().into_iter().filter(|m| m.labels["target"] == "quiet");
    assert_eq!(quiet.count(), 0, "nothing happened to it");
}

/// All running programs of the test.
struct Stage {
    clusters: Vec<(&'static Row, Cluster)>,
    daemon: Program,
    address: SocketAddr,
    prometheus: Program,
    alertmanager: Program,
    receiver: Receiver,
    folder: std::path::PathBuf,
}

impl Stage {
    fn start() -> Stage {
        let pending = std::fs::read_to_string(file("tests/monitoring/pending.txt"));
        let pending = pending.unwrap_or_default();
        let rows = ROWS.iter().filter(|row| !pending.lines().any(|line| line == row.metric));
        let clusters: Vec<_> = rows.map(|row| (row, cluster())).collect();
        let folder = workplace::folder("incidents");
        std::fs::write(folder.join("daemon.yml"), configuration(&clusters)).expect("writable");
        let mut daemon = Program::daemon()
            .arg(format!("--config.file={}", folder.join("daemon.yml").display()))
            .start();
        let address = daemon.address();
        for (row, _) in &clusters {
            scrape_until(address, &format!("db_pool_up{{target=\"{}\"}}", row.target), 1.0);
        }
        let receiver = Receiver::start();
        let mut alertmanager = alertmanager(&folder, receiver.address);
        let prometheus = prometheus(&folder, address, alertmanager.address());
        Stage { clusters, daemon, address, prometheus, alertmanager, receiver, folder }
    }

    /// Waits for every alert of every incident, and prints the seconds until it fired.
    fn every_alert(&self, status: &str, since: Instant) {
        for (row, _) in &self.clusters {
            for (alert, reason) in row.alerts {
                let what = format!("{alert} {reason} of {} to be {status}", row.target);
                let is_it = |message: &Message| {
                    message.labels["alertname"] == *alert
                        && message.labels["target"] == row.target
                        && message.labels["reason"].as_str().unwrap_or_default() == *reason
                };
                let came = self.receiver.wait(&what, status, is_it);
                let after = came.saturating_duration_since(since).as_secs_f64();
                println!("{:9} {alert} {reason}: {status} after {after:.1} s", row.target);
            }
        }
    }

    /// Evaluates every expression of the dashboards and rules on this Prometheus server.
    fn evaluate(&mut self, began: f64) {
        let url = format!("http://{}", self.prometheus.address());
        let script = file("tests/monitoring/evaluate.py");
        succeeds(&installed(&["python"]), [script, url, began.to_string(), now().to_string()]);
    }

    /// Draws the dashboards into the folder TEST_PICTURES, if it is set.
    fn draw(&mut self, began: f64) {
        let Some(folder) = std::env::var_os("TEST_PICTURES") else { return };
        let words = [
            file("tests/dashboards/render.py"),
            format!("http://{}", self.prometheus.address()),
            began.to_string(),
            now().to_string(),
            folder.to_string_lossy().into_owned(),
            installed(&["chromium"]),
            "target=exhausted".to_owned(),
            "application=.*".to_owned(),
        ];
        succeeds(&installed(&["python"]), words);
    }

    fn a_refused_reload_and_a_lost_exporter_are_told(&mut self) {
        let gauge = "db_pool_exporter_config_last_reload_successful";
        if get(self.address, "/metrics").sample(gauge).is_some() {
            std::fs::write(self.folder.join("daemon.yml"), "nonsense: 1\n").expect("writable");
            self.alerts_after("DbPoolReloadFailed", |stage| stage.daemon.signal(Signal::HUP));
        }
        self.alerts_after("DbPoolUnwatched", |stage| assert!(stage.daemon.terminate().success()));
    }

    fn alerts_after(&mut self, alert: &str, breaks: impl FnOnce(&mut Stage)) {
        let since = Instant::now();
        breaks(self);
        let is_it = |message: &Message| message.labels["alertname"] == alert;
        let came = self.receiver.wait(alert, "firing", is_it);
        println!("{alert}: firing after {:.1} s", came.duration_since(since).as_secs_f64());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = [&self.daemon, &self.prometheus, &self.alertmanager].map(Program::log);
            for log in logs {
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("{}\n", lines[lines.len().saturating_sub(15)..].join("\n"));
            }
            for Message { status, labels, .. } in self.receiver.all() {
                eprintln!("{status} {labels}");
            }
        }
    }
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder().setting("max_connections", "20").start();
    cluster.role(APP.0, APP.1);
    cluster.role(JOB, APP.1);
    cluster.psql("GRANT pg_monitor TO app");
    cluster.psql(&format!("\\set role app\n{}", include_str!("../../deploy/sql/heartbeat.sql")));
    cluster
}

fn configuration(clusters: &[(&'static Row, Cluster)]) -> String {
    let mut text =
        "defaults:\n  interval: 2s\n  connect_timeout: 1500ms\n  slow_query_threshold: 500ms\n  \
                    slow_query_sampling: 500ms\n  pool: { size: 3, max_overflow: 2 }\ntargets:\n"
            .to_owned();
    for (row, cluster) in clusters {
        let url = cluster.url(APP.0, APP.1);
        text.push_str(&format!("  {}:\n    url: {url}?sslmode=disable\n", row.target));
        if row.incident == Incident::Nothing {
            // Slow connects can come from other tests on the machine: they are no incident.
            text.push_str(
                "    interval: 5s\n    slow_query_sampling: 5s\n    connect_timeout: 4s\n",
            );
        }
        if matches!(row.incident, Incident::Exhausted | Incident::HalfExhausted) {
            // The critical alert needs a known number of processes.
            text.push_str(
                "    slow_query_sampling: 100ms\n    applications: { app: { match: { user: app }, \
                 pool_size: 3, max_overflow: 2, instances: 1 } }\n",
            );
        }
        if row.incident == Incident::NoWrites {
            text.push_str("    write_probe: { enabled: true }\n");
        }
    }
    text
}

async fn break_it(incident: Incident, cluster: &Cluster) -> Vec<Held> {
    match incident {
        Incident::Nothing => {}
        Incident::Stopped => cluster.stop(),
        Incident::Silent => cluster.freeze(),
        Incident::Password => {
            cluster.psql("ALTER ROLE app PASSWORD 'changed'");
        }
        Incident::Exhausted => return held(cluster, 5, APP.0, "SELECT pg_sleep(600)").await,
        Incident::HalfExhausted => return vec![full_half_of_the_time(cluster).await],
        Incident::Leak => return held(cluster, 1, APP.0, "BEGIN; SELECT 1").await,
        Incident::SlowQueries => return held(cluster, 2, APP.0, SLOW).await,
        Incident::Headroom => return held(cluster, 15, JOB, "SELECT 1").await,
        Incident::NoWrites => {
            cluster.psql("REVOKE INSERT ON db_pool_exporter_heartbeat FROM app");
        }
    }
    Vec::new()
}

fn mend(incident: Incident, cluster: &Cluster) {
    match incident {
        Incident::Nothing => {}
        Incident::Stopped => cluster.start_again(),
        Incident::Silent => cluster.thaw(),
        Incident::Password => {
            cluster.psql("ALTER ROLE app PASSWORD 'apple'");
        }
        Incident::NoWrites => {
            cluster.psql("GRANT INSERT ON db_pool_exporter_heartbeat TO app");
        }
        // A backend whose client has gone runs its statement to the end unless it is terminated.
        Incident::Exhausted
        | Incident::HalfExhausted
        | Incident::Leak
        | Incident::SlowQueries
        | Incident::Headroom => {
            cluster.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS NOT NULL \
                 AND pid <> pg_backend_pid() AND application_name <> 'db_pool_exporter'",
            );
        }
    }
}

/// A session of an application, and the task that runs its statement repeatedly.
struct Held(tokio::task::JoinHandle<()>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens `count` sessions of the application, each with its own statement.
async fn held(cluster: &Cluster, count: usize, role: &str, sql: &'static str) -> Vec<Held> {
    let mut all = Vec::new();
    for _ in 0..count {
        let client = cluster.client(role, APP.1).await.expect("there is room for the application");
        all.push(Held(tokio::spawn(work(client, sql))));
    }
    all
}

/// Holds all connections of the application's pool for a second, and none for the next, again and again.
async fn full_half_of_the_time(cluster: &Cluster) -> Held {
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients
            .push(cluster.client(APP.0, APP.1).await.expect("there is room for the application"));
    }
    Held(tokio::spawn(async move {
        loop {
            let all = clients.iter().map(|client| client.batch_execute("SELECT pg_sleep(1)"));
            if futures_util::future::join_all(all).await.iter().any(Result::is_err) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }))
}

async fn work(client: Client, sql: &'static str) {
    loop {
        if client.batch_execute(sql).await.is_err() {
            return;
        }
        if sql != SLOW {
            std::future::pending::<()>().await;
        }
    }
}

const SLOW: &str = "SELECT pg_sleep(0.8)";

fn alertmanager(folder: &Path, receiver: SocketAddr) -> Program {
    let text = std::fs::read_to_string(file("alerts/alertmanager.example.yml")).expect("readable");
    let text = text
        .replace("http://localhost:9099", &format!("http://{receiver}"))
        .replace("group_wait: 10s", "group_wait: 100ms")
        .replace("group_interval: 1m", "group_interval: 1s")
        .replace("group_by: [job, target]", "group_by: ['...']");
    let path = folder.join("alertmanager.yml");
    std::fs::write(&path, text).expect("writable");
    Program::at(installed(&["prometheus-alertmanager"]))
        .arg(format!("--config.file={}", path.display()))
        .arg("--storage.path=data")
        .arg("--web.listen-address=127.0.0.1:0")
        .arg("--cluster.listen-address=")
        .start()
}

fn prometheus(folder: &Path, daemon: SocketAddr, alertmanager: SocketAddr) -> Program {
    let script = file("tests/monitoring/compress.py");
    let rules = folder.to_str().expect("paths are UTF-8");
    succeeds(&installed(&["python"]), [&script, FACTOR, rules]);
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms }}\n\
         rule_files: [{rules}/db_pool_recording.yml, {rules}/db_pool_alerts.yml]\n\
         alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['{alertmanager}'] }} ] }} ] }}\n\
         scrape_configs: [ {{ job_name: db-pool, static_configs: [ {{ targets: ['{daemon}'] }} ] }} ]\n"
    );
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, text).expect("writable");
    let mut prometheus = Program::at(installed(&["prometheus"]))
        .arg(format!("--config.file={}", path.display()))
        .arg("--storage.tsdb.path=data")
        .arg("--web.listen-address=127.0.0.1:0")
        .arg("--rules.alert.resend-delay=1s")
        .start();
    let address = prometheus.address();
    wait_for("Prometheus to be ready", PATIENCE, || {
        (get(address, "/-/ready").status == 200).then_some(())
    });
    prometheus
}

/// One alert of a notification.
#[derive(Clone, Debug)]
struct Message {
    came: Instant,
    status: String,
    labels: Value,
    notes: Value,
}

/// A webhook that stores all notifications.
struct Receiver {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || take(stream, &kept));
            }
        });
        Receiver { address, messages }
    }

    fn all(&self) -> Vec<Message> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the newest message of its kind has this status.
    fn wait(&self, what: &str, status: &str, is_it: impl Fn(&Message) -> bool) -> Instant {
        wait_for(what, PATIENCE, || {
            let newest = self.all().into_iter().rev().find(|message| is_it(message))?;
            (newest.status == status).then_some(newest.came)
        })
    }
}

/// Reads notifications until the connection closes.
fn take(mut stream: TcpStream, kept: &Mutex<Vec<Message>>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.trim().parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let came = Instant::now();
        let alerts = body["alerts"].as_array()?.iter().map(|alert| Message {
            came,
            status: alert["status"].as_str().unwrap_or_default().to_owned(),
            labels: alert["labels"].clone(),
            notes: alert["annotations"].clone(),
        });
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend(alerts);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}
