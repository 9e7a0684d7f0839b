//! Polls of scripted processes: what a real application cannot be made to answer.

use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::TaskTracker;

use super::*;
use crate::files::FileReader;
use crate::metrics::{Filter, Format, Page};

/// The answer that a process sends before it closes the connection.
#[derive(Clone)]
enum Script {
    Answer(Vec<u8>),
    Hang,
    /// Sends this, then blocks of zeros until the reader has gone away.
    Flood(&'static str),
}

fn answer(head: &str, body: &str) -> Script {
    let length = body.len();
    Script::Answer(
        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes(),
    )
}

fn ok(status: &Value) -> Script {
    answer("200 OK", &status.to_string())
}

/// The script and the last request of a process.
#[derive(Clone)]
struct Process {
    script: Arc<Mutex<Script>>,
    request: Arc<Mutex<String>>,
}

impl Process {
    fn new(script: Script) -> Self {
        Self { script: Arc::new(Mutex::new(script)), request: Arc::default() }
    }

    async fn web(script: Script) -> (Self, Endpoint) {
        let process = Self::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/status", listener.local_addr().unwrap());
        let own = process.clone();
        TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                TaskTracker::new().spawn(own.clone().serve(stream));
            }
        });
        (process, Endpoint::parse(&url).unwrap())
    }

    fn socket(path: &Path, script: Script) -> Self {
        let process = Self::new(script);
        let listener = UnixListener::bind(path).unwrap();
        let own = process.clone();
        TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                TaskTracker::new().spawn(own.clone().serve(stream));
            }
        });
        process
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_err() {
                return;
            }
            request.extend(byte);
        }
        *self.request.lock().unwrap() = String::from_utf8(request).unwrap();
        let script = self.script.lock().unwrap().clone();
        match script {
            Script::Answer(bytes) => drop(stream.write_all(&bytes).await),
            Script::Hang => pending().await,
            Script::Flood(head) => {
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b' '; 8192]).await.is_ok() {}
            }
        }
    }

    fn becomes(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn asked(&self) -> String {
        self.request.lock().unwrap().to_ascii_lowercase()
    }
}

fn settings(endpoints: Vec<Endpoint>) -> SourceSettings {
    SourceSettings {
        key: SourceKey { application: "shop".to_owned(), ..SourceKey::default() },
        name: Some("shop".to_owned()),
        endpoints,
        directory: None,
        pool: None,
        max_overflow: Some(2),
        timeout: Duration::from_millis(300),
        processes: 3,
        login: None,
        ca: None,
        files: FileReader::default(),
    }
}

/// A status as the Python library writes it; all its counters have one value.
fn status(instance: &str, started_at: f64, count: u64, active: u64) -> Value {
    let times = json!({"edges": [0.1], "counts": [count, 0], "sum": 0.0, "count": count});
    json!({"db_pool_status": {
        "schema_version": 1, "application": "shop", "pool_class": "QueuePool",
        "process": {"pid": 7, "started_at": started_at, "instance_id": instance},
        "limits": {"size": 3, "max_overflow": 2, "max_connections": 5},
        "now": {"checked_out": active, "idle": 0, "open": active, "connecting": 0, "overflow": 0,
                "waiting": 1, "oldest_wait_seconds": 0.5},
        "totals": {
            "checkouts": {"ok": count, "timeout": count, "error": count, "cancelled": count},
            "connects": count, "failed_connects": count, "disconnects": count, "closed": {"broken": count},
        },
        "histograms": {"checkout_wait_seconds": times},
    }})
}

/// Later than the start of any source in these tests.
const LATER: f64 = 1e11;

fn page(report: &SourceReport) -> String {
    let filter = Filter::default();
    let mut page = Page::new(Format::Text, &filter);
    page.live(READINGS, [("target=\"t\"", report)]);
    page.finish()
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_never_shown() {
    let negative = {
        let mut status = status("a", LATER, 1, 2);
        status["db_pool_status"]["now"]["waiting"] = json!(-3);
        ok(&status)
    };
    let cases = [
        (answer("500 Internal Server Error", "x"), "http", "answered 500"),
        (answer("401 Unauthorized", ""), "login", "the login was refused (401)"),
        (
            answer("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
            "redirect",
            "redirected (302); redirects are not followed",
        ),
        (answer("200 OK", "<html>"), "not_status", "the answer is no JSON object"),
        (
            answer("200 OK", "{}"),
            "not_status",
            "the answer has no field metrics.connections: it is no pool's status",
        ),
        (negative, "nonsense", "db_pool_status.now.waiting is not a whole number from 0"),
        (Script::Hang, "timeout", "no answer within 0.3 s"),
        (
            Script::Flood("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
            "too_large",
            "the answer is larger than 1 MiB",
        ),
        (Script::Flood("HTTP/1.1 200 OK\r\n\r\n"), "too_large", "the answer is larger than 1 MiB"),
        (Script::Flood("HTTP/1.1 200 OK\r\nX: "), "connect", "the answer is no HTTP"),
        (
            Script::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()),
            "connect",
            "the answer ended early",
        ),
        (Script::Answer(b"SSH-2.0\r\n".to_vec()), "connect", "the answer is no HTTP"),
        (Script::Answer(Vec::new()), "connect", "the connection ended before an answer"),
    ];
    for (script, reason, message) in cases {
        let (_, endpoint) = Process::web(script).await;
        let shown = endpoint.show();
        let report = Source::new(settings(vec![endpoint])).poll("t").await;
        assert_eq!(report.problems, [format!("{shown}: {message}")]);
        let complaint = format!("shop: {shown}: {message}; the server's view is shown instead");
        assert_eq!(report.complaint(), Some(complaint));
        let page = page(&report);
        assert!(page.contains(&format!("reason=\"{reason}\"}} 1\n")), "{page}");
        let kept = ["_up", "_endpoints_failing", "_endpoint_failures_total"];
        let others = page.lines().filter(|line| !line.starts_with('#'));
        let mut others = others.filter(|line| !kept.iter().any(|name| line.contains(name)));
        assert_eq!(others.next(), None);
    }
}

#[tokio::test]
async fn one_that_fails_takes_nothing_from_the_others() {
    let (_, good) = Process::web(ok(&status("a", LATER, 4, 5))).await;
    let (_, hangs) = Process::web(Script::Hang).await;
    let report = Source::new(settings(vec![hangs, good])).poll("t").await;
    assert_eq!((report.processes.len(), report.failed), (1, 1));
    let page = page(&report);
    for line in [
        "db_pool_app_up{target=\"t\",database=\"\",user=\"\",application=\"shop\",source=\"endpoint\"} 1\n",
        "source=\"endpoint\",result=\"timeout\"} 4\n",
        "source=\"endpoint\",reason=\"broken\"} 4\n",
        "db_pool_app_pending_requests{target=\"t\",database=\"\",user=\"\",application=\"shop\",source=\"endpoint\"} 1\n",
        "source=\"endpoint\",instance_id=\"a\"} 5\n",
        "db_pool_app_checkout_wait_seconds_count{target=\"t\",database=\"\",user=\"\",application=\"shop\",source=\"endpoint\"} 4\n",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn sums_go_on_when_a_process_is_replaced() {
    let (process, endpoint) = Process::web(ok(&status("a", 1.0, 1000, 1))).await;
    let source = Source::new(settings(vec![endpoint]));
    let connects = async || source.poll("t").await.totals.connects;
    assert_eq!(connects().await, Some(0), "counted before");
    process.becomes(ok(&status("a", 1.0, 1010, 1)));
    assert_eq!(connects().await, Some(10));
    process.becomes(Script::Hang);
    assert_eq!(connects().await, Some(10));
    process.becomes(ok(&status("b", LATER, 3, 1)));
    assert_eq!(connects().await, Some(13));
    process.becomes(ok(&status("b", LATER, 2, 1)));
    let report = source.poll("t").await;
    assert_eq!((report.totals.connects, report.is_up()), (Some(13), false));
    let fell = "a counter fell, although the process is the same";
    assert!(report.problems[0].ends_with(fell), "{:?}", report.problems);
}

#[tokio::test]
async fn two_addresses_of_one_process_and_one_of_several_are_reported() {
    let (_, first) = Process::web(ok(&status("a", 1.0, 1, 1))).await;
    let (balanced, second) = Process::web(ok(&status("a", 1.0, 1, 1))).await;
    let source = Source::new(settings(vec![first, second.clone()]));
    let report = source.poll("t").await;
    assert_eq!((report.processes.len(), report.failed), (1, 1));
    let same = format!("{}: another address answers for the same process", second.show());
    assert_eq!(report.problems, [same]);
    for instance in ["b", "c", "b"] {
        balanced.becomes(ok(&status(instance, 1.0, 1, 1)));
        source.poll("t").await;
    }
    let in_turn = format!(
        "{}: several processes answer in turn: use status_dir, or one address for each",
        second.show()
    );
    assert_eq!(source.report().unwrap().problems, [in_turn]);
}

#[tokio::test]
async fn the_sockets_of_a_directory_are_read_and_dead_ones_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let directory = SourceSettings {
        directory: Some(folder.path().to_owned()),
        pool: Some("shop".to_owned()),
        ..settings(Vec::new())
    };
    let source = Source::new(directory);
    let none = format!("no process of shop answers in {}", folder.path().display());
    assert_eq!(source.poll("t").await.problems, [none]);
    let first = Process::socket(&path("shop-1.sock"), ok(&status("a", 1.0, 1, 2)));
    Process::socket(&path("shop-2.sock"), ok(&status("b", 1.0, 1, 3)));
    Process::socket(&path("other-3.sock"), Script::Hang);
    drop(std::os::unix::net::UnixListener::bind(path("shop-4.sock")).unwrap());
    std::fs::remove_file(path("shop-4.sock")).unwrap();
    let report = source.poll("t").await;
    assert_eq!((report.problems.len(), report.sum(ProcessReport::active)), (0, Some(5)));
    assert!(first.asked().starts_with("get /api/v1/database/pool/status http/1.1\r\n"));
    // A process that was killed leaves its socket.
    drop(std::os::unix::net::UnixListener::bind(path("shop-5.sock")).unwrap());
    assert!(path("shop-5.sock").exists());
    let report = source.poll("t").await;
    assert_eq!((report.problems.len(), report.processes.len()), (0, 2));
    for n in 6..9 {
        Process::socket(&path(&format!("shop-{n}.sock")), Script::Hang);
    }
    let report = source.poll("t").await;
    let many = "6 processes, of which status_processes allows 3";
    assert_eq!(report.problems, [many]);
}

#[tokio::test]
async fn logins_come_from_files_and_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let (process, endpoint) = Process::web(answer("401 Unauthorized", "")).await;
    let bearer = Some(Login::Bearer(file.clone()));
    let source = Source::new(SourceSettings { login: bearer, ..settings(vec![endpoint.clone()]) });
    source.poll("t").await;
    assert!(process.asked().contains("authorization: bearer first\r\n"), "{}", process.asked());
    std::fs::write(&file, "second\n").unwrap();
    source.poll("t").await;
    assert!(process.asked().contains("authorization: bearer second\r\n"), "{}", process.asked());
    let basic = Some(Login::Basic { username: "u".to_owned(), password: file.clone() });
    Source::new(SourceSettings { login: basic.clone(), ..settings(vec![endpoint.clone()]) })
        .poll("t")
        .await;
    assert!(process.request.lock().unwrap().contains("Basic dTpzZWNvbmQ=\r\n"));
    std::fs::remove_file(&file).unwrap();
    let report =
        Source::new(SourceSettings { login: basic, ..settings(vec![endpoint]) }).poll("t").await;
    let missing = "status_password_file cannot be read: no such file";
    assert!(report.problems[0].ends_with(missing), "{:?}", report.problems);
}

#[tokio::test]
async fn the_specifications_status_is_read_with_the_configured_overflow() {
    let specification = json!({
        "metrics": {
            "connections": {"active": 4, "idle": 1, "total": 5, "overflow": -15, "failed": 0},
            "events": {"checkouts": 10, "connects": 5, "disconnects": 0},
        },
        "pool_config": {"size": 3},
    });
    let (process, endpoint) = Process::web(ok(&specification)).await;
    let shown = endpoint.show();
    let source = Source::new(settings(vec![endpoint]));
    source.poll("t").await;
    let mut later = specification.clone();
    later["metrics"]["events"]["checkouts"] = json!(12);
    process.becomes(ok(&later));
    let report = source.poll("t").await;
    let only = &report.processes[0];
    assert_eq!((only.instance.clone(), only.max, only.overflow()), (shown, Some(5), Some(0)));
    assert_eq!((report.waiting(), report.totals.checkouts.clone()), (None, vec![Some(2)]));
    let page = page(&report);
    assert!(!page.contains("pending_requests") && !page.contains("seconds_bucket"), "{page}");
}
