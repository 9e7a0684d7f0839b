//! The effective configuration as a text: every value, and where it came from.

use std::fmt;

use super::unit::quote;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said it.
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

/// One effective value, secrets hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sections that it is in, and its key.
    pub path: Vec<String>,
    /// The value, as it may be shown.
    pub shown: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The entries as YAML, each with its origin as a comment.
pub fn render(entries: &[Entry]) -> String {
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
