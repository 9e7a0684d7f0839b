//! Advice on a failure: the first thing that a person should check.

use super::pooler;
use crate::metrics::{Phase, Reason};

/// One sentence of advice for a failed part of a probe. `message`: the failure in words, in which the texts of
/// PgBouncer are recognized.
pub(crate) fn hint(phase: Option<Phase>, reason: Reason, message: &str) -> &'static str {
    pooler::hint(message).unwrap_or_else(|| hint_of_reason(phase, reason))
}

fn hint_of_reason(phase: Option<Phase>, reason: Reason) -> &'static str {
    match reason {
        Reason::Timeout => hint_of_timeout(phase),
        Reason::Refused => REFUSED,
        Reason::Unreachable => UNREACHABLE,
        Reason::Tls => TLS,
        Reason::Auth => AUTH,
        Reason::TooManyConnections => TOO_MANY_CONNECTIONS,
        Reason::NoDatabase => NO_DATABASE,
        Reason::StartingUp => STARTING_UP,
        Reason::ShuttingDown => SHUTTING_DOWN,
        Reason::NotAccepting => NOT_ACCEPTING,
        Reason::WrongSession => WRONG_SESSION,
        Reason::Budget => BUDGET,
        Reason::NoRole => NO_ROLE,
        Reason::NoPrivilege => NO_PRIVILEGE,
        Reason::NoTable => NO_TABLE,
        Reason::NoExtension => NO_EXTENSION,
        Reason::ReadOnly => READ_ONLY,
        Reason::DiskFull => DISK_FULL,
        Reason::StatementPooling => STATEMENT_POOLING,
        Reason::PoolerWait => POOLER_WAIT,
        Reason::PoolerNoServer => POOLER_NO_SERVER,
        Reason::PoolerPaused => POOLER_PAUSED,
        Reason::StartupParameter => STARTUP_PARAMETER,
        Reason::WrongKind => WRONG_KIND,
        Reason::NotPostgres => NOT_POSTGRES,
        Reason::TooLarge => TOO_LARGE,
        Reason::Query => QUERY,
        Reason::Disconnected => hint_of_disconnect(phase),
        Reason::Other => OTHER,
    }
}

fn hint_of_timeout(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Dns) => "the name server does not answer: check /etc/resolv.conf",
        Some(Phase::Tcp) => {
            "packets are dropped on the way: check firewalls, security groups and routes"
        }
        Some(Phase::SslRequest | Phase::Tls) => {
            "the server takes the connection but says nothing: it is overloaded, frozen, or not a PostgreSQL"
        }
        Some(Phase::Startup) => {
            "the server takes the connection but does not finish the login: it is overloaded, frozen, waits for an authentication service, or is a PgBouncer after SUSPEND, or one whose pool is full, paused or without its server"
        }
        None => {
            "the statement or the wait for a connection took too long: look for locks (pg_stat_activity, wait_event_type = 'Lock') and for load"
        }
    }
}

fn hint_of_disconnect(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Startup) => {
            "the connection was cut during the login: check the log of the server, and of any proxy or load balancer in between (no backend behind it, or a limit of its own)"
        }
        Some(Phase::Dns | Phase::Tcp | Phase::SslRequest | Phase::Tls) | None => {
            "the server or a proxy ended the connection: check the server's log, and idle time-outs of proxies"
        }
    }
}

const REFUSED: &str =
    "nobody listens there: is the server running, and are host and port right? (listen_addresses)";
const UNREACHABLE: &str = "the host name does not resolve or has no route: check the name in DATABASE_URL and the network";
const TLS: &str = "check sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL, and the server's certificate: name, dates, issuer, and its key (P-521 and RSA-PSS keys are not supported)";
const AUTH: &str = "check the password (DB_PASSWORD, DATABASE_URL), the role (does it exist, may it LOGIN?) and pg_hba.conf; the server's log names the rule";
const TOO_MANY_CONNECTIONS: &str = "the server, the role or the database has no connection left: see who holds them in pg_stat_activity, then make the pools smaller or put PgBouncer in between";
const NO_DATABASE: &str = "the database does not exist: check the name at the end of DATABASE_URL";
const STARTING_UP: &str = "the server is starting or recovering: wait, then check its log";
const SHUTTING_DOWN: &str = "the server is shutting down, and the exporter has closed its idle sessions to let it: a shutdown in smart mode still waits for every other session";
const NOT_ACCEPTING: &str = "the database does not allow connections (ALTER DATABASE ... ALLOW_CONNECTIONS true), or the server is a standby without hot_standby";
const WRONG_SESSION: &str =
    "no host of the list is of the kind that target_session_attrs asks for: was there a fail-over?";
const BUDGET: &str = "connections that timed out before may still exist on the server, so no more are opened: find the cause of their time-out";
const NO_ROLE: &str =
    "the session's role was dropped: create it again with deploy/sql/role.sql, or use another one";
const NO_PRIVILEGE: &str = "the role lacks a privilege: GRANT what the message names";
const NO_TABLE: &str =
    "the table does not exist: check its name and schema, and the database in DATABASE_URL";
const NO_EXTENSION: &str = "put pg_stat_statements into shared_preload_libraries and CREATE EXTENSION pg_stat_statements in the target's database, or switch the view off";
const READ_ONLY: &str = "the server is a standby or read-only: was there a fail-over, and does the URL name the primary?";
const DISK_FULL: &str = "the server's disk is full: make room there";
const STATEMENT_POOLING: &str = "PgBouncer's pool_mode is statement, which allows no transactions: the exporter then reads without them, but the write probe needs pool_mode = transaction or session for its database or user";
const STARTUP_PARAMETER: &str = "PgBouncer does not accept this start-up parameter: take `options` out of DATABASE_URL, or add the parameter that the message names to ignore_startup_parameters in pgbouncer.ini";
const POOLER_WAIT: &str = "PgBouncer had no server connection to give within its query_wait_timeout: its pool is full or paused (SHOW POOLS, SHOW DATABASES). Look for what holds the server connections, then raise pool_size";
const POOLER_NO_SERVER: &str = "PgBouncer answers, but cannot log in to its server: is the server up, and are host, port, user and password right in pgbouncer.ini? Its log has the server's answer, and it tries again after server_login_retry";
const POOLER_PAUSED: &str = "somebody has paused or suspended PgBouncer: RESUME it in its console";
const WRONG_KIND: &str = "the target's kind does not fit what answers: kind postgres needs a database, kind pgbouncer the database `pgbouncer` of PgBouncer's port";
const NOT_POSTGRES: &str =
    "something other than PostgreSQL answers there, perhaps an HTTP server: check host and port";
const TOO_LARGE: &str =
    "the server sent more than the exporter accepts: check what really answers at this address";
const QUERY: &str = "the statement itself fails: run it in psql as this role";
const OTHER: &str = "read the message, and the server's log";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn every_reason_has_advice_that_reads_as_a_sentence() {
        for reason in Reason::all() {
            for phase in Phase::all().map(Some).chain([None]) {
                let text = hint(phase, reason, "");
                assert!(text.len() > 20 && !text.ends_with('.'), "{text}");
            }
        }
    }
}
