//! The effective configuration as text: every value with its origin.

use std::fmt;

use super::kind::quote;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The built-in default.
    Default,
    /// The file, at this path.
    File(String),
    /// This variable.
    Variable(String),
    /// The target's URL.
    Url,
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file: {path}"),
            Self::Variable(name) => write!(f, "environment: {name}"),
            Self::Url => f.write_str("url"),
            Self::Flag(name) => write!(f, "flag: --{name}"),
        }
    }
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Sourced<T> {
    /// A built-in default.
    pub(super) fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

/// One effective value; a secret is replaced by `<secret>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The sections around the key, and the key.
    pub path: Vec<String>,
    /// The value as YAML.
    pub shown: String,
    /// The source of the value.
    pub origin: Origin,
}

/// Formats the entries as YAML, each with its origin as a comment.
pub(crate) fn render(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut open: &[String] = &[];
    for entry in entries {
        let Some((key, sections)) = entry.path.split_last() else { continue };
        let shared = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(shared) {
            text.push_str(&format!("{:indent$}{}:\n", "", quote(section), indent = depth * 2));
        }
        let indent = sections.len() * 2;
        text.push_str(&format!(
            "{:indent$}{}: {}  # {}\n",
            "",
            quote(key),
            entry.shown,
            entry.origin
        ));
        open = sections;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_open_once() {
        let entry = |path: &[&str], shown: &str| Entry {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            shown: shown.to_owned(),
            origin: Origin::Default,
        };
        let text = render(&[
            entry(&["a"], "1"),
            entry(&["t", "x", "p"], "2"),
            entry(&["t", "x", "q"], "3"),
            entry(&["t", "y", "p"], "4"),
        ]);
        let expected = "a: 1  # default\nt:\n  x:\n    p: 2  # default\n    q: 3  # default\n  y:\n    p: 4  # default\n";
        assert_eq!(text, expected);
    }
}
