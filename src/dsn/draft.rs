//! A URL while it is being put together, from its own words or from libpq's environment.

use super::host::Lists;
use super::parameter::{self, Meaning, Parameter};
use super::tls::SslMode;
use super::{Dsn, Error, Part, Problem, Word};

/// What was read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) dsn: Dsn,
    pub(super) lists: Lists,
    /// asyncpg's `ssl` and libpq's `sslmode`, apart, because they must agree.
    pub(super) ssl: Option<SslMode>,
    pub(super) sslmode: Option<SslMode>,
}

impl Draft {
    /// A parsed URL, to be completed.
    pub(super) fn of(dsn: Dsn) -> Self {
        Self { lists: Lists::of(&dsn), dsn, ssl: None, sslmode: None }
    }

    /// Takes a word of the text; a later one of the same name overrides it.
    pub(super) fn take(&mut self, word: &Word) -> Result<(), Error> {
        let Some(parameter) = parameter::find(&word.name) else {
            return Err(Error::new(Part::unknown(&word.name), word.at, Problem::Unknown));
        };
        self.set(parameter, word.value.reveal()).map_err(|problem| {
            let part = word.part.clone().unwrap_or(Part::parameter(parameter.name));
            Error::new(part, word.at, problem)
        })
    }

    /// Sets a parameter.
    pub(super) fn set(&mut self, parameter: &Parameter, text: &str) -> Result<(), Problem> {
        match parameter.meaning {
            Meaning::Read(read) => read(self, text)?,
            Meaning::Ignored => self.ignore(parameter.name),
            Meaning::Only(allowed, why) if !allowed.contains(&text) => {
                return Err(Problem::Refused(why));
            }
            Meaning::Only(..) => self.ignore(parameter.name),
        }
        self.dsn.said.insert(parameter.key);
        Ok(())
    }

    /// The URL, and where its parts contradict each other.
    pub(super) fn finish(self) -> (Dsn, Vec<Error>) {
        let Self { mut dsn, lists, .. } = self;
        let mut errors: Vec<_> = lists.combine(&mut dsn).err().into_iter().collect();
        errors.extend(dsn.tls.contradictions());
        (dsn, errors)
    }

    fn ignore(&mut self, name: &str) {
        if !self.dsn.ignored.iter().any(|other| other == name) {
            self.dsn.ignored.push(name.to_owned());
        }
    }
}
