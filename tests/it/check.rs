//! `check` as text and as JSON, in each state of a target that people meet.
//!
//! | state | exit code | the report names |
//! | --- | --- | --- |
//! | healthy | 0 | the server's place, the application's pool, the headroom |
//! | exhausted | 1 at the first probe, 2 from the third | 8 of 8 checked out, and what to do |
//! | down | 2 | the phase tcp, the host and the port |
//! | silent | 2 | the phase startup, after tcp passed |
//! | full | 2 | the server's refusal at startup |
//! | wrong password | 2 | the role, and the variables that have the password |
//! | unprivileged | 0 | what the role cannot see |

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::application::Application;
use crate::support::pools::{ROLE, cluster};
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Ended, Program};
use crate::support::scripted::Server;
use crate::support::{installed, workplace};

const MONITOR: (&str, &str) = ("monitor", "m0nitor");

fn check(url: &str) -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("check")
        .env("DATABASE_URL", url)
        .env("DB_CONNECT_TIMEOUT", "2")
        .env("DB_MONITOR_TIMEOUT", "4")
        .env("DB_POOL_SIZE", "5")
        .env("DB_MAX_OVERFLOW", "3")
        .env("DB_MONITOR_APPLICATION", "shop")
        .env("DB_MONITOR_INSTANCES", "1")
}

fn url(cluster: &Cluster, (role, password): (&str, &str)) -> String {
    cluster.url(role, &password.replace(' ', "%20")) + "?sslmode=disable"
}

/// Runs `check` twice. Fails unless both reports have this exit code and each of these words, and the JSON is as
/// its schema has it. Returns the target's JSON.
fn both(builder: impl Fn() -> Builder, code: i32, words: &[&str]) -> Value {
    let text = builder().run();
    assert_eq!(text.code, code, "{}{}", text.output, text.log);
    for word in words {
        assert!(text.output.contains(word), "{word:?} is not in:\n{}", text.output);
    }
    let Ended { code: of_json, output, .. } = builder().arg("--format=json").run();
    assert_eq!(of_json, code, "{output}");
    assert_eq!(faults(SCHEMA, &output), "", "{output}");
    let json: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(json["exit_code"], code, "{output}");
    json["targets"][0].clone()
}

/// The schema of the reports.
const SCHEMA: &str = "docs/check.schema.json";

/// What is wrong with a report by its schema.
pub(crate) fn faults(schema: &str, report: &str) -> String {
    let file = workplace::folder("report").join("check.json");
    std::fs::write(&file, report).expect("the folder is writable");
    let program = Path::new(&installed(&["deploy"])).join("venv/bin/check-jsonschema");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(schema);
    let output = Command::new(program)
        .arg("--schemafile")
        .arg(schema)
        .arg(&file)
        .output()
        .expect("check-jsonschema runs");
    if output.status.success() {
        return String::new();
    }
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn hint(target: &Value, part: &str) -> String {
    let parts = target["parts"].as_array().expect("a list");
    let part = parts.iter().find(|known| known["part"] == part).expect("the part was tried");
    part["hint"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn healthy_and_exhausted_name_place_pool_and_headroom() {
    let cluster = cluster();
    cluster.role(MONITOR.0, MONITOR.1);
    cluster.psql("GRANT pg_read_all_stats TO monitor");
    let mut app = Application::start(&cluster, ROLE, "shop");
    app.tell("hold 2");
    let url = url(&cluster, MONITOR);
    let place = format!("127.0.0.1:{}, database postgres, role monitor", cluster.port());
    let words = [
        place.as_str(),
        "HEALTHY: 1 of 1",
        "pool of shop: 2 of 8 checked out, 2 open, 1 process",
        "connections left on the server (max_connections",
    ];
    let target = both(|| check(&url), 0, &words);
    assert_eq!((&target["usage"]["active"], &target["usage"]["max"]), (&2.into(), &8.into()));
    assert!(target["headroom"]["left"].as_u64() > Some(0), "{target}");
    assert_eq!((&target["role"], &target["notes"]), (&MONITOR.0.into(), &serde_json::json!([])));

    app.tell("hold 6");
    let words = ["DEGRADED", "8 of 8 checked out", "pool_saturation: shop:", "hint: see who holds"];
    both(|| check(&url), 1, &words);
    let several = || check(&url).arg("--samples=3").arg("--interval=0.2");
    let target = both(several, 2, &["UNHEALTHY", "no connection left: 8 of 8 in use"]);
    assert_eq!(target["checks"]["pool_saturation"]["status"], "fail");
    assert!(target["checks"]["pool_saturation"]["hint"].is_string(), "{target}");
}

#[test]
fn down_and_silent_name_the_phase_and_those_that_passed() {
    let cluster = cluster();
    let down = url(&cluster, ROLE);
    let port = cluster.port();
    cluster.stop();
    let place = format!("127.0.0.1:{port}, database postgres, role app");
    let words = ["UNHEALTHY: 0 of 1", place.as_str(), "tcp failed", "hint: nobody listens there"];
    let target = both(|| check(&down), 2, &words);
    assert_eq!(target["probe"]["connect"]["failed_phase"], "tcp");
    assert!(hint(&target, "query").contains("listen_addresses"), "{target}");

    let server = Server::silent();
    let silent = format!("postgresql://app@{}/orders?sslmode=disable", server.address());
    let words = ["startup failed: no answer within 2 s", "passed before: tcp ", "frozen"];
    let target = both(|| check(&silent), 2, &words);
    let connect = &target["probe"]["connect"];
    assert_eq!(connect["failed_phase"], "startup");
    assert!(connect["phases"]["tcp"].as_f64() > Some(0.0), "{connect}");
    assert_eq!(connect["phases"]["startup"], Value::Null, "{connect}");
}

#[test]
fn full_and_wrong_password_name_the_servers_refusal_and_the_remedy() {
    let cluster = Cluster::builder().setting("max_connections", "5").start();
    cluster.role(ROLE.0, ROLE.1);
    let right = url(&cluster, ROLE);
    let wrong = url(&cluster, (ROLE.0, "wr0ng"));
    let words = ["28P01", "role app", "hint: check the password (DB_PASSWORD, DATABASE_URL)"];
    let target = both(|| check(&wrong), 2, &words);
    assert_eq!(target["probe"]["connect"]["failed_phase"], "startup");
    assert!(!target.to_string().contains("wr0ng"), "{target}");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let held: Vec<_> = (0..2).map(|_| runtime.block_on(cluster.client_at_socket(ROLE.0))).collect();
    let words = ["SQLSTATE 53300", "passed before: tcp ", "put PgBouncer in between"];
    let target = both(|| check(&right), 2, &words);
    assert_eq!(target["parts"][0]["reason"], "too_many_connections", "{target}");
    drop(held);
}

#[test]
fn an_unprivileged_role_is_healthy_and_learns_what_it_cannot_see() {
    let cluster = cluster();
    cluster.role(MONITOR.0, MONITOR.1);
    let url = url(&cluster, MONITOR);
    let words = ["HEALTHY", "role monitor cannot see", "hint: GRANT pg_read_all_stats TO monitor"];
    let target = both(|| check(&url), 0, &words);
    assert_eq!(target["notes"][0]["hint"], "GRANT pg_read_all_stats TO monitor");
}

#[test]
fn targets_of_a_file_are_advised_with_the_files_keys() {
    let cluster = cluster();
    let folder = workplace::folder("file");
    let file = folder.join("config.yml");
    let url = url(&cluster, (ROLE.0, "wr0ng"));
    std::fs::write(&file, format!("targets:\n  orders:\n    url: \"{url}\"\n")).expect("written");
    let command = || {
        Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
            .arg("check")
            .arg("--config.file")
            .arg(&file)
    };
    let target = both(command, 2, &["orders: unhealthy", "`password`, `password_file`, `url`"]);
    let text = target.to_string();
    assert!(!text.contains("DB_") && !text.contains("DATABASE_URL"), "{text}");
}

#[test]
fn the_schema_refuses_a_report_without_a_hint() {
    let report = check("postgresql://app@127.0.0.1:1/orders").arg("--format=json").run().output;
    assert_eq!(faults(SCHEMA, &report), "");
    let mut json: Value = serde_json::from_str(&report).expect("JSON");
    let part = json["targets"][0]["parts"][0].as_object_mut().expect("a part");
    part.insert("hint".to_owned(), Value::Null);
    assert!(faults(SCHEMA, &json.to_string()).contains("hint"), "{report}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let colored = |flag: &str| {
        let output = check("postgresql://app@127.0.0.1:1/orders").arg(flag).run().output;
        output.contains('\u{1b}')
    };
    assert!(!colored("--color=auto") && !colored("--color=never") && colored("--color=always"));
}
