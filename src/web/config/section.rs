//! A mapping of the file, read key by key. Every problem is kept.

use std::borrow::Cow;

use yaml_rust2::Yaml;
use yaml_rust2::yaml::Hash;

use crate::problem::{Problem, Problems};
use crate::switch;

/// A mapping; one that is absent is empty.
pub(super) struct Section<'a> {
    path: String,
    map: Option<&'a Hash>,
}

impl<'a> Section<'a> {
    /// Refuses what is no mapping, and keys that are not known.
    pub(super) fn new(path: &str, yaml: &'a Yaml, known: &[&str], problems: &mut Problems) -> Self {
        let section = Self::open(path.to_owned(), yaml, problems);
        for key in section.map.into_iter().flat_map(Hash::keys) {
            match key.as_str() {
                Some(key) if known.contains(&key) => {}
                Some(key) => problems.add(section.problem(key, "unknown key")),
                None => problems.add(section.problem("?", "a key must be text")),
            }
        }
        section
    }

    fn open(path: String, yaml: &'a Yaml, problems: &mut Problems) -> Self {
        let map = yaml.as_hash();
        if map.is_none() && !yaml.is_null() && !yaml.is_badvalue() {
            let place = if path.is_empty() { "file" } else { &path };
            problems.add(Problem::new(place, "must be a mapping"));
        }
        Self { path, map }
    }

    /// The full name of a key.
    fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A problem at a key.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.path(key), message)
    }

    /// Reads a value of any type; adds a problem if `parse` does not take it.
    pub(super) fn read<T>(
        &self,
        key: &str,
        parse: fn(&Yaml) -> Option<T>,
        allowed: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        let value = parse(self.scalar(key)?);
        if value.is_none() {
            problems.add(self.problem(key, allowed));
        }
        value
    }

    pub(super) fn section(
        &self,
        key: &str,
        known: &[&str],
        problems: &mut Problems,
    ) -> Section<'a> {
        Section::new(&self.path(key), self.value(key), known, problems)
    }

    /// Returns the entries of a mapping with keys that the user chooses.
    pub(super) fn entries(
        &self,
        key: &str,
        problems: &mut Problems,
    ) -> Vec<(Cow<'a, str>, &'a Yaml)> {
        let inner = Section::open(self.path(key), self.value(key), problems);
        let mut entries = Vec::new();
        for (name, value) in inner.map.into_iter().flat_map(Hash::iter) {
            match text(name) {
                Some(name) => entries.push((name, value)),
                None => {
                    problems.add(inner.problem("?", "a key must be text, in quotes if need be"))
                }
            }
        }
        entries
    }

    /// The value, if there is one.
    pub(super) fn scalar(&self, key: &str) -> Option<&'a Yaml> {
        let value = self.value(key);
        (!value.is_null() && !value.is_badvalue()).then_some(value)
    }

    /// A text; an empty one counts as absent, as in the toolkit.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<Cow<'a, str>> {
        let text = text(self.scalar(key)?);
        if text.is_none() {
            problems.add(self.problem(key, "must be text, in quotes if need be"));
        }
        text.filter(|text| !text.is_empty())
    }

    /// A switch. The toolkit reads YAML 1.1, in which `yes` and `on` are booleans too.
    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        self.read(key, boolean, "must be true or false", problems)
    }

    /// A list of texts; `None` when absent.
    pub(super) fn list(&self, key: &str, problems: &mut Problems) -> Option<Vec<Cow<'a, str>>> {
        let value = self.scalar(key)?;
        let Some(items) = value.as_vec() else {
            problems.add(self.problem(key, "must be a list"));
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match text(item) {
                Some(text) => texts.push(text),
                None => problems.add(self.problem(&format!("{key}[{index}]"), "must be text")),
            }
        }
        Some(texts)
    }

    fn value(&self, key: &str) -> &'a Yaml {
        let found = self.map.and_then(|map| {
            map.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
        });
        found.unwrap_or(&Yaml::Null)
    }
}

/// The text of a scalar. Go's YAML reader also takes a number or a boolean for a text.
fn text(value: &Yaml) -> Option<Cow<'_, str>> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(Cow::Borrowed(text)),
        Yaml::Integer(number) => Some(Cow::Owned(number.to_string())),
        Yaml::Boolean(flag) => Some(Cow::Owned(flag.to_string())),
        Yaml::Array(_) | Yaml::Hash(_) | Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => None,
    }
}

fn boolean(value: &Yaml) -> Option<bool> {
    value.as_bool().or_else(|| switch::parse_yaml(value.as_str()?))
}
