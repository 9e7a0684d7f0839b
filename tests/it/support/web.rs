//! A client of the daemon's web server.

use std::net::SocketAddr;
use std::time::Duration;

use super::wait_for;
pub(crate) use crate::http::{Answer, get, request};

/// Scrapes until a sample has this value; returns that scrape.
pub(crate) fn scrape_until(address: SocketAddr, sample: &str, value: f64) -> Answer {
    let what = format!("{sample} to be {value}");
    wait_for(&what, Duration::from_secs(20), || {
        let answer = get(address, "/metrics");
        (answer.sample(sample) == Some(value)).then_some(answer)
    })
}
