//! The reference: the table of options with the defaults that are in force, for the pages made from it.

use std::collections::BTreeMap;

use super::kind::Grammar;
use super::listing::{Entry, Origin};
use super::names::join;
use super::options::{self, GROUPS, Group, Place, Row};
use super::report::Report;
use super::sources::Files;
use super::{Document, Sources, resolve};
use crate::files::FileReader;

/// An option as the pages describe it.
pub struct OptionDoc {
    /// The sections that may hold it.
    pub place: Place,
    /// The path of its key below such a section.
    pub key: &'static str,
    /// The values allowed, in a few words.
    pub range: String,
    /// The default as YAML, or in words; empty if there is none.
    pub default: String,
    /// A value for the example file; `None`: the default.
    pub example: Option<&'static str>,
    /// Its variables.
    pub variables: Vec<VariableDoc>,
    /// A description in Markdown.
    pub doc: &'static str,
    /// The key names a section, and its value is a table.
    pub is_section: bool,
}

/// A variable as the pages describe it.
pub struct VariableDoc {
    /// Its name.
    pub name: &'static str,
    /// The values allowed, in a few words.
    pub range: String,
    /// The default as the variable writes it, or in words; empty if there is none.
    pub default: String,
    /// The default is described in words.
    pub is_in_words: bool,
    /// The variable is one of the application's own, not of the exporter.
    pub is_application: bool,
    /// A description in Markdown.
    pub doc: &'static str,
}

/// A configuration that sets what other options need before they have a default.
const WITH_SECTIONS: &str = "
targets: { default: { databases: {}, password_command: { command: [x] }, views: { statements: {} } } }
auth_modules: { x: { type: userpass, userpass: { username: x }, allowed_targets: [x] } }
";

/// Describes every option, in the order of the table.
pub fn reference() -> Vec<OptionDoc> {
    let defaults = defaults();
    let mut docs = Vec::new();
    for group in GROUPS {
        for row in group.rows() {
            docs.push(describe(row, group.place, default(row, group, &defaults)));
        }
    }
    docs
}

fn describe(row: &'static dyn Row, place: Place, default: String) -> OptionDoc {
    let variables = row.variables().into_iter().flatten();
    OptionDoc {
        place,
        key: row.key(),
        range: row.range(Grammar::Units),
        example: row.example(),
        variables: variables.map(|variable| variable_doc(row, variable, &default)).collect(),
        default,
        doc: row.doc(),
        is_section: row.is_section(),
    }
}

fn variable_doc(row: &dyn Row, variable: options::Variable, default: &str) -> VariableDoc {
    let is_in_words = row.default().is_some_and(|words| words.contains(' '));
    VariableDoc {
        name: variable.name,
        range: if variable.is_file { "path".to_owned() } else { row.range(variable.grammar) },
        default: if variable.is_file {
            String::new()
        } else if is_in_words {
            default.to_owned()
        } else {
            row.as_variable(default, variable.grammar)
        },
        is_in_words,
        is_application: variable.grammar == Grammar::Seconds,
        doc: variable.doc.unwrap_or(row.doc()),
    }
}

/// Returns the default of an option: its description in words, or its value when nothing is set.
fn default(row: &dyn Row, group: &Group, defaults: &BTreeMap<String, String>) -> String {
    if let Some(words) = row.default() {
        return words.to_owned();
    }
    let sections = group.sections.iter().map(|section| match *section {
        "targets.*" | "defaults" => "targets.default",
        "targets.*.applications.*" => "targets.default.applications.default",
        "auth_modules.*" => "auth_modules.x",
        other => other,
    });
    let mut found = sections.filter_map(|section| defaults.get(&join(section, row.key())));
    found.next().filter(|shown| *shown != "<secret>").cloned().unwrap_or_default()
}

/// The values in force when nothing is set, by their paths.
fn defaults() -> BTreeMap<String, String> {
    let mut defaults = BTreeMap::new();
    for text in ["", WITH_SECTIONS] {
        for entry in entries(text).into_iter().filter(|entry| entry.origin == Origin::Default) {
            defaults.entry(entry.path.join(".")).or_insert(entry.shown);
        }
    }
    defaults
}

fn entries(text: &str) -> Vec<Entry> {
    let environment = BTreeMap::from([("USER".to_owned(), "x".to_owned())]);
    let document = Document::parse(text, ::config::FileFormat::Yaml).unwrap_or_default();
    let reader = FileReader::default();
    let files = Files::new(&reader);
    let good = super::GoodFiles::default();
    let sources = Sources {
        environment: &environment,
        document: &document,
        name: String::new(),
        folder: "".into(),
        files,
        good: &good,
    };
    resolve(&sources, Report::default()).map(|config| config.entries).unwrap_or_default()
}
