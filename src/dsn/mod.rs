//! A database URL: what libpq, asyncpg, psycopg and SQLAlchemy users write, and nothing it stands for.
//!
//! Pure: no environment, no file, no name lookup. Text becomes words (`uri`, `pairs`), words become a
//! `Draft` by the rows of `parameter`, the draft becomes a [`Dsn`]. An error never holds any of the
//! text, because a mangled password can stand anywhere in it. The grammar is libpq's
//! (<https://www.postgresql.org/docs/current/libpq-connect.html>); where we differ, the code says so.

mod auth;
mod draft;
mod error;
mod fill;
mod host;
mod number;
mod pairs;
mod parameter;
mod percent;
mod scheme;
mod session;
mod show;
mod ssl;
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
/// What is `None` was left open; [`Dsn::fill`] and [`Dsn::resolve`] close it, in this order.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Dsn {
    /// The servers to try, in order; never empty after [`Dsn::resolve`].
    pub hosts: Vec<Host>,
    /// The role to log in as.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Secret>,
    /// The database.
    pub database: Option<String>,
    /// `application_name`.
    pub application_name: Option<String>,
    /// `options`: command-line options for the server.
    pub options: Option<String>,
    /// `connect_timeout` (or asyncpg's `timeout`); `None` also for libpq's "no limit", 0.
    pub connect_timeout: Option<Duration>,
    /// `target_session_attrs`.
    pub session: Option<SessionAttrs>,
    /// `load_balance_hosts=random`.
    pub load_balance: bool,
    /// Keepalives and the like.
    pub tcp: Tcp,
    /// Everything about TLS.
    pub tls: Tls,
    /// `require_auth`: which authentication the server may ask for.
    pub require_auth: Option<RequireAuth>,
    /// `passfile`: where passwords are looked up if there is none.
    pub passfile: Option<PathBuf>,
    /// asyncpg's `command_timeout`.
    pub command_timeout: Option<Duration>,
    /// Names of accepted parameters that mean nothing here.
    pub ignored: Vec<String>,
    /// Keys that were given, even with an empty value: libpq's environment does not fill these.
    said: BTreeSet<&'static str>,
}

/// Parses a URL (`postgresql://`, `postgres://`, `postgresql+DRIVER://`) or libpq's `key=value` text.
///
/// Errors: every independent problem at once, in the order of the text where they have a position.
pub fn parse(text: &str) -> Result<Dsn, Vec<Error>> {
    if let Some(at) = text.find('\0') {
        return Err(vec![Error::new(Part::Text, at, Problem::Nul)]);
    }
    let scheme = scheme::Scheme::of(text)?;
    let is_uri = scheme.is_some();
    let (words, mut errors) = match scheme {
        Some(scheme) => uri::words(text, scheme),
        None => pairs::words(text)?,
    };
    let mut draft = draft::Draft::default();
    errors.extend(words.iter().filter_map(|word| draft.take(word).err()));
    let (dsn, contradictions) = draft.finish();
    errors.extend(contradictions);
    errors.sort_by_key(|error| error.at.unwrap_or(usize::MAX));
    let harmless = harmless(text, is_uri, &words, &errors);
    errors.iter_mut().for_each(|error| error.name_only_within(&harmless));
    if errors.is_empty() { Ok(dsn) } else { Err(errors) }
}

/// Where an unknown parameter may be named: not where it can be the rest of a mangled password.
fn harmless(text: &str, is_uri: bool, words: &[Word], errors: &[Error]) -> Range<usize> {
    let is_cut_off = errors.iter().any(|error| error.part == Part::Port);
    let secret = words.iter().find(|word| word.name == "password").map(|word| word.at);
    match text.rfind('@') {
        _ if !is_uri => 0..secret.unwrap_or(text.len()),
        Some(at) => at..text.len(),
        None if is_cut_off => text.len()..text.len(),
        None => 0..text.len(),
    }
}

/// One named value of the text, decoded.
struct Word {
    part: Option<Part>,
    name: String,
    value: Secret,
    at: usize,
}

#[cfg(test)]
mod tests;
