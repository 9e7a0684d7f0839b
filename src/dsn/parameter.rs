//! A parameter of a URL: its names, and how its value is read and shown.

use super::draft::Draft;
use super::{Dsn, Problem};

/// A row of the table of parameters.
pub(super) struct Parameter {
    /// The name in a URL.
    pub(super) name: &'static str,
    /// The canonical name; differs from `name` only for an alias.
    pub(super) key: &'static str,
    /// libpq's environment variable for it.
    pub(super) variable: Option<&'static str>,
    /// The effect of its value.
    pub(super) meaning: Meaning,
    /// Shows its value as a URL's text. `None` for aliases, for ignored parameters and for those that
    /// are written in the authority.
    pub(super) show: Option<Show>,
}

/// Reads a value into a draft.
pub(super) type Read = fn(&mut Draft, &str) -> Result<(), Problem>;

/// Shows a value; `None` when it was not given.
pub(super) type Show = fn(&Dsn) -> Option<String>;

/// The effect of a parameter's value.
pub(super) enum Meaning {
    /// It changes the connection.
    Read(Read),
    /// It has no effect on a monitor.
    Ignored,
    /// It cannot be honoured. Only these harmless values are accepted, and the text says why.
    Only(&'static [&'static str], &'static str),
}

impl Parameter {
    /// Applies a value to the draft.
    pub(super) fn apply(&self, draft: &mut Draft, text: &str) -> Result<(), Problem> {
        match self.meaning {
            Meaning::Read(read) => read(draft, text)?,
            Meaning::Ignored => draft.ignore(self.name),
            Meaning::Only(allowed, why) if !allowed.contains(&text) => {
                return Err(Problem::Refused(why));
            }
            Meaning::Only(..) => draft.ignore(self.name),
        }
        draft.dsn.given.insert(self.key);
        Ok(())
    }
}

/// A parameter that changes the connection.
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

/// A parameter without effect here.
pub(super) const fn ignored(name: &'static str, variable: Option<&'static str>) -> Parameter {
    Parameter { name, key: name, variable, meaning: Meaning::Ignored, show: None }
}

/// A parameter that is refused, except for harmless values.
pub(super) const fn only(
    name: &'static str,
    variable: Option<&'static str>,
    allowed: &'static [&'static str],
    why: &'static str,
) -> Parameter {
    Parameter { name, key: name, variable, meaning: Meaning::Only(allowed, why), show: None }
}
