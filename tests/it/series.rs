//! The number of series of a target, counted on real ones, and that nothing is shown that cannot happen.
//!
//! | the target | what its page must not have |
//! | --- | --- |
//! | no write probe | `probe="write"`, `db_pool_write_` |
//! | views off | `view`, `query` or `probe` of such a view, at 0 or otherwise |
//! | no TLS | `phase="tls"`, `db_pool_tls_` |
//! | an address instead of a name | `phase="dns"` |
//! | no pre-ping, no recycling, no overflow | the reasons for which it closes no connection |
//! | lean | buckets beside the six, families that only explain |

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::support::checks::file;
use crate::support::pools::{ROLE, cluster};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::{get, scrape_until};

/// A daemon that watches one idle server under several names, each with options of its own.
fn daemon(cluster: &Cluster, targets: &[(&str, &str)]) -> (Program, SocketAddr) {
    let url = format!("postgresql://{}@127.0.0.1:{}/postgres", ROLE.0, cluster.port());
    let mut text = "defaults: { interval: 1s }\ntargets:\n".to_owned();
    for (name, options) in targets {
        let login = format!("url: '{url}?sslmode=disable', password: '{}'", ROLE.1);
        text.push_str(&format!("  {name}: {{ {login}{options} }}\n"));
    }
    let file = crate::support::workplace::folder("series").join("exporter.yml");
    fs::write(&file, text).expect("the folder is writable");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    for (name, _) in targets {
        let label = format!("{{target=\"{name}\"}}");
        scrape_until(address, &format!("db_pool_probe_duration_seconds_count{label}"), 3.0);
        scrape_until(address, &format!("db_pool_up{label}"), 1.0);
    }
    (daemon, address)
}

/// The samples of a target without those of its server.
fn own<'p>(page: &'p str, target: &str) -> Vec<&'p str> {
    let label = format!("target=\"{target}\"");
    let samples = page.lines().filter(|line| !line.starts_with('#') && line.contains(&label));
    samples.filter(|line| !line.starts_with("db_pool_server_")).collect()
}

fn name(sample: &str) -> &str {
    sample.split(['{', ' ']).next().unwrap_or_default()
}

#[test]
fn an_idle_target_has_at_most_300_series_and_120_when_lean() {
    let cluster = cluster();
    let targets = [("full", ", metrics: full"), ("standard", ""), ("lean", ", metrics: lean")];
    let (_daemon, address) = daemon(&cluster, &targets);
    let page = get(address, "/metrics").body;
    for (target, most) in [("standard", 300), ("lean", 120)] {
        let samples = own(&page, target);
        println!("{target}: {} series", samples.len());
        assert!(samples.len() <= most, "{target}: {}\n{}", samples.len(), samples.join("\n"));
    }
    assert!(own(&page, "full").len() > 300, "the details are still there for who wants them");
    let mut buckets = BTreeMap::<String, usize>::new();
    for sample in own(&page, "lean").into_iter().filter(|sample| name(sample).ends_with("_bucket"))
    {
        let series = sample.split("le=\"").next().unwrap_or_default();
        *buckets.entry(series.to_owned()).or_default() += 1;
    }
    assert!(!buckets.is_empty() && buckets.values().all(|n| *n <= 6), "{buckets:#?}");
}

#[test]
fn a_lean_target_has_every_family_of_the_alert_rules_that_a_standard_one_has() {
    let cluster = cluster();
    let (_daemon, address) = daemon(&cluster, &[("standard", ""), ("lean", ", metrics: lean")]);
    let rules = ["alerts/db_pool_alerts.yml", "alerts/db_pool_recording.yml"]
        .map(|path| fs::read_to_string(file(path)).expect("the rules are there"));
    let words: Vec<&str> = rules
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect();
    let without = |sample: &str, target: &str| {
        sample.replace(target, "").split(' ').next().map(str::to_owned)
    };
    // The two are probed one after the other, and what one page shows of one may still come for the other.
    let mut missing = Vec::new();
    for _ in 0..10 {
        let page = get(address, "/metrics").body;
        let lean: Vec<_> = own(&page, "lean").into_iter().map(|s| without(s, "lean")).collect();
        let used = own(&page, "standard").into_iter().filter(|s| words.contains(&name(s)));
        let used: Vec<&str> =
            used.filter(|s| !s.contains("le=") || s.contains("le=\"0.5\"")).collect();
        assert!(used.len() > 20, "{used:?}");
        // A reason shows once it has happened. At the start it may happen to one alone: it waits for the first
        // reading of the other, which leads.
        let has_happened = |sample: &str| {
            sample.starts_with("db_pool_probe_failures_total") && !sample.ends_with(" 0")
        };
        let lacks =
            |sample: &&&str| !has_happened(sample) && !lean.contains(&without(sample, "standard"));
        missing = used.iter().filter(lacks).map(|sample| (*sample).to_owned()).collect();
        if missing.is_empty() {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_is_shown_that_cannot_happen() {
    let cluster = cluster();
    let off = ", views: { activity: false, databases: false }, \
               pool: { pre_ping: false, recycle: never, max_overflow: 0 }";
    let (_daemon, address) = daemon(&cluster, &[("bare", off), ("usual", "")]);
    let page = get(address, "/metrics").body;
    let bare = own(&page, "bare");
    for absent in [
        "\"write\"",
        "db_pool_write",
        "\"activity\"",
        "\"databases\"",
        "\"statements\"",
        "\"tls\"",
        "db_pool_tls",
        "\"ssl_request\"",
        "\"dns\"",
        "\"ping_failed\"",
        "\"recycled\"",
        "\"overflow\"",
        "db_pool_app_",
        "db_pool_sampled",
    ] {
        let found = bare.iter().find(|sample| sample.contains(absent));
        assert_eq!(found, None, "{absent}");
    }
    // What can happen stands at 0 from the start, so that `increase()` sees the first event.
    for present in [
        "db_pool_probe_failures_total{target=\"bare\",probe=\"connect\",reason=\"refused\"} 0",
        "db_pool_probe_failures_total{target=\"bare\",probe=\"limits\",reason=\"timeout\"} 0",
        "db_pool_slow_queries_total{target=\"bare\",query=\"limits\"} 0",
        "db_pool_connections_closed_total{target=\"bare\",reason=\"broken\"} 0",
        "db_pool_connections_closed_total{target=\"usual\",reason=\"ping_failed\"} 0",
        "db_pool_probe_failures_total{target=\"usual\",probe=\"activity\",reason=\"timeout\"} 0",
    ] {
        assert!(page.lines().any(|line| line == present), "{present}\n{}", bare.join("\n"));
    }
}
