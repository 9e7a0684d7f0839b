//! `/metrics` with all options enabled, read by strict parsers and compared with METRICS.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::checks::file;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::{get, request, scrape_until};
use crate::support::{installed, wait_for};

const HEARTBEAT: &str = include_str!("../../deploy/sql/heartbeat.sql");

/// A label value with all characters that must be escaped.
const HOSTILE: &str = r#""quote\" back\\slash {}=, \u00e4""#;

/// A daemon with every view and the write probe enabled, and a cluster with data for all of them.
fn everything_on() -> (Cluster, Program) {
    let cluster =
        Cluster::builder().setting("shared_preload_libraries", "pg_stat_statements").start();
    cluster.role(ROLE.0, ROLE.1);
    cluster.psql("CREATE EXTENSION pg_stat_statements");
    cluster.psql("GRANT pg_read_all_stats TO app");
    cluster.psql("ALTER ROLE app CONNECTION LIMIT 20");
    cluster.psql(&format!("\\set role app\n{HEARTBEAT}"));
    let text = format!(
        "targets:\n  orders:\n    url: 'postgresql://{}@127.0.0.1:{}/postgres?sslmode=disable'\n    \
         password: '{}'\n    interval: 1s\n    slow_query_sampling: 200ms\n    show_query_text: true\n    \
         labels: {{ team: {HOSTILE} }}\n    \
         views: {{ activity: true, limits: true, databases: true, statements: {{ top: 20, show_text: true }} }}\n    \
         write_probe: {{ enabled: true }}\n",
        ROLE.0,
        cluster.port(),
        ROLE.1
    );
    let file = crate::support::workplace::folder("everything").join("exporter.yml");
    fs::write(&file, text).expect("the folder is writable");
    let daemon = Program::daemon().arg("--config.file").arg(&file).start();
    (cluster, daemon)
}

/// The families that Python's strict parser finds in an exposition.
fn parse(form: &str, path: &Path) -> BTreeSet<String> {
    let output = Command::new(installed(&["python"]))
        .arg(file("tests/python/parse.py"))
        .args([form])
        .arg(path)
        .output()
        .expect("Python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{form}: {errors}");
    let names = String::from_utf8(output.stdout).expect("names are ASCII");
    names.lines().map(str::to_owned).collect()
}

/// The families in one section of METRICS.md, without `_total`, as the parsers name them.
fn catalogued(section: &str) -> Vec<String> {
    let text = fs::read_to_string(file("METRICS.md")).expect("METRICS.md is there");
    let start = text.find(&format!("\n## {section}\n")).expect("the section is there") + 4;
    let section = text[start..].split("\n## ").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(|name| name.trim_end_matches("_total").to_owned()).collect()
}

/// Families that a server without TLS, without a pooler before it, and without a session of an application has no
/// samples for.
const ABSENT: [&str; 5] = [
    "db_pool_server_pooler_budget_connections",
    "db_pool_tls_info",
    "db_pool_tls_certificate_expiry_timestamp_seconds",
    "db_pool_app_visible",
    "db_pool_applications_visible",
];

#[test]
fn strict_parsers_accept_everything_and_miss_nothing() {
    let (_cluster, mut daemon) = everything_on();
    let address = daemon.address();
    for part in ["connect", "query", "activity", "limits", "databases", "statements", "write"] {
        let success = format!("db_pool_probe_success{{target=\"orders\",probe=\"{part}\"}}");
        scrape_until(address, &success, 1.0);
    }
    let text = get(address, "/metrics");
    let open = request(
        address,
        "GET",
        "/metrics",
        &["Accept: application/openmetrics-text;version=1.0.0"],
    );
    let content_type = open.header("content-type");
    assert_eq!(content_type, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let mut families = Vec::new();
    for (form, answer) in [("text", &text), ("openmetrics", &open)] {
        let path = daemon.folder().join(form);
        fs::write(&path, &answer.body).expect("the folder is writable");
        let found = parse(form, &path);
        for section in ["The target and its last probe", "The exporter's own probe pool", "Health"]
        {
            for name in catalogued(section) {
                let is_there = found.contains(&name) || ABSENT.contains(&name.as_str());
                assert!(is_there, "{form}: no {name} in\n{}", answer.body);
            }
        }
        families.push(found);
    }
    assert_eq!(families[0], families[1], "both formats show the same families");
    let exposition = fs::File::open(daemon.folder().join("text")).expect("just written");
    let promtool = Command::new(installed(&["promtool"]))
        .args(["check", "metrics"])
        .stdin(Stdio::from(exposition))
        .output()
        .expect("promtool runs");
    let errors = [promtool.stdout, promtool.stderr].concat();
    assert!(promtool.status.success() && errors.is_empty(), "{}", String::from_utf8_lossy(&errors));
}

#[test]
fn with_everything_on_the_server_never_sees_more_than_three_connections() {
    let (cluster, mut daemon) = everything_on();
    cluster.psql("ALTER ROLE app CONNECTION LIMIT 3");
    let address = daemon.address();
    let probes = "db_pool_probe_duration_seconds_count{target=\"orders\"}";
    let mut most = 0;
    wait_for("eight probes", Duration::from_secs(30), || {
        most = most.max(crate::support::pools::sessions(&cluster));
        (get(address, "/metrics").sample(probes)? >= 8.0).then_some(())
    });
    assert!((1..=3).contains(&most), "{most} sessions");
    assert!(!cluster.log().contains("too many connections"), "{}", cluster.log());
    let metrics = get(address, "/metrics");
    assert_eq!(metrics.sample("db_pool_write_up{target=\"orders\"}"), Some(1.0));
    assert_eq!(metrics.sum("db_pool_probe_failures_total"), 0.0, "{}", metrics.body);
}
