//! `/probe`: fresh probes of configured targets and of allowed addresses, and everything that it refuses.
//!
//! | case | answer | what must be true besides |
//! | --- | --- | --- |
//! | a configured target, up | 200, `db_pool_up 1` | the families of `/metrics`; its sessions are gone |
//! | an allowed address, up | 200, `db_pool_up 1` | label `target` is the address |
//! | wrong password, server down, silence | 200, `db_pool_up 0` | within the scrape's time |
//! | a hostile or forbidden target | 400, always the same text | not one byte to the host; not in the log |
//! | the client goes, the daemon stops | - | nothing stays open |
//! | two Prometheus servers at once | 200, `db_pool_up 1` each | never more than three sessions with the resident target's |
//! | more at once than allowed | 503, `Retry-After` | `/metrics` answers |

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use procfs::net::TcpState;
use rustix::process::Signal;

use crate::support::pools::{ROLE, cluster, sessions};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::scripted::Server;
use crate::support::web::{get, request, scrape_until};
use crate::support::{free_port, installed, nothing_may_happen_for, wait_for, workplace};

const SOON: Duration = Duration::from_secs(20);

/// A daemon with this configuration file.
fn daemon(text: &str, flags: &[&str]) -> (Program, SocketAddr) {
    let file = workplace::folder("configuration").join("exporter.yml");
    fs::write(&file, text).expect("the folder is writable");
    let builder = flags.iter().fold(Program::daemon(), |builder, flag| builder.arg(flag));
    let mut daemon = builder.arg("--log.level=debug").arg("--config.file").arg(&file).start();
    let address = daemon.address();
    (daemon, address)
}

/// A module of the role with these `allowed_targets`, in a file of its own.
fn module(name: &str, password: &str, allowed: &str) -> String {
    format!(
        "  {name}:\n    type: userpass\n    userpass: {{ username: {}, password: '{password}' }}\n    \
         timeout: 2s\n    allowed_targets: {allowed}\n",
        ROLE.0
    )
}

/// A target `orders` of the cluster, probed at this interval.
fn orders(cluster: &Cluster, interval: &str) -> String {
    let port = cluster.port();
    format!(
        "targets:\n  orders:\n    interval: {interval}\n    \
         url: 'postgresql://{}@127.0.0.1:{port}/postgres?sslmode=disable'\n    password: '{}'\n",
        ROLE.0, ROLE.1
    )
}

/// The daemon's connections to a port of this machine.
fn connections(daemon: &Program, port: u16) -> usize {
    let process =
        procfs::process::Process::new(daemon.pid().as_raw_nonzero().get()).expect("it runs");
    let is_open = |state: &TcpState| matches!(state, TcpState::Established | TcpState::SynSent);
    let entries = process.tcp().expect("a table").into_iter();
    // The table is the machine's: a port of a scripted server has no other clients.
    entries.filter(|e| e.remote_address.port() == port && is_open(&e.state)).count()
}

#[test]
fn hostile_targets_all_get_one_answer_and_nobody_is_connected_to() {
    let trap = TcpListener::bind("[::]:0").expect("a port is free, for IPv4 as well");
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    // Everything is allowed, but for what must be named: this machine, its link, metadata.
    let text = format!(
        "auth_modules:\n{}{}",
        module("all", ROLE.1, "['*:*', '0.0.0.0/0:*', '[::/0]:*']"),
        module("trap", ROLE.1, "['127.0.0.1:*']")
    );
    let (mut daemon, address) = daemon(&text, &[]);
    let enormous = format!("{}.example:{port}", "a".repeat(6_000));
    let targets = [
        "127.0.0.1:PORT",
        "localhost:PORT",
        "LOCALHOST:PORT",
        "127.1.2.3:PORT",
        "127.1:PORT",
        "2130706433:PORT",
        "0x7f000001:PORT",
        "0x7f.0.0.1:PORT",
        "0177.0.0.1:PORT",
        "017700000001:PORT",
        "0:PORT",
        "0.0.0.0:PORT",
        "[::]:PORT",
        "[::1]:PORT",
        "[::ffff:127.0.0.1]:PORT",
        "[::ffff:7f00:1]:PORT",
        "[::127.0.0.1]:PORT",
        "[64:ff9b::7f00:1]:PORT",
        "[2002:7f00:1::]:PORT",
        "[fe80::1%25lo]:PORT",
        "[fe80::1]:PORT",
        "169.254.169.254:PORT",
        "169.254.0.1:PORT",
        "[fd00:ec2::254]:PORT",
        "255.255.255.255:PORT",
        "224.0.0.1:PORT",
        "user@127.0.0.1:PORT",
        "user:password@127.0.0.1:PORT",
        "example.com%40127.0.0.1:PORT",
        "/run/postgresql",
        "%2Frun%2Fpostgresql",
        "@abstract",
        "postgresql:///postgres?host=/run/postgresql",
        "postgresql:///postgres?host=127.0.0.1%26port=PORT",
        "postgresql://127.0.0.1:PORT/postgres",
        "postgresql+asyncpg://127.0.0.1:PORT/postgres",
        "db.example?hostaddr=127.0.0.1%26port=PORT",
        "db.example:PORT/x?options=-csearch_path=x",
        "db.example:PORT/x?sslkey=/etc/passwd",
        "db.example:PORT/x?passfile=/etc/passwd",
        "db.example:PORT/x?service=x",
        "db.example:PORT/x?sslmode=disable",
        "127.0.0.1:PORT,db.example:PORT",
        "db.example,127.0.0.1:PORT",
        "host=127.0.0.1%20port=PORT",
        "host=127.0.0.1",
        "hostaddr=127.0.0.1%20port=PORT",
        "service=x",
        "127.0.0.1%00:PORT",
        "127.0.0.1%0a:PORT",
        "127.0.0.1:PORT%0d%0aX:%20y",
        "127.0.0.1.:PORT",
        "localhost.:PORT",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:PORT:PORT",
        "127%E3%80%820%E3%80%820%E3%80%821:PORT",
        "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:PORT",
        "b%C3%BCcher.example:PORT",
        "http://127.0.0.1:PORT/",
        "file:///etc/passwd",
        &enormous,
    ];
    let mut answers = BTreeSet::new();
    for target in targets {
        let target = target.replace("PORT", &port.to_string());
        let answer = get(address, &format!("/probe?auth_module=all&target={target}"));
        assert!(answer.took < Duration::from_secs(5), "{target} took {:?}", answer.took);
        assert!(!answer.body.contains(&port.to_string()), "{target} is repeated: {}", answer.body);
        answers.insert((answer.status, answer.body));
    }
    // The same without a module: none of them is a name of the configuration.
    for target in targets {
        let target = target.replace("PORT", &port.to_string());
        let answer = get(address, &format!("/probe?target={target}"));
        answers.insert((answer.status, answer.body));
    }
    let expected = "the target is not allowed: without auth_module it must be the name of a configured \
                    target, with auth_module an address of its allowed_targets\n";
    assert_eq!(answers, BTreeSet::from([(400, expected.to_owned())]));
    nothing_may_happen_for(Duration::from_millis(200));
    assert!(trap.accept().is_err(), "somebody was connected to");

    // The trap works: an allowed target is connected to.
    let answer = get(address, &format!("/probe?auth_module=trap&target=127.0.0.1:{port}"));
    assert_eq!((answer.status, answer.sample(&up(&format!("127.0.0.1:{port}")))), (200, Some(0.0)));
    assert!(trap.accept().is_ok());
    daemon.terminate();
    let log = daemon.log();
    for word in ["user:", "passwd", "2130706433", "db.example", "abstract"] {
        assert!(!log.contains(word), "{word} is in the log: {log}");
    }
}

fn up(target: &str) -> String {
    format!("db_pool_up{{target=\"{target}\"}}")
}

#[test]
fn requests_that_are_no_probes_are_refused_with_the_reason() {
    let text = format!("auth_modules:\n{}", module("app", ROLE.1, "[db]"));
    let (_daemon, address) = daemon(&text, &[]);
    let header = |value: &str| format!("X-Prometheus-Scrape-Timeout-Seconds: {value}");
    for (query, headers, words) in [
        ("", vec![], "target is missing"),
        ("?target=", vec![], "target is missing"),
        ("?target=a&target=b", vec![], "a parameter is given twice"),
        ("?target=db&auth_module=app&auth_module=app", vec![], "a parameter is given twice"),
        ("?target=db&auth_module=app&module=app", vec![], "auth_module and module are the same"),
        ("?target=db&auth_module=none", vec![], "unknown auth_module"),
        ("?target=db&module=none", vec![], "unknown auth_module"),
        ("?target=db&auth_module=app", vec![header("x")], "must be a number of seconds"),
        ("?target=db&auth_module=app", vec![header("0")], "must be a number of seconds"),
        ("?target=db&auth_module=app", vec![header("-3")], "must be a number of seconds"),
        (
            "?target=db&auth_module=app",
            vec![header("5"), header("9")],
            "must be a number of seconds",
        ),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = request(address, "GET", &format!("/probe{query}"), &headers);
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert!(answer.body.contains(words), "{query}: {}", answer.body);
    }
    assert_eq!(request(address, "POST", "/probe?target=db", &[]).status, 405);
    let (_daemon, address) = self::daemon("enabled: false\n", &[]);
    let answer = get(address, "/probe?target=default");
    assert_eq!((answer.status, answer.body.as_str()), (503, "Pool monitoring is disabled\n"));
}

/// The families of a page that have this target's label.
fn families(page: &str, target: &str) -> BTreeSet<String> {
    let label = format!("target=\"{target}\"");
    let samples = page.lines().filter(|line| !line.starts_with('#') && line.contains(&label));
    samples.filter_map(|line| line.split('{').next()).map(str::to_owned).collect()
}

#[test]
fn a_target_and_an_address_are_probed_afresh_and_nothing_stays_open() {
    let cluster = cluster();
    cluster.psql(&format!("GRANT pg_read_all_stats TO {}", ROLE.0));
    let text = orders(&cluster, "1s")
        + "auth_modules:\n"
        + &module("app", ROLE.1, "['127.0.0.1:*']")
        + &module("wrong", "a wrong one", "['127.0.0.1:*']");
    let (_daemon, address) = daemon(&text, &[]);
    let page = scrape_until(address, &up("orders"), 1.0);
    // The resident target keeps one session, and a second one for a moment at each probe.
    let resident = || {
        wait_for("the probes' sessions to end", SOON, || (sessions(&cluster) == 1).then_some(()));
    };
    resident();

    let named = get(address, "/probe?target=orders");
    assert_eq!((named.status, named.sample(&up("orders"))), (200, Some(1.0)), "{}", named.body);
    assert_eq!(named.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (fresh, all) = (families(&named.body, "orders"), families(&page.body, "orders"));
    let missing: Vec<_> = all.difference(&fresh).collect();
    let added: Vec<_> = fresh.difference(&all).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:?}, added: {added:?}");
    assert!(!named.body.contains("db_pool_exporter_build_info"), "only the target's own");
    let probes = "db_pool_probe_duration_seconds_count{target=\"orders\"}";
    assert_eq!(named.sample(probes), Some(1.0), "the counters of one probe");
    assert_eq!(get(address, "/probe?target=orders").sample(probes), Some(1.0));
    resident();

    let place = format!("127.0.0.1:{}/postgres", cluster.port());
    for target in [place.clone(), format!("postgresql://{place}")] {
        for parameter in ["auth_module", "module"] {
            let answer = get(address, &format!("/probe?target={target}&{parameter}=app"));
            assert_eq!((answer.status, answer.sample(&up(&place))), (200, Some(1.0)), "{target}");
        }
    }
    resident();

    let open = request(
        address,
        "GET",
        "/probe?target=orders",
        &["Accept: application/openmetrics-text; version=1.0.0", "Accept-Encoding: gzip"],
    );
    assert_eq!(open.header("content-encoding"), Some("gzip"));
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let filtered = get(address, "/probe?target=orders&name[]=db_pool_up");
    assert_eq!(filtered.body.lines().filter(|line| !line.starts_with('#')).count(), 1);
    assert_eq!(request(address, "HEAD", "/probe?target=orders", &[]).bytes.len(), 0);

    let report = get(address, "/probe?target=orders&debug=true");
    assert!(report.body.starts_with("HEALTHY: 1 of 1 targets are healthy"), "{}", report.body);
    let refused = get(address, &format!("/probe?target={place}&auth_module=wrong"));
    let reason = format!(
        "db_pool_probe_failures_total{{target=\"{place}\",probe=\"connect\",reason=\"auth\"}}"
    );
    assert_eq!((refused.sample(&up(&place)), refused.sample(&reason)), (Some(0.0), Some(1.0)));
    let report = get(address, &format!("/probe?target={place}&auth_module=wrong&debug=true"));
    assert!(report.body.contains("startup failed: auth"), "{}", report.body);
    assert!(report.body.contains("hint: check the password"), "{}", report.body);
    assert!(!report.body.contains("authentication failed"), "the server's words: {}", report.body);
    resident();

    cluster.stop();
    for query in ["target=orders".to_owned(), format!("target={place}&auth_module=app")] {
        let answer = get(address, &format!("/probe?{query}"));
        assert_eq!((answer.status, answer.sum("db_pool_up")), (200, 0.0), "{query}");
    }
}

#[test]
fn many_probes_and_the_resident_target_share_three_connections() {
    let cluster = cluster();
    let module = module("app", ROLE.1, "['127.0.0.1:*']").replace("2s", "20s");
    let text = orders(&cluster, "1s") + "auth_modules:\n" + &module;
    let (_daemon, address) = daemon(&text, &[]);
    scrape_until(address, &up("orders"), 1.0);
    let place = format!("127.0.0.1:{}/postgres", cluster.port());
    let queries = [format!("target={place}&auth_module=app"), "target=orders".to_owned()];
    let end = Instant::now() + Duration::from_secs(4);
    let (most, answers) = std::thread::scope(|scope| {
        let scrape = |query| {
            let mut answers = Vec::new();
            while Instant::now() < end {
                let answer = get(address, &format!("/probe?{query}"));
                answers.push((answer.status, answer.sum("db_pool_up")));
            }
            answers
        };
        let scrapers = queries.iter().cycle().take(4);
        let scrapers: Vec<_> = scrapers.map(|q| scope.spawn(move || scrape(q))).collect();
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(sessions(&cluster));
        }
        let answers = scrapers.into_iter().map(|scraper| scraper.join().expect("no panic"));
        (most, answers.collect::<Vec<_>>().concat())
    });
    // A probe that does not get its turn in time is refused; none reports a healthy database as down.
    let wrong = answers.iter().find(|answer| !matches!(answer, (200, 1.0) | (503, 0.0)));
    assert_eq!(wrong, None);
    let good = answers.iter().filter(|answer| **answer == (200, 1.0)).count();
    assert!(good >= 4, "{good} of {}", answers.len());
    assert!((1..=3).contains(&most), "{most} sessions at once");
    assert_eq!(get(address, "/metrics").sample(&up("orders")), Some(1.0));
    wait_for("the probes' sessions to end", SOON, || (sessions(&cluster) == 1).then_some(()));
}

#[test]
fn the_scrapes_time_out_ends_a_probe_of_a_silent_server() {
    let server = Server::silent();
    let text = format!("auth_modules:\n{}", module("app", ROLE.1, "['127.0.0.1:*']"));
    let (daemon, address) = daemon(&text, &["--timeout-offset=0.2"]);
    let port = server.address().port();
    let ask = |headers: &[&str]| {
        request(address, "GET", &format!("/probe?target=127.0.0.1:{port}&module=app"), headers)
    };
    let answer = ask(&["X-Prometheus-Scrape-Timeout-Seconds: 0.7"]);
    assert_eq!((answer.status, answer.sum("db_pool_up")), (200, 0.0));
    let (short, long) = (answer.took, ask(&["X-Prometheus-Scrape-Timeout-Seconds: 60"]).took);
    assert!(short >= Duration::from_millis(450), "{short:?}");
    assert!(long >= Duration::from_millis(1_800), "the module's two seconds: {long:?}");
    assert!(short < long && long < Duration::from_secs(10), "{short:?} {long:?}");
    wait_for("its sockets to close", SOON, || (connections(&daemon, port) == 0).then_some(()));
}

/// Sends a request for a probe and does not wait for its answer.
fn begin(address: SocketAddr, query: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("the daemon listens");
    write!(client, "GET /probe?{query} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it is open");
    client
}

#[test]
fn a_client_that_goes_and_a_daemon_that_stops_leave_nothing_open() {
    let cluster = cluster();
    // The probe's statement takes longer than the test.
    let text = format!(
        "defaults: {{ query: 'SELECT pg_sleep(60)' }}\nauth_modules:\n{}",
        module("app", ROLE.1, "['127.0.0.1:*']").replace("2s", "20s")
    );
    let (mut daemon, address) = daemon(&text, &[]);
    let query = format!("target=127.0.0.1:{}/postgres&module=app", cluster.port());
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
    let is_asleep = || (cluster.psql(sleeps) == "1").then_some(());
    let client = begin(address, &query);
    wait_for("the probe's statement", SOON, is_asleep);
    drop(client);
    wait_for("its session to end", SOON, || (sessions(&cluster) == 0).then_some(()));
    let _client = begin(address, &query);
    wait_for("the next probe's statement", SOON, is_asleep);
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    wait_for("its session to end", SOON, || (sessions(&cluster) == 0).then_some(()));
}

#[test]
fn too_many_probes_at_once_are_refused_and_metrics_are_served_meanwhile() {
    let silent: Vec<Server> = (0..3).map(|_| Server::silent()).collect();
    let text =
        format!("auth_modules:\n{}", module("app", ROLE.1, "['127.0.0.1:*']").replace("2s", "20s"));
    let (_daemon, address) = daemon(&text, &["--web.max-probes=2"]);
    let query = |server: &Server| format!("target={}&module=app", server.address());
    let clients: Vec<_> = silent[..2].iter().map(|server| begin(address, &query(server))).collect();
    wait_for("both probes", SOON, || silent[..2].iter().all(|s| s.accepted() > 0).then_some(()));
    let answer = get(address, &format!("/probe?{}", query(&silent[2])));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    assert_eq!(silent[2].accepted(), 0);
    assert_eq!(get(address, "/metrics").status, 200);
    drop(clients);
    wait_for("a place", SOON, || {
        let headers = ["X-Prometheus-Scrape-Timeout-Seconds: 1"];
        let answer = request(address, "GET", &format!("/probe?{}", query(&silent[2])), &headers);
        (answer.status == 200).then_some(())
    });
}

/// The block of docs/probe.md that contains `words`.
fn documented(words: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/probe.md");
    let text = fs::read_to_string(path).expect("docs/probe.md is there");
    let blocks = text.split("```").skip(1).step_by(2);
    let block = blocks.filter_map(|block| block.strip_prefix("yaml\n")).find(|b| b.contains(words));
    block.unwrap_or_else(|| panic!("no block with {words:?}")).to_owned()
}

#[test]
fn a_prometheus_scrapes_probe_with_the_documented_configuration() {
    let cluster = cluster();
    let text =
        orders(&cluster, "1s") + "auth_modules:\n" + &module("app", ROLE.1, "['127.0.0.1:*']");
    let (_daemon, address) = daemon(&text, &[]);
    let place = format!("127.0.0.1:{}/postgres", cluster.port());
    let named =
        documented("job_name: db-pool-named").replace("exporter:9956", &address.to_string());
    let addresses = documented("job_name: db-pool-addresses")
        .replace("exporter:9956", &address.to_string())
        .replace("db-1.db.internal:5432/orders", &place)
        .replace("db-2.db.internal:5432/orders", "127.0.0.2:1/refused");
    let jobs = named + addresses.trim_start_matches("scrape_configs:\n");
    let folder = workplace::folder("prometheus");
    let file = folder.join("prometheus.yml");
    let text = format!("global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n{jobs}");
    fs::write(&file, &text).expect("the folder is writable");
    let port = free_port();
    let prometheus = Program::at(installed(&["prometheus"]))
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .start();
    let asked = |query: &str| {
        let answer = wait_for(&format!("{query} in {text}"), Duration::from_secs(40), || {
            let server = ([127, 0, 0, 1], port).into();
            TcpStream::connect(server).ok()?;
            let answer = get(server, &format!("/api/v1/query?query={query}"));
            let answer = (answer.status == 200).then(|| answer.json())?;
            answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
        });
        answer.parse::<f64>().expect("a number")
    };
    let series = |name: &str, job: &str, instance: &str| {
        format!("{name}%7Bjob=%22{job}%22,instance=%22{instance}%22%7D")
    };
    assert_eq!(asked(&series("db_pool_up", "db-pool-named", "orders")), 1.0);
    assert_eq!(asked(&series("db_pool_up", "db-pool-addresses", &place)), 1.0);
    // It is not among the allowed targets: the scrape itself fails.
    assert_eq!(asked(&series("up", "db-pool-addresses", "127.0.0.2:1/refused")), 0.0);
    drop(prometheus);
}
