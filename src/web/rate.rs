//! A token bucket: `burst` requests at once, then one each `interval`.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::config::RateLimit;

pub(super) struct Bucket {
    limit: RateLimit,
    /// When the bucket would be full again, if nothing more were taken.
    full_at: Mutex<Instant>,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: Mutex::new(Instant::now()) }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*full_at).max(now).checked_add(self.limit.interval);
        let room = self.limit.interval.saturating_mul(self.limit.burst.get());
        match after {
            Some(after) if after.duration_since(now) <= room => {
                *full_at = after;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_each_interval() {
        let burst = NonZeroU32::new(2).unwrap();
        let bucket = Bucket::new(RateLimit { interval: Duration::from_secs(1), burst });
        assert!(bucket.take() && bucket.take() && !bucket.take());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(bucket.take() && !bucket.take());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(bucket.take() && bucket.take() && !bucket.take());
    }
}
