//! A mapping of the file, read key by key; every problem is kept.

use std::fmt;

use yaml_rust2::Yaml;
use yaml_rust2::yaml::Hash;

use crate::switch;

/// What is wrong, each with its key.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, path: &str, what: impl fmt::Display) {
        self.0.push(format!("{path}: {what}"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.0
    }
}

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
                Some(key) => problems.add(&section.path(key), "unknown key"),
                None => problems.add(&section.path("?"), "a key must be text"),
            }
        }
        section
    }

    fn open(path: String, yaml: &'a Yaml, problems: &mut Problems) -> Self {
        let map = yaml.as_hash();
        if map.is_none() && !yaml.is_null() && !yaml.is_badvalue() {
            problems.add(if path.is_empty() { "file" } else { &path }, "must be a mapping");
        }
        Self { path, map }
    }

    /// The full name of a key.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn section(
        &self,
        key: &str,
        known: &[&str],
        problems: &mut Problems,
    ) -> Section<'a> {
        Section::new(&self.path(key), self.value(key), known, problems)
    }

    /// The entries of a mapping with the user's own keys.
    pub(super) fn entries(&self, key: &str, problems: &mut Problems) -> Vec<(&'a str, &'a Yaml)> {
        let inner = Section::open(self.path(key), self.value(key), problems);
        let mut entries = Vec::new();
        for (name, value) in inner.map.into_iter().flat_map(Hash::iter) {
            match name.as_str() {
                Some(name) => entries.push((name, value)),
                None => problems.add(&inner.path("?"), "a key must be text, in quotes if need be"),
            }
        }
        entries
    }

    /// The value, if there is one.
    pub(super) fn scalar(&self, key: &str) -> Option<&'a Yaml> {
        let value = self.value(key);
        (!value.is_null() && !value.is_badvalue()).then_some(value)
    }

    /// A text; an empty one is as if absent, as in the toolkit.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        let text = self.scalar(key)?.as_str();
        if text.is_none() {
            problems.add(&self.path(key), "must be text, in quotes if need be");
        }
        text.filter(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let value = self.scalar(key)?;
        // The toolkit's YAML is 1.1.
        let flag = value.as_bool().or_else(|| switch::parse_yaml(value.as_str()?));
        if flag.is_none() {
            problems.add(&self.path(key), "must be true or false");
        }
        flag
    }

    /// A list of texts; `None` when absent.
    pub(super) fn list(&self, key: &str, problems: &mut Problems) -> Option<Vec<&'a str>> {
        let value = self.scalar(key)?;
        let Some(items) = value.as_vec() else {
            problems.add(&self.path(key), "must be a list");
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text),
                None => problems.add(&format!("{}[{index}]", self.path(key)), "must be text"),
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
