//! The one lookup of a probe: what it found is checked, and the same addresses serve every connect of the probe.
//!
//! A name server that gives another answer each time (DNS rebinding) is asked once only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::allowed::AllowList;
use crate::pool::{Resolve, Resolved};

/// Looks a name up once, and hands out its addresses only if all of them are allowed.
pub(super) struct CheckedResolver {
    inner: Arc<dyn Resolve>,
    allowed: AllowList,
    found: OnceCell<Resolved>,
    has_refused: AtomicBool,
}

impl CheckedResolver {
    pub(super) fn new(inner: Arc<dyn Resolve>, allowed: AllowList) -> Self {
        let has_refused = AtomicBool::new(false);
        Self { inner, allowed, found: OnceCell::new(), has_refused }
    }

    /// Reports whether the name led to an address that is not allowed. Then nothing was connected to.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }

    async fn check(&self, name: &str, port: u16) -> Resolved {
        let found = self.inner.look_up(name, port).await?;
        // One bad address refuses all: an answer that mixes them is made to mislead.
        if found.iter().all(|address| self.allowed.permits_found(name, address.ip(), port)) {
            return Ok(found);
        }
        self.has_refused.store(true, Ordering::Relaxed);
        Err("an address of this name is not allowed".to_owned())
    }
}

impl Resolve for CheckedResolver {
    fn look_up<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, Resolved> {
        Box::pin(async move { self.found.get_or_init(|| self.check(name, port)).await.clone() })
    }
}
