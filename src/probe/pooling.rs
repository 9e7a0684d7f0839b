//! What is known of the mode of a pooler between the exporter and the server.
//!
//! With `pool_mode = statement` PgBouncer ends the client's and the server's connection at the first BEGIN. An
//! application in autocommit works there, so the exporter must too. It remembers the mode, and sends its
//! statements without a transaction from then on. It tries a transaction again now and then, because the mode
//! can be changed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time after which a transaction is tried again. Each try costs PgBouncer two connections.
const AGAIN: Duration = Duration::from_secs(600);

/// When a pooler last refused a transaction because it pools by statement.
#[derive(Debug, Default)]
pub(super) struct StatementPooling(Mutex<Option<Instant>>);

impl StatementPooling {
    /// Reports whether the pooler allowed no transaction when one was last tried.
    pub(super) fn is_by_statement(&self) -> bool {
        self.refused().is_some()
    }

    /// Reports whether a transaction should be tried now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.refused().is_none_or(|at| now.saturating_duration_since(at) >= AGAIN)
    }

    /// Takes in how a transaction was received. Returns true if that is news.
    pub(super) fn learn(&self, mode: PoolingMode, now: Instant) -> bool {
        let refused = (mode == PoolingMode::Statement).then_some(now);
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_refused = std::mem::replace(&mut *at, refused).is_some();
        was_refused != refused.is_some()
    }

    fn refused(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether transactions are possible, as far as the exporter can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolingMode {
    /// A transaction began.
    Transactions,
    /// The pooler allows no transactions.
    Statement,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_transaction_is_tried_again_after_a_while() {
        let (pooling, start) = (StatementPooling::default(), Instant::now());
        assert!(pooling.is_due(start) && !pooling.is_by_statement());
        assert!(!pooling.learn(PoolingMode::Transactions, start), "as expected");
        assert!(pooling.learn(PoolingMode::Statement, start));
        assert!(pooling.is_by_statement() && !pooling.is_due(start + AGAIN / 2));
        assert!(pooling.is_due(start + AGAIN) && pooling.is_by_statement());
        assert!(!pooling.learn(PoolingMode::Statement, start + AGAIN), "no news");
        assert!(!pooling.is_due(start + AGAIN));
        assert!(pooling.learn(PoolingMode::Transactions, start + AGAIN * 2));
        assert!(!pooling.is_by_statement());
    }
}
