//! Checks that the pooled connection still leads to the server that new connections reach.
//!
//! After a fail-over by a name, a proxy or a list of hosts, a pool keeps its connections to the old server:
//! ours, and the application's as well. A balancer that leads each new connection elsewhere looks similar.
//! Two things tell them apart: after a fail-over two fresh connects in a row reach the same new server, and
//! none goes back to a server that was left.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::history::SPAN;
use super::once::FreshConnect;
use super::snapshot::Snapshot;
use super::target::Target;
use crate::dsn::SessionAttrs;
use crate::pool::ServerIdentity;

/// The number of fresh connects that are remembered.
const REMEMBERED: usize = 10;

/// The time for which a fault is shown. The exporter replaces its own connection at once, but the
/// application's pool keeps such connections for longer.
const SHOWN: Duration = SPAN;

/// A pooled connection that led to a wrong server, and was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFault {
    /// When it was found.
    pub at: Instant,
    /// The fault in words, for the log and the health check.
    pub message: String,
}

/// The servers that fresh connects reached, and the last fault.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    fresh: VecDeque<i64>,
    fault: Option<SessionFault>,
}

impl Sessions {
    /// Takes a probe in. Replaces the pool's connections when the pooled one is wrong, and returns the fault
    /// to show, if there is one.
    pub(super) fn check(
        &mut self,
        target: &Target,
        snapshot: &Snapshot,
        fresh: FreshConnect,
    ) -> Option<SessionFault> {
        let now = snapshot.taken;
        let dsn = &target.settings().connect.dsn;
        let wanted = dsn.session.unwrap_or(SessionAttrs::Any);
        let pooled = snapshot.query.as_ref().ok().and_then(|queried| queried.identity.as_ref());
        let fresh = snapshot.connect.as_ref().filter(|_| fresh == FreshConnect::Try);
        let fresh = fresh.and_then(|fresh| fresh.as_ref().ok()?.identity.as_ref());
        let is_settled = fresh.is_some_and(|fresh| self.settles(fresh.started));
        if let Some(message) =
            wrong(pooled, fresh.filter(|_| is_settled && !dsn.load_balance), wanted)
        {
            target.pool().replace_wrong_sessions();
            let is_new = self.fault.as_ref().is_none_or(|fault| fault.message != message);
            if is_new {
                let reason = "wrong_session";
                tracing::warn!(
                    target = target.name(),
                    reason,
                    "{message}: replacing the pooled connection"
                );
            }
            self.fault = Some(SessionFault { at: now, message });
        }
        self.fault.take_if(|fault| now.saturating_duration_since(fault.at) > SHOWN);
        self.fault.clone()
    }

    /// Remembers a fresh connect, and reports whether the servers that they reach are those of a fail-over
    /// and not of a balancer.
    fn settles(&mut self, started: i64) -> bool {
        let is_confirmed = self.fresh.back() == Some(&started);
        self.fresh.push_back(started);
        if self.fresh.len() > REMEMBERED {
            self.fresh.pop_front();
        }
        let turns =
            self.fresh.iter().zip(self.fresh.iter().skip(1)).filter(|(a, b)| a != b).count();
        is_confirmed && turns < 2
    }
}

/// Returns the fault of the pooled connection, in words; `None` if there is none. `fresh`: the server of a
/// fresh connect that [`Sessions::settles`] confirmed.
fn wrong(
    pooled: Option<&ServerIdentity>,
    fresh: Option<&ServerIdentity>,
    wanted: SessionAttrs,
) -> Option<String> {
    let pooled = pooled?;
    if !pooled.meets(wanted) {
        let (role, wanted) = (pooled.role(), wanted.label());
        return Some(format!(
            "the pooled connection leads to {role}, but target_session_attrs asks for {wanted}"
        ));
    }
    let fresh = fresh.filter(|fresh| fresh.started != pooled.started)?;
    let (old, new) = (pooled.role(), fresh.role());
    Some(format!(
        "new connections reach another server ({new}) than the pooled connection ({old}): the application's pooled connections stay on the old server until they are replaced"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(started: i64, read_only: bool) -> ServerIdentity {
        ServerIdentity {
            pid: 1,
            started,
            in_recovery: false,
            read_only,
            user: "app".to_owned(),
            database: "db".to_owned(),
        }
    }

    /// The answers of [`Sessions::settles`] to fresh connects to these servers.
    fn settled(servers: &[i64]) -> Vec<bool> {
        let mut sessions = Sessions::default();
        servers.iter().map(|started| sessions.settles(*started)).collect()
    }

    #[test]
    fn a_fail_over_is_believed_at_the_second_connect_and_a_balancer_never() {
        assert_eq!(settled(&[1, 1, 2, 2]), [false, true, false, true]);
        assert_eq!(settled(&[1, 2, 1, 1, 2, 2]), [false; 6]);
        let back_for_long = [&[1, 2, 1][..], &[1; 10]].concat();
        assert_eq!(settled(&back_for_long).last(), Some(&true), "what is long ago is forgotten");
    }

    #[test]
    fn the_pooled_connection_is_wrong_on_another_server_or_another_kind() {
        let [old, new] = [1, 2].map(|started| identity(started, false));
        let check = |pooled, fresh, wanted, words: Option<&str>| {
            let message = wrong(pooled, fresh, wanted);
            assert_eq!(message.is_some(), words.is_some(), "{message:?}");
            assert!(message.unwrap_or_default().contains(words.unwrap_or_default()));
        };
        check(Some(&old), Some(&old), SessionAttrs::Any, None);
        check(Some(&old), None, SessionAttrs::ReadWrite, None);
        check(None, Some(&new), SessionAttrs::ReadWrite, None);
        check(Some(&old), Some(&new), SessionAttrs::Any, Some("another server"));
        let read_only = identity(1, true);
        check(Some(&read_only), None, SessionAttrs::ReadWrite, Some("read-write"));
        check(Some(&old), None, SessionAttrs::Standby, Some("a primary"));
        check(Some(&read_only), Some(&read_only), SessionAttrs::PreferStandby, None);
    }
}
