//! The status that real applications serve, as the daemon shows it, against what the applications know themselves.
//!
//! DB_POOL_STATUS_SECONDS=60 compares for a minute; `--nocapture` prints the table.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{Answer, get};
use crate::support::authority::{Authority, Leaf};
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Program};
use crate::support::servers::{Server, Truth, WORKERS, Workers};
use crate::support::{pools, wait_for, workplace};

const SOON: Duration = Duration::from_secs(20);

/// A daemon that reads everything ten times a second.
fn daemon(cluster: &Cluster) -> Builder {
    Program::daemon()
        .env("DATABASE_URL", cluster.url(ROLE.0, &ROLE.1.replace(' ', "%20")))
        .env("DB_MONITOR_INTERVAL", "100ms")
        .env("DB_MONITOR_SLOW_QUERY_SAMPLING", "100ms")
}

fn labels(source: &str) -> String {
    format!(
        "{{target=\"default\",database=\"postgres\",user=\"app\",application=\"app\",source=\"{source}\""
    )
}

fn own(page: &Answer, name: &str) -> Option<f64> {
    page.sample(&format!("{name}{}}}", labels("endpoint")))
}

fn checkouts(page: &Answer, result: &str) -> Option<f64> {
    let labels = labels("endpoint");
    page.sample(&format!("db_pool_app_checkouts_total{labels},result=\"{result}\"}}"))
}

/// The same numbers as [`Truth`], as they are exported.
fn exported(page: &Answer) -> Option<Truth> {
    let number = |value: Option<f64>| value.and_then(|value| value.to_string().parse().ok());
    let gauge = |name| number(own(page, name));
    Some(Truth {
        active: gauge("db_pool_app_active_connections")?,
        idle: gauge("db_pool_app_idle_connections")?,
        overflow: gauge("db_pool_app_overflow_connections")?,
        asking: gauge("db_pool_app_pending_requests")?,
        ok: number(checkouts(page, "ok"))?,
        timeouts: number(checkouts(page, "timeout"))?,
        returned: gauge("db_pool_app_use_duration_seconds_count")?,
    })
}

/// Compares once in a time in which nothing happens in any worker, so that both sides must be equal.
fn compared(workers: &Workers, address: SocketAddr) -> Option<(Truth, Truth)> {
    let before = workers.truth()?;
    std::thread::sleep(Duration::from_millis(280));
    let page = get(address, "/metrics");
    let after = workers.truth()?;
    let inferred = format!("db_pool_app_active_connections{}", labels("activity"));
    assert!(!page.body.contains(&inferred), "both rows:\n{}", page.body);
    (before == after).then(|| (before, exported(&page).expect("all are exported")))
}

const COLUMNS: &str = "active  idle  overflow  waiting    ok  timeouts";

fn row(truth: &Truth) -> String {
    let Truth { active, idle, overflow, asking, ok, timeouts, .. } = truth;
    format!("{active:>6}  {idle:>4}  {overflow:>8}  {asking:>7}  {ok:>4}  {timeouts:>8}")
}

/// Counts the answers of clients: check-outs, and time-outs.
fn count(answers: &mut [u64; 2], clients: Vec<std::thread::JoinHandle<Option<u16>>>) {
    for client in clients {
        let code = client.join().expect("it does not panic").expect("an answer");
        answers[usize::from(code == 503)] += 1;
    }
}

fn each_second_is_equal(server: Server) {
    let seconds: usize = std::env::var("DB_POOL_STATUS_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let cluster = pools::cluster();
    let mut workers = Workers::start(server, &cluster);
    let mut daemon = daemon(&cluster).env("DB_MONITOR_STATUS_DIR", workers.pools()).start();
    let address = daemon.address();
    wait_for("all workers", SOON, || {
        let page = get(address, "/metrics");
        (own(&page, "db_pool_app_instances") == Some(WORKERS as f64)).then_some(())
    });
    println!("\n{server:?}\nsecond  {COLUMNS}  | the application: {COLUMNS}");
    let (mut waited, mut answers) = (0, [0_u64; 2]);
    let mut clients = Vec::new();
    let begun = Instant::now();
    for second in 1..=seconds {
        // A second of waiters, and then a second without them, in which all connections are in use.
        if clients.iter().all(std::thread::JoinHandle::is_finished) {
            count(&mut answers, std::mem::replace(&mut clients, workers.burst(40, 2.0)));
        }
        let (truth, shown) = wait_for("a steady moment", SOON, || compared(&workers, address));
        assert_eq!(truth, shown, "second {second}");
        waited += usize::from(truth.asking > 0);
        println!("{second:>6}  {}  | {}", row(&shown), row(&truth));
        let next = begun + Duration::from_secs(second as u64);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    count(&mut answers, clients);
    assert!(waited * 4 >= seconds, "waiters were seen in {waited} of {seconds}");
    let (_, shown) = wait_for("the end", SOON, || compared(&workers, address));
    assert_eq!([shown.ok, shown.timeouts], answers, "what the clients were answered");
    assert!(shown.timeouts > 0, "it saturated");
    // The pools' own status, over HTTP.
    let status = wait_for("the counters of the applications", SOON, || {
        let status = get(address, "/api/v1/database/pool/status").json();
        let events = &status["metrics"]["events"];
        let counted = [&events["checkouts"], &events["checkout_timeouts"]].map(|n| n.as_u64());
        (counted == answers.map(Some)).then_some(status)
    });
    assert_eq!(status["source"], "endpoint", "{status}");
    workers.wait(&BTreeSet::new());
}

#[test]
fn each_second_the_rows_are_what_fastapi_under_uvicorn_knows() {
    each_second_is_equal(Server::Uvicorn);
}

#[test]
fn each_second_the_rows_are_what_flask_under_gunicorn_knows() {
    each_second_is_equal(Server::Gunicorn);
}

#[test]
fn workers_that_are_killed_or_replaced_do_not_make_sums_fall() {
    let cluster = pools::cluster();
    let workers = Workers::start(Server::Gunicorn, &cluster);
    let mut daemon = daemon(&cluster).env("DB_MONITOR_STATUS_DIR", workers.pools()).start();
    let address = daemon.address();
    let until = |what: &str, fits: &dyn Fn(&Answer) -> bool| {
        wait_for(what, SOON, || Some(get(address, "/metrics")).filter(|page| fits(page)))
    };
    let instances = |page: &Answer| own(page, "db_pool_app_instances");
    let all = Some(WORKERS as f64);
    until("the workers", &|page| instances(page) == all);
    let served = |count: usize| {
        let codes = workers.burst(count, 0.0).into_iter().map(|client| client.join().unwrap());
        codes.filter(|code| *code == Some(200)).count() as f64
    };
    let mut expected = served(20);
    until("20 check-outs", &|page| checkouts(page, "ok") == Some(expected));
    // kill -9
    let before = workers.pids();
    workers.kill(*before.first().expect("a worker"));
    let after = wait_for("another worker", SOON, || {
        Some(workers.pids()).filter(|pids| pids.len() == WORKERS && *pids != before)
    });
    let page = until("the new worker", &|page| {
        instances(page) == all && checkouts(page, "ok") == Some(expected)
    });
    assert_eq!(own(&page, "db_pool_app_endpoints_failing"), Some(0.0));
    expected += served(20);
    until("40 check-outs", &|page| checkouts(page, "ok") == Some(expected));
    // All at once.
    let before = expected;
    let mut lowest = f64::INFINITY;
    workers.restart();
    wait_for("new workers", SOON, || {
        lowest = lowest.min(checkouts(&get(address, "/metrics"), "ok").unwrap_or(f64::INFINITY));
        let pids = workers.pids();
        (pids.len() == WORKERS && pids.is_disjoint(&after)).then_some(())
    });
    expected += served(20);
    let page = until("60 check-outs", &|page| {
        instances(page) == all && checkouts(page, "ok") == Some(expected)
    });
    assert!(lowest >= before, "the sum fell from {before} to {lowest}");
    assert_eq!(own(&page, "db_pool_app_up"), Some(1.0));
    // None is left: the sessions' view returns.
    let pids = workers.pids();
    drop(workers);
    let page = until("the fallback", &|page| own(page, "db_pool_app_up") == Some(0.0));
    assert_eq!(checkouts(&page, "ok"), Some(expected), "{pids:?}");
    until("the inferred row", &|page| {
        let inferred = format!("db_pool_app_open_connections{}}}", labels("activity"));
        page.sample(&inferred).is_some() && own(page, "db_pool_app_open_connections").is_none()
    });
    daemon.logged("the server's view is shown instead");
}

/// A process that takes a request and does this with the connection, for ever.
fn scripted(answer: fn(&mut TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                answer(&mut stream);
            });
        }
    });
    format!("http://{address}/status")
}

fn say(stream: &mut TcpStream, head: &str, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
}

/// A name, what the endpoint does, and what is reported.
type Fault = (&'static str, fn(&mut TcpStream), &'static str);

const FAULTS: [Fault; 6] = [
    ("hangs", |_| std::thread::sleep(Duration::from_secs(600)), "no answer within 0.5 s"),
    ("fails", |stream| say(stream, "500 Internal Server Error", "x"), "answered 500"),
    (
        "floods",
        |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            while stream.write_all(&[b' '; 65_536]).is_ok() {}
        },
        "the answer is larger than 1 MiB",
    ),
    ("html", |stream| say(stream, "200 OK", "<html>"), "the answer is no JSON object"),
    (
        "negative",
        |stream| {
            say(stream, "200 OK", r#"{"metrics": {"connections": {"active": -5, "idle": 1}}}"#)
        },
        "metrics.connections.active is not a whole number from 0",
    ),
    (
        "redirects",
        |stream| say(stream, "302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        "redirected (302); redirects are not followed",
    ),
];

#[test]
fn an_endpoint_that_lies_or_fails_is_a_warning_that_no_other_target_notices() {
    let cluster = pools::cluster();
    let url = cluster.url(ROLE.0, &ROLE.1.replace(' ', "%20"));
    let applications: String = FAULTS
        .iter()
        .map(|(name, fault, _)| {
            let address = scripted(*fault);
            format!("      {name}: {{ match: {{ application_name: {name} }}, status_urls: ['{address}'], status_timeout: 500ms }}\n")
        })
        .collect();
    let common = "interval: 500ms, slow_query_sampling: 100ms";
    let text = format!(
        "defaults: {{ {common} }}\ntargets:\n  other: {{ url: '{url}' }}\n  bad:\n    url: '{url}'\n    applications:\n{applications}"
    );
    let file = workplace::folder("endpoints").join("config.yml");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    std::thread::sleep(Duration::from_secs(8));
    let page = get(address, "/metrics");
    let health = get(address, "/api/v1/database/pool/health?target=bad").json();
    let check = &health["checks"]["endpoints"];
    assert_eq!(check["status"], "warn", "{health}");
    let message = check["message"].as_str().expect("a message");
    for (name, _, expected) in FAULTS {
        let line = message.split("; ").find(|line| line.starts_with(&format!("{name}: ")));
        println!("{}", line.unwrap_or_default());
        assert!(message.contains(expected), "{expected}: {message}");
        let up = format!(
            "db_pool_app_up{{target=\"bad\",database=\"postgres\",user=\"\",application=\"{name}\",source=\"endpoint\"}}"
        );
        assert_eq!(page.sample(&up), Some(0.0), "{name}\n{}", page.body);
    }
    assert!(
        !page.body.contains(
            "db_pool_app_active_connections{target=\"bad\",database=\"postgres\",user=\"\""
        )
    );
    // The probes of the other target, and of this one, were on time.
    let other = get(address, "/api/v1/database/pool/health?target=other").json();
    assert_eq!(other["status"], "healthy", "{other}");
    for target in ["other", "bad"] {
        let sample = |name: &str| page.sample(&format!("{name}{{target=\"{target}\"}}"));
        assert_eq!(sample("db_pool_up"), Some(1.0));
        assert_eq!(sample("db_pool_probes_missed_total"), Some(0.0), "{target}");
        let probes = sample("db_pool_probe_duration_seconds_count").expect("probes");
        let mean = sample("db_pool_probe_duration_seconds_sum").expect("probes") / probes;
        println!("{target}: {probes} probes, {:.1} ms each", mean * 1e3);
        assert!(probes >= 12.0, "{target}: {probes}");
    }
    let memory = page.sample("process_resident_memory_bytes").expect("it is shown");
    println!("{:.0} MiB", memory / 1048576.0);
    assert!(memory < 128.0 * 1048576.0, "{memory}");
}

/// The other daemon serves what the specification's application does: its fields alone, here over TLS with an
/// authority of its own and a login.
#[test]
fn the_specifications_endpoint_is_read_over_tls_with_its_own_authority_and_a_login() {
    let cluster = pools::cluster();
    let (authority, folder) = (Authority::new("authority"), workplace::folder("endpoint"));
    let pair = authority.issue("server", &Leaf::default());
    let hash = bcrypt::hash("correct", 4).expect("a hash");
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let web = format!(
        "tls_server_config: {{ cert_file: {certificate}, key_file: {key} }}\nbasic_auth_users: {{ monitor: '{hash}' }}\n"
    );
    let (web_file, password) = (folder.join("web.yml"), folder.join("password"));
    std::fs::write(&web_file, web).expect("the folder is ours");
    std::fs::write(&password, "correct\n").expect("the folder is ours");
    let mut application = daemon(&cluster).arg("--web.config.file").arg(&web_file).start();
    let status =
        format!("https://localhost:{}/api/v1/database/pool/status", application.address().port());
    let url = cluster.url(ROLE.0, &ROLE.1.replace(' ', "%20"));
    let login = format!("status_username: monitor, status_password_file: {}", password.display());
    let ca = authority.certificate();
    let text = format!(
        "defaults: {{ interval: 100ms, slow_query_sampling: 100ms }}\ntargets:\n  t:\n    url: '{url}'\n    applications:\n      \
         good: {{ status_urls: ['{status}'], status_ca: {}, {login} }}\n      \
         untrusted: {{ status_urls: ['{status}'], {login} }}\n      \
         anonymous: {{ status_urls: ['{status}'], status_ca: {} }}\n",
        ca.display(),
        ca.display()
    );
    let file = folder.join("config.yml");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut daemon = Program::daemon().arg("--config.file").arg(&file).start();
    let address = daemon.address();
    let own = |page: &Answer, name: &str, application: &str| {
        page.sample(&format!(
            "{name}{{target=\"t\",database=\"postgres\",user=\"app\",application=\"{application}\",source=\"endpoint\"}}"
        ))
    };
    let page = wait_for("the endpoint", SOON, || {
        Some(get(address, "/metrics"))
            .filter(|page| own(page, "db_pool_app_size", "good").is_some())
    });
    assert_eq!(own(&page, "db_pool_app_size", "good"), Some(20.0));
    assert_eq!(
        own(&page, "db_pool_app_max_connections", "good"),
        Some(30.0),
        "the overflow is configured"
    );
    assert_eq!(own(&page, "db_pool_app_pending_requests", "good"), None, "it does not say");
    let health = get(address, "/api/v1/database/pool/health").json();
    let message = health["checks"]["endpoints"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("the login was refused (401)"), "{message}");
    assert!(message.contains("untrusted: ") && message.contains("TLS failed: "), "{message}");
    assert!(!message.contains("good: "), "{message}");
}
