//! `databases: discover`: the databases of a server become targets, and go on while others come and go.
//!
//! | what happens to a database | what must be seen |
//! | --- | --- |
//! | it is there at the start | a target `TARGET/DATABASE`; the base target's own database is not doubled |
//! | template, no connections allowed, interrupted drop | no target |
//! | the role has no CONNECT | no target, one line, counted |
//! | created later | one line, a target; the counters of all others go on |
//! | dropped while it is probed | its target goes without waiting for the next listing |
//! | renamed | one goes, one comes |
//! | names with any characters | a target that /metrics, /api/v1/sd and ?target= show alike |
//! | the listing fails | every target stays, one line, a metric |
//! | a reload changes `exclude` | at once, from the last list; the base target goes on |
//! | behind PgBouncer | no target, a hint |

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::checks::file;
use crate::support::pools::{ROLE, cluster};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::{get, scrape_until};
use crate::support::{bouncer, installed, wait_for};

/// A daemon with one target `s` on this port, and its file.
fn daemon(port: u16, databases: &str) -> (Program, SocketAddr, PathBuf) {
    daemon_at("1s", port, databases)
}

/// As [`daemon`], with another interval: many targets of one server take turns with its connections.
fn daemon_at(interval: &str, port: u16, databases: &str) -> (Program, SocketAddr, PathBuf) {
    let file = crate::support::workplace::folder("discovery").join("exporter.yml");
    write(&file, port, databases);
    let text = fs::read_to_string(&file).expect("just written");
    let text = text.replace("interval: 1s", &format!("interval: {interval}"));
    fs::write(&file, text).expect("the folder is writable");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    (daemon, address, file)
}

fn write(file: &PathBuf, port: u16, databases: &str) {
    let text = format!(
        "defaults: {{ interval: 1s, metrics: lean }}\ntargets:\n  s:\n    \
         url: 'postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable'\n    password: '{}'\n    \
         databases: {databases}\n",
        ROLE.0, ROLE.1
    );
    fs::write(file, text).expect("the folder is writable");
}

/// The names of all targets, in the order of the page.
fn names(address: SocketAddr) -> Vec<String> {
    let targets = get(address, "/api/v1/targets").json();
    let targets = targets["targets"].as_array().cloned().unwrap_or_default();
    targets.iter().filter_map(|target| target["name"].as_str()).map(str::to_owned).collect()
}

fn wait_for_names(address: SocketAddr, expected: &[&str]) {
    wait_for(&format!("the targets {expected:?}"), Duration::from_secs(20), || {
        (names(address) == expected).then_some(())
    });
}

fn up(target: &str) -> String {
    format!("db_pool_up{{target=\"{target}\"}}")
}

fn probes(address: SocketAddr, target: &str) -> f64 {
    let sample = format!("db_pool_probe_duration_seconds_count{{target=\"{target}\"}}");
    get(address, "/metrics").sample(&sample).unwrap_or_default()
}

fn create(cluster: &Cluster, names: &[&str]) {
    for name in names {
        cluster.psql(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
    }
}

#[test]
fn databases_come_and_go_and_the_others_go_on() {
    let cluster = cluster();
    create(&cluster, &["a", "b", "closed", "secret", "broken", "old"]);
    cluster.psql("ALTER DATABASE closed ALLOW_CONNECTIONS false");
    cluster.psql("REVOKE CONNECT ON DATABASE secret FROM PUBLIC");
    cluster.psql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'");
    let (daemon, address, file) = daemon(cluster.port(), "{ exclude: [ 'o*' ], refresh: 1s }");
    wait_for_names(address, &["s", "s/a", "s/b"]);
    daemon.logged("the databases are listed");
    let log = daemon.logged("the role needs the privilege CONNECT");
    assert!(log.contains("databases=secret"), "{log}");
    for target in ["s", "s/a", "s/b"] {
        scrape_until(address, &up(target), 1.0);
    }
    let page = get(address, "/metrics");
    let count = |result: &str| {
        page.sample(&format!("db_pool_discovery_databases{{target=\"s\",result=\"{result}\"}}"))
    };
    let counts = ["watched", "not_wanted", "no_privilege", "over_limit"].map(count);
    assert_eq!(counts, [Some(2.0), Some(1.0), Some(1.0), Some(0.0)]);
    assert!(
        page.body.contains("db_pool_target_info{target=\"s/a\",host=\"127.0.0.1\",database=\"a\"")
    );
    let before = probes(address, "s/a");

    create(&cluster, &["new"]);
    wait_for_names(address, &["s", "s/a", "s/b", "s/new"]);
    scrape_until(address, &up("s/new"), 1.0);
    let log = daemon.logged("a database appeared");
    assert!(
        log.matches("a database appeared").count() == 1 && log.contains("database=new"),
        "{log}"
    );
    // Sessions of the exporter stand in the way of both, as those of any client do.
    cluster.psql("DROP DATABASE b WITH (FORCE)");
    wait_for_names(address, &["s", "s/a", "s/new"]);
    daemon.logged("a database is gone");
    wait_for("the rename", Duration::from_secs(20), || {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'new'";
        cluster.psql(end);
        cluster.psql(
            "DO $$BEGIN ALTER DATABASE new RENAME TO newer; EXCEPTION WHEN OTHERS THEN NULL; END$$",
        );
        (cluster.psql("SELECT count(*) FROM pg_database WHERE datname = 'newer'") == "1")
            .then_some(())
    });
    wait_for_names(address, &["s", "s/a", "s/newer"]);
    assert!(probes(address, "s/a") >= before + 2.0, "its counters go on");
    assert_eq!(get(address, "/-/ready").status, 200);

    // A reload chooses from the last list, and the base target goes on.
    let (before, listed) = (probes(address, "s"), daemon.log().matches("are listed").count());
    write(&file, cluster.port(), "{ exclude: [ 'a' ], refresh: 1h }");
    daemon.signal(Signal::HUP);
    wait_for_names(address, &["s", "s/newer", "s/old"]);
    assert!(probes(address, "s") >= before, "the base target was not restarted");
    assert_eq!(daemon.log().matches("are listed").count(), listed, "nothing was listed anew");
}

#[test]
fn a_dropped_database_goes_at_once_and_a_failed_listing_changes_nothing() {
    let cluster = cluster();
    create(&cluster, &["a", "b"]);
    let (daemon, address, file) = daemon(cluster.port(), "{ refresh: 1h }");
    wait_for_names(address, &["s", "s/a", "s/b"]);
    scrape_until(address, &up("s/b"), 1.0);
    cluster.psql("DROP DATABASE b WITH (FORCE)");
    wait_for_names(address, &["s", "s/a"]);

    let success = "db_pool_discovery_success{target=\"s\"}";
    assert_eq!(get(address, "/metrics").sample(success), Some(1.0));
    cluster.psql("REVOKE SELECT ON pg_catalog.pg_database FROM PUBLIC");
    write(&file, cluster.port(), "{ refresh: 1s }");
    daemon.signal(Signal::HUP);
    scrape_until(address, success, 0.0);
    let log = daemon.logged("the databases cannot be listed, the last list stays");
    assert!(log.contains("permission denied"), "{log}");
    create(&cluster, &["c"]);
    let probed = probes(address, "s/a");
    wait_for("two probes more", Duration::from_secs(20), || {
        (probes(address, "s/a") >= probed + 2.0).then_some(())
    });
    assert_eq!(names(address), ["s", "s/a"]);
    assert_eq!(daemon.log().matches("cannot be listed").count(), 1, "one line, not one a try");
    cluster.psql("GRANT SELECT ON pg_catalog.pg_database TO PUBLIC");
    wait_for_names(address, &["s", "s/a", "s/c"]);
    daemon.logged("the databases can be listed again");
    scrape_until(address, success, 1.0);
}

#[test]
fn names_of_any_characters_are_safe_in_labels_urls_and_discovery() {
    let cluster = cluster();
    let odd = ["a b", "q\\'\"\"x", "per%cent", "sl/ash", "注文", "new\nline", "&amp;<i>"];
    create(&cluster, &odd);
    let (_daemon, address, _file) = daemon_at("5s", cluster.port(), "discover");
    wait_for("all databases", Duration::from_secs(20), || {
        (names(address).len() == odd.len() + 1).then_some(())
    });
    let groups = get(address, "/api/v1/sd").json();
    let groups = groups.as_array().expect("a list");
    assert_eq!(groups.len(), odd.len() + 1);
    let mut databases = Vec::new();
    for group in groups {
        let labels = &group["labels"];
        let name = labels["__param_target"].as_str().expect("a name");
        assert!(!name.contains(|c: char| c.is_control() || "\"\\ <>&'".contains(c)), "{name}");
        databases.push(labels["__meta_db_pool_database"].as_str().expect("a name").to_owned());
        let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let info = format!("db_pool_target_info{{target=\"{name}\"");
        let answer = get(address, &format!("/metrics?target={query}&name[]=db_pool_target_info"));
        assert_eq!(answer.status, 200, "{name}");
        let samples: Vec<&str> =
            answer.body.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(matches!(samples[..], [one] if one.starts_with(&info)), "{name}: {samples:?}");
    }
    for name in odd {
        let plain = name.replace("\"\"", "\"");
        assert!(databases.contains(&plain), "{plain:?} in {databases:?}");
    }
    scrape_until(address, &up("s/a%20b"), 1.0);
    scrape_until(address, &up("s/注文"), 1.0);
    for (query, status) in [
        ("target=nobody", 404),
        ("target=", 404),
        ("target=s&target=nobody", 404),
        ("target=s", 200),
    ] {
        let answer = get(address, &format!("/metrics?{query}"));
        assert_eq!(answer.status, status, "{query}");
        assert!(!answer.body.contains("nobody"), "no echo: {}", answer.body);
        assert!(
            !answer.body.contains("process_"),
            "the exporter itself is on the whole page alone"
        );
    }
    let two = get(address, "/metrics?target=s&target=s/a%2520b&name[]=db_pool_up").body;
    assert_eq!(two.lines().filter(|line| !line.starts_with('#')).count(), 2, "{two}");
}

#[test]
fn many_databases_hold_three_connections() {
    // Seen with 100 as well, which takes two minutes.
    const DATABASES: usize = 30;
    let cluster = cluster();
    let create: Vec<String> =
        (0..DATABASES).map(|n| format!("CREATE DATABASE d{n:03} TEMPLATE template0;")).collect();
    for one in &create {
        cluster.psql(one);
    }
    let (_daemon, address, _file) = daemon_at("10s", cluster.port(), "{ include: [ 'd*' ] }");
    let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    let (mut most, mut looks) = (0, 0);
    wait_for("all to be up", Duration::from_secs(120), || {
        most = most.max(cluster.psql(held).parse::<u32>().expect("a number"));
        looks += 1;
        let page = get(address, "/metrics?name[]=db_pool_up").body;
        let up = page
            .lines()
            .filter(|line| line.starts_with("db_pool_up{target=\"s/d") && line.ends_with("} 1"));
        (up.count() == DATABASES).then_some(())
    });
    println!("{looks} looks, at most {most} connections");
    assert!((1..=3).contains(&most), "{most}");
    let server = format!("127.0.0.1%3A{}", cluster.port());
    let page = get(address, &format!("/metrics?server={server}&name[]=db_pool_target_info")).body;
    assert_eq!(page.lines().filter(|line| !line.starts_with('#')).count(), DATABASES + 1);
    assert_eq!(get(address, "/metrics?server=127.0.0.1:1").status, 404);
}

/// The scrape configuration that the documentation has under a mark, with another address of the exporter.
fn documented(mark: &str, exporter: SocketAddr) -> String {
    let page = fs::read_to_string(file("docs/scaling.md")).expect("the page is there");
    let after = page.split(&format!("<!-- scrape: {mark} -->\n```yaml\n")).nth(1).expect(mark);
    let text = after.split("```").next().unwrap_or_default();
    assert!(text.contains("exporter:9956"), "{text}");
    text.replace("exporter:9956", &exporter.to_string())
        .replace("refresh_interval: 1m", "refresh_interval: 5s")
}

#[test]
fn a_real_prometheus_scrapes_every_target_with_the_documented_configuration() {
    let cluster = cluster();
    create(&cluster, &["a b", "q\"\"x", "注文"]);
    let (_daemon, address, _file) = daemon(cluster.port(), "discover");
    let targets = ["s", "s/a%20b", "s/q%22x", "s/注文"];
    for target in targets {
        scrape_until(address, &up(target), 1.0);
    }
    let folder = crate::support::workplace::folder("discovered");
    let path = folder.join("prometheus.yml");
    let global = "global: { scrape_interval: 1s, scrape_timeout: 1s }\n";
    fs::write(&path, format!("{global}{}", documented("metrics", address))).expect("writable");
    let mut prometheus = Program::at(installed(&["prometheus"]))
        .arg(format!("--config.file={}", path.display()))
        .arg("--storage.tsdb.path=data")
        .arg("--web.listen-address=127.0.0.1:0")
        .start();
    let server = prometheus.address();
    let query = |text: &str| {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let answer = get(server, &format!("/api/v1/query?query={text}"));
        if answer.status == 200 {
            answer.json()["data"]["result"].clone()
        } else {
            serde_json::Value::Null
        }
    };
    for text in ["up{job=\"db-pool\"} == 1", "db_pool_up == 1"] {
        let found = wait_for("every target", Duration::from_secs(30), || {
            let found = query(text);
            (found.as_array().map(Vec::len) == Some(targets.len())).then_some(found)
        });
        for target in targets {
            let has = |sample: &serde_json::Value| sample["metric"]["instance"] == target;
            assert!(found.as_array().is_some_and(|all| all.iter().any(has)), "{target}: {found}");
        }
    }
    // Each scrape has its own target alone, and the exporter's own families are scraped once.
    let both = query(
        "db_pool_up unless on (instance) label_replace(db_pool_up, \"instance\", \"$1\", \"target\", \"(.*)\")",
    );
    assert_eq!(both.as_array().map(Vec::len), Some(0), "{both}");
    let own = query("process_start_time_seconds");
    assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");
    let series = query("count(db_pool_probe_interval_seconds)");
    assert_eq!(series[0]["value"][1], "4", "{series}");
}

#[test]
fn behind_a_pooler_nothing_is_discovered_and_the_reason_is_said() {
    let cluster = cluster();
    create(&cluster, &["a"]);
    let pooler = bouncer::start(&cluster, ROLE, "");
    let mut pooler = pooler;
    let port = pooler.address().port();
    let (daemon, address, _file) = daemon(port, "{ refresh: 1s }");
    scrape_until(address, &up("s"), 1.0);
    scrape_until(address, "db_pool_discovery_success{target=\"s\"}", 0.0);
    let log = daemon.logged("the databases cannot be listed");
    assert!(log.contains("a pooler stands between"), "{log}");
    assert_eq!(names(address), ["s"]);
}
