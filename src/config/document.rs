//! The file and the variables as trees of values, by the `config` crate.
//!
//! The crate parses; laying the trees on each other is left to `layers`, because the crate would drop a
//! value that a stronger source hides before anybody has checked it, and would take a key of the file
//! such as `a[9999999]` for a path.

use std::path::Path;

use config::{Config, FileFormat, Format, Map, Value};

use super::environment::Variables;
use crate::problem::Problem;

/// A parsed file.
#[derive(Clone, Default)]
pub(super) struct File(pub(super) Map<String, Value>);

impl File {
    /// Reads and parses a file.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problem::new(&place, format!("cannot be read: {}", error.kind())))?;
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("yml" | "yaml") => FileFormat::Yaml,
            Some("toml") => FileFormat::Toml,
            _ => return Err(Problem::new(place, "the name must end in .yml, .yaml or .toml")),
        };
        Self::parse(&text, format).map_err(|message| Problem::new(place, message))
    }

    /// Parses a text; an error says where, but nothing of what stands there.
    pub(super) fn parse(text: &str, format: FileFormat) -> Result<Self, String> {
        let name = if format == FileFormat::Toml { "TOML" } else { "YAML" };
        if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
            return Ok(Self::default());
        }
        Format::parse(&format, Some(&"file".to_owned()), text).map(Self).map_err(|error| {
            format!("is not a table of keys in {name}{}", position(&error.to_string()))
        })
    }
}

/// The tree of what the variables say.
pub(super) fn tree(variables: Variables) -> Result<Map<String, Value>, Problem> {
    let built = Config::builder().add_source(variables).build();
    built
        .and_then(|config| config.cache.into_table())
        // The crate's own message can hold a value.
        .map_err(|_| Problem::new("environment", "cannot be laid out as a configuration"))
}

/// The line of a parser's message, which otherwise can quote the file.
fn position(message: &str) -> String {
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let line = words.find(|word| *word == "line").and_then(|_| words.next());
    match line.and_then(|number| number.parse::<u32>().ok()) {
        Some(number) => format!(", line {number}"),
        None => String::new(),
    }
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
            let message = File::parse(text, format).err().expect(text);
            assert!(!message.contains("s3cr3t"), "{message}");
        }
        let message = File::parse("a = 1\nb = \"s3cr3t", FileFormat::Toml).err().expect("bad");
        assert!(message.ends_with(", line 2"), "{message}");
    }
}
