//! The table of all parameters. Most rows stand beside the types that they fill.
//!
//! The order matters in one place: of two rows with one key, the variable of the first wins (`PGSSLMODE`
//! over `PGREQUIRESSL`).

use super::draft::Draft;
use super::parameter::{Parameter, ignored, only, read};
use super::{Error, Part, Problem, Word, auth, foreign, session, ssl};

/// Returns all parameters.
pub(super) fn all() -> impl Iterator<Item = &'static Parameter> {
    [HOSTS, session::PARAMETERS, ssl::PARAMETERS, auth::PARAMETERS, LIBPQ, DRIVERS]
        .into_iter()
        .flatten()
}

/// Applies a word of the text to the draft; a later word of the same name overrides an earlier one.
pub(super) fn apply(draft: &mut Draft, word: &Word) -> Result<(), Error> {
    let Some(parameter) = find(&word.name) else {
        return Err(match foreign::find(&word.name) {
            Some((name, driver)) => {
                Error::new(Part::parameter(name), word.at, Problem::Foreign(driver))
            }
            None => Error::new(Part::unknown(&word.name), word.at, Problem::Unknown),
        });
    };
    parameter.apply(draft, word.value.reveal()).map_err(|problem| {
        let part = word.part.clone().unwrap_or(Part::parameter(parameter.name));
        Error::new(part, word.at, problem)
    })
}

fn find(name: &str) -> Option<&'static Parameter> {
    all().find(|parameter| parameter.name == name)
}

/// The lists of hosts.
const HOSTS: &[Parameter] = &[
    read("host", Some("PGHOST"), |draft, text| draft.lists.read_names(text), None),
    read("hostaddr", Some("PGHOSTADDR"), |draft, text| draft.lists.read_addresses(text), None),
    read("port", Some("PGPORT"), |draft, text| draft.lists.read_ports(text), None),
];

/// libpq's parameters that have no effect here or cannot be honoured.
const LIBPQ: &[Parameter] = &[
    ignored("client_encoding", Some("PGCLIENTENCODING")),
    ignored("fallback_application_name", None),
    ignored("krbsrvname", Some("PGKRBSRVNAME")),
    ignored("gsslib", Some("PGGSSLIB")),
    only(
        "gssdelegation",
        Some("PGGSSDELEGATION"),
        &["", "0"],
        "GSSAPI is not supported; allowed: 0",
    ),
    only(
        "gssencmode",
        Some("PGGSSENCMODE"),
        &["disable", "prefer"],
        "GSSAPI is not supported; allowed: disable, prefer",
    ),
    only(
        "service",
        Some("PGSERVICE"),
        &[""],
        "service files are not read; write their settings into the URL",
    ),
    only(
        "servicefile",
        Some("PGSERVICEFILE"),
        &[""],
        "service files are not read; write their settings into the URL",
    ),
    only(
        "requirepeer",
        Some("PGREQUIREPEER"),
        &[""],
        "the owner of the server's process is not checked",
    ),
    only("sslcrl", Some("PGSSLCRL"), &[""], "revocation lists are not supported"),
    only("sslcrldir", Some("PGSSLCRLDIR"), &[""], "revocation lists are not supported"),
    only(
        "sslcompression",
        Some("PGSSLCOMPRESSION"),
        &["", "0"],
        "TLS compression is not supported; allowed: 0",
    ),
    only("sslkeylogfile", None, &[""], "session keys are never written to a file"),
    only(
        "min_protocol_version",
        Some("PGMINPROTOCOLVERSION"),
        &["3.0"],
        "only protocol 3.0 is supported; allowed: 3.0",
    ),
    only(
        "max_protocol_version",
        Some("PGMAXPROTOCOLVERSION"),
        &["3.0", "3.2", "latest"],
        "allowed: 3.0, 3.2, latest",
    ),
    only(
        "replication",
        None,
        &["", "0", "false", "off", "no"],
        "a monitor needs an ordinary session; allowed: false, off, no, 0",
    ),
    only("scram_client_key", None, &[""], "only a password is used for SCRAM"),
    only("scram_server_key", None, &[""], "only a password is used for SCRAM"),
    only("oauth_issuer", None, &[""], "OAuth is not supported"),
    only("oauth_client_id", None, &[""], "OAuth is not supported"),
    only("oauth_client_secret", None, &[""], "OAuth is not supported"),
    only("oauth_scope", None, &[""], "OAuth is not supported"),
];

/// Parameters that asyncpg, psycopg, psycopg2, pg8000 and SQLAlchemy's dialects accept in a URL, and that
/// have no effect here.
const DRIVERS: &[Parameter] = &[
    ignored("statement_cache_size", None),
    ignored("prepared_statement_cache_size", None),
    ignored("prepared_statement_name_func", None),
    ignored("max_cached_statement_lifetime", None),
    ignored("max_cacheable_statement_size", None),
    ignored("server_settings", None),
    ignored("connection_class", None),
    ignored("record_class", None),
    ignored("loop", None),
    ignored("async_fallback", None),
    ignored("async_creator_fn", None),
    ignored("autocommit", None),
    ignored("prepare_threshold", None),
    ignored("row_factory", None),
    ignored("cursor_factory", None),
    ignored("connection_factory", None),
    ignored("context", None),
    ignored("async", None),
    ignored("tcp_keepalive", None),
    only("ssl_context", None, &[], "a Python object has no meaning here; use `ssl` or `sslmode`"),
];
