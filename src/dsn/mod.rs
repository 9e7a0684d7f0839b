//! Parses database URLs as libpq, asyncpg, psycopg and SQLAlchemy accept them.
//!
//! Nothing here reads the environment or a file, or looks up a name. `uri` and `pairs` split the text
//! into words, the rows of `table` apply each word to a `Draft`, and the draft becomes a [`Dsn`]. An error
//! never quotes the text, because a mangled password can be anywhere in it. The grammar is libpq's
//! (<https://www.postgresql.org/docs/current/libpq-connect.html>); comments mark where we differ.

mod auth;
mod draft;
mod error;
mod fill;
mod foreign;
mod host;
mod lists;
mod number;
mod pairs;
mod parameter;
mod percent;
mod scheme;
mod session;
mod show;
mod ssl;
mod table;
mod tls;
mod uri;
mod word;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

pub use self::auth::{AuthMethod, RequireAuth};
pub use self::error::{Error, Part, Problem};
pub use self::host::{Address, DEFAULT_PORT, Host, is_loopback};
pub use self::session::{SessionAttrs, Tcp};
pub use self::tls::{CertMode, ChannelBinding, Root, SslMode, Tls, TlsVersion};
use crate::secret::Secret;

/// A parsed database URL. `Display` is the redacted URL; there is no `Debug`, because it holds secrets.
///
/// `None` means not given. [`Dsn::fill`] and then [`Dsn::resolve`] complete it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Dsn {
    /// The servers to try, in order; never empty after [`Dsn::resolve`].
    pub hosts: Vec<Host>,
    /// The role to log in as; always set after [`Dsn::resolve`].
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Secret>,
    /// The database; always set after [`Dsn::resolve`].
    pub database: Option<String>,
    /// `application_name`.
    pub application_name: Option<String>,
    /// `options`: command-line options for the server.
    pub options: Option<String>,
    /// `connect_timeout` (or asyncpg's `timeout`); `None` also for 0, which means no limit in libpq.
    pub connect_timeout: Option<Duration>,
    /// `target_session_attrs`.
    pub session: Option<SessionAttrs>,
    /// `load_balance_hosts=random`: the hosts are tried in random order.
    pub load_balance: bool,
    /// Options of the TCP socket.
    pub tcp: Tcp,
    /// The TLS settings.
    pub tls: Tls,
    /// `require_auth`: the authentication methods that the server may request.
    pub require_auth: Option<RequireAuth>,
    /// `passfile`: the file of passwords, used when no password is given.
    pub passfile: Option<PathBuf>,
    /// asyncpg's `command_timeout`: the longest time of a statement.
    pub command_timeout: Option<Duration>,
    /// Names of accepted parameters that have no effect here.
    pub ignored: Vec<String>,
    /// Keys that the URL gave, even with an empty value: the environment does not fill these.
    given: BTreeSet<&'static str>,
}

/// Parses a URL (`postgresql://`, `postgres://`, `postgresql+DRIVER://`) or libpq's `key=value` text.
///
/// # Errors
/// Every independent problem at once, ordered by position where there is one.
pub fn parse(text: &str) -> Result<Dsn, Vec<Error>> {
    if let Some(at) = text.find('\0') {
        return Err(vec![Error::new(Part::Text, at, Problem::Nul)]);
    }
    let scheme = scheme::Scheme::of(text)?;
    if let Some(at) = scheme.as_ref().and_then(|scheme| scheme.surrounding_blank(text)) {
        return Err(vec![Error::new(Part::Text, at, Problem::Surrounded)]);
    }
    let is_uri = scheme.is_some();
    let (words, mut errors) = match scheme {
        Some(scheme) => uri::words(text, scheme),
        None => pairs::words(text)?,
    };
    let mut draft = draft::Draft::default();
    errors.extend(words.iter().filter_map(|word| table::apply(&mut draft, word).err()));
    let (dsn, contradictions) = draft.finish();
    errors.extend(contradictions);
    errors.sort_by_key(|error| error.at.unwrap_or(usize::MAX));
    let harmless =
        if is_uri { after_credentials(text, &errors) } else { before_password(text, &words) };
    errors.iter_mut().for_each(|error| error.name_only_within(&harmless));
    if errors.is_empty() { Ok(dsn) } else { Err(errors) }
}

/// Returns the part of a URL in which an unknown parameter may be named: the part after the last `@`. Before
/// it, the name can be the rest of a mangled password. Without an `@`, a wrong port can be the start of a
/// password; then nothing may be named.
fn after_credentials(text: &str, errors: &[Error]) -> Range<usize> {
    let is_cut_off = errors.iter().any(|error| error.part == Part::Port);
    match text.rfind('@') {
        Some(at) => at..text.len(),
        None if is_cut_off => text.len()..text.len(),
        None => 0..text.len(),
    }
}

/// Returns the part of a text of `key=value` pairs in which an unknown parameter may be named. After the
/// password, the name can be the rest of a password without quotes.
fn before_password(text: &str, words: &[Word]) -> Range<usize> {
    let secret = words.iter().find(|word| word.name == "password").map(|word| word.at);
    0..secret.unwrap_or(text.len())
}

/// One named value of the text, decoded, and the byte at which it begins.
struct Word {
    part: Option<Part>,
    name: String,
    value: Secret,
    at: usize,
}

#[cfg(test)]
mod tests;
