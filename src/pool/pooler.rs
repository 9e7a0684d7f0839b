//! The errors that PgBouncer writes itself: the reason and the advice for each.
//!
//! PgBouncer has one code, 08P01, for nearly everything that it refuses, and no other language than English, so
//! its texts are read. Before 1.23 it also passes the texts of its server on under that code.
//! Source: the calls of `disconnect_client`, `disconnect_server` and `send_pooler_error` in PgBouncer 1.8 to 1.25.

use crate::metrics::Reason;

/// The code of PgBouncer's own errors, in the form that follows a server's text.
const CODE: &str = "(SQLSTATE 08P01)";

/// A text of PgBouncer, and its meaning.
struct PoolerText {
    /// Words that only this text has.
    words: &'static str,
    reason: Reason,
    /// `None` where the advice of the reason fits.
    hint: Option<&'static str>,
}

const fn text(words: &'static str, reason: Reason, hint: Option<&'static str>) -> PoolerText {
    PoolerText { words, reason, hint }
}

/// Returns the reason behind a text that came with the code 08P01; `Other` for an unknown one.
pub(super) fn reason(message: &str) -> Reason {
    find(message).map_or(Reason::Other, |text| text.reason)
}

/// Returns the advice for a failure whose text is PgBouncer's; `None` where that of the reason fits.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    if !message.contains(CODE) {
        return None;
    }
    find(message)?.hint
}

/// The first match counts: some texts contain the text of another error.
fn find(message: &str) -> Option<&'static PoolerText> {
    TEXTS.iter().find(|text| message.contains(text.words))
}

const TEXTS: &[PoolerText] = &[
    text("statement pooling mode", Reason::StatementPooling, None),
    text("unsupported startup parameter", Reason::StartupParameter, None),
    text("unsupported options startup parameter", Reason::StartupParameter, None),
    // PgBouncer cannot log in to its server. Its text contains the server's own.
    text("server login has been failing", Reason::PoolerNoServer, None),
    text("pgbouncer cannot connect to server", Reason::PoolerNoServer, None),
    text("client_login_timeout (server down)", Reason::PoolerNoServer, None),
    text("server DNS lookup failed", Reason::PoolerNoServer, Some(DNS)),
    text("server dns lookup failed", Reason::PoolerNoServer, Some(DNS)),
    text("server login failed", Reason::PoolerNoServer, None),
    text("server refused SSL", Reason::PoolerNoServer, Some(SERVER_TLS)),
    text("exec_on_connect query failed", Reason::PoolerNoServer, Some(CONNECT_QUERY)),
    text("connect failed", Reason::PoolerNoServer, None),
    text("connect timeout", Reason::PoolerNoServer, None),
    // The wait for a server connection.
    text("query_wait_timeout", Reason::PoolerWait, None),
    text("client_login_timeout", Reason::Timeout, Some(CLIENT_LOGIN)),
    text("suspend_timeout", Reason::PoolerPaused, None),
    text("pause failed", Reason::PoolerPaused, None),
    text("pause mode", Reason::PoolerPaused, None),
    // Limits on clients.
    text("max_client_conn", Reason::TooManyConnections, Some(MAX_CLIENT_CONN)),
    text("client connections exceeded", Reason::TooManyConnections, Some(CLIENTS_EXCEEDED)),
    text("bouncer resources exhaustion", Reason::TooManyConnections, Some(MEMORY)),
    text("no memory for", Reason::TooManyConnections, Some(MEMORY)),
    // The database, as PgBouncer knows it.
    text("no such database", Reason::NoDatabase, Some(NO_DATABASE)),
    text("is disabled", Reason::NotAccepting, Some(DISABLED)),
    text("database does not allow connections", Reason::NotAccepting, Some(DISABLED)),
    // PgBouncer's console.
    text("use SHOW HELP", Reason::WrongKind, None),
    text("admin console", Reason::WrongKind, None),
    text("unsupported pkt type", Reason::WrongKind, None),
    text("admin access needed", Reason::NoPrivilege, Some(ADMIN)),
    // The login to PgBouncer. A user who is in none of its lists may not open the console.
    text("no such user", Reason::Auth, Some(NO_USER)),
    text("password authentication failed for user", Reason::PoolerNoServer, Some(SERVER_AUTH)),
    text("auth_query", Reason::PoolerNoServer, Some(AUTH_QUERY)),
    text("login query", Reason::PoolerNoServer, Some(AUTH_QUERY)),
    text("authentication failed", Reason::Auth, Some(LOGIN)),
    text("auth failed", Reason::Auth, Some(LOGIN)),
    text("no authentication method is found", Reason::Auth, Some(LOGIN)),
    text("invalid SASL authentication mechanism", Reason::Auth, Some(LOGIN)),
    text("empty password", Reason::Auth, Some(LOGIN)),
    text("password too long", Reason::Auth, Some(LOGIN)),
    text("username too long", Reason::Auth, Some(LOGIN)),
    text("no username supplied", Reason::Auth, Some(LOGIN)),
    text("login rejected", Reason::Auth, Some(LOGIN)),
    text("TLS certificate name mismatch", Reason::Auth, Some(LOGIN)),
    text("SSL required", Reason::Tls, Some(CLIENT_TLS)),
    text("TLS connection required", Reason::Tls, Some(CLIENT_TLS)),
    text("TLS client certificate required", Reason::Tls, Some(CLIENT_TLS)),
    // Before 1.23: the texts of the server, passed on.
    text("no pg_hba.conf entry", Reason::PoolerNoServer, Some(SERVER_AUTH)),
    text("pg_hba.conf rejects connection", Reason::PoolerNoServer, Some(SERVER_AUTH)),
    text("is not permitted to log in", Reason::PoolerNoServer, Some(SERVER_AUTH)),
    text("too many clients already", Reason::TooManyConnections, None),
    text("remaining connection slots are reserved", Reason::TooManyConnections, None),
    text("too many connections for", Reason::TooManyConnections, None),
    text("database system is starting up", Reason::StartingUp, None),
    text("in recovery mode", Reason::StartingUp, None),
    text("accepting connections", Reason::NotAccepting, None),
    text("role \"", Reason::PoolerNoServer, Some(SERVER_AUTH)),
    text("database \"", Reason::NoDatabase, Some(NO_DATABASE)),
    text("not allowed", Reason::Auth, Some(NOT_ALLOWED)),
    // The end of a connection.
    text("shutting down", Reason::ShuttingDown, Some(POOLER_SHUTDOWN)),
    text("query_timeout", Reason::Timeout, Some(QUERY_TIMEOUT)),
    text("query timeout", Reason::Timeout, Some(QUERY_TIMEOUT)),
    text("transaction timeout", Reason::Timeout, Some(TRANSACTION_TIMEOUT)),
    text("client_idle_timeout", Reason::Disconnected, Some(CLIENT_IDLE)),
    text("admin forced disconnect", Reason::Disconnected, Some(KILLED)),
    text("server conn crashed", Reason::Disconnected, Some(CRASHED)),
    text("server connection closed", Reason::Disconnected, Some(CRASHED)),
    text("PQexec disallowed", Reason::Query, Some(PQEXEC)),
];

const DNS: &str = "PgBouncer cannot resolve the name of its server: check `host` of the database in pgbouncer.ini, and the name server of PgBouncer's host";
const SERVER_TLS: &str = "PgBouncer asks its server for TLS, and the server has none: check server_tls_sslmode in pgbouncer.ini and `ssl` of the server";
const CONNECT_QUERY: &str =
    "the connect_query of the database in pgbouncer.ini fails on the server: run it in psql";
const CLIENT_LOGIN: &str = "the login to PgBouncer took longer than its client_login_timeout: PgBouncer is overloaded, or its auth_query waits for the server";
const MAX_CLIENT_CONN: &str = "PgBouncer serves as many clients as its max_client_conn allows, and its console shows nothing of it: raise max_client_conn in pgbouncer.ini (and its limit of open files), or make the applications' pools smaller";
const CLIENTS_EXCEEDED: &str = "PgBouncer serves as many clients of this database or user as it may: raise the limit that the message names in pgbouncer.ini, or make the applications' pools smaller";
const MEMORY: &str = "PgBouncer has no memory left: read its log";
const NO_DATABASE: &str = "PgBouncer has no such database, or its server has none: check the name at the end of DATABASE_URL, and the section [databases] of pgbouncer.ini";
const DISABLED: &str = "the database was closed in PgBouncer's console: ENABLE it there";
const ADMIN: &str = "PgBouncer's console refuses this command to a user of stats_users: only admin_users may run it";
const NO_USER: &str = "PgBouncer does not know the user: add it to its auth_file, or let its auth_query find it, or correct the user (DB_PASSWORD, DATABASE_URL)";
const LOGIN: &str = "PgBouncer refuses the login: check the password (DB_PASSWORD, DATABASE_URL) against its auth_file or auth_query, and auth_type in pgbouncer.ini; its log names the cause";
const NOT_ALLOWED: &str = "PgBouncer's console is only for users in its stats_users or admin_users: add the user there and RELOAD";
const CLIENT_TLS: &str = "PgBouncer takes only clients with TLS: check client_tls_sslmode in pgbouncer.ini, and sslmode, sslcert and sslkey in DATABASE_URL";
const SERVER_AUTH: &str = "PgBouncer is refused by its server: check the role on the server, the password that PgBouncer has for it (auth_file, or the database's own in pgbouncer.ini) and pg_hba.conf";
const AUTH_QUERY: &str =
    "PgBouncer's auth_query fails on the server: check auth_user and auth_query in pgbouncer.ini";
const POOLER_SHUTDOWN: &str =
    "PgBouncer or the server behind it is shutting down: was it restarted on purpose?";
const QUERY_TIMEOUT: &str = "PgBouncer ended the statement after its query_timeout: look for locks and for load on the server";
const TRANSACTION_TIMEOUT: &str =
    "PgBouncer ended the transaction after its transaction_timeout or idle_transaction_timeout";
const CLIENT_IDLE: &str = "PgBouncer closes clients that are idle for its client_idle_timeout: applications' pools need a recycle time below it";
const KILLED: &str =
    "somebody ended the connection with KILL_CLIENT or KILL in PgBouncer's console";
const CRASHED: &str = "the server closed the connection to PgBouncer in the middle of a statement: read the server's log";
const PQEXEC: &str = "PgBouncer's disable_pqexec refuses the simple protocol, which the exporter needs: switch it off, or give the exporter the server's own address";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expected: Reason, advice: &str) {
        assert_eq!(reason(message), expected, "{message}");
        let coded = format!("startup failed: {message} (SQLSTATE 08P01) (127.0.0.1:6432)");
        let hint = hint(&coded).unwrap_or_default();
        assert!(hint.contains(advice) && hint.is_empty() == advice.is_empty(), "{message}: {hint}");
    }

    #[test]
    fn every_text_of_pgbouncer_has_its_reason_and_its_advice() {
        let down =
            "server login has been failing, cached error: connect failed (server_login_retry)";
        check(down, Reason::PoolerNoServer, "");
        let refused = "server login has been failing, cached error: FATAL: password authentication failed for user \"app\" (server_login_retry)";
        check(refused, Reason::PoolerNoServer, "");
        check("client_login_timeout (server down)", Reason::PoolerNoServer, "");
        check("client_login_timeout", Reason::Timeout, "overloaded");
        check("query_wait_timeout", Reason::PoolerWait, "");
        check("query_timeout", Reason::Timeout, "query_timeout");
        check("query timeout", Reason::Timeout, "query_timeout");
        check("idle transaction timeout", Reason::Timeout, "idle_transaction_timeout");
        check("suspend_timeout", Reason::PoolerPaused, "");
        let full = "no more connections allowed (max_client_conn)";
        check(full, Reason::TooManyConnections, "raise max_client_conn");
        let database = "client connections exceeded (max_db_client_connections)";
        check(database, Reason::TooManyConnections, "the limit that the message names");
        check("no such database: shop", Reason::NoDatabase, "[databases]");
        check("database \"shop\" does not exist", Reason::NoDatabase, "[databases]");
        check("database \"shop\" is disabled", Reason::NotAccepting, "ENABLE");
        check("no such user", Reason::Auth, "auth_file");
        check("SASL authentication failed", Reason::Auth, "refuses the login");
        check("\"trust\" authentication failed", Reason::Auth, "refuses the login");
        check("password authentication failed", Reason::Auth, "refuses the login");
        let behind = "password authentication failed for user \"app\"";
        check(behind, Reason::PoolerNoServer, "refused by its server");
        check("role \"app\" does not exist", Reason::PoolerNoServer, "refused by its server");
        check("not allowed", Reason::Auth, "stats_users");
        check("SSL required", Reason::Tls, "client_tls_sslmode");
        check("pooler is shutting down", Reason::ShuttingDown, "restarted");
        check("server conn crashed?", Reason::Disconnected, "server's log");
        check("sorry, too many clients already", Reason::TooManyConnections, "");
        check(
            "transaction blocks not allowed in statement pooling mode",
            Reason::StatementPooling,
            "",
        );
        let options = "unsupported startup parameter in options: geqo";
        check(options, Reason::StartupParameter, "");
        let other = "unsupported options startup parameter: only '-c config=val' is allowed";
        check(other, Reason::StartupParameter, "");
        check("bouncer config error", Reason::Other, "");
    }

    #[test]
    fn a_servers_own_text_gets_no_advice_about_pgbouncer() {
        assert_eq!(hint("no such user (SQLSTATE 28000)"), None);
    }

    /// The room above replaces exactly these words for targets of a configuration file.
    #[test]
    fn options_are_named_in_the_words_that_are_replaced() {
        for hint in TEXTS.iter().filter_map(|text| text.hint) {
            let without =
                hint.replace("(DB_PASSWORD, DATABASE_URL)", "").replace("DATABASE_URL", "");
            assert!(!without.contains("DB_"), "{hint}");
        }
    }

    #[test]
    fn no_row_hides_a_later_one() {
        for (n, row) in TEXTS.iter().enumerate() {
            let found = TEXTS.iter().position(|other| row.words.contains(other.words));
            assert_eq!(found, Some(n), "{} is never reached", row.words);
        }
    }
}
