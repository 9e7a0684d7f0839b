//! A Prometheus with the project's rules, and an Alertmanager, if they are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::programs::{Running, command, find, free_port};
use super::rules;

/// The time limit for the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time limit of a question.
const ANSWER: Duration = Duration::from_secs(3);

/// The largest answer, in bytes.
const LARGEST: usize = 1024 * 1024;

/// The routes and inhibitions that the project suggests. The demo sends no messages.
const ALERTMANAGER: &str = include_str!("../../../alerts/alertmanager.example.yml");

/// The scrape job of Prometheus.
pub(super) struct Scrape {
    /// The exporter's address.
    pub(super) exporter: String,
    /// The exporter's path of metrics.
    pub(super) path: String,
    pub(super) interval: Duration,
    /// The factor by which the rules are faster.
    pub(super) factor: f64,
}

/// A running Prometheus, perhaps with an Alertmanager. Dropping it ends both.
pub(super) struct Prometheus {
    port: u16,
    alertmanager: Option<(u16, Running)>,
    _running: Running,
}

impl Prometheus {
    /// Starts Prometheus; `None` if none is installed.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start(
        folder: &Path,
        scrape: &Scrape,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>> {
        let Some(program) = find(&["prometheus"], environment) else { return Ok(None) };
        let alertmanager = alertmanager(folder, environment).context("starting Alertmanager")?;
        let rules = rules::write(folder, scrape.factor)?;
        let alertmanager_port = alertmanager.as_ref().map(|(port, _)| *port);
        let text = configuration(scrape, &rules, alertmanager_port);
        fs::write(folder.join("prometheus.yml"), text).context("prometheus.yml")?;
        let port = free_port()?;
        let mut prometheus = command(&program, None, folder);
        prometheus.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]);
        prometheus.args(["--log.level=warn", "--rules.alert.resend-delay=5s"]);
        prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = folder.join("prometheus.log");
        let running = Running::start(prometheus, &log).context("starting Prometheus")?;
        let mut prometheus = Self { port, alertmanager, _running: running };
        prometheus.wait(&log).await?;
        Ok(Some(prometheus))
    }

    /// The port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The port of the Alertmanager on 127.0.0.1; `None` if none is installed.
    pub(super) fn alertmanager(&self) -> Option<u16> {
        self.alertmanager.as_ref().map(|(port, _)| *port)
    }

    async fn wait(&mut self, log: &Path) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while get(self.port, "/-/ready").await.is_err() {
            if self._running.has_ended() || Instant::now() > end {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("Prometheus did not start: {}", log.lines().last().unwrap_or_default());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Alert {
    #[serde(rename = "alertname")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) severity: String,
    #[serde(default)]
    pub(super) target: String,
    #[serde(default)]
    pub(super) application: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Alerts,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    labels: Alert,
    state: String,
}

/// Returns the alerts that fire now.
///
/// # Errors
/// Prometheus does not answer, or not as expected.
pub(super) async fn firing(port: u16) -> Result<BTreeSet<Alert>> {
    let answer: Answer = serde_json::from_slice(&get(port, "/api/v1/alerts").await?)?;
    let firing = answer.data.alerts.into_iter().filter(|entry| entry.state == "firing");
    Ok(firing.map(|entry| entry.labels).collect())
}

/// Sends a GET request to a program of the demo. Returns the body of an answer with status 200.
async fn get(port: u16, path: &str) -> Result<Bytes> {
    timeout(ANSWER, async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header("host", "127.0.0.1").body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let is_ok = response.status().is_success();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            if is_ok { Ok(body) } else { bail!("not ready") }
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    })
    .await?
}

fn alertmanager(
    folder: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Option<(u16, Running)>> {
    let Some(program) = find(&["alertmanager", "prometheus-alertmanager"], environment) else {
        return Ok(None);
    };
    fs::write(folder.join("alertmanager.yml"), without_receivers(ALERTMANAGER))?;
    let port = free_port()?;
    let mut alertmanager = command(&program, None, folder);
    alertmanager.args(["--config.file=alertmanager.yml", "--storage.path=alertmanager"]);
    alertmanager.args(["--cluster.listen-address=", "--log.level=warn"]);
    alertmanager.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let running = Running::start(alertmanager, &folder.join("alertmanager.log"))?;
    Ok(Some((port, running)))
}

/// Takes the webhooks out of the example: nothing of the demo leaves the machine, and nothing waits for it there.
fn without_receivers(example: &str) -> String {
    let is_webhook = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("webhook_configs:") || line.starts_with("- url:")
    };
    let lines: Vec<&str> = example.lines().filter(|line| !is_webhook(line)).collect();
    lines.join("\n").replace("group_wait: 10s", "group_wait: 1s") + "\n"
}

fn configuration(scrape: &Scrape, rules: &[&str], alertmanager: Option<u16>) -> String {
    let every = format!("{}ms", scrape.interval.as_millis());
    let alerting = alertmanager.map_or_else(String::new, |port| {
        format!(
            "alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['127.0.0.1:{port}'] }} ] }} ] }}\n"
        )
    });
    format!(
        "global: {{ scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every} }}\n\
         rule_files: [{}]\n{alerting}scrape_configs:\n  - job_name: db-pool\n    metrics_path: {}\n    \
         static_configs: [ {{ targets: ['{}'] }} ]\n",
        rules.join(", "),
        scrape.path,
        scrape.exporter
    )
}

/// The address at which a program of this machine reaches a listener.
pub(super) fn reachable(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let host = if address.ip().is_unspecified() { "127.0.0.1".parse().ok()? } else { address.ip() };
    Some(SocketAddr::new(host, address.port()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alertmanager_of_the_demo_has_the_suggested_inhibitions_and_sends_nothing() {
        let text = without_receivers(ALERTMANAGER);
        assert!(text.contains("inhibit_rules") && text.contains("receiver: pager"), "{text}");
        assert!(!text.contains("http"), "{text}");
        let both =
            ALERTMANAGER.contains("webhook_configs:") && ALERTMANAGER.contains("group_wait: 10s");
        assert!(both, "the example has changed: so must what is replaced in it");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:9956").as_deref(), Some("127.0.0.1:9956"));
        assert_eq!(reachable("[::]:9956").as_deref(), Some("127.0.0.1:9956"));
        assert_eq!(reachable("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(reachable("unix:/run/x"), None);
    }

    #[test]
    fn only_alerts_that_fire_are_taken() {
        let text = r#"{"status":"success","data":{"alerts":[
            {"labels":{"alertname":"A","target":"t","job":"j"},"state":"firing","value":"1"},
            {"labels":{"alertname":"B"},"state":"pending"}]}}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        let states: Vec<_> =
            answer.data.alerts.iter().map(|a| (&*a.labels.name, &*a.state)).collect();
        assert_eq!(states, [("A", "firing"), ("B", "pending")]);
    }
}
