//! Tests of the test harness: the properties that the other tests rely on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::scripted::{Script, Server, Unreachable};
use crate::support::workplace::{self, processes_below};
use crate::support::{free_port, installed, wait_for};

#[tokio::test]
async fn a_cluster_answers_its_superuser_and_a_role_with_a_password() {
    let cluster = Cluster::start();
    cluster.role("monitor", "it's secret");
    assert_eq!(one(&cluster.admin().await).await, 1);
    assert_eq!(cluster.psql("SELECT 1, 2; SELECT 3"), "1|2\n3");

    let client = cluster.client("monitor", "it's secret").await;
    assert_eq!(one(&client.expect("the password is right")).await, 1);
    let refused = cluster.client("monitor", "wrong").await.err();
    let refused = refused.expect("the password is wrong");
    assert_eq!(refused.code().map(|code| code.code()), Some("28P01"));
}

#[test]
fn a_cluster_is_as_it_was_asked_for() {
    let cluster = Cluster::builder()
        .setting("max_connections", "20")
        .setting("log_line_prefix", "it's ")
        .hba("host all nobody 127.0.0.1/32 reject")
        .file("secret.key", "key")
        .start();
    assert_eq!(cluster.psql("SHOW max_connections"), "20");
    assert_eq!(cluster.psql("SHOW log_line_prefix"), "it's");
    let rules = cluster.psql("SELECT user_name, auth_method FROM pg_hba_file_rules");
    assert_eq!(rules, "{nobody}|reject\n{all}|trust\n{all}|scram-sha-256");
    assert_eq!(cluster.psql("SELECT pg_read_file('secret.key')"), "key");
    assert!(cluster.log().contains("it's LOG:"), "{}", cluster.log());

    cluster.psql("ALTER SYSTEM SET work_mem = '5MB'");
    cluster.reload();
    wait_for("the setting to be read", Duration::from_secs(10), || {
        (cluster.psql("SHOW work_mem") == "5MB").then_some(())
    });
}

#[test]
fn every_supported_version_starts_with_pg_stat_statements() {
    for major in 13..=18 {
        let cluster = Cluster::builder()
            .version(major)
            .setting("shared_preload_libraries", "pg_stat_statements")
            .start();
        assert_eq!(cluster.version(), major);
        let version = cluster.psql("SELECT current_setting('server_version_num')::int / 10000");
        assert_eq!(version, major.to_string());
        cluster.psql("CREATE EXTENSION pg_stat_statements");
        assert_ne!(cluster.psql("SELECT count(*) FROM pg_stat_statements"), "0");
    }
}

#[tokio::test]
async fn a_frozen_cluster_answers_nobody_until_it_is_thawed() {
    let cluster = Cluster::start();
    let client = cluster.admin().await;
    assert_eq!(one(&client).await, 1);

    cluster.freeze();
    let short = Duration::from_millis(300);
    let old = tokio::time::timeout(short, client.query_one("SELECT 1", &[])).await;
    assert!(old.is_err(), "an open session answered");
    let new = tokio::time::timeout(short, cluster.admin()).await;
    assert!(new.is_err(), "a new session began");
    TcpStream::connect(("127.0.0.1", cluster.port())).expect("the kernel still takes connections");

    cluster.thaw();
    assert_eq!(one(&client).await, 1);
    assert_eq!(one(&cluster.admin().await).await, 1);
}

#[tokio::test]
async fn a_stopped_cluster_refuses_and_comes_back_with_its_data() {
    let cluster = Cluster::start();
    cluster.psql("CREATE TABLE kept AS SELECT 7 AS n");
    let client = cluster.admin().await;

    cluster.stop();
    let error = TcpStream::connect(("127.0.0.1", cluster.port())).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    cluster.start_again();
    assert_eq!(cluster.psql("SELECT n FROM kept"), "7");

    cluster.restart();
    cluster.crash();
    cluster.start_again();
    assert_eq!(cluster.psql("SELECT n FROM kept"), "7");
}

#[test]
fn a_dropped_cluster_leaves_neither_files_nor_processes() {
    for frozen in [false, true] {
        let cluster = Cluster::start();
        let (folder, processes) = traces(&cluster);
        if frozen {
            cluster.freeze();
        }
        drop(cluster);
        assert_gone(&folder, &processes);
    }
}

#[test]
fn a_panic_takes_the_cluster_with_it() {
    let cluster = Cluster::start();
    let (folder, processes) = traces(&cluster);
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let _cluster = cluster;
        std::panic::resume_unwind(Box::new("a test has failed"));
    }));
    assert!(outcome.is_err());
    assert_gone(&folder, &processes);
}

/// Runs this test in a second process, which creates a frozen cluster and is then killed.
#[test]
fn a_killed_test_program_takes_its_clusters_with_it() {
    const NAME: &str = "harness::a_killed_test_program_takes_its_clusters_with_it";
    if let Some(report) = std::env::var_os("HARNESS_HOLDS_A_CLUSTER") {
        let cluster = Cluster::start();
        cluster.freeze();
        let root = workplace::root().to_str().expect("plain characters");
        std::fs::write(report, format!("{root}\n")).expect("the folder is the parent's");
        loop {
            std::thread::park();
        }
    }
    let folder = workplace::folder("killed");
    let report = folder.join("report");
    let mut holder = Command::new(std::env::current_exe().expect("it is running"))
        .args(["--exact", NAME])
        .env("HARNESS_HOLDS_A_CLUSTER", &report)
        .current_dir(&folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be run again");
    let root = wait_for("the second process's cluster", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&report).ok()?;
        text.strip_suffix('\n').map(PathBuf::from)
    });
    let processes = processes_below(&root);
    assert!(processes.len() > 3, "a server has several processes");

    holder.kill().expect("it is a child of ours");
    holder.wait().expect("it is a child of ours");
    wait_for("the watchdog to clear", Duration::from_secs(20), || (!root.exists()).then_some(()));
    assert_gone(&root, &processes);
}

#[test]
fn a_free_port_is_given_once() {
    let (one, other) = (free_port(), free_port());
    assert_ne!(one, other);
    let error = TcpStream::connect(("127.0.0.1", one)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_program_tells_its_address_its_log_and_its_end() {
    let mut program =
        Program::at(installed(&["python"])).env("GREETING", "hello").arg("-c").arg(PROGRAM).start();
    let address = program.address();
    assert_eq!(program.logged("listening"), format!("listening {address}"));
    assert_eq!(program.output(), "hello None\n");
    assert!(processes_below(program.folder()).contains(&program.pid()));
    assert_eq!(program.terminate().code(), Some(3));
}

const PROGRAM: &str = r#"
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
print(os.environ["GREETING"], os.environ.get("HOME"), flush=True)
server = socket.create_server(("127.0.0.1", 0))
print("listening %s:%d" % server.getsockname(), file=sys.stderr, flush=True)
while True: signal.pause()
"#;

#[test]
fn the_daemon_can_be_run() {
    let mut daemon = Program::daemon().arg("--version").start();
    assert!(daemon.end().success(), "{}", daemon.log());
}

#[test]
fn a_script_is_played_to_everyone_who_connects() {
    let server = Script::new()
        .read_startup()
        .send(*b"N")
        .pause(Duration::from_millis(1))
        .read_message()
        .send(*b"bye")
        .serve();
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    let query = *b"Q\0\0\0\x06;\0";
    for _ in 0..2 {
        let mut client = TcpStream::connect(server.address()).expect("it listens");
        client.write_all(&ssl_request).expect("it reads");
        let mut answer = [0];
        client.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"N");
        client.write_all(&query).expect("it reads");
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("it closes");
        assert_eq!(rest, "bye");
    }
    assert_eq!(server.accepted(), 2);
    let once = [ssl_request.to_vec(), query.to_vec()];
    assert_eq!(server.received(), [once.clone(), once].concat());
}

#[test]
fn a_script_can_reset() {
    let server = Script::new().read_startup().reset().serve();
    let mut client = TcpStream::connect(server.address()).expect("it listens");
    client.write_all(&[0, 0, 0, 4]).expect("it reads");
    let error = client.read(&mut [0]).expect_err("it resets");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_silent_server_takes_connections_and_says_nothing() {
    let server = Server::silent();
    let mut client = TcpStream::connect(server.address()).expect("it listens");
    client.write_all(b"anybody there?").expect("it reads");
    let patience = Some(Duration::from_millis(200));
    client.set_read_timeout(patience).expect("not zero");
    let error = client.read(&mut [0]).expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    drop(server);
    client.set_read_timeout(None).expect("always possible");
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn connecting_to_an_unreachable_server_hangs() {
    let server = Unreachable::start();
    let error = TcpStream::connect_timeout(&server.address(), Duration::from_millis(300));
    assert_eq!(error.expect_err("it hangs").kind(), ErrorKind::TimedOut);
}

async fn one(client: &tokio_postgres::Client) -> i32 {
    let row = client.query_one("SELECT 1", &[]).await;
    row.expect("the server answers").get(0)
}

/// Resources that must be gone at the end.
fn traces(cluster: &Cluster) -> (PathBuf, Vec<Pid>) {
    let processes = cluster.processes();
    assert!(processes.len() > 3, "a server has several processes");
    assert!(cluster.folder().join("data").is_dir());
    (cluster.folder().to_owned(), processes)
}

fn assert_gone(folder: &Path, processes: &[Pid]) {
    assert!(!folder.exists(), "{} is left", folder.display());
    // A killed process exists for a moment longer, until its parent has reaped it.
    wait_for("the processes to go", Duration::from_secs(5), || {
        processes.iter().all(|pid| test_kill_process(*pid).is_err()).then_some(())
    });
}
