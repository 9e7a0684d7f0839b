//! The configuration file as a tree of values, parsed by the `config` crate.
//!
//! The crate only parses. Merging is done in `layers`: the crate would drop a value that a stronger source
//! hides before anybody has checked it, and would take a key such as `a[9999999]` for a path.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use config::{FileFormat, Format, Map, Value, ValueKind};

use super::names::printable;
use super::sources::Files;
use super::yaml;
use crate::problem::Problem;

/// A parsed file.
#[derive(Clone, Default)]
pub(super) struct Document {
    pub(super) values: Map<String, Value>,
    /// The file's name, if every user of the host may read it.
    pub(super) world_readable: Option<String>,
    /// The file and the line of `targets`, where it is a list.
    pub(super) listed_at: Option<String>,
}

/// The permission of everybody to read a file.
const OTHERS_READ: u32 = 0o004;

impl Document {
    /// Reads and parses a file.
    pub(super) fn read(path: &Path, files: &Files<'_>) -> Result<Self, Problem> {
        let place = path.display().to_string();
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("yml" | "yaml") => FileFormat::Yaml,
            Some("toml") => FileFormat::Toml,
            _ => return Err(Problem::new(place, "the name must end in .yml, .yaml or .toml")),
        };
        let content = files.read(path).map_err(|error| Problem::new(&place, error.to_string()))?;
        let is_world_readable = content.metadata.mode() & OTHERS_READ != 0;
        let Ok(text) = std::str::from_utf8(&content.bytes) else {
            return Err(Problem::new(place, "is not UTF-8 text"));
        };
        match Self::parse(text, format) {
            Ok(mut document) => {
                document.listed_at = document.list_of_targets(text, &place);
                Ok(Self { world_readable: is_world_readable.then_some(place), ..document })
            }
            Err(message) => Err(Problem::new(place, message)),
        }
    }

    /// Parses a text. An error names the place of a mistake, and quotes nothing that stands there.
    pub(super) fn parse(text: &str, format: FileFormat) -> Result<Self, String> {
        let name = if format == FileFormat::Toml { "TOML" } else { "YAML" };
        if is_empty(text) {
            return Ok(Self::default());
        }
        if format == FileFormat::Yaml {
            yaml::check(text)?;
        }
        match Format::parse(&format, Some(&"file".to_owned()), text) {
            Ok(values) => Ok(Self { values, ..Self::default() }),
            Err(error) => {
                let position = position(&error.to_string(), text);
                Err(format!("is not a table of keys in {name}{position}"))
            }
        }
    }

    /// The place of `targets`, where it is a list: `exporter.yml, line 3`.
    fn list_of_targets(&self, text: &str, file: &str) -> Option<String> {
        let is_list = matches!(self.values.get("targets")?.kind, ValueKind::Array(_));
        let is_key = |line: &str| {
            let line = line.trim_start_matches('[').trim_start_matches(['"', '\'']);
            let rest = line.strip_prefix("targets");
            rest.is_some_and(|rest| {
                rest.trim_start_matches(['"', '\'', ' ']).starts_with([':', '=', ']'])
            })
        };
        let line = text.lines().position(is_key).filter(|_| is_list)?;
        Some(format!("{file}, line {}", line + 1))
    }
}

/// Reports whether a text has nothing but comments.
fn is_empty(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'))
}

/// The line and the column of a parser's message, which otherwise can quote the file, and the key on that line.
fn position(message: &str, text: &str) -> String {
    let number = |word: &str| -> Option<usize> {
        let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
        words.find(|found| *found == word).and_then(|_| words.next())?.parse().ok()
    };
    let Some(line) = number("line") else { return String::new() };
    let column = number("column").map_or_else(String::new, |column| format!(", column {column}"));
    let before = text.lines().take(line);
    let content = before.clone().last().unwrap_or_default();
    // What stands before `=` is a key; a line without it can be part of a value.
    let key = content.split_once('=').map(|(key, _)| printable(key.trim()));
    let is_header = |line: &&str| line.starts_with('[') && line.trim_end().ends_with(']');
    let section = before.filter(is_header).last();
    let section = section.map(|header| printable(header.trim().trim_matches(['[', ']'])));
    let path: Vec<String> = section.into_iter().chain(key).collect();
    let at = if path.is_empty() { String::new() } else { format!(", at {}", path.join(".")) };
    format!(", line {line}{column}{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_errors_do_not_quote_the_file() {
        let table = [
            ("a: s3cr3t\na: s3cr3t\n", FileFormat::Yaml),
            ("a: [s3cr3t\nb: }", FileFormat::Yaml),
            ("s3cr3t", FileFormat::Yaml),
            ("- s3cr3t", FileFormat::Yaml),
            ("a: .s3cr3t\n---\nb: 1", FileFormat::Yaml),
            ("? [s3cr3t]\n: 1", FileFormat::Yaml),
            ("a: .inf", FileFormat::Yaml),
            ("a = s3cr3t", FileFormat::Toml),
            ("a = 1\nb = \"s3cr3t", FileFormat::Toml),
            ("a = 's3cr3t'\na = 1", FileFormat::Toml),
        ];
        for (text, format) in table {
            let message = Document::parse(text, format).err().expect(text);
            assert!(!message.contains("s3cr3t"), "{message}");
        }
        let message = Document::parse("a = 1\nb = \"s3cr3t", FileFormat::Toml).err().expect("bad");
        assert!(message.contains(", line 2, column ") && message.ends_with(", at b"), "{message}");
        let toml = "[targets.a]\nurl = 'x'\nurl = 'y'\n";
        let message = Document::parse(toml, FileFormat::Toml).err().expect("twice");
        assert!(
            message.contains(", line 3, column ") && message.ends_with(", at targets.a.url"),
            "{message}"
        );
    }
}
