//! The server's error codes that mean something here
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use super::pooler;
use crate::metrics::Reason;

pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(super) const QUERY_CANCELED: &str = "57014";

/// The class of refused logins.
const INVALID_AUTHORIZATION: &str = "28";

/// The extension's library was not loaded when the server started, or the database does not allow
/// connections.
pub(crate) const NOT_IN_PREREQUISITE_STATE: &str = "55000";

/// Reports whether a code means that the login was refused.
pub(super) fn is_about_login(code: &str) -> bool {
    code.starts_with(INVALID_AUTHORIZATION)
}

/// Reports whether a code means that a time limit of the server ran out.
pub(super) fn is_time_limit(code: &str) -> bool {
    matches!(code, QUERY_CANCELED | LOCK_NOT_AVAILABLE)
}

/// The reason behind a code that a login or a statement can get; `Other` for all others.
///
/// Messages are in the server's language. They are read only where one code has several meanings,
/// and then in English: PgBouncer has no other language.
pub(super) fn reason(code: &str, message: &str) -> Reason {
    match code {
        "08P01" => pooler::reason(message),
        "25006" => Reason::ReadOnly,
        "28000" | "28P01" => Reason::Auth,
        "3D000" => Reason::NoDatabase,
        "42501" => Reason::NoPrivilege,
        "42P01" => Reason::NoTable,
        "42704" if message.contains("role OID") || message.contains("role with OID") => {
            Reason::NoRole
        }
        "53100" => Reason::DiskFull,
        "53300" => Reason::TooManyConnections,
        QUERY_CANCELED | LOCK_NOT_AVAILABLE => Reason::Timeout,
        "57P01" | "57P02" | "57P05" => Reason::Disconnected,
        "57P03" => reason_of_no_connections(message),
        _ => Reason::Other,
    }
}

/// As [`reason`], for a login: there some codes mean more.
pub(super) fn reason_of_login(code: &str, message: &str) -> Reason {
    match code {
        NOT_IN_PREREQUISITE_STATE => Reason::NotAccepting,
        "57P01" => Reason::ShuttingDown,
        _ => reason(code, message),
    }
}

/// `cannot_connect_now` has four meanings; the unknown one of another language is the most common.
fn reason_of_no_connections(message: &str) -> Reason {
    if message.contains("shutting down") {
        Reason::ShuttingDown
    } else if message.contains("accepting connections") {
        Reason::NotAccepting
    } else {
        Reason::StartingUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_and_poolers_really_send_has_its_reason() {
        let check = |code, message, expected| {
            assert_eq!(reason_of_login(code, message), expected, "{code} {message}");
        };
        check("57P03", "the database system is starting up", Reason::StartingUp);
        check("57P03", "the database system is in recovery mode", Reason::StartingUp);
        check("57P03", "the database system is shutting down", Reason::ShuttingDown);
        check("57P03", "the database system is not accepting connections", Reason::NotAccepting);
        let yet = "the database system is not yet accepting connections";
        check("57P03", yet, Reason::NotAccepting);
        let no = "database \"x\" is not currently accepting connections";
        check("55000", no, Reason::NotAccepting);
        check("08P01", "no such database: x", Reason::NoDatabase);
        check("08P01", "\"trust\" authentication failed", Reason::Auth);
        check("08P01", "unsupported startup parameter: options", Reason::StartupParameter);
        check("08P01", "invalid command 'select 1', use SHOW HELP;", Reason::WrongKind);
        let pooling = "transaction blocks not allowed in statement pooling mode";
        check("08P01", pooling, Reason::StatementPooling);
        check("42704", "invalid role OID: 16387", Reason::NoRole);
        check("42704", "unrecognized configuration parameter \"x\"", Reason::Other);
        assert_eq!(reason("55000", "pg_stat_statements must be loaded"), Reason::Other);
    }
}
