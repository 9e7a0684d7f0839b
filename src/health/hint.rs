//! The first thing to do about a check that did not pass.

use super::check::{Check, CheckName, CheckOutcome};

/// Returns the first thing to do about a check that warns or fails; `None` for one that passed, and where the
/// failed part of the probe has the hint.
pub(crate) fn hint(check: &Check) -> Option<&'static str> {
    if check.outcome == CheckOutcome::Pass {
        return None;
    }
    let says = |words: &str| check.message.as_ref().is_some_and(|text| text.contains(words));
    match check.kind {
        CheckName::Connection if says("the last probe ended") => Some(
            "the exporter does not finish its probes: look into its log, and at the load of its host",
        ),
        CheckName::Connection | CheckName::Write => None,
        CheckName::PoolSaturation if says("cannot be seen") => {
            Some("a pool that cannot be seen is not a healthy pool: remove what the message names")
        }
        CheckName::PoolSaturation if says("settings allow") => Some(
            "set the number of processes and the limits of one pool to those that the application really has",
        ),
        CheckName::PoolSaturation if says("sessions of") => Some(
            "was the server restarted, or did somebody end the sessions? the application reconnects by itself with pool_pre_ping",
        ),
        CheckName::PoolSaturation => Some(
            "see who holds the connections (sessions idle in transaction, slow queries, locks), then size the pool: db_pool_exporter size",
        ),
        CheckName::SlowQueries => Some(
            "look for locks (pg_stat_activity, wait_event_type = 'Lock') and for load on the server and the network",
        ),
        CheckName::Headroom => Some(
            "see who holds the connections in pg_stat_activity, then make the pools smaller, raise the limit, or put PgBouncer in between",
        ),
        CheckName::Session => Some(
            "was there a fail-over? the application's pool keeps its old connections: restart the application, or lower pool_recycle",
        ),
        CheckName::Endpoints => Some(
            "check status_urls or status_dir of the application; until they answer, the server's view of its sessions is used",
        ),
        CheckName::PoolerWaiting if says("cannot be seen") => Some(
            "is the user in stats_users, and does the URL lead to the console? what is not seen is not healthy",
        ),
        CheckName::PoolerWaiting => Some(
            "see what holds the server connections (SHOW SERVERS in the console, pg_stat_activity on the server); with none open, PgBouncer cannot log in: read its log",
        ),
        CheckName::PoolerSaturation => Some(
            "see what holds the server connections, then raise pool_size of the database or the user in pgbouncer.ini and RELOAD",
        ),
        CheckName::PoolerPaused => Some(
            "find out who paused it, and whether that is still wanted; then RESUME in the console",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Measured;
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn every_check_that_did_not_pass_has_a_hint_or_a_failed_part_with_one() {
        for kind in CheckName::all() {
            let check =
                |outcome| Check { kind, outcome, measured: Measured::Nothing, message: None };
            assert_eq!(hint(&check(CheckOutcome::Pass)), None);
            let is_of_a_part = matches!(kind, CheckName::Connection | CheckName::Write);
            for outcome in [CheckOutcome::Warn, CheckOutcome::Fail] {
                assert_eq!(hint(&check(outcome)).is_none(), is_of_a_part, "{kind:?}");
            }
        }
    }
}
