//! The demo's day: which alerts a real Prometheus fires in which scene, and what it shows.
//!
//! | scene | must fire |
//! | --- | --- |
//! | calm | nothing |
//! | burst | the pool is saturated, full at times, exhausted |
//! | leak | idle in transaction, long transaction |
//! | slow | slow queries |
//! | restart | target down, connects fail, pools are not seen |
//! | two processes | more open than configured, number of processes unknown, role near its limit |

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::http;
use crate::support::checks::{file, succeeds};
use crate::support::process::{Builder, Program};
use crate::support::web::get;
use crate::support::{installed, wait_for};

/// The time for a whole day. `make demo-day` plays the day of five minutes.
fn length() -> String {
    std::env::var("DEMO_DAY").unwrap_or_else(|_| "60s".to_owned())
}

/// The limit for all rounds, of a long day too.
const PATIENCE: Duration = Duration::from_secs(1000);

/// The alerts that each scene must cause.
const SCRIPT: &[(&str, &[&str])] = &[
    ("calm", &[]),
    ("burst", &["DbPoolAppSaturated", "DbPoolAppFullAtTimes", "DbPoolAppExhausted"]),
    ("leak", &["DbPoolIdleInTransaction", "DbPoolLongTransaction"]),
    ("slow", &["DbPoolSlowQueries"]),
    ("restart", &["DbPoolTargetDown", "DbPoolConnectFailing", "DbPoolAppUnseen"]),
    (
        "two processes",
        &["DbPoolAppOvercommitted", "DbPoolAppInstancesUnknown", "DbPoolRoleLimitNear"],
    ),
];

fn demo() -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("demo")
        .arg("--web.listen-address=127.0.0.1:0")
}

/// The address of a program of the demo, from the line that it prints.
fn printed(demo: &Program, what: &str) -> SocketAddr {
    wait_for(what, Duration::from_secs(60), || {
        let log = demo.log();
        let line = log.lines().find(|line| line.trim_start().starts_with(what))?;
        line.split("http://").nth(1)?.split('/').next()?.parse().ok()
    })
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// The names of the alerts that fired between two times.
fn fired(prometheus: SocketAddr, start: f64, end: f64) -> BTreeSet<String> {
    let query = "ALERTS%7Balertstate%3D%22firing%22%7D"; // ALERTS{alertstate="firing"}
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=0.2");
    // HTTP/1.0, because a long answer is sent in chunks otherwise.
    let answer = http::send(prometheus, &format!("GET {path} HTTP/1.0\r\n\r\n")).json();
    let series = answer["data"]["result"].as_array().expect("an answer").clone();
    let names = series.iter().filter_map(|one| one["metric"]["alertname"].as_str());
    names.map(str::to_owned).collect()
}

/// The alerts of the script that have not fired in their scenes yet.
struct Watch<'d> {
    demo: &'d Program,
    prometheus: SocketAddr,
    missing: BTreeSet<(&'static str, &'static str)>,
    /// The number of scenes that have begun, the present one, and when it began.
    scene: (usize, &'static str, f64),
}

impl Watch<'_> {
    fn is_complete(&mut self) -> bool {
        let log = self.demo.log();
        assert!(!log.contains("demo: the alerts, by scene"), "{:?}\n{log}", self.missing);
        let names = SCRIPT.iter().map(|(name, _)| *name);
        let opens = |line: &str| names.clone().find(|name| line.contains(&format!("  {name}: ")));
        let begun: Vec<&str> = log.lines().filter_map(opens).collect();
        let (number, scene, since) = self.scene;
        if begun.len() > number {
            if scene == "calm" && number == 1 {
                self.nothing_fired(since);
            }
            let scene = begun.last().expect("one has begun");
            self.scene = (begun.len(), scene, now());
        } else if number > 0 {
            let fired = fired(self.prometheus, since, now());
            self.missing.retain(|(of, alert)| *of != scene || !fired.contains(*alert));
        }
        self.missing.is_empty()
    }

    /// The alerts about the application were silent since then.
    fn nothing_fired(&self, since: f64) {
        let words = ["DbPoolApp", "DbPoolIdle", "DbPoolLong", "DbPoolSlow"];
        let mut fired = fired(self.prometheus, since, now());
        fired.retain(|alert| words.iter().any(|word| alert.starts_with(word)));
        assert_eq!(fired, BTreeSet::new(), "in calm");
    }
}

/// A day is short here. Where the machine is so busy that a scene passes without its alert, the next round may
/// bring it.
#[test]
fn each_alert_of_the_application_fires_in_its_scene_and_none_while_it_is_calm() {
    let mut demo = demo().arg("--duration").arg(length()).arg("--rounds=3").start();
    let prometheus = printed(&demo, "Prometheus");
    let began = now();
    let alerts = |(scene, alerts): &(&'static str, &'static [&'static str])| {
        let scene = *scene;
        alerts.iter().map(move |alert| (scene, *alert))
    };
    let missing = SCRIPT.iter().flat_map(alerts).collect();
    let mut watch = Watch { demo: &demo, prometheus, missing, scene: (0, "", began) };
    wait_for("every alert in its scene", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        watch.is_complete().then_some(())
    });
    every_panel_shows_something(prometheus, began);
    demo.signal(Signal::INT);
    assert!(demo.end().success(), "{}", demo.log());
    the_demo_says_the_same(&demo.log());
}

/// Runs each query of each panel of each dashboard, for all applications and for each of them.
fn every_panel_shows_something(prometheus: SocketAddr, began: f64) {
    let url = format!("http://{prometheus}");
    let script = file("tests/monitoring/evaluate.py");
    let words = [script, "--demo".to_owned(), url, began.to_string(), now().to_string()];
    succeeds(&installed(&["python"]), words);
}

/// The demo's own table agrees.
fn the_demo_says_the_same(log: &str) {
    let table = log.split("demo: the alerts, by scene").nth(1).expect("a table at the end");
    assert!(table.lines().any(|line| line.starts_with("  calm           none")), "{table}");
    let expected: usize = SCRIPT.iter().map(|(_, alerts)| alerts.len()).sum();
    let rows: Vec<_> = table.lines().filter(|line| line.contains(" yes ")).collect();
    assert_eq!(rows.len(), expected, "{table}");
    assert!(rows.iter().all(|row| row.contains("after")), "{table}");
}

#[test]
fn the_demo_explains_a_port_that_is_taken_and_starts_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let ended = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("demo")
        .arg(format!("--web.listen-address={address}"))
        .run();
    assert_eq!(ended.code, 1);
    assert!(ended.log.contains(&address) && ended.log.contains("in use"), "{}", ended.log);
    assert!(ended.log.contains("--web.listen-address"), "{}", ended.log);
    assert!(!ended.log.contains("PostgreSQL"), "{}", ended.log);
}

#[test]
fn an_application_of_the_demo_ends_when_the_demo_is_killed() {
    let mut demo = demo().arg("--scenario=calm").start();
    let address = printed(&demo, "metrics");
    let open = "db_pool_app_open_connections{target=\"default\",database=\"sentinelops\",\
                user=\"sentinelops\",application=\"shop\",source=\"activity\"}";
    let found = wait_for("the shop's sessions", Duration::from_secs(30), || {
        get(address, "/metrics").sample(open).filter(|open| *open > 0.0)
    });
    assert!(found >= 1.0);
    let children = children(&demo);
    let applications: Vec<_> =
        children.iter().filter(|(_, words)| words.ends_with("db_pool_exporter demo")).collect();
    assert!(applications.len() >= 2, "{children:?}");
    let folder = format!("db_pool_exporter-demo-{}-", demo.pid().as_raw_nonzero());
    demo.signal(Signal::KILL);
    demo.end();
    wait_for("the applications to end", Duration::from_secs(10), || {
        let is_gone = |pid: &i32| procfs::process::Process::new(*pid).is_err();
        applications.iter().all(|(pid, _)| is_gone(pid)).then_some(())
    });
    // What a killed demo cannot end itself: the servers, also those that started after the look above.
    for (pid, words) in of_folder(&folder) {
        let end = if words.contains("postgres ") { Signal::QUIT } else { Signal::TERM };
        let _ = rustix::process::kill_process(pid, end);
    }
    wait_for("the servers to end", Duration::from_secs(10), || {
        of_folder(&folder).is_empty().then_some(())
    });
    for entry in fs::read_dir(std::env::temp_dir()).expect("it is there").flatten() {
        if entry.file_name().to_string_lossy().starts_with(&folder) {
            fs::remove_dir_all(entry.path()).expect("nobody uses it any more");
        }
    }
}

/// Processes with a demo's folder in their command lines.
fn of_folder(folder: &str) -> Vec<(rustix::process::Pid, String)> {
    let all = procfs::process::all_processes().expect("/proc").flatten();
    let words = all.map(|process| (process.pid, process.cmdline().unwrap_or_default().join(" ")));
    let own = words.filter(|(_, words)| words.contains(folder));
    own.filter_map(|(pid, words)| Some((rustix::process::Pid::from_raw(pid)?, words))).collect()
}

/// The direct children of the demo, with their command lines.
fn children(demo: &Program) -> Vec<(i32, String)> {
    let parent = demo.pid().as_raw_nonzero().get();
    let all = procfs::process::all_processes().expect("/proc").flatten();
    let own = all.filter(|process| process.stat().is_ok_and(|stat| stat.ppid == parent));
    own.map(|process| (process.pid, process.cmdline().unwrap_or_default().join(" "))).collect()
}
