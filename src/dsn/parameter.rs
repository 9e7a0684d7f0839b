//! The table of all parameters: what each is called, which variable fills it, and who reads it.
//!
//! The rows stand beside the types that they fill. The order matters in one place: of two rows for one
//! key the first one's variable wins (`PGSSLMODE` over `PGREQUIRESSL`).

use super::draft::Draft;
use super::{Dsn, Problem, auth, host, session, ssl};

/// A parameter.
pub(super) struct Parameter {
    /// Its name in a URL.
    pub(super) name: &'static str,
    /// The parameter that it stands for: its own name, unless it is an alias.
    pub(super) key: &'static str,
    /// libpq's environment variable.
    pub(super) variable: Option<&'static str>,
    /// What its value does.
    pub(super) meaning: Meaning,
    /// Its value, as a URL's text; `None` for those that stand in the authority, for aliases, and the ignored.
    pub(super) show: Option<Show>,
}

/// Reads a value into a draft.
pub(super) type Read = fn(&mut Draft, &str) -> Result<(), Problem>;

/// Shows a value, if there is one.
pub(super) type Show = fn(&Dsn) -> Option<String>;

/// What the value of a parameter does.
pub(super) enum Meaning {
    /// It is read.
    Read(Read),
    /// It means nothing to a monitor.
    Ignored,
    /// It cannot be honoured, but for these values.
    Only(&'static [&'static str], &'static str),
}

/// A parameter that is read.
pub(super) const fn read(
    name: &'static str,
    variable: Option<&'static str>,
    read: Read,
    show: Option<Show>,
) -> Parameter {
    Parameter { name, key: name, variable, meaning: Meaning::Read(read), show }
}

/// Another name of a parameter.
pub(super) const fn alias(
    name: &'static str,
    key: &'static str,
    variable: Option<&'static str>,
    read: Read,
) -> Parameter {
    Parameter { name, key, variable, meaning: Meaning::Read(read), show: None }
}

/// A parameter that means nothing here.
const fn ignored(name: &'static str, variable: Option<&'static str>) -> Parameter {
    Parameter { name, key: name, variable, meaning: Meaning::Ignored, show: None }
}

/// A parameter that is refused but for some values.
const fn only(
    name: &'static str,
    variable: Option<&'static str>,
    allowed: &'static [&'static str],
    why: &'static str,
) -> Parameter {
    Parameter { name, key: name, variable, meaning: Meaning::Only(allowed, why), show: None }
}

/// All parameters.
pub(super) fn all() -> impl Iterator<Item = &'static Parameter> {
    [host::PARAMETERS, session::PARAMETERS, ssl::PARAMETERS, auth::PARAMETERS, LIBPQ, DRIVERS]
        .into_iter()
        .flatten()
}

/// The parameter of a name.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    all().find(|parameter| parameter.name == name)
}

/// What libpq knows and we do not do.
const LIBPQ: &[Parameter] = &[
    ignored("client_encoding", Some("PGCLIENTENCODING")),
    ignored("fallback_application_name", None),
    ignored("krbsrvname", Some("PGKRBSRVNAME")),
    ignored("gsslib", Some("PGGSSLIB")),
    only(
        "gssdelegation",
        Some("PGGSSDELEGATION"),
        &["", "0"],
        "there is no GSSAPI here; allowed: 0",
    ),
    only(
        "gssencmode",
        Some("PGGSSENCMODE"),
        &["disable", "prefer"],
        "there is no GSSAPI here; allowed: disable, prefer",
    ),
    only(
        "service",
        Some("PGSERVICE"),
        &[""],
        "no service file is read; write its settings into the URL",
    ),
    only(
        "servicefile",
        Some("PGSERVICEFILE"),
        &[""],
        "no service file is read; write its settings into the URL",
    ),
    only(
        "requirepeer",
        Some("PGREQUIREPEER"),
        &[""],
        "the user of the server's process is not checked",
    ),
    only("sslcrl", Some("PGSSLCRL"), &[""], "no revocation list is read"),
    only("sslcrldir", Some("PGSSLCRLDIR"), &[""], "no revocation list is read"),
    only(
        "sslcompression",
        Some("PGSSLCOMPRESSION"),
        &["", "0"],
        "there is no compression in TLS any more; allowed: 0",
    ),
    only("sslkeylogfile", None, &[""], "the keys of a session are never written"),
    only(
        "min_protocol_version",
        Some("PGMINPROTOCOLVERSION"),
        &["3.0"],
        "only protocol 3.0 is spoken; allowed: 3.0",
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
    only("oauth_issuer", None, &[""], "there is no OAuth here"),
    only("oauth_client_id", None, &[""], "there is no OAuth here"),
    only("oauth_client_secret", None, &[""], "there is no OAuth here"),
    only("oauth_scope", None, &[""], "there is no OAuth here"),
];

/// What asyncpg, psycopg, psycopg2, pg8000 and SQLAlchemy's dialects take in a URL, and which means nothing here.
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
    only(
        "ssl_context",
        None,
        &[],
        "an object of Python's is not known here; use `ssl` or `sslmode`",
    ),
];
