//! Chooses libpq's or SQLAlchemy's parsing rules by the scheme, and finds the login before the `@`.
//!
//! Only SQLAlchemy can read a URL with `+driver` (its pattern is in engine/url.py); libpq reads the others.

use super::{Error, Part, Problem};

/// The scheme of a URI.
pub(super) struct Scheme {
    /// The first byte after `://`.
    pub(super) after: usize,
    /// The scheme names a driver, so SQLAlchemy's rules apply to the rest.
    pub(super) driver: bool,
}

impl Scheme {
    /// Returns the scheme, or `None` for a text that is not a URI.
    pub(super) fn of(text: &str) -> Result<Option<Self>, Error> {
        let Some(end) = text.find("://") else {
            return Ok(None);
        };
        let scheme = &text[..end];
        if !scheme.trim().chars().all(|c| c.is_ascii_alphanumeric() || "+-._:".contains(c)) {
            return Ok(None);
        }
        let after = end + "://".len();
        let (name, driver) =
            scheme.split_once('+').map_or((scheme, None), |(name, driver)| (name, Some(driver)));
        if scheme.starts_with(char::is_whitespace) {
            return Err(Error::new(Part::Text, 0, Problem::Surrounded));
        }
        if matches!(name, "postgresql" | "postgres") && driver.is_none_or(is_driver_name) {
            return Ok(Some(Self { after, driver: driver.is_some() }));
        }
        Err(Error::new(Part::Scheme, 0, Problem::Scheme))
    }

    /// Returns the position of white space at the end of the URI. It would become a part of the database's
    /// name or of the last parameter. libpq 18 drops spaces there, but no other white space.
    pub(super) fn surrounding_blank(&self, text: &str) -> Option<usize> {
        let allowed: &[char] = if self.driver { &[] } else { &[' '] };
        let rest = text.trim_end_matches(allowed);
        let trimmed = rest.trim_end();
        (trimmed.len() < rest.len()).then_some(trimmed.len())
    }
}

fn is_driver_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the offsets of the `:` and of the `@`: in libpq, the first `@` without a `/` before it.
pub(super) fn libpq_login(rest: &str) -> Option<(Option<usize>, usize)> {
    let at_sign = rest.find(['@', '/']).filter(|&end| rest[end..].starts_with('@'))?;
    Some((rest[..at_sign].find(':'), at_sign))
}

/// Returns the same offsets by SQLAlchemy's pattern. The password extends to the first `@`, whatever it
/// contains. A user without a password may contain an `@`.
pub(super) fn sqlalchemy_login(rest: &str) -> Option<(Option<usize>, usize)> {
    let stop = rest.find([':', '/']).unwrap_or(rest.len());
    if rest[stop..].starts_with(':')
        && let Some(length) = rest[stop..].find('@')
    {
        return Some((Some(stop), stop + length));
    }
    rest[..stop].rfind('@').map(|at_sign| (None, at_sign))
}
