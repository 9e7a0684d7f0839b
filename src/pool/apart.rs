//! Runs blocking work on a separate thread: the lookup of names among it.
//!
//! It does not use tokio's blocking pool: work that hangs there (on a name server, on a network file system)
//! would in the end occupy all its threads, and healthy targets could not connect any more.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

/// Runs `work` on a new thread and waits for it. If this future is dropped, the thread still finishes its
/// work: nothing can end a thread that hangs in a system call.
///
/// # Errors
/// When the system cannot start a thread.
pub(super) async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(|_| io::Error::other("the thread ended early"))
}

/// Looks host names up.
pub(crate) trait Resolve: Send + Sync {
    /// The addresses of a name, each with this port.
    ///
    /// # Errors
    /// A text for people.
    fn look_up<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, Resolved>;
}

/// The outcome of a lookup.
pub(crate) type Resolved = Result<Vec<SocketAddr>, String>;

/// Asks the system. While a lookup runs, further requests for the same name wait for its answer. Without
/// this rule a name server that hangs would cost one more thread at every probe.
pub(crate) struct Resolver {
    running: Arc<Mutex<HashMap<String, watch::Receiver<Answer>>>>,
    most: usize,
}

impl Default for Resolver {
    /// Without a limit: a target has few names.
    fn default() -> Self {
        Self::at_once(usize::MAX)
    }
}

/// `None` until the lookup has ended. Errors are kept as texts, because `io::Error` is not `Clone` and several
/// waiters can get the same answer.
type Answer = Option<Result<Vec<SocketAddr>, String>>;

impl Resolve for Resolver {
    fn look_up<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, Resolved> {
        Box::pin(self.wait_for(name, port))
    }
}

impl Resolver {
    /// A resolver with a limit on the names that it looks up at once, each on a thread of its own; more fail at once.
    pub(crate) fn at_once(most: usize) -> Self {
        Self { running: Arc::default(), most }
    }

    async fn wait_for(&self, name: &str, port: u16) -> Resolved {
        let mut answer = self.join(name).map_err(|error| error.to_string())?;
        let addresses = match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Ok(Vec::new()))?,
            Err(_) => return Err("the lookup ended early".to_owned()),
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
    }

    fn join(&self, name: &str) -> io::Result<watch::Receiver<Answer>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = running.get(name) {
            return Ok(answer.clone());
        }
        if running.len() >= self.most {
            return Err(io::Error::other("too many names are being looked up"));
        }
        let (sender, answer) = watch::channel(None);
        let all = Arc::clone(&self.running);
        let name = name.to_owned();
        let asked = name.clone();
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let found = (asked.as_str(), 0).to_socket_addrs();
            // Removed before the answer is sent: who asks after the answer must start a new lookup, or a
            // changed address would never be seen.
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked);
            sender.send_replace(Some(found.map(Iterator::collect).map_err(|e| e.to_string())));
        })?;
        running.insert(name, answer.clone());
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lookup_that_is_running_is_joined() {
        let resolver = Resolver::default();
        let (sender, answer) = watch::channel(None);
        resolver.running.lock().unwrap().insert("db".to_owned(), answer);
        let asking = resolver.look_up("db", 5432);
        let answering = async {
            tokio::task::yield_now().await;
            sender.send_replace(Some(Ok(vec!["10.0.0.1:0".parse().unwrap()])));
        };
        let (found, ()) = tokio::join!(asking, answering);
        assert_eq!(found, Ok(vec!["10.0.0.1:5432".parse().unwrap()]));
    }

    #[tokio::test]
    async fn localhost_is_found_and_its_lookup_is_forgotten() {
        let resolver = Resolver::default();
        let found = resolver.look_up("localhost", 5432).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 5432));
        assert!(!found.is_empty() && resolver.running.lock().unwrap().is_empty());
        assert!(resolver.look_up("no.such.name.invalid", 5432).await.is_err());
    }

    #[tokio::test]
    async fn lookups_that_hang_are_limited() {
        let resolver = Resolver::at_once(1);
        let (_sender, answer) = watch::channel(None);
        resolver.running.lock().unwrap().insert("hangs".to_owned(), answer);
        let found = resolver.look_up("localhost", 5432).await;
        assert_eq!(found, Err("too many names are being looked up".to_owned()));
    }
}
