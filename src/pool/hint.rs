//! What to do first about a failure, for the one who reads it.

use super::error::{Phase, Reason};

/// One sentence of advice for a failed part of a probe.
pub fn hint(phase: Option<Phase>, reason: Reason) -> &'static str {
    match (reason, phase) {
        (Reason::Timeout, Some(Phase::Dns)) => {
            "the name server does not answer: look at /etc/resolv.conf"
        }
        (Reason::Timeout, Some(Phase::Tcp)) => {
            "packets are dropped on the way: look at firewalls, security groups and routes"
        }
        (Reason::Timeout, Some(Phase::SslRequest | Phase::Tls)) => {
            "the server takes the connection but says nothing: it is overloaded, frozen, or not a PostgreSQL"
        }
        (Reason::Timeout, Some(Phase::Startup)) => {
            "the server takes the connection but does not finish the login: it is overloaded, frozen, or waits for an authentication service"
        }
        (Reason::Timeout, None) => {
            "the statement or the wait for a connection took too long: look for locks (pg_stat_activity, wait_event_type = 'Lock') and for load"
        }
        (Reason::Refused, _) => {
            "nobody listens there: is the server running, and are host and port right? (listen_addresses)"
        }
        (Reason::Unreachable, _) => {
            "the host is not known or has no route: look at the name in DATABASE_URL and at the network"
        }
        (Reason::Tls, _) => {
            "look at sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL, and at the server's certificate: name, dates, issuer"
        }
        (Reason::Auth, _) => {
            "look at the password (DB_PASSWORD, DATABASE_URL), the role (ALTER ROLE ... LOGIN) and pg_hba.conf; the server's log has the rule"
        }
        (Reason::TooManyConnections, _) => {
            "the server, the role or the database has no connection left: see who holds them in pg_stat_activity, then lower the pools or put PgBouncer between"
        }
        (Reason::NoDatabase, _) => {
            "the database does not exist: look at the name at the end of DATABASE_URL"
        }
        (Reason::StartingUp, _) => {
            "the server is starting, stopping or recovering: wait, then look at its log"
        }
        (Reason::WrongSession, _) => {
            "no host of the list is of the kind that target_session_attrs asks for: has there been a fail-over?"
        }
        (Reason::Budget, _) => {
            "connects that timed out before may still be there on the server, so no more are opened: the cause is their time-out"
        }
        (Reason::NoPrivilege, _) => "the role has no right to it: GRANT it what the message names",
        (Reason::NoTable, _) => {
            "the table does not exist: look at its name and schema, and at the database in DATABASE_URL"
        }
        (Reason::NoExtension, _) => {
            "put pg_stat_statements into shared_preload_libraries and CREATE EXTENSION pg_stat_statements in the target's database, or switch the view off"
        }
        (Reason::ReadOnly, _) => {
            "the server is a standby or read-only: has there been a fail-over, is the URL that of the primary?"
        }
        (Reason::DiskFull, _) => "the server has no disk space left: make room there",
        (Reason::Query, _) => "the statement itself fails: run it with psql as this role",
        (Reason::Disconnected, _) => {
            "the server or something between ended the connection: look at the server's log and at idle time-outs of proxies"
        }
        (Reason::Other, _) => "look at the message, and at the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn every_reason_has_advice_that_reads_as_a_sentence() {
        for reason in Reason::ALL {
            for phase in Phase::ALL.iter().copied().map(Some).chain([None]) {
                let text = hint(phase, *reason);
                assert!(text.len() > 20 && !text.ends_with('.'), "{text}");
            }
        }
    }
}
