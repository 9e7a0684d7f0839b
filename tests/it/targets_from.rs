//! `targets_from`: files that are dropped into a folder become targets by themselves.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::pools::{ROLE, cluster};
use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::web::{get, request, scrape_until};

fn up(target: &str) -> String {
    format!("db_pool_up{{target=\"{target}\"}}")
}

/// Writes a file as configuration management does: beside it, and then renamed.
fn drop_file(folder: &Path, name: &str, text: &str) {
    let new = folder.join(".new");
    fs::write(&new, text).expect("the folder is writable");
    fs::rename(new, folder.join(name)).expect("the folder is writable");
}

#[test]
fn a_dropped_file_is_watched_and_a_broken_one_harms_no_other() {
    let cluster = cluster();
    let folder = crate::support::workplace::folder("dropped");
    let files = folder.join("conf.d");
    fs::create_dir(&files).expect("the folder is writable");
    let main = "targets_from: [ conf.d/*.yml ]\ndefaults: { interval: 1s }\n";
    fs::write(folder.join("exporter.yml"), main).expect("the folder is writable");
    let target = |name: &str| {
        let login = format!(
            "url: 'postgresql://{}@127.0.0.1:{}/postgres?sslmode=disable'",
            ROLE.0,
            cluster.port()
        );
        format!("targets: {{ {name}: {{ {login}, password: '{}' }} }}", ROLE.1)
    };
    drop_file(&files, "a.yml", &target("a"));
    drop_file(&files, "b.yml", "targets: { b: { colour: 1 } }");
    let mut daemon =
        Program::daemon().arg("--config.file").arg(folder.join("exporter.yml")).start();
    let address = daemon.address();
    // A broken file does not keep the daemon from its start.
    scrape_until(address, &up("a"), 1.0);
    let log = daemon.logged("a file of targets is refused: it is left out");
    assert!(log.contains("file=conf.d/b.yml") && log.contains("targets.b.colour"), "{log}");
    let refused = "db_pool_exporter_targets_file_refused{file=\"conf.d/b.yml\"}";
    let success = "db_pool_exporter_config_last_reload_successful";
    let page = get(address, "/metrics");
    assert_eq!((page.sample(refused), page.sample(success)), (Some(1.0), Some(0.0)));
    assert_eq!(page.sample("db_pool_exporter_targets_files{state=\"good\"}"), Some(1.0));

    drop_file(&files, "b.yml", &target("b"));
    let page = scrape_until(address, &up("b"), 1.0);
    assert_eq!((page.sample(refused), page.sample(success)), (None, Some(1.0)));
    let probes = "db_pool_probe_duration_seconds_count{target=\"b\"}";
    let before = scrape_until(address, &up("b"), 1.0).sample(probes).expect("it was probed");
    drop_file(&files, "b.yml", "targets: [");
    let page = scrape_until(address, refused, 1.0);
    assert!(page.sample(probes).is_some_and(|now| now >= before), "what it last had lives on");
    let answer = request(address, "POST", "/-/reload", &[]);
    assert!(answer.status == 500 && answer.body.contains("conf.d/b.yml"), "{}", answer.body);
    daemon.logged("what it last had stays");

    drop_file(&files, "c.yml", &target("a"));
    let log = daemon.logged("is also in conf.d/a.yml");
    assert!(log.contains("conf.d/c.yml"), "{log}");
    fs::remove_file(files.join("a.yml")).expect("it is there");
    // The file that was refused for its name has it now.
    wait_for("c.yml to be good", Duration::from_secs(10), || {
        let page = get(address, "/metrics");
        (page.sample("db_pool_exporter_targets_file_refused{file=\"conf.d/c.yml\"}").is_none()
            && page.sample(&up("a")).is_some())
        .then_some(())
    });
    fs::remove_file(files.join("b.yml")).expect("it is there");
    wait_for("b to be gone", Duration::from_secs(10), || {
        get(address, "/metrics").sample(probes).is_none().then_some(())
    });
}

#[test]
fn the_check_of_a_configuration_fails_for_a_broken_file_of_targets() {
    let folder = crate::support::workplace::folder("checked");
    fs::create_dir(folder.join("conf.d")).expect("the folder is writable");
    let main = folder.join("exporter.yml");
    fs::write(&main, "targets_from: conf.d/*.yml\n").expect("the folder is writable");
    drop_file(&folder.join("conf.d"), "x.yml", "targets: { x: {} }");
    let checked = Program::daemon().arg("--config.check").arg("--config.file").arg(&main).run();
    assert_eq!(checked.code, 64, "{}", checked.log);
    assert!(checked.log.contains("conf.d/x.yml: targets.x.url: is missing"), "{}", checked.log);
}

/// A file with a thousand targets of as many servers, where nobody listens; the first one has another label.
fn thousand(label: &str) -> String {
    let mut text = "defaults: { interval: 10s, metrics: lean, views: { activity: false, limits: false, databases: false } }\ntargets:\n".to_owned();
    for n in 0..1_000 {
        let label = if n == 0 { label } else { "same" };
        let host = format!("127.0.{}.{}", n / 250, n % 250 + 1);
        text.push_str(&format!(
            "  t{n:04}: {{ url: 'postgresql://u@{host}:1/d{n}?sslmode=disable', labels: {{ l: {label} }} }}\n"
        ));
    }
    text
}

#[test]
fn a_reload_of_a_thousand_targets_keeps_all_that_did_not_change_and_no_scrape_waits() {
    let file = crate::support::workplace::folder("thousand").join("exporter.yml");
    fs::write(&file, thousand("before")).expect("the folder is writable");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    let page = "/metrics?name[]=db_pool_probe_duration_seconds_count&name[]=db_pool_target_info";
    let counts = || {
        let answer = get(address, page).body;
        let samples = answer.lines().filter_map(|line| {
            let rest = line.strip_prefix("db_pool_probe_duration_seconds_count{target=\"")?;
            let (name, count) = rest.split_once("\"} ")?;
            Some((name.to_owned(), count.parse::<f64>().ok()?))
        });
        (samples.collect::<std::collections::BTreeMap<_, _>>(), answer)
    };
    let before = wait_for("all to be probed", Duration::from_secs(60), || {
        let (counts, _) = counts();
        (counts.len() == 1_000 && counts.values().all(|count| *count >= 1.0)).then_some(counts)
    });
    fs::write(&file, thousand("after")).expect("the folder is writable");
    daemon.signal(Signal::HUP);
    let mut slowest = Duration::ZERO;
    let after = wait_for("the reload", Duration::from_secs(30), || {
        let start = Instant::now();
        assert_eq!(get(address, "/-/healthy").status, 200);
        slowest = slowest.max(start.elapsed());
        let (counts, answer) = counts();
        answer.contains("target=\"t0000\",host=\"127.0.0.1\",database=\"d0\"").then_some(())?;
        answer.contains("l=\"after\"").then_some(counts)
    });
    println!("slowest answer during the reload: {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let kept = before.iter().filter(|(name, count)| {
        *name != "t0000" && after.get(*name).is_some_and(|now| now >= *count)
    });
    assert_eq!(kept.count(), 999);
    assert!(after.get("t0000").is_none_or(|count| *count < 1.0), "it began anew");
    daemon.logged("configuration reloaded");
}
