//! The same URLs for the real SQLAlchemy and for our parser.

use std::io::Write;
use std::process::{Command, Stdio};

use db_pool_exporter::dsn::{self, Dsn};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::checks::file;
use crate::support::installed;

const CASES: usize = 5_000;

/// Pieces with each character that one of the two grammars knows, right and wrong encodings among them.
fn text(separators: &'static [&'static str]) -> impl Strategy<Value = String> {
    let plain = vec![
        "a",
        "Z",
        "7",
        "-",
        "_",
        ".",
        "~",
        "é",
        "\u{1F511}",
        "%41",
        "%2F",
        "%3a",
        "%40",
        "%25",
        "%20",
        "%c3%a9",
        "%C3",
        "%ff",
        "%",
        "%2",
        "%zz",
        "%%41",
        "+",
        "*",
        "!",
        "'",
        " ",
        "\\",
        "\"",
        "#",
        ";",
    ];
    let pieces = [plain, separators.to_vec()].concat();
    vec(select(pieces), 0..7).prop_map(|pieces| pieces.concat())
}

fn url() -> impl Strategy<Value = String> {
    let user = text(&["@"]);
    let password = option::of(text(&["/", "?", ":", "&", "=", "[", "]"]));
    let host =
        select(vec!["db", "10.0.0.1", "[::1]", "", "a,b", "%64b", "h:5", "h:", "h:x", "a:1,b:2"]);
    let database = option::of(text(&["/", ":", "="]));
    let parameters = vec(
        (select(vec!["application_name", "options", "passfile"]), text(&["=", "/", "?", ":"])),
        0..3,
    );
    (user, password, host, database, parameters).prop_map(
        |(user, password, host, database, parameters)| {
            let password = password.map_or(String::new(), |password| format!(":{password}"));
            let database = database.map_or(String::new(), |database| format!("/{database}"));
            let query: Vec<String> =
                parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let query =
                if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
            format!("postgresql+asyncpg://{user}{password}@{host}{database}{query}")
        },
    )
}

/// The part of our result that can be compared.
fn ours(dsn: &Dsn) -> Value {
    let hosts: Vec<String> = dsn.hosts.iter().map(|host| host.show()).collect();
    let host = hosts.join(",").replace("localhost", "");
    json!({
        "user": dsn.user,
        "password": dsn.password.as_ref().map(|password| password.reveal()),
        "host": Some(host).filter(|host| !host.is_empty()),
        "port": dsn.hosts.first().and_then(|host| host.port),
        "database": dsn.database,
        "application_name": dsn.application_name,
        "options": dsn.options,
        "passfile": dsn.passfile.as_ref().map(|path| path.to_string_lossy()),
    })
}

/// SQLAlchemy's result in the same form; of a parameter that is given twice our last one counts.
fn theirs(url: &Value) -> Value {
    let mut url = url.clone();
    let query = url["query"].take();
    url.as_object_mut().expect("an object").remove("query");
    for name in ["application_name", "options", "passfile"] {
        let value = &query[name];
        url[name] = value.as_array().and_then(|all| all.last()).unwrap_or(value).clone();
    }
    url
}

/// What SQLAlchemy accepts and no server or driver can use, or what may be a mangled password.
const STRICTER: [&str; 6] = [
    "white space or a line break before or after the URL",
    "an `@`",
    "parameters begin with `?`",
    "is not decoded by SQLAlchemy",
    "must be a name of letters",
    "must be a number from 1 to 65535",
];

fn sqlalchemy(urls: &[String]) -> Vec<Value> {
    let mut child = Command::new(installed(&["python"]))
        .arg(file("tests/python/urls.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(json!(urls).to_string().as_bytes()).expect("Python reads");
    drop(input);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn urls_with_a_driver_mean_what_they_mean_to_sqlalchemy() {
    let mut runner = TestRunner::deterministic();
    let strategy = url();
    let mut next = || strategy.new_tree(&mut runner).expect("a text").current();
    let urls: Vec<String> = (0..CASES).map(|_| next()).collect();
    let mut same = 0;
    for (url, expected) in urls.iter().zip(sqlalchemy(&urls)) {
        match dsn::parse(url) {
            Ok(dsn) if expected.is_null() => panic!("{url} is refused by SQLAlchemy: {dsn}"),
            Ok(dsn) => {
                assert_eq!(ours(&dsn), theirs(&expected), "{url}");
                same += 1;
            }
            Err(_) if expected.is_null() => same += 1,
            Err(errors) => {
                let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let is_stricter =
                    |message: &String| STRICTER.iter().any(|rule| message.contains(rule));
                assert!(messages.iter().all(is_stricter), "{url}: {messages:?}, {expected}");
            }
        }
    }
    assert!(same > CASES / 2, "only {same} of {CASES} URLs were compared");
}
