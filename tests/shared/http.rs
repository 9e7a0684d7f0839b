//! The HTTP client of the tests: one request a connection, the answer read to its end, and the exposition
//! read by sample. Plain sockets, so that a test can send what no library would.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The time-out of every request.
const PATIENCE: Duration = Duration::from_secs(20);

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) bytes: Vec<u8>,
    /// The bytes as text.
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Answer {
    fn parse(answer: &[u8], took: Duration) -> Self {
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer in {:?}", String::from_utf8_lossy(answer));
        });
        let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let coding = head.to_ascii_lowercase();
        assert!(!coding.contains("transfer-encoding"), "a length is known: {head}");
        let bytes = answer[end + 4..].to_vec();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Self { status, head, bytes, body, took }
    }

    /// A header's value; the case of its name does not matter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.body))
    }

    /// The value of a sample; `None` if there is no such sample.
    pub(crate) fn sample(&self, name: &str) -> Option<f64> {
        let mut values =
            self.body.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().map(|value| match value {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap_or_else(|e| panic!("{e}: {number}")),
        })
    }

    /// The sum of all samples of a name, whatever their labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let lines = self.body.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Sends a request with these header lines, besides Host and Connection.
pub(crate) fn request(address: SocketAddr, method: &str, target: &str, headers: &[&str]) -> Answer {
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    for line in headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    send(address, &format!("{text}\r\n"))
}

/// Sends a GET request.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[])
}

/// Sends a text unchanged and reads the answer until the connection ends. A server may answer before it has
/// read everything, so writing and reading run at the same time.
pub(crate) fn send(address: SocketAddr, text: &str) -> Answer {
    let start = Instant::now();
    let mut reader = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
    reader.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut writer = reader.try_clone().expect("a second handle");
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(text.as_bytes()).is_ok());
        let mut piece = [0; 64 * 1024];
        // A reset is an end too: the server has closed before it had read everything.
        while let Ok(length @ 1..) = reader.read(&mut piece) {
            answer.extend_from_slice(&piece[..length]);
        }
    });
    Answer::parse(&answer, start.elapsed())
}
