//! The state of a session.

use strum::{IntoStaticStr, VariantArray};

/// The state of a session; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SessionState {
    /// Runs a statement, waits for a lock, or waits for its client to take the answer.
    Active,
    /// Waits for the client's next command, outside of a transaction.
    Idle,
    /// Waits for the client's next command, inside of a transaction.
    IdleInTransaction,
    /// As [`Self::IdleInTransaction`], and a statement of the transaction has failed.
    IdleInTransactionAborted,
    /// Runs a function by the fast path.
    Fastpath,
    /// track_activities is off in this session, so the server does not know.
    Disabled,
    /// Is logging in. Only PostgreSQL 18 and later show such sessions.
    Starting,
    /// The exporter's role may not see it: that needs pg_read_all_stats.
    Unknown,
}

impl SessionState {
    /// Reads the column `state`. NULL means that the exporter's role may not see the session.
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("active") => Self::Active,
            Some("idle") => Self::Idle,
            Some("idle in transaction") => Self::IdleInTransaction,
            Some("idle in transaction (aborted)") => Self::IdleInTransactionAborted,
            Some("fastpath function call") => Self::Fastpath,
            Some("disabled") => Self::Disabled,
            Some("starting") => Self::Starting,
            Some(_) | None => Self::Unknown,
        }
    }

    /// Reports whether a session in this state waits for its client inside of a transaction.
    pub fn is_idle_in_transaction(self) -> bool {
        matches!(self, Self::IdleInTransaction | Self::IdleInTransactionAborted)
    }

    /// Reports whether a session in this state is certainly checked out of its pool.
    pub(crate) fn is_busy(self) -> bool {
        match self {
            Self::Active
            | Self::IdleInTransaction
            | Self::IdleInTransactionAborted
            | Self::Fastpath => true,
            Self::Idle | Self::Disabled | Self::Starting | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn states_are_read_as_the_server_writes_them() {
        let check = |text, state| assert_eq!(SessionState::parse(text), state);
        check(Some("idle in transaction (aborted)"), SessionState::IdleInTransactionAborted);
        check(Some("fastpath function call"), SessionState::Fastpath);
        check(Some("a new one"), SessionState::Unknown);
        check(None, SessionState::Unknown);
        for (n, state) in SessionState::all().enumerate() {
            assert_eq!(state as usize, n, "the order of ALL is that of the variants");
        }
    }
}
