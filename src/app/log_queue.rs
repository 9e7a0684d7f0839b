//! The queue between the daemon and standard error: a stalled reader of the log never stops the daemon.
//!
//! Writing to a full pipe blocks, and the daemon has one thread for everything. So a line is only queued
//! there, and a thread of its own writes. When the queue is full, new lines are dropped and counted. The
//! loss is logged as soon as lines flow again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics::{Kind, Reading};

/// The most bytes that wait to be written: thousands of lines, and no danger to memory.
const CAPACITY: usize = 1024 * 1024;

/// The time between two attempts to write to a pipe that does not block and is full.
const RETRY: Duration = Duration::from_millis(50);

/// A queue of log lines; clones share it.
#[derive(Clone, Default)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// The sum of the lines' lengths.
    bytes: usize,
    /// A line was taken out of the queue and is not written yet.
    is_writing: bool,
    dropped: u64,
    /// The number of dropped lines that the log has mentioned.
    reported: u64,
}

impl LogQueue {
    /// Starts the thread that writes the lines to `out`, for as long as the process lives.
    pub(super) fn start(&self, out: impl Write + Send + 'static) -> io::Result<()> {
        let queue = self.clone();
        // Detached on purpose: nothing can end a thread that blocks on a full pipe.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || queue.write_all_to(out))?;
        Ok(())
    }

    /// The number of lines that were lost because standard error was not read.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all queued lines are written, at most `limit`.
    pub(crate) fn wait_until_written(&self, limit: Duration) {
        let state = self.lock();
        // The caller goes on at the limit too.
        drop(
            self.0.changed.wait_timeout_while(state, limit, |state| {
                state.is_writing || !state.lines.is_empty()
            }),
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > CAPACITY {
            state.dropped += 1;
        } else {
            state.bytes += line.len();
            state.lines.push_back(line.to_owned());
        }
        self.0.changed.notify_all();
    }

    /// Takes the next line, waiting for one.
    fn pop(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return line;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a line left the queue; returns how many lost lines the log has to mention now.
    fn written(&self, outcome: io::Result<()>) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        self.0.changed.notify_all();
        if outcome.is_err() {
            // The pipe is closed: a mention would not be read either.
            state.dropped += 1;
            return 0;
        }
        // Only once there is room again: the mention itself needs a place in the queue.
        if !state.lines.is_empty() {
            return 0;
        }
        let lost = state.dropped - state.reported;
        state.reported = state.dropped;
        lost
    }

    fn write_all_to(&self, mut out: impl Write) {
        loop {
            let line = self.pop();
            let lost = self.written(write_line(&mut out, &line));
            if lost > 0 {
                tracing::warn!(lines = lost, "log lines were dropped: standard error was not read");
            }
        }
    }
}

/// Writes a line, also to a pipe that does not block.
fn write_line(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    let mut rest = line;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(RETRY),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// Each call queues one line.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    /// Does nothing: see [`LogQueue::wait_until_written`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The families of [`LogQueue`]; read at each scrape.
pub(super) const READINGS: &[Reading<LogQueue>] = &[Reading {
    name: "db_pool_exporter_log_lines_dropped_total",
    help: "Log lines that were lost because the exporter's standard error was not read.",
    kind: Kind::Counter,
    labels: &[],
    read: |queue, out| out.push([], queue.dropped()),
}];

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A pipe with a reader that takes one line for each permit.
    struct Pipe {
        permits: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
            self.written.send(line.to_owned()).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (LogQueue, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permits) = channel();
        let (written, lines) = channel();
        let queue = LogQueue::default();
        queue.start(Pipe { permits, written }).unwrap();
        (queue, permit, lines)
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_never_waits() {
        let (queue, permit, lines) = stalled();
        let line = [b'x'; 1024];
        for _ in 0..1500 {
            queue.clone().write_all(&line).unwrap();
        }
        // One line may have left the queue for the writer.
        let dropped = queue.dropped();
        assert!((475..=476).contains(&dropped), "{dropped}");
        queue.wait_until_written(Duration::from_millis(20));
        for _ in dropped..1500 {
            permit.send(()).unwrap();
            lines.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        queue.wait_until_written(Duration::from_secs(5));
        let state = queue.lock();
        assert_eq!((state.lines.len(), state.dropped), (0, dropped));
        assert_eq!(state.reported, dropped, "the loss was mentioned");
    }

    #[test]
    fn lines_keep_their_order_and_a_closed_pipe_counts_as_loss() {
        let (queue, permit, lines) = stalled();
        for text in ["a", "b", "c"] {
            queue.clone().write_all(text.as_bytes()).unwrap();
        }
        for text in ["a", "b"] {
            permit.send(()).unwrap();
            assert_eq!(lines.recv_timeout(Duration::from_secs(5)).unwrap(), text.as_bytes());
        }
        drop(permit);
        queue.wait_until_written(Duration::from_secs(5));
        assert_eq!(queue.dropped(), 1);
    }
}
