//! Hostile clients against the real daemon. While each flood lasts, `/-/healthy` and a scraper that is
//! connected get their answers, and the memory stays under 64 MB.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::support::authority::{Authority, Leaf};
use crate::support::process::Program;

/// A second, and as much again for a machine that builds and tests at the same time.
const SOON: Duration = Duration::from_secs(2);

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A daemon without probes, with this web configuration, and with enough targets to make its page large.
fn daemon(web: &str, targets: usize) -> (Program, SocketAddr) {
    let builder = Program::daemon().env("DB_MONITOR_ENABLED", "false");
    let folder = crate::support::workplace::folder("floods");
    let (configuration, web_file) = (folder.join("exporter.yml"), folder.join("web.yml"));
    let url = "postgresql://app@127.0.0.1:1/db?sslmode=disable";
    let rows: String = (0..targets).map(|n| format!("  t{n}: {{ url: '{url}' }}\n")).collect();
    std::fs::write(&configuration, format!("targets:\n{rows}")).expect("the folder is writable");
    std::fs::write(&web_file, web).expect("the folder is writable");
    let builder = builder.arg("--web.config.file").arg(web_file);
    let builder =
        if targets > 0 { builder.arg("--config.file").arg(configuration) } else { builder };
    let mut daemon = builder.start();
    let address = daemon.address();
    (daemon, address)
}

/// A connection over which one request follows the other.
struct Client<S>(S);

impl<S: Read + Write> Client<S> {
    /// Sends a request and takes the answer; returns its status.
    fn ask(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.0.write_all(request)?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        self.0.read_exact(&mut body)?;
        Ok(head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"))
    }
}

fn plain(address: SocketAddr) -> Client<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    Client(stream)
}

/// A connection from another address of this host, so that the daemon takes it for another client.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

/// Threads that attack until they are dropped.
struct Attack {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Each thread repeats its attack until the time is over.
    fn with(threads: usize, once: impl Fn(usize, &AtomicBool) + Send + Sync + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let once = Arc::new(once);
        let start = |number| {
            let (stop, once) = (Arc::clone(&stop), Arc::clone(&once));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    once(number, &stop);
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        let threads = (0..threads).map(start).collect();
        thread::sleep(Duration::from_millis(700));
        Self { stop, threads }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Keeps connections open until the server ends half of them, without reading from them.
fn hold(streams: &mut [TcpStream], stop: &AtomicBool) {
    streams.iter().for_each(|stream| stream.set_nonblocking(true).expect("a socket"));
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(200));
        if streams.iter().filter(|stream| is_closed(stream)).count() * 2 >= streams.len() {
            return;
        }
    }
}

/// Only one flood at a time: each measures what it does to a daemon, not to its neighbours.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Asks `/-/healthy` anew and `/metrics` over the scraper's connection, several times. Every answer must be
/// good, and most must be quick: single ones wait for the machine, which also runs the attack.
fn is_served(
    daemon: &Program,
    what: &str,
    mut healthy: impl FnMut() -> u16,
    mut scrape: impl FnMut() -> u16,
) {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..6 {
        let asks = [&mut healthy as &mut dyn FnMut() -> u16, &mut scrape];
        for (ask, times) in asks.into_iter().zip(&mut times) {
            let started = Instant::now();
            assert_eq!(ask(), 200, "{what}: after {:?}", started.elapsed());
            times.push(started.elapsed());
        }
        thread::sleep(Duration::from_millis(200));
    }
    for (name, mut times) in ["/-/healthy", "scrape"].into_iter().zip(times) {
        times.sort_unstable();
        println!("{what}: {name} took {:?} at most", times[times.len() - 1]);
        assert!(times[times.len() / 2] < SOON, "{what}: {name} took {times:?}");
    }
    let peak = peak_memory(daemon);
    println!("{what}: {peak} KiB at most");
    assert!(peak < 64 << 10, "{what}: {peak} KiB");
}

/// The largest resident memory so far, in KiB.
fn peak_memory(daemon: &Program) -> u64 {
    let pid = daemon.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn plain_is_served(
    daemon: &Program,
    address: SocketAddr,
    scraper: &mut Client<TcpStream>,
    what: &str,
) {
    let healthy = || {
        let request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
        plain(address).ask(request).unwrap_or_default()
    };
    is_served(daemon, what, healthy, || scraper.ask(GET).unwrap_or_default());
}

#[test]
fn bodies_that_never_come_keep_nobody_waiting() {
    let _alone = alone();
    for (request, what) in [("GET /metrics", "GET"), ("POST /-/reload", "POST")] {
        let (daemon, address) = daemon("", 0);
        let mut scraper = plain(address);
        assert_eq!(scraper.ask(GET).expect("an answer"), 200);
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n");
        let _attack = Attack::with(10, move |_, stop| {
            let connect = |_| TcpStream::connect(address).ok();
            let mut streams: Vec<_> = (0..60).filter_map(connect).collect();
            for stream in &mut streams {
                let _ = stream.write_all(head.as_bytes());
            }
            hold(&mut streams, stop);
        });
        plain_is_served(&daemon, address, &mut scraper, what);
    }
}

#[test]
fn clients_that_pipeline_and_do_not_read_keep_nobody_waiting() {
    let _alone = alone();
    for targets in [0, 60] {
        let (daemon, address) = daemon("", targets);
        let mut scraper = plain(address);
        assert_eq!(scraper.ask(GET).expect("an answer"), 200);
        let _attack = Attack::with(10, move |_, stop| {
            let connect = |_| TcpStream::connect(address).ok();
            let mut streams: Vec<_> = (0..53).filter_map(connect).collect();
            for stream in &mut streams {
                let _ = stream.write_all(&GET.repeat(90));
            }
            hold(&mut streams, stop);
        });
        plain_is_served(&daemon, address, &mut scraper, &format!("{targets} targets"));
    }
}

/// `basic_auth_users` with these pairs, at the usual cost.
fn users(pairs: &[(&str, &str)]) -> String {
    let rows = pairs.iter().map(|(name, password)| {
        format!("  {name}: {}\n", bcrypt::hash(password, 10).expect("a hash"))
    });
    format!("basic_auth_users:\n{}", rows.collect::<String>())
}

fn login(name: &str, password: &str) -> Vec<u8> {
    let pair = STANDARD.encode(format!("{name}:{password}"));
    format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {pair}\r\n\r\n")
        .into()
}

#[test]
fn wrong_passwords_in_floods_keep_no_valid_login_waiting() {
    valid_logins_are_served_while_wrong_ones_come_from(|_| Ipv4Addr::new(127, 0, 0, 2));
}

#[test]
fn wrong_passwords_from_many_addresses_keep_no_valid_login_waiting() {
    valid_logins_are_served_while_wrong_ones_come_from(|number| {
        Ipv4Addr::new(127, 0, 0, u8::try_from(number + 2).expect("200 threads"))
    });
}

fn valid_logins_are_served_while_wrong_ones_come_from(attacker: fn(usize) -> Ipv4Addr) {
    let _alone = alone();
    let names = ["late0", "late1", "late2", "late3", "late4", "late5"];
    let pairs: Vec<_> =
        names.iter().map(|name| (*name, "word")).chain([("prom", "secret")]).collect();
    let (daemon, address) = daemon(&users(&pairs), 0);
    let mut scraper = plain(address);
    assert_eq!(scraper.ask(&login("prom", "secret")).expect("an answer"), 200);
    let _attack = Attack::with(200, move |number, stop| {
        let Ok(stream) = connect_from(attacker(number), address) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
        let mut client = Client(stream);
        let mut attempt = 0;
        while !stop.load(Ordering::Relaxed)
            && client.ask(&login("prom", &format!("{number}-{attempt}"))).is_ok()
        {
            attempt += 1;
        }
    });
    // Each of them logs in for the first time, so that its password has to be hashed.
    let mut names = names.iter();
    let valid = || {
        let name = names.next().expect("a name for each login");
        plain(address).ask(&login(name, "word")).unwrap_or_default()
    };
    is_served(&daemon, "passwords", valid, || {
        scraper.ask(&login("prom", "secret")).unwrap_or_default()
    });
    let counted = scraper_page(address);
    assert!(counted.contains("db_pool_exporter_http_login_failures_total{reason=\"wrong\"}"));
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains("login failed")).count();
    assert!((1..=15).contains(&lines), "{lines} lines");
    assert!(log.contains("127.0.0.") && !log.contains("secret"), "{log}");
}

fn scraper_page(address: SocketAddr) -> String {
    let authorization = format!("Authorization: Basic {}", STANDARD.encode("prom:secret"));
    crate::http::request(address, "GET", "/metrics", &[&authorization]).body
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A certificate of our own, with clients that trust it.
struct Secured {
    web: String,
    root: CertificateDer<'static>,
}

impl Secured {
    fn new() -> Self {
        let authority = Authority::new("floods");
        let leaf = Leaf {
            common_name: "localhost",
            extensions: &["subjectAltName=DNS:localhost"],
            ..Leaf::default()
        };
        let pair = authority.issue("web", &leaf);
        let web = format!(
            "tls_server_config: {{ cert_file: {}, key_file: {} }}\n",
            pair.certificate.display(),
            pair.key.display()
        );
        let root =
            CertificateDer::from_pem_file(authority.certificate()).expect("openssl wrote it");
        Self { web, root }
    }

    fn connect(&self, address: SocketAddr, protocol: &[u8]) -> std::io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(3)))?;
        Ok(StreamOwned::new(session, stream))
    }

    fn is_served(
        &self,
        daemon: &Program,
        address: SocketAddr,
        scraper: &mut Client<Tls>,
        what: &str,
    ) {
        let healthy = || {
            let request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let stream = self.connect(address, b"http/1.1").expect("it listens");
            Client(stream).ask(request).unwrap_or_default()
        };
        is_served(daemon, what, healthy, || scraper.ask(GET).unwrap_or_default());
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SETTINGS: u8 = 4;

/// The start of a connection, with a window for answers.
fn preface(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &settings)].concat()
}

/// GET of a path: HEADERS with the fields of HPACK's static table.
fn headers(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    let fields = [b"\x82\x87\x04", &[length][..], path.as_bytes(), b"\x01\x09localhost"].concat();
    frame(1, 5, stream, &fields)
}

#[test]
fn a_window_of_zero_keeps_neither_memory_nor_places() {
    let _alone = alone();
    let secured = Arc::new(Secured::new());
    // The same page for all, and another for each: those cannot be shared.
    for is_shared in [true, false] {
        let (daemon, address) = daemon(&secured.web, 60);
        let mut scraper = Client(secured.connect(address, b"http/1.1").expect("it listens"));
        assert_eq!(scraper.ask(GET).expect("an answer"), 200);
        let attacker = Arc::clone(&secured);
        let _attack = Attack::with(20, move |number, stop| {
            let Ok(mut stream) = attacker.connect(address, b"h2") else { return };
            let path =
                |n| if is_shared { "/metrics".into() } else { format!("/metrics?x={number}.{n}") };
            let requests =
                (0..16).flat_map(|n: u32| headers(2 * n + 1, &path(n))).collect::<Vec<_>>();
            if stream.write_all(&[preface(0), requests].concat()).is_ok() {
                hold(std::slice::from_mut(&mut stream.sock), stop);
                let _ = stream.sock.set_nonblocking(false);
                thread::sleep(Duration::from_millis(300));
            }
        });
        secured.is_served(&daemon, address, &mut scraper, &format!("shared: {is_shared}"));
    }
}

#[test]
fn frames_of_http2_that_are_no_requests_are_cut() {
    let _alone = alone();
    let secured = Arc::new(Secured::new());
    let floods = [
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 0, 16])),
        ("WINDOW_UPDATE", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("PING", frame(6, 0, 0, b"12345678")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("unknown", frame(77, 0, 0, &[])),
    ];
    for (what, frame) in floods {
        let (daemon, address) = daemon(&secured.web, 0);
        let mut scraper = Client(secured.connect(address, b"http/1.1").expect("it listens"));
        assert_eq!(scraper.ask(GET).expect("an answer"), 200);
        let attacker = Arc::clone(&secured);
        let cut = Arc::new(AtomicBool::new(false));
        let was_cut = Arc::clone(&cut);
        let attack = Attack::with(4, move |_, stop| {
            let Ok(mut stream) = attacker.connect(address, b"h2") else { return };
            let mut goes_on = stream.write_all(&preface(65_535)).is_ok();
            while goes_on && !stop.load(Ordering::Relaxed) {
                goes_on = stream.write_all(&frame.repeat(500)).is_ok();
            }
            if !goes_on {
                was_cut.store(true, Ordering::Relaxed);
            }
        });
        secured.is_served(&daemon, address, &mut scraper, what);
        drop(attack);
        assert!(cut.load(Ordering::Relaxed), "{what} is cut");
    }
}
