//! The test harness: real servers, scripted servers, programs, and the folder that they run in.

pub(crate) mod application;
pub(crate) mod authority;
pub(crate) mod bouncer;
pub(crate) mod checks;
pub(crate) mod client;
pub(crate) mod console;
pub(crate) mod forwarder;
pub(crate) mod pools;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod scene;
pub(crate) mod scripted;
pub(crate) mod servers;
pub(crate) mod watch;
pub(crate) mod watched;
pub(crate) mod web;
pub(crate) mod workers;
pub(crate) mod workplace;

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// An unused TCP port of 127.0.0.1; each port is returned only once per test program.
///
/// It is below the range from which the kernel assigns ports for port 0 and for outgoing connections. So no other
/// process gets it by chance while its server is stopped, and connections are refused then.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % u32::from(PORTS)).expect("smaller than PORTS");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < PORTS, "no port is free");
        let port = FIRST_PORT + (own + step) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

const FIRST_PORT: u16 = 15_000;
const PORTS: u16 = 17_000;

/// An address of this machine other than loopback, if there is one. Finding it sends no packet.
pub(crate) fn outside_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Calls `look` repeatedly until it returns something; fails the test after `limit`.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits, so that something unwanted has time to happen. Use it only for absence; for a result, use `wait_for`.
pub(crate) fn nothing_may_happen_for(time: Duration) {
    std::thread::sleep(time);
}

/// The path of a program or folder that `scripts/setup.sh` installs; `words` are the arguments of its `--print`.
pub(crate) fn installed(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup.sh");
    let output = Command::new(script)
        .arg("--print")
        .args(words)
        .output()
        .expect("scripts/setup.sh can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("paths are UTF-8").trim().to_owned()
}
