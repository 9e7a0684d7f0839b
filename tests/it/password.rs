//! Passwords that change while a pool is in use, and servers that request passwords they must not get.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_pool_exporter::pool::{Credentials, PasswordCommand, PasswordSource, Reason};

use crate::support::client::{at_home, connect, pool};
use crate::support::postgres::Cluster;
use crate::support::scripted::{Script, Server};
use crate::support::{outside_address, workplace};

/// A password command that runs a shell script.
fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_password_that_changes_in_its_file_is_used_by_the_next_connect() {
    let cluster = Cluster::start();
    cluster.role("app", "first");
    let file = workplace::folder("secrets").join("password");
    fs::write(&file, "first\n").unwrap();
    let pool = pool(&url(&cluster, ""), from(PasswordSource::File(file.clone())));
    pool.try_connect().await.unwrap();
    let mut pooled = pool.check_out().await.unwrap();

    cluster.psql("ALTER ROLE app PASSWORD 'second'");
    assert_eq!(pool.try_connect().await.unwrap_err().reason, Reason::Auth);
    fs::write(&file, "second\n").unwrap();
    pool.try_connect().await.unwrap();
    let answer = pooled.simple("SELECT 1", Duration::from_secs(5)).await;
    assert!(answer.is_ok(), "an open connection goes on");
}

#[tokio::test]
async fn a_url_in_a_file_gives_its_password_anew() {
    let cluster = Cluster::start();
    cluster.role("app", "s@me:/%");
    let file = workplace::folder("secrets").join("url");
    let pool = pool(&url(&cluster, ""), from(PasswordSource::UrlFile(file.clone())));
    let error = pool.try_connect().await.unwrap_err();
    assert_eq!(error.reason, Reason::Auth, "there is no file yet");
    fs::write(&file, format!("{}\n", url(&cluster, ":s%40me:%2F%25"))).unwrap();
    pool.try_connect().await.unwrap();
    cluster.role("app-2", "short-lived");
    cluster.psql("DROP ROLE app");
    let renewed = url(&cluster, ":short-lived").replace("//app:", "//app-2:");
    fs::write(&file, format!("{renewed}\n")).unwrap();
    pool.try_connect().await.expect("the role comes with its password");
    fs::write(&file, "postgresql://app:s@me@db").unwrap();
    let error = pool.try_connect().await.unwrap_err().to_string();
    assert!(!error.contains("s@me"), "{error}");
}

#[tokio::test]
async fn a_token_is_kept_until_the_server_refuses_it() {
    let cluster = Cluster::start();
    cluster.role("app", "token-1");
    let folder = workplace::folder("secrets");
    let (token, runs) = (folder.join("token"), folder.join("runs"));
    fs::write(&token, "token-1\n").unwrap();
    let command = PasswordCommand {
        argv: shell(&format!("echo run >> {}; cat {}", runs.display(), token.display())),
        timeout: Duration::from_secs(5),
        keep: Duration::from_secs(600),
    };
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let pool = pool(&url(&cluster, ""), from(PasswordSource::Command(command)));
    for _ in 0..3 {
        pool.try_connect().await.unwrap();
    }
    assert_eq!(count(), 1);
    cluster.psql("ALTER ROLE app PASSWORD 'token-2'");
    fs::write(&token, "token-2\n").unwrap();
    assert_eq!(pool.try_connect().await.unwrap_err().reason, Reason::Auth, "the old token");
    pool.try_connect().await.unwrap();
    assert_eq!(count(), 2);
}

#[tokio::test]
async fn a_command_that_fails_is_reported_as_auth_without_its_words() {
    let cluster = Cluster::start();
    let command = PasswordCommand {
        argv: shell("echo hunter2 >&2; echo hunter2; exit 1"),
        timeout: Duration::from_secs(5),
        keep: Duration::ZERO,
    };
    let pool = pool(&url(&cluster, ""), from(PasswordSource::Command(command)));
    let error = pool.try_connect().await.unwrap_err();
    assert_eq!(error.reason, Reason::Auth);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn files_that_would_hang_are_refused_at_once_and_only_their_target_suffers() {
    let cluster = Cluster::start();
    cluster.role("app", "secret");
    let home = workplace::folder("home");
    // Opening a named pipe for reading waits for a writer.
    let pipe = home.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let hanging = pool(&url(&cluster, ""), from(PasswordSource::File(pipe.clone())));
    let certificate =
        format!("{}?sslmode=require&sslrootcert={}", url(&cluster, ""), pipe.display());
    let start = std::time::Instant::now();
    for _ in 0..20 {
        let error = hanging.try_connect().await.unwrap_err();
        assert_eq!(error.reason, Reason::Auth, "{error}");
        assert!(error.to_string().contains("is not a regular file"), "{error}");
        let error = connect(&certificate, &home).await.unwrap_err();
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let healthy = pool(&url(&cluster, ":secret"), Credentials::default());
    healthy.try_connect().await.unwrap();
}

#[tokio::test]
async fn a_password_file_at_home_is_used_if_nobody_else_can_read_it() {
    let cluster = Cluster::start();
    cluster.role("app", "se:cret");
    let home = workplace::folder("home");
    let file = home.join(".pgpass");
    let line = format!("127.0.0.1:{}:*:app:se\\:cret\n", cluster.port());
    fs::write(&file, format!("# mine\nother:*:*:*:wrong\n{line}")).unwrap();
    for (mode, expected) in [(0o600, true), (0o644, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let result = connect(&url(&cluster, ""), &home).await;
        assert_eq!(result.is_ok(), expected, "{mode:o}: {result:?}");
    }
    let named = home.join("named");
    fs::write(&named, line).unwrap();
    fs::set_permissions(&named, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("{}?passfile={}", url(&cluster, ""), named.display());
    connect(&url, &home).await.unwrap();
}

#[tokio::test]
async fn no_password_shows_in_a_log_or_an_error_wherever_it_comes_from() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::start();
    cluster.role("app", "unlike the others");
    let folder = workplace::folder("secrets");
    let (file, home) = (folder.join("password"), workplace::folder("home"));
    let line = format!("printf %s \"$(cat {})\"", file.display());
    for password in ODD {
        cluster.psql(&format!("ALTER ROLE app PASSWORD '{}'", password.replace('\'', "''")));
        let encoded = percent_encoded(password);
        fs::write(&file, password).unwrap();
        let command =
            |keep| PasswordCommand { argv: shell(&line), timeout: Duration::from_secs(5), keep };
        for is_right in [true, false] {
            let suffix = if is_right { "" } else { "x" };
            fs::write(&file, format!("{password}{suffix}")).unwrap();
            let pools = [
                pool(&url(&cluster, &format!(":{encoded}{suffix}")), at_home(&home)),
                pool(&url(&cluster, ""), from(PasswordSource::File(file.clone()))),
                pool(&url(&cluster, ""), from(PasswordSource::Command(command(Duration::ZERO)))),
            ];
            for pool in pools {
                let result = pool.try_connect().await;
                assert_eq!(result.is_ok(), is_right, "{password:?}");
                let logged = format!(
                    "{result:?} {}",
                    result.as_ref().err().map_or("".to_owned(), ToString::to_string)
                );
                log.0.lock().unwrap().extend_from_slice(logged.as_bytes());
            }
        }
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("password authentication failed"), "the failures are in the log");
    for password in ODD {
        assert!(!logged.contains(password), "{password:?} was logged");
        assert!(!logged.contains(&percent_encoded(password)), "{password:?} was logged, encoded");
    }
}

#[tokio::test]
async fn who_asks_for_the_password_in_clear_text_gets_nothing() {
    let asks = || {
        let asks = Script::new().read_startup().send(*b"N").read_startup();
        asks.send(AUTHENTICATION_CLEARTEXT).read_message().silence()
    };
    let listed = asks().serve();
    let error = refused(&listed, "require_auth=scram-sha-256").await;
    assert!(error.contains("require_auth"), "{error}");
    let Some(address) = outside_address() else {
        eprintln!("no address but the loopback's: the rule without require_auth is not tried");
        return;
    };
    let middle = asks().serve_on(address);
    for parameters in ["", "sslmode=prefer", "channel_binding=prefer"] {
        let error = refused(&middle, parameters).await;
        assert!(error.contains("neither encrypted nor local"), "{error}");
    }
}

/// Connects to a server that must get no password; returns the error's text.
async fn refused(server: &Server, parameters: &str) -> String {
    let url = format!("postgresql://app:hunter2@{}/x?{parameters}", server.address());
    let error = connect(&url, &workplace::folder("home")).await.expect_err("it asks for too much");
    assert_eq!(error.reason, Reason::Auth, "{error}");
    let received = server.received();
    let all: Vec<u8> = received.concat();
    assert!(!all.windows(7).any(|bytes| bytes == b"hunter2"), "the password was sent");
    assert_eq!(received.len() % 2, 0, "a request for TLS and a start-up each, no password message");
    error.to_string()
}

fn from(source: PasswordSource) -> Credentials {
    Credentials { source: Some(source), ..at_home(&workplace::folder("home")) }
}

/// The URL of `app`; `password` is empty, or a colon and the password.
fn url(cluster: &Cluster, password: &str) -> String {
    format!("postgresql://app{password}@127.0.0.1:{}/postgres", cluster.port())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const ODD: [&str; 20] = [
    "hunter2",
    "p@ss@word",
    "sl/ash:colon",
    "100%sure",
    "%41%42%43",
    "quo'te''s",
    "dou\"ble\"quotes",
    "back\\slash\\",
    " spaces around ",
    "tab\tulator",
    "new\nline",
    "question?mark=1",
    "hash#tag&more",
    "brackets[::1]",
    "$(echo shell)",
    "`back ticks`",
    "pässwörd-ß",
    "пароль-密码",
    "emoji-🐘-here",
    "semi;colon--x",
];

const AUTHENTICATION_CLEARTEXT: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
