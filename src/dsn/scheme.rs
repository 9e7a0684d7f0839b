//! Where libpq's rules and SQLAlchemy's part: the scheme, and the login before the `@`.
//!
//! With `+driver` only SQLAlchemy can read the URL (its pattern is in engine/url.py), without one libpq does.

use super::{Error, Part, Problem};

/// Where the URI begins after its scheme, and whose rules hold.
pub(super) struct Scheme {
    /// The byte after `://`.
    pub(super) after: usize,
    /// It names a driver, so that SQLAlchemy reads the rest.
    pub(super) driver: bool,
}

impl Scheme {
    /// The scheme, or `None` for a text that is not a URI.
    pub(super) fn of(text: &str) -> Result<Option<Self>, Error> {
        let Some(end) = text.find("://") else {
            return Ok(None);
        };
        let scheme = &text[..end];
        let like_a_scheme = |c: char| c.is_ascii_alphanumeric() || "+-._:".contains(c);
        if !scheme.trim().chars().all(like_a_scheme) {
            return Ok(None);
        }
        let after = end + "://".len();
        let (name, driver) =
            scheme.split_once('+').map_or((scheme, None), |(name, driver)| (name, Some(driver)));
        let plain = |driver: &str| {
            !driver.is_empty() && driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if matches!(name, "postgresql" | "postgres") && driver.is_none_or(plain) {
            return Ok(Some(Self { after, driver: driver.is_some() }));
        }
        Err(Error::new(Part::Scheme, 0, Problem::Scheme))
    }
}

/// The offsets of the `:` and of the `@`: the first `@` that no `/` precedes.
pub(super) fn libpq_login(rest: &str) -> Option<(Option<usize>, usize)> {
    let at_sign = rest.find(['@', '/']).filter(|&end| rest[end..].starts_with('@'))?;
    Some((rest[..at_sign].find(':'), at_sign))
}

/// Likewise by SQLAlchemy's pattern: the password goes to the first `@` whatever it holds; a user without
/// a `:` after it may hold an `@` itself.
pub(super) fn sqlalchemy_login(rest: &str) -> Option<(Option<usize>, usize)> {
    let stop = rest.find([':', '/']).unwrap_or(rest.len());
    if rest[stop..].starts_with(':')
        && let Some(length) = rest[stop..].find('@')
    {
        return Some((Some(stop), stop + length));
    }
    rest[..stop].rfind('@').map(|at_sign| (None, at_sign))
}
