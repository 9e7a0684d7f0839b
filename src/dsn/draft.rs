//! A URL under construction, from its own text or from libpq's environment.

use super::lists::Lists;
use super::tls::SslMode;
use super::{Dsn, Error};

/// The values read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) dsn: Dsn,
    pub(super) lists: Lists,
    /// asyncpg's `ssl`. It is kept apart from libpq's `sslmode`, because the two must agree.
    pub(super) ssl: Option<SslMode>,
    pub(super) sslmode: Option<SslMode>,
}

impl Draft {
    /// Reopens a parsed URL, so that the environment can complete it.
    pub(super) fn of(dsn: Dsn) -> Self {
        Self { lists: Lists::of(&dsn), dsn, ssl: None, sslmode: None }
    }

    /// Returns the URL and the contradictions between its parts.
    pub(super) fn finish(self) -> (Dsn, Vec<Error>) {
        let Self { mut dsn, lists, .. } = self;
        let mut errors: Vec<_> = lists.combine(&mut dsn).err().into_iter().collect();
        errors.extend(dsn.tls.contradictions());
        (dsn, errors)
    }

    /// Notes a parameter that has no effect here.
    pub(super) fn ignore(&mut self, name: &str) {
        if !self.dsn.ignored.iter().any(|other| other == name) {
            self.dsn.ignored.push(name.to_owned());
        }
    }
}
