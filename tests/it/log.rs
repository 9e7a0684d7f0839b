//! The log: a reader that stalls costs lines, and nothing else.

use std::io::{PipeReader, Read, Write, pipe};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::process::Program;
use crate::support::wait_for;
use crate::support::web::{get, request};

/// The capacity of a pipe on Linux, in bytes.
const CAPACITY: usize = 65_536;

const DROPPED: &str = "db_pool_exporter_log_lines_dropped_total";

/// A daemon whose standard error is a pipe that is full and that nobody reads. With `warnings`, it
/// logs as many lines at the start and at each reload.
fn stalled(warnings: usize) -> (Program, PipeReader) {
    let (reader, mut writer) = pipe().expect("a pipe");
    writer.write_all(&[b'\n'; CAPACITY]).expect("it has room");
    let daemon = Program::daemon().env("DB_MONITOR_ENABLED", "false").errors_to(writer);
    let daemon = (0..warnings).fold(daemon, |d, n| d.env(&format!("DB_MONITOR_{n:0>100}"), "1"));
    (daemon.start(), reader)
}

/// Reads what the daemon writes, in a thread of its own.
fn read(mut reader: PipeReader) -> Arc<Mutex<Vec<u8>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let text = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            text.lock().expect("no panic").extend_from_slice(&buffer[..count]);
        }
    });
    log
}

/// Waits for a line with these words.
fn logged(log: &Mutex<Vec<u8>>, words: &str) -> String {
    wait_for(&format!("{words:?} in the log"), Duration::from_secs(10), || {
        let log = String::from_utf8_lossy(&log.lock().expect("no panic")).into_owned();
        log.lines().find(|line| line.contains(words)).map(str::to_owned)
    })
}

#[test]
fn a_full_pipe_on_standard_error_stops_neither_answers_nor_the_end() {
    let (mut daemon, reader) = stalled(0);
    let address = daemon.address();
    for path in ["/metrics", "/-/healthy"].repeat(10) {
        let start = Instant::now();
        assert_eq!(get(address, path).status, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "{path}: {:?}", start.elapsed());
    }
    assert_eq!(get(address, "/metrics").sample(DROPPED), Some(0.0));
    let start = Instant::now();
    assert!(daemon.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(reader);
}

#[test]
fn the_last_lines_are_written_when_the_reader_is_only_slow() {
    let (mut daemon, reader) = stalled(0);
    daemon.address();
    daemon.signal(Signal::TERM);
    let log = read(reader);
    assert!(daemon.end().success());
    logged(&log, "message=listening");
    logged(&log, "message=stopped");
}

#[test]
fn lost_lines_are_counted_and_mentioned_when_lines_flow_again() {
    let (mut daemon, reader) = stalled(200);
    let address = daemon.address();
    let lost = wait_for("lines to be dropped", Duration::from_secs(60), || {
        assert_eq!(request(address, "POST", "/-/reload", &[]).status, 200);
        get(address, "/metrics").sample(DROPPED).filter(|lost| *lost > 0.0)
    });
    let log = read(reader);
    let mention = logged(&log, "standard error was not read");
    assert!(mention.ends_with(&format!("lines={lost}")), "{lost}: {mention}");
    assert!(daemon.terminate().success());
}
