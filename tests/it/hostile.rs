//! Servers that send whatever they like: endless, huge or misleading answers, before the login and after.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use db_pool_exporter::dsn::{Address, Host};
use db_pool_exporter::pool::{AnswerLimit, ConnectError, Phase, Reason};

use crate::support::free_port;
use crate::support::pools::{SOON, cluster, connect, limits, pool};
use crate::support::process::Program;
use crate::support::scripted::{Script, Server};
use crate::support::wait_for;
use crate::support::web::{Answer, get};
use crate::support::workplace;

fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = declared(letter, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// The start of a message with a body of this length.
fn declared(letter: u8, body: usize) -> Vec<u8> {
    let length = u32::try_from(body + 4).expect("it fits");
    [&[letter][..], &length.to_be_bytes()].concat()
}

/// An error as a server sends it.
fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

fn accepted() -> Vec<u8> {
    message(b'R', &[0; 4])
}

fn ready() -> Vec<u8> {
    [accepted(), message(b'S', b"server_version\x0015.18\0"), message(b'Z', b"I")].concat()
}

/// A server that accepts the login and answers the first statement with this.
fn answering(script: impl FnOnce(Script) -> Script) -> Script {
    script(Script::new().read_startup().send(ready()).read_message())
}

/// What each server does, and the reason that it must get.
fn servers() -> Vec<(&'static str, Script, &'static str)> {
    let start = || Script::new().read_startup();
    let row = || message(b'D', &[&[0, 1, 0, 0, 0, 100][..], &[b'x'; 100]].concat());
    let columns = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    let notice = format!("SNOTICE\0VNOTICE\0C00000\0M{}\0\0", "x".repeat(8000));
    let notice = message(b'N', notice.as_bytes());
    let rounds = b"\0\0\0\x0br=x,s=c2FsdA==,i=2000000000".to_vec();
    vec![
        ("notices", start().send(accepted()).flood(notice.clone()), "too_large"),
        ("parameters", start().send(accepted()).flood(message(b'S', b"a\0b\0")), "too_large"),
        ("announced", start().send(declared(b'N', 2_000_000_000)).flood([0]), "too_large"),
        (
            "announced-late",
            start().send(accepted()).send(declared(b'N', 2_000_000_000)).flood([0]),
            "too_large",
        ),
        ("garbage", start().flood(*b"SSH-2.0-OpenSSH_9.2\r\n"), "not_postgres"),
        ("http", start().send(*b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not_postgres"),
        ("cut", start().send(&accepted()[..7]), "disconnected"),
        ("long-error", start().send(error("53300", &"x".repeat(60_000))), "too_many_connections"),
        (
            "rounds",
            start()
                .send(message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"))
                .read_message()
                .send(message(b'R', &rounds)),
            "auth",
        ),
        ("rows", answering(|s| s.send(columns.clone()).flood(row())), "too_large"),
        (
            "one-row",
            answering(|s| s.send(columns.clone()).send(declared(b'D', 1 << 30)).flood([0])),
            "too_large",
        ),
        ("late-notices", answering(|s| s.flood(notice)), "too_large"),
        ("late-parameters", answering(|s| s.flood(message(b'S', b"a\0b\0"))), "too_large"),
    ]
}

#[test]
fn whatever_servers_send_memory_stays_small_and_scrapes_are_quick() {
    let servers: Vec<(&str, Server, &str)> = servers()
        .into_iter()
        .map(|(name, script, reason)| (name, script.serve(), reason))
        .collect();
    let file = workplace::folder("hostile").join("exporter.yml");
    let mut text = "defaults: { interval: 1s }\ntargets:\n".to_owned();
    for (name, server, _) in &servers {
        let address = server.address();
        text += &format!("  {name}: {{ url: 'postgresql://app:x@{address}/d?sslmode=disable' }}\n");
    }
    fs::write(&file, text).expect("the folder is writable");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    let mut took = Vec::new();
    for (name, _, reason) in &servers {
        let failures = |answer: &Answer| {
            let failed = |probe: &str| {
                answer.sample(&format!(
                    "db_pool_probe_failures_total{{target=\"{name}\",probe=\"{probe}\",reason=\"{reason}\"}}"
                ))
            };
            failed("connect").or(failed("query")).unwrap_or_default()
        };
        wait_for(&format!("{name} to fail twice as {reason}"), Duration::from_secs(20), || {
            let answer = get(address, "/metrics");
            took.push(answer.took);
            (failures(&answer) >= 2.0).then_some(())
        });
    }
    took.sort();
    let process = procfs::process::Process::new(daemon.pid().as_raw_nonzero().get());
    let process = process.expect("it runs");
    let used = || {
        let stat = process.stat().expect("it runs");
        (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
    };
    // How long a scrape takes depends on what else this machine does; how much the daemon itself computes does not.
    // One server that keeps it busy for its whole probe would use a core. The start is left out: it is a burst.
    let (before, started) = (used(), Instant::now());
    thread::sleep(Duration::from_secs(4));
    let share = (used() - before) / started.elapsed().as_secs_f64();
    println!("{share:.2} of a core is used");
    assert!(share < 0.8, "{share} of a core is used");
    println!("{} scrapes: {:?} at most", took.len(), took[took.len() - 1]);
    assert!(took[took.len() / 2] < Duration::from_secs(1), "{took:?}");
    let most = process.status().expect("it runs").vmhwm.expect("the kernel counts it") / 1024;
    println!("{} hostile servers at once: {most} MB at most", servers.len());
    assert!(most < 64, "{most} MB");
    for page in ["/api/v1/targets", "/", "/metrics"] {
        let body = get(address, page).body;
        assert!(!body.contains(&"x".repeat(2000)), "{page} has the whole text of a server");
    }
    assert!(daemon.log().lines().all(|line| line.len() < 3000));
    let start = Instant::now();
    assert!(daemon.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_statement_has_the_limit_of_its_answer_and_a_real_server_is_cut_off() {
    let cluster = cluster();
    let pool = pool(connect(cluster.port()), limits(1, 0));
    for (sql, fits) in [
        ("SELECT repeat('x', 1000000)", true),
        ("SELECT repeat('x', 1100000)", false),
        ("SELECT generate_series(1, 9000)", true),
        ("SELECT generate_series(1, 10001)", false),
    ] {
        let mut held = pool.check_out().await.expect("it opens, also after one that was cut off");
        held.limit_answers(AnswerLimit::SMALL);
        let result = held.simple(sql, SOON).await;
        let error = result.err();
        assert_eq!(error.is_none(), fits, "{sql}: {error:?}");
        if let Some(error) = error {
            let reason = error.reason();
            assert_eq!(reason, Reason::TooLarge, "{error}");
            assert!(error.to_string().ends_with("the connection was closed"), "{error}");
        }
        assert_eq!(pool.state().open, 1);
    }
}

/// The error of a connect to these hosts.
async fn failure(hosts: &[u16]) -> ConnectError {
    let mut settings = connect(hosts[0]);
    let mut dsn = (*settings.dsn).clone();
    let host = |port: &u16| Host {
        address: Address::Name("127.0.0.1".to_owned()),
        hostaddr: None,
        port: Some(*port),
    };
    dsn.hosts = hosts.iter().map(host).collect();
    settings.dsn = Arc::new(dsn);
    pool(settings, limits(1, 0)).try_connect().await.expect_err("no host works")
}

#[tokio::test]
async fn every_host_is_reported_and_the_most_telling_gives_the_reason() {
    let full = Script::new().read_startup().send(error("53300", "sorry, too many clients")).serve();
    let (full, closed) = (full.address().port(), free_port());
    for hosts in [[full, closed], [closed, full]] {
        let error = failure(&hosts).await;
        let key = (error.phase, error.reason);
        assert_eq!(key, (Some(Phase::Startup), Reason::TooManyConnections));
        assert_eq!(
            error.to_string(),
            format!(
                "startup failed: sorry, too many clients (SQLSTATE 53300) (127.0.0.1:{full}, database \
                 postgres, role app); also tcp failed: Connection refused (os error 111) \
                 (127.0.0.1:{closed}) [refused]"
            )
        );
    }
}

#[tokio::test]
async fn what_poolers_and_strangers_answer_has_a_reason_of_its_own() {
    let cases = [
        (error("08P01", "unsupported startup parameter: options"), Reason::StartupParameter),
        (error("08P01", "no such database: x"), Reason::NoDatabase),
        (error("57P03", "the database system is shutting down"), Reason::ShuttingDown),
        (error("57P03", "the database system is not accepting connections"), Reason::NotAccepting),
        (error("57P03", "das Datenbanksystem startet"), Reason::StartingUp),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Reason::NotPostgres),
        (accepted()[..3].to_vec(), Reason::Disconnected),
        (Vec::new(), Reason::Disconnected),
        (b"Ecould not fork new process for connection: no memory\n\0".to_vec(), Reason::Other),
    ];
    for (answer, reason) in cases {
        let server = Script::new().read_startup().send(answer.clone()).serve();
        let error = failure(&[server.address().port()]).await;
        assert_eq!((error.phase, error.reason), (Some(Phase::Startup), reason), "{error}");
    }
    let pooling = "transaction blocks not allowed in statement pooling mode";
    let commands = "invalid command 'BEGIN', use SHOW HELP;";
    for (text, reason) in [(pooling, Reason::StatementPooling), (commands, Reason::WrongKind)] {
        let server = answering(|script| script.send(error("08P01", text))).serve();
        let pool = pool(connect(server.address().port()), limits(1, 0));
        let mut held = pool.check_out().await.expect("it is let in");
        let error = held.simple("BEGIN", SOON).await.expect_err("it is refused");
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test]
async fn a_database_that_allows_no_connections_and_a_dropped_role_have_reasons_of_their_own() {
    let cluster = cluster();
    cluster.psql("CREATE DATABASE closed ALLOW_CONNECTIONS false");
    let mut settings = connect(cluster.port());
    let mut dsn = (*settings.dsn).clone();
    dsn.database = Some("closed".to_owned());
    settings.dsn = Arc::new(dsn);
    let error = pool(settings, limits(1, 0)).try_connect().await.expect_err("it is closed");
    assert_eq!(error.reason, Reason::NotAccepting, "{error}");

    let pool = pool(connect(cluster.port()), limits(1, 0));
    let mut held = pool.check_out().await.expect("it opens");
    cluster.psql("DROP ROLE app");
    let error = held.simple("SELECT current_user", SOON).await.expect_err("there is no role");
    assert_eq!(error.reason(), Reason::NoRole, "{error}");
}
