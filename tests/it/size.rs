//! `size` against a real Prometheus, a live server, and by the rule of thumb.

mod fleet;
mod metrics;

use std::fs;
use std::path::Path;

use serde_json::Value;

use self::fleet::{FLEETS, SCRAPES, STEP};
use self::metrics::Past;
use crate::check::faults;
use crate::support::application::Application;
use crate::support::authority::{Authority, Leaf};
use crate::support::pools::{ROLE, cluster};
use crate::support::process::{Builder, Ended, Program};
use crate::support::{free_port, installed, wait_for, workplace};

/// A Prometheus with a past, and without anything to scrape.
struct Served {
    _program: Program,
    url: String,
}

fn prometheus(past: &Past) -> Served {
    let folder = workplace::folder("prometheus");
    past.write(&folder);
    serve(&folder, &[], "http")
}

fn serve(folder: &Path, more: &[String], scheme: &str) -> Served {
    let config = folder.join("prometheus.yml");
    fs::write(&config, "scrape_configs: []\n").expect("the folder is writable");
    let port = free_port();
    let mut program = Program::at(installed(&["prometheus"]))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error");
    for argument in more {
        program = program.arg(argument);
    }
    let mut program = program.start();
    let address = program.address();
    let url = format!("{scheme}://localhost:{}", address.port());
    if scheme == "http" {
        // It listens before it has read its storage.
        wait_for("Prometheus to be ready", std::time::Duration::from_secs(30), || {
            (crate::support::web::get(address, "/-/ready").status == 200).then_some(())
        });
    }
    Served { _program: program, url }
}

fn size() -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).arg("size")
}

impl Served {
    fn size(&self, target: &str) -> Builder {
        size().arg("--prometheus.url").arg(&self.url).arg("--target").arg(target)
    }

    fn json(&self, target: &str) -> (i32, Value) {
        let Ended { code, output, log } = self.size(target).arg("--format=json").run();
        let json: Value = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}{log}"));
        assert_eq!(json["exit_code"], code, "{output}");
        (code, json["pools"][0].clone())
    }
}

/// Of the exporter that watches `target`: eight processes of 20 + 10 on a server with 100 connections. Of twenty
/// scrapes 19 find 24 connections in use and one finds 40, so 24.8 on average: 620 check-outs in a second, held for
/// 40 ms.
fn by_hand(past: &mut Past, target: &str, values: impl Fn(usize) -> bool) {
    let server = format!("instance=\"exporter:9956\",job=\"db\",target=\"{target}\"");
    let pool = format!(
        "{server},application=\"orders-api\",database=\"orders\",source=\"endpoint\",user=\"app\""
    );
    let is_there = |n: usize, value: f64| values(n).then_some(value);
    let seconds = |n: usize| (n as f64 + 1.0) * f64::from(STEP);
    for (family, value) in [
        ("db_pool_up", 1.0),
        ("db_pool_server_max_connections", 100.0),
        ("db_pool_server_superuser_reserved_connections", 3.0),
        ("db_pool_server_reserved_connections", 0.0),
        ("db_pool_server_used_connections", 164.0),
    ] {
        past.add(family, &server, |n| is_there(n, value));
    }
    past.add("db_pool_sampled_seconds_total", &server, |n| is_there(n, seconds(n)));
    let active = |n: usize| if n % 20 == 19 { 40.0 } else { 24.0 };
    past.add("db_pool_app_active_connections", &pool, |n| is_there(n, active(n)));
    for (family, value) in [
        ("db_pool_app_active_connections_peak", 44.0),
        ("db_pool_app_open_connections", 160.0),
        ("db_pool_app_instances", 8.0),
        ("db_pool_app_instances_known", 1.0),
        ("db_pool_app_max_connections", 240.0),
        ("db_pool_app_size", 160.0),
        ("db_pool_app_pending_requests", 0.0),
        ("db_pool_app_oldest_wait_seconds", 0.0),
    ] {
        past.add(family, &pool, |n| is_there(n, value));
    }
    let sums: [(&str, f64); 5] = [
        ("db_pool_app_active_connection_seconds_total", 24.8),
        ("db_pool_app_saturated_seconds_total", 0.0),
        ("db_pool_app_checkouts_total", 620.0),
        ("db_pool_app_use_duration_seconds_sum", 24.8),
        ("db_pool_app_use_duration_seconds_count", 620.0),
    ];
    for (family, a_second) in sums {
        let labels = if family.contains("checkouts") {
            format!("{pool},result=\"ok\"")
        } else {
            pool.clone()
        };
        past.add(family, &labels, |n| is_there(n, seconds(n) * a_second));
    }
    let states = format!("{server},application=\"orders-api\",database=\"orders\",user=\"app\"");
    let states = |state: &str| format!("{states},state=\"{state}\"");
    past.add("db_pool_server_connections", &states("active"), |n| is_there(n, 9.0));
    past.add("db_pool_server_connections", &states("idle"), |n| is_there(n, 151.0));
    let waits = format!("{server},database=\"orders\",wait_event_type=\"Lock\"");
    past.add("db_pool_server_waiting_connections", &waits, |n| is_there(n, 3.0));
}

#[test]
fn a_prometheus_whose_right_answer_is_known_by_hand() {
    let last = SCRAPES as usize;
    let mut past = Past::default();
    by_hand(&mut past, "orders", |_| true);
    by_hand(&mut past, "young", |n| n + 10 * 60 > last);
    by_hand(&mut past, "down", |n| n + 30 < last);
    by_hand(&mut past, "was-down", |n| !(300..420).contains(&n));
    let server = prometheus(&past);

    let (code, orders) = server.json("orders");
    let (inputs, advice) = (&orders["inputs"], &orders["advice"]);
    assert_eq!((code, &orders["fit"]), (1, &"does_not_fit".into()), "{orders}");
    let near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap_or(f64::NAN);
        assert!((value - expected).abs() <= expected * 0.01, "{value} is not {expected}: {orders}");
    };
    near(&inputs["active"]["mean"], 24.8);
    near(&inputs["checkouts_per_second"], 620.0);
    near(&inputs["hold_seconds"], 0.04);
    assert_eq!((&inputs["active"]["p99"], &inputs["active_peak"]), (&40.into(), &44.into()));
    assert_eq!((&inputs["processes"], &inputs["pool_max"]), (&8.into(), &30.into()));
    assert_eq!(&inputs["on_cpu"]["p99"], &6, "9 are active, of which 3 wait");
    assert_eq!((&advice["may_open"], &advice["server_gives"]), (&240.into(), &93.into()));
    assert_eq!(
        (&advice["decided_by"], &advice["more_processes_now"]),
        (&"server".into(), &0.into())
    );
    // 24 connections for 95 % of the time and 40 for the rest, shared by chance (binomial): some one of 8 processes has
    // more than 8 for 3.5 % of the time, 12 or more for 0.12 %, 13 or more for 0.03 %. The server gives 93 / 8 = 11.
    let needs = &advice["needs_per_process"];
    assert_eq!((&needs["size"], &needs["max"]), (&8.into(), &13.into()), "{orders}");
    assert_eq!((&advice["db_pool_size"], &advice["db_max_overflow"]), (&8.into(), &3.into()));
    assert_eq!(&advice["is_enough"], &false, "{orders}");
    the_page_shows(&server.size("orders").run().output);
    let every = size().arg("--prometheus.url").arg(&server.url).arg("--format=json").run().output;
    assert_eq!(faults("docs/size.schema.json", &every), "", "{every}");
    assert_eq!(every.matches("\"advice\": null").count(), 3, "{every}");

    for (target, words) in [
        ("young", "there is data of 10.0 hours only"),
        ("down", "the exporter is down, or not scraped: its last sample is"),
        ("was-down", "the exporter was down, or not scraped, for 1."),
    ] {
        let Ended { code, output, .. } = server.size(target).run();
        assert!(code == 3 && output.contains(words), "{target}: {code} {output}");
        assert!(!output.contains("DB_POOL_SIZE="), "no advice: {output}");
        assert_eq!(server.json(target).1["advice"], Value::Null);
    }
    let Ended { code, log, .. } = server.size("nobody").run();
    assert!(code == 3 && log.contains("no application is known there"), "{code} {log}");
}

/// The sample output of docs/sizing.md is that of the program, but for the number of samples, which depends on how
/// long Prometheus took to start.
fn the_page_shows(output: &str) {
    let without_window = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("  window "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sizing.md");
    let mut text = fs::read_to_string(&page).expect("the page is there");
    let begin =
        "<!-- sample output: written by the test of `size` with UPDATE_SIZING=1 -->\n```text\n";
    let start = text.find(begin).expect("the page has a sample") + begin.len();
    let end = start + text[start..].find("```").expect("the sample ends");
    if std::env::var_os("UPDATE_SIZING").is_some() {
        text.replace_range(start..end, output);
        fs::write(&page, &text).expect("the page is written");
    } else {
        let (page, output) = (without_window(&text[start..end]), without_window(output));
        assert_eq!(page, output, "UPDATE_SIZING=1 cargo test --test it size::");
    }
}

#[test]
fn twenty_simulated_fleets() {
    let days: Vec<_> = FLEETS.iter().zip(1..).map(|(fleet, seed)| fleet.day(seed)).collect();
    let mut past = Past::default();
    FLEETS.iter().zip(&days).for_each(|(fleet, day)| past.fleet(fleet, day));
    let server = prometheus(&past);
    let mut wrong = Vec::new();
    let mut far = Vec::new();
    for (fleet, day) in FLEETS.iter().zip(&days) {
        let (code, pool) = server.json(fleet.name);
        let best = day.best();
        let expected = i32::from(!fleet.fits(day));
        if code != expected {
            wrong.push(format!("{}: {code} for {expected}: {pool}", fleet.name));
        }
        // Judged without the server's limit, which is another question.
        let needed = pool["advice"]["needs_per_process"]["max"].as_f64().unwrap_or(0.0);
        let distance = (needed - f64::from(best)).abs();
        if distance > (f64::from(best) / 5.0).max(1.0) {
            far.push(format!("{}: {needed} for {best}: {}", fleet.name, pool["advice"]));
        }
        println!("{}: needs {needed}, best {best}, exit {code}", fleet.name);
        let given = pool["advice"]["server_gives"].as_f64().unwrap_or(0.0);
        if let Some(max) = pool["advice"]["max_per_process"].as_f64() {
            assert!(max * f64::from(fleet.most) <= given, "the advice fits: {pool}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(far.len() <= 2, "{far:#?}");
}

#[test]
fn a_prometheus_with_tls_and_a_login() {
    let folder = workplace::folder("prometheus-tls");
    let authority = Authority::new("authority");
    let pair = authority.issue("server", &Leaf::default());
    let hash = bcrypt::hash("m0nitor", 4).expect("bcrypt works");
    let web = format!(
        "tls_server_config: {{ cert_file: {}, key_file: {} }}\nbasic_auth_users: {{ monitor: '{hash}' }}\n",
        pair.certificate.display(),
        pair.key.display()
    );
    let file = folder.join("web.yml");
    fs::write(&file, web).expect("the folder is writable");
    let server = serve(&folder, &[format!("--web.config.file={}", file.display())], "https");
    let secret = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).expect("the folder is writable");
        file
    };
    let (right, wrong) = (secret("right", "m0nitor"), secret("wrong", "s3cr3t"));
    let ca = authority.certificate();
    let ask = |password: &Path, ca: Option<&Path>| {
        let mut builder = server.size("orders").arg("--prometheus.username=monitor");
        builder = builder.arg("--prometheus.password-file").arg(password);
        if let Some(ca) = ca {
            builder = builder.arg("--prometheus.ca-file").arg(ca);
        }
        let Ended { code, log, output } = builder.run();
        assert_eq!((code, output.as_str()), (3, ""), "{log}");
        log
    };
    wait_for("Prometheus to answer", std::time::Duration::from_secs(30), || {
        ask(&right, Some(ca.as_ref())).contains("no application is known").then_some(())
    });
    let refused = ask(&wrong, Some(ca.as_ref()));
    assert!(
        refused.contains("login was refused (401)") && !refused.contains("s3cr3t"),
        "{refused}"
    );
    let distrusted = ask(&right, None);
    assert!(distrusted.contains("TLS failed"), "{distrusted}");
}

#[test]
fn a_short_look_at_a_live_server() {
    let cluster = cluster();
    let mut app = Application::start(&cluster, ROLE, "shop");
    app.tell("hold 3");
    let command = |max: u32| {
        size()
            .arg("--for=10s")
            .env("DATABASE_URL", cluster.url(ROLE.0, "correct%20horse") + "?sslmode=disable")
            .env("DB_POOL_SIZE", "5")
            .env("DB_MAX_OVERFLOW", max.to_string())
            .env("DB_MONITOR_APPLICATION", "shop")
            .env("DB_MONITOR_INSTANCES", "1")
    };
    let Ended { code, output, log } = command(3).run();
    assert_eq!((code, log.as_str()), (0, ""), "{output}");
    for words in [
        "(shop, role app, database postgres): FITS",
        "1 process x (5 + 3) = 8 connections",
        "3.0 checked out on average, p99 3, peak 3",
        "a short look shows no busy hour",
        "\nDB_POOL_SIZE=3\n",
    ] {
        assert!(output.contains(words), "{words:?} is not in:\n{output}");
    }
    let Ended { code, output, .. } = command(1000).run();
    assert!(code == 1 && output.contains("DOES NOT FIT"), "{output}");
}

#[test]
fn the_rule_of_thumb_is_held_against_the_server() {
    let rule = || size().arg("--workers=4").arg("--connections-per-worker=5");
    let Ended { code, output, .. } = rule().run();
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("DB_POOL_SIZE=20\nDB_MAX_OVERFLOW=10\n"), "{output}");
    let cluster = cluster();
    let url = cluster.url(ROLE.0, "correct%20horse") + "?sslmode=disable";
    let asked =
        |processes: &str| rule().env("DATABASE_URL", &url).arg("--processes").arg(processes).run();
    let (one, many) = (asked("1"), asked("900"));
    assert_eq!((one.code, many.code), (0, 1), "{}{}", one.output, many.output);
    assert!(many.output.contains("900 processes x (20 + 10) = 27000"), "{}", many.output);
    let down = rule().env("DATABASE_URL", "postgresql://a@127.0.0.1:1/b").run();
    assert!(down.code == 3 && down.log.contains("refused"), "{}", down.log);
}

#[test]
fn what_is_no_prometheus_is_refused() {
    use crate::support::scripted::Script;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nLocation: http://x\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "",
    ] {
        let server =
            Script::new().pause(std::time::Duration::from_millis(100)).send(answer).serve();
        let url = format!("http://{}", server.address());
        let Ended { code, log, output } = size().arg("--prometheus.url").arg(url).run();
        assert_eq!((code, output.as_str()), (3, ""), "{answer:?}: {log}");
        assert!(log.starts_with("cannot size: "), "{answer:?}: {log}");
    }
}
