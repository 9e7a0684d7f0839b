//! The answers on their way: how many at once, how many bytes, and which are shared.
//!
//! A client that takes its answer slowly, or not at all, holds a place and a page. Both are limited.
//! A part of each is kept for connections that have taken an answer before, so that newcomers cannot
//! shut out a scraper that is already connected. Whoever waits for a place has the answer cut that
//! makes no progress.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::connections::Connections;

/// The longest wait for a place or for bytes. A scraper waits ten times as long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two cuts of answers without progress, while a request waits.
const CUT_EVERY: Duration = Duration::from_millis(50);

/// The bytes of all large bodies on their way. Shared bodies count once.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// From this size on a body is counted and shared. Smaller ones fit into the socket's buffer, so that
/// they do not wait for their client.
const LARGE: usize = 16 * 1024;

/// The age up to which a body that is still being sent is sent to others too.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The most bodies that are offered for sharing.
const MOST_SHARED: usize = 64;

/// The standing of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has taken an answer before, and sends requests one at a time.
    Proven,
    Newcomer,
}

/// A number of units. Newcomers get only a part of them.
struct Quota {
    all: Arc<Semaphore>,
    newcomers: Arc<Semaphore>,
    /// The units that newcomers may hold together.
    largest: usize,
}

/// Held units, free again when dropped.
pub(super) struct Share {
    _all: OwnedSemaphorePermit,
    _newcomers: Option<OwnedSemaphorePermit>,
}

impl Quota {
    /// Keeps a quarter for proven connections.
    fn new(units: usize) -> Self {
        let largest = (units - units / 4).clamp(1, Semaphore::MAX_PERMITS);
        let all = Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS)));
        Self { all, newcomers: Arc::new(Semaphore::new(largest)), largest }
    }

    /// Waits for units; more than newcomers may hold together count as all of these, so that nothing
    /// waits for ever.
    async fn take(&self, units: usize, standing: Standing) -> Option<Share> {
        let units = u32::try_from(units.min(self.largest)).ok()?;
        let newcomers = match standing {
            Standing::Newcomer => {
                Some(Arc::clone(&self.newcomers).acquire_many_owned(units).await.ok()?)
            }
            Standing::Proven => None,
        };
        let all = Arc::clone(&self.all).acquire_many_owned(units).await.ok()?;
        Some(Share { _all: all, _newcomers: newcomers })
    }
}

/// The answers on their way.
pub(super) struct Outgoing {
    /// `None` without a limit.
    places: Option<Quota>,
    bytes: Quota,
    shared: Mutex<Vec<SharedAnswer>>,
    /// The largest body of each large route.
    sizes: Mutex<Vec<(&'static str, usize)>>,
}

/// The parts of a request on which its answer depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) target: String,
    pub(super) accept: Option<String>,
    pub(super) coding: Option<String>,
    pub(super) sees_details: bool,
}

struct SharedAnswer {
    key: Key,
    made: Instant,
    status: StatusCode,
    headers: HeaderMap,
    body: Weak<LargeBody>,
}

/// A body with the bytes that it takes of the quota.
struct LargeBody {
    bytes: Bytes,
    _share: Option<Share>,
}

/// The owner of a `Bytes`: the body lives as long as a slice of it is on its way.
struct Owner(Arc<LargeBody>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Outgoing {
    /// `max_requests`: the answers on their way at once; 0 means no limit.
    pub(super) fn new(max_requests: usize) -> Self {
        Self {
            places: (max_requests > 0).then(|| Quota::new(max_requests)),
            bytes: Quota::new(MOST_BYTES),
            shared: Mutex::default(),
            sizes: Mutex::default(),
        }
    }

    /// Waits for a place; `Err` if there is none in time.
    pub(super) async fn place(
        &self,
        standing: Standing,
        connections: &Connections,
    ) -> Result<Option<Share>, Busy> {
        let Some(places) = &self.places else { return Ok(None) };
        wait(places.take(1, standing), connections).await.map(Some)
    }

    /// Waits for as many bytes as the largest body of a route had; `None` if all were small.
    pub(super) async fn bytes(
        &self,
        route: &'static str,
        standing: Standing,
        connections: &Connections,
    ) -> Result<Option<Share>, Busy> {
        let size = lock(&self.sizes).iter().find(|(path, _)| *path == route).map(|(_, size)| *size);
        let Some(size) = size else { return Ok(None) };
        wait(self.bytes.take(size, standing), connections).await.map(Some)
    }

    /// The answer to an equal request that is still being sent.
    pub(super) fn shared(&self, key: &Key) -> Option<Answer> {
        let shared = lock(&self.shared);
        let found = shared.iter().find(|answer| answer.is_fresh() && answer.key == *key)?;
        let body = Bytes::from_owner(Owner(found.body.upgrade()?));
        Some(Answer { status: found.status, headers: found.headers.clone(), body: body.into() })
    }

    /// Counts a body as on its way until it was sent, and shares it with equal requests: those with this key.
    pub(super) fn send(
        &self,
        route: &'static str,
        key: Option<Key>,
        answer: Answer,
        share: Option<Share>,
    ) -> Answer {
        let Answer { status, headers, body } = answer;
        let bytes = match body.into_whole() {
            Ok(bytes) if bytes.len() >= LARGE => bytes,
            Ok(bytes) => return Answer { status, headers, body: bytes.into() },
            Err(body) => return Answer { status, headers, body },
        };
        self.remember_size(route, bytes.len());
        let body = Arc::new(LargeBody { bytes, _share: share });
        let mut shared = lock(&self.shared);
        shared.retain(SharedAnswer::is_fresh);
        if let Some(key) = key
            && shared.len() < MOST_SHARED
        {
            let (made, headers) = (Instant::now(), headers.clone());
            shared.push(SharedAnswer { key, made, status, headers, body: Arc::downgrade(&body) });
        }
        Answer { status, headers, body: Bytes::from_owner(Owner(body)).into() }
    }

    fn remember_size(&self, route: &'static str, size: usize) {
        let mut sizes = lock(&self.sizes);
        match sizes.iter_mut().find(|(path, _)| *path == route) {
            // The largest yet: a filtered page must not let whole ones in uncounted.
            Some((_, largest)) => *largest = size.max(*largest),
            None => sizes.push((route, size)),
        }
    }
}

impl SharedAnswer {
    fn is_fresh(&self) -> bool {
        self.made.elapsed() < SHARED_FOR && self.body.strong_count() > 0
    }
}

/// All places are taken, and none became free in time.
pub(super) struct Busy;

/// Waits for a share, and meanwhile has the answers cut that make no progress.
async fn wait(
    share: impl Future<Output = Option<Share>>,
    connections: &Connections,
) -> Result<Share, Busy> {
    let mut share = std::pin::pin!(share);
    let end = Instant::now() + PATIENCE;
    let mut next = Instant::now();
    loop {
        if let Ok(share) = timeout_at(next, share.as_mut()).await {
            return share.ok_or(Busy);
        }
        if Instant::now() >= end {
            return Err(Busy);
        }
        connections.cut_stalled();
        next = (Instant::now() + CUT_EVERY).min(end);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_with_a_key_is_shared_while_it_is_sent() {
        let outgoing = Outgoing::new(1);
        let key =
            Key { target: "/probe".to_owned(), accept: None, coding: None, sees_details: true };
        let answer = || Answer::text(StatusCode::OK, vec![b'x'; LARGE]);
        let alone = outgoing.send("/probe", None, answer(), None);
        assert!(outgoing.shared(&key).is_none());
        let shared = outgoing.send("/metrics", Some(key.clone()), answer(), None);
        assert!(outgoing.shared(&key).is_some());
        drop((alone, shared));
        assert!(outgoing.shared(&key).is_none());
    }
}
