//! What to do first about a failure, for the one who reads it.

use crate::metrics::{Phase, Reason};

/// One sentence of advice for a failed part of a probe.
pub fn hint(phase: Option<Phase>, reason: Reason) -> &'static str {
    match reason {
        Reason::Timeout => hint_of_timeout(phase),
        Reason::Refused => {
            "nobody listens there: is the server running, and are host and port right? (listen_addresses)"
        }
        Reason::Unreachable => {
            "the host is not known or has no route: look at the name in DATABASE_URL and at the network"
        }
        Reason::Tls => {
            "look at sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL, and at the server's certificate: name, dates, issuer"
        }
        Reason::Auth => {
            "look at the password (DB_PASSWORD, DATABASE_URL), the role (ALTER ROLE ... LOGIN) and pg_hba.conf; the server's log has the rule"
        }
        Reason::TooManyConnections => {
            "the server, the role or the database has no connection left: see who holds them in pg_stat_activity, then lower the pools or put PgBouncer between"
        }
        Reason::NoDatabase => {
            "the database does not exist: look at the name at the end of DATABASE_URL"
        }
        Reason::StartingUp => {
            "the server is starting, stopping or recovering: wait, then look at its log"
        }
        Reason::WrongSession => {
            "no host of the list is of the kind that target_session_attrs asks for: has there been a fail-over?"
        }
        Reason::Budget => {
            "connects that timed out before may still be there on the server, so no more are opened: the cause is their time-out"
        }
        Reason::NoPrivilege => "the role has no right to it: GRANT it what the message names",
        Reason::NoTable => {
            "the table does not exist: look at its name and schema, and at the database in DATABASE_URL"
        }
        Reason::NoExtension => {
            "put pg_stat_statements into shared_preload_libraries and CREATE EXTENSION pg_stat_statements in the target's database, or switch the view off"
        }
        Reason::ReadOnly => {
            "the server is a standby or read-only: has there been a fail-over, is the URL that of the primary?"
        }
        Reason::DiskFull => "the server has no disk space left: make room there",
        Reason::Query => "the statement itself fails: run it with psql as this role",
        Reason::Disconnected => {
            "the server or something between ended the connection: look at the server's log and at idle time-outs of proxies"
        }
        Reason::Other => "look at the message, and at the server's log",
    }
}

fn hint_of_timeout(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Dns) => "the name server does not answer: look at /etc/resolv.conf",
        Some(Phase::Tcp) => {
            "packets are dropped on the way: look at firewalls, security groups and routes"
        }
        Some(Phase::SslRequest | Phase::Tls) => {
            "the server takes the connection but says nothing: it is overloaded, frozen, or not a PostgreSQL"
        }
        Some(Phase::Startup) => {
            "the server takes the connection but does not finish the login: it is overloaded, frozen, or waits for an authentication service"
        }
        None => {
            "the statement or the wait for a connection took too long: look for locks (pg_stat_activity, wait_event_type = 'Lock') and for load"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn every_reason_has_advice_that_reads_as_a_sentence() {
        for reason in Reason::all() {
            for phase in Phase::all().map(Some).chain([None]) {
                let text = hint(phase, reason);
                assert!(text.len() > 20 && !text.ends_with('.'), "{text}");
            }
        }
    }
}
