//! A client of the daemon's web side: one request a connection, and the exposition read by sample.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wait_for;

/// Nothing that is asked here may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) took: Duration,
    head: String,
}

impl Answer {
    /// A header's value, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.body))
    }

    /// The value of a sample; `None` when there is no such sample.
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

/// Asks with GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[])
}

/// Asks with any method and headers.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).expect("the daemon reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the daemon answers");
    let took = start.elapsed();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "a length is known: {head}");
    Answer { status, body: body.to_owned(), took, head: head.to_owned() }
}

/// Scrapes until a sample has a value; answers with that scrape.
pub(crate) fn scrape_until(address: SocketAddr, sample: &str, value: f64) -> Answer {
    let what = format!("{sample} to be {value}");
    wait_for(&what, Duration::from_secs(20), || {
        let answer = get(address, "/metrics");
        (answer.sample(sample) == Some(value)).then_some(answer)
    })
}
