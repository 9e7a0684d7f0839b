//! The thread of the probes.
//!
//! Probes compute: TLS handshakes, the reading of answers, the rendering of snapshots. On a thread of their own they
//! delay no scrape, and a scrape of a thousand targets delays no probe.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// A thread with a runtime that runs what is spawned on its handle, until it is dropped.
pub(super) struct ProbeThread {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// As large as that of a main thread: a probe is a deep future, and without optimization it does not fit into the
/// 2 MiB of other threads.
const STACK: usize = 8 << 20;

/// The time in which blocking work of the runtime must end. A name lookup may hang.
const FAREWELL: Duration = Duration::from_millis(100);

impl ProbeThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread, or no descriptors for a runtime.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("probes".to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || {
            runtime.block_on(until.cancelled());
            runtime.shutdown_timeout(FAREWELL);
        })?;
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    /// Spawns onto the thread.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ProbeThread {
    fn drop(&mut self) {
        self.stop.cancel();
        // A panic in it was reported when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
