//! Odd passwords in every place where a password is allowed, right and wrong: no output of the program may contain one.
//! Every part of each password contains `zq`, which occurs nowhere else, so that a leaked part is found too.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db_pool_exporter::api::ROUTES;
use db_pool_exporter::web::Verb;

use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Program};
use crate::support::web::{get, request};
use crate::support::{free_port, wait_for, workplace};

const ODD: [&str; 22] = [
    "zq",
    "zqp@zqss@zqword",
    "zqsl/zqash:zqcolon",
    "100%zqsure",
    "%7a%71zq",
    "zqquo'zqte''zqs",
    "zqdou\"zqble\"zqquotes",
    "zqback\\zqslash\\zq",
    " zq spaces zqaround zq ",
    "zqtab\tzqulator",
    "zqnew\nzqline",
    "zqquestion?zqmark=zq1",
    "zqhash#zqtag&zqmore=zq",
    "zqbrackets[zq::1]zq",
    "$(zqecho zqshell)",
    "`zqback zqticks`",
    "zqpä%zqssw@zqörd-zqß",
    "zqпароль-zq密码",
    "zqemoji-🐘-zqhere",
    "zqsemi;zqcolon--zqx",
    "zqa,zqb=zqc@zqd:5432/zqe?zqf=zqg&zqh@zqi",
    "zq+zqplus{zqbrace}|zqpipe<zqtag>",
];

#[test]
fn nothing_that_a_daemon_says_has_a_password_in_it() {
    let cluster = Cluster::builder().setting("max_connections", "300").start();
    for (n, password) in ODD.iter().enumerate() {
        cluster.role(&format!("app{n}"), password);
    }
    for (is_right, format) in [(true, "logfmt"), (false, "json")] {
        let file = configuration(&cluster, is_right);
        let mut daemon = daemon(&file).arg(format!("--log.format={format}")).start();
        let address = daemon.address();
        wait_for("every target to be probed", Duration::from_secs(60), || {
            (get(address, "/-/ready").status == 200).then_some(())
        });
        let mut printed: Vec<String> = ROUTES
            .iter()
            .filter(|route| route.verb == Verb::Get)
            .map(|route| get(address, route.path).body)
            .collect();
        let metrics = get(address, "/metrics");
        let up = if is_right { targets(is_right).count() as f64 } else { 0.0 };
        assert_eq!(metrics.sum("db_pool_up"), up, "{}", daemon.log());
        fs::write(&file, "targets: { x: { url: 'postgresql://a:zqx@zqy@h', password: zqz } }")
            .expect("it is ours");
        printed.push(request(address, "POST", "/-/reload", &[]).body);
        daemon.logged("configuration not reloaded");
        printed.extend(ROUTES.iter().map(|route| get(address, route.path).body));
        daemon.terminate();
        let log = daemon.log();
        assert!(log.contains("SELECT 1") == is_right && log.contains("targets"), "{log}");
        printed.extend([metrics.body, log]);
        printed.iter().for_each(|text| is_clean(text));
    }
}

#[test]
fn nothing_that_a_subcommand_says_has_a_password_in_it() {
    let cluster = Cluster::builder().setting("max_connections", "300").start();
    for (n, password) in ODD.iter().enumerate() {
        cluster.role(&format!("app{n}"), password);
    }
    for is_right in [true, false] {
        let file = configuration(&cluster, is_right);
        for format in ["--format=table", "--format=json"] {
            let (code, printed) =
                ended(program("check").arg(format).arg("--config.file").arg(&file));
            assert_eq!(code, if is_right { 0 } else { 2 }, "{printed}");
            is_clean(&printed);
        }
        let (code, printed) = ended(program("config").arg("--config.file").arg(&file));
        assert_eq!(code, 0, "{printed}");
        is_clean(&printed);
    }
}

#[test]
fn nothing_that_is_said_of_a_bad_url_has_its_password_in_it() {
    for password in ODD {
        let encoded = percent_encoded(password);
        let urls = [
            password.to_owned(),
            format!("postgresql://app:{password}@127.0.0.1:1/x"),
            format!("postgresql+asyncpg://app:{password}@127.0.0.1:1/x?ssl=require"),
            format!("postgresql://app:{password}"),
            format!("postgresql://app:{password}@"),
            format!("mysql://app:{password}@127.0.0.1/x"),
            format!("host=127.0.0.1 port=1 password={password} user=app"),
            format!("host=127.0.0.1 password='{password}"),
            format!("{password} host=127.0.0.1"),
            format!("postgresql://app:{encoded}@127.0.0.1:x/%zz?sslmode=maybe&sslcrl=a"),
            format!("postgresql://app:{encoded}@127.0.0.1:1,127.0.0.1:2/x?hostaddr=1.1.1.1"),
            format!("postgresql://127.0.0.1:1/x?user=app&password={encoded}&nonsense=1"),
        ];
        for url in urls {
            let (code, printed) = ended(program("config").env("DATABASE_URL", &url));
            assert!([0, 64].contains(&code), "{code}: {printed}");
            is_clean(&printed);
        }
        let others = ["DB_PASSWORD", "DB_POOL_SIZE", "PGPASSWORD", "PGSSLMODE", "DB_PASSWORD_FILE"];
        for variable in others {
            let url = "postgresql://app@127.0.0.1:1/x";
            let builder = program("config").env("DATABASE_URL", url).env(variable, password);
            is_clean(&ended(builder).1);
        }
    }
}

/// Checks that a text has no password: neither plain nor percent-encoded, nor a part of one.
fn is_clean(text: &str) {
    let lower = text.to_lowercase();
    for mark in ["zq", "%7a%71", "z%71", "%7aq", "\\u007a"] {
        let line = lower.lines().find(|line| line.contains(mark));
        assert!(line.is_none(), "{mark:?} in {line:?}");
    }
}

fn program(subcommand: &str) -> Builder {
    Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).arg(subcommand).env("USER", "somebody")
}

fn daemon(file: &Path) -> Builder {
    Program::daemon().arg("--config.file").arg(file).arg("--log.level=trace")
}

/// A program's exit code and its whole output.
fn ended(builder: Builder) -> (i32, String) {
    let mut program = builder.start();
    let code = program.end().code().unwrap_or(-1);
    (code, program.output() + &program.log())
}

/// The names of the targets: the number of a password, and its place or its error.
fn targets(is_right: bool) -> impl Iterator<Item = (usize, &'static str)> {
    let kinds: &[&str] = match is_right {
        true => &["url", "text", "file", "command"],
        false => &["password", "port", "host", "database"],
    };
    (0..ODD.len()).flat_map(move |n| kinds.iter().map(move |kind| (n, *kind)))
}

/// Writes a configuration file with all these targets.
fn configuration(cluster: &Cluster, is_right: bool) -> PathBuf {
    let folder = workplace::folder("configuration");
    let mut text =
        "defaults: { interval: 60s, echo: true, pool: { echo: true } }\ntargets:\n".to_owned();
    let unused = free_port();
    for (n, kind) in targets(is_right) {
        let password = ODD[n];
        let secret = folder.join(format!("secret{n}"));
        fs::write(&secret, password).expect("the folder is ours");
        let encoded = percent_encoded(password);
        let place = format!("127.0.0.1:{}/postgres?sslmode=disable", cluster.port());
        let (login, place, rest) = match kind {
            "url" => (format!(":{encoded}"), place, String::new()),
            "text" => (String::new(), place, format!(", password: {}", quoted(password))),
            "file" => (String::new(), place, format!(", password_file: secret{n}")),
            "command" => {
                let line = format!("cat {}; echo zq >&2", secret.display());
                let command = format!("[/bin/sh, -c, '{line}', zqargument]");
                (String::new(), place, format!(", password_command: {{ command: {command} }}"))
            }
            "password" => (format!(":{encoded}x"), place, String::new()),
            "port" => (format!(":{encoded}"), format!("127.0.0.1:{unused}/x"), String::new()),
            "host" => (format!(":{encoded}"), "no-such-host.invalid/x".to_owned(), String::new()),
            _ => (format!(":{encoded}"), place.replace("postgres?", "none?"), String::new()),
        };
        let url = format!("postgresql+asyncpg://app{n}{login}@{place}");
        let _ = writeln!(text, "  {kind}-{n}: {{ url: '{url}'{rest} }}");
    }
    let file = folder.join("exporter.yml");
    fs::write(&file, text).expect("the folder is ours");
    file
}

/// Quotes a text for YAML; every JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
