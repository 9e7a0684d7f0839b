//! The structure of the file: sections, keys, and names chosen by users, held against the table of options.
//!
//! Values are not looked at here; [`super::layers`] reads them.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::document::Document;
use super::names::{self, did_you_mean, join, nearest, printable};
use super::options::GROUPS;
use super::report::Report;

/// A section in which users choose the names.
struct Named {
    section: &'static str,
    is_valid: fn(&str) -> bool,
    allowed: &'static str,
    /// A short example of the section.
    example: &'static str,
}

const NAMED: [Named; 5] = [
    Named {
        section: "targets",
        is_valid: names::is_name,
        allowed: names::NAME,
        example: "targets: { orders: { url: ... } }",
    },
    Named {
        section: "targets.*.applications",
        is_valid: names::is_name,
        allowed: names::NAME,
        example: "applications: { api: { ... } }",
    },
    Named {
        section: "targets.*.labels",
        is_valid: names::is_label_name,
        allowed: names::LABEL_NAME,
        example: "labels: { team: ... }",
    },
    Named {
        section: "auth_modules",
        is_valid: names::is_name,
        allowed: names::NAME,
        example: "auth_modules: { monitor: { ... } }",
    },
    Named {
        section: "auth_modules.*.options",
        is_valid: names::is_parameter,
        allowed: "the name of a parameter",
        example: "options: { sslmode: ... }",
    },
];

/// Refuses unknown keys, invalid names, and values where a section must be.
pub(super) fn check(document: &Document, report: &Report) {
    let listed_at = document.listed_at.as_deref();
    Schema { patterns: patterns(), report, listed_at }.check("", "", &document.values);
}

struct Schema<'a> {
    /// The paths of all options, with `*` for names.
    patterns: Vec<Pattern>,
    report: &'a Report,
    /// The file and the line of `targets`, where it is a list.
    listed_at: Option<&'a str>,
}

struct Pattern {
    path: String,
    is_section: bool,
    /// The name of the variable for the value; `None` where there is none.
    variable: Option<&'static str>,
}

fn patterns() -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for group in GROUPS {
        for (section, row) in
            group.sections.iter().flat_map(|s| group.rows().into_iter().map(move |r| (s, r)))
        {
            patterns.push(Pattern {
                path: join(section, row.key()),
                is_section: row.is_section(),
                variable: row.variables()[0].map(|variable| variable.name),
            });
        }
    }
    for named in &NAMED {
        let path = join(named.section, "*");
        patterns.push(Pattern { path, is_section: false, variable: None });
    }
    patterns
}

impl Schema<'_> {
    /// Checks a section: `pattern` is its path with `*` for names, `place` its path in the file.
    fn check(&self, pattern: &str, place: &str, values: &Map<String, Value>) {
        let known = self.children(pattern);
        let named = NAMED.iter().find(|named| named.section == pattern);
        for (key, value) in values {
            let place = join(place, &printable(key));
            let child = match named {
                Some(named) if !(named.is_valid)(key) => {
                    self.report.refuse(place, format!("the name must be {}", named.allowed));
                    continue;
                }
                Some(_) => join(pattern, "*"),
                None if !known.contains(key.as_str()) => {
                    let near = self.suggest(pattern, key, &known);
                    self.report.refuse(place, format!("is not a known key{near}"));
                    continue;
                }
                None => join(pattern, key),
            };
            self.check_value(&child, &place, value);
        }
    }

    fn check_value(&self, pattern: &str, place: &str, value: &Value) {
        if self.children(pattern).is_empty() {
            return;
        }
        if let ValueKind::Table(values) = &value.kind {
            self.check(pattern, place, values);
        } else if value.kind != ValueKind::Nil && self.must_be_section(pattern) {
            let named = NAMED.iter().find(|named| named.section == pattern);
            let example =
                named.map_or_else(String::new, |named| format!(", as in `{}`", named.example));
            let at = self.listed_at.filter(|_| place == "targets");
            let at = at.map_or_else(String::new, |at| format!(" ({at})"));
            self.report.refuse(place, format!("must be a table of keys{example}{at}"));
        }
    }

    /// Suggests a key of a section: one that is spelled similarly, or else the key of an option that has a
    /// variable or a path like the unknown key, such as `database_url` or `pool_size`.
    fn suggest(&self, pattern: &str, key: &str, known: &BTreeSet<&str>) -> String {
        let wanted = key.to_ascii_lowercase().replace('-', "_");
        let below = self.patterns.iter().filter_map(|known| {
            let path = known.path.strip_prefix(pattern)?;
            let path = if pattern.is_empty() { path } else { path.strip_prefix('.')? };
            (!path.contains('*')).then_some((path, known.variable))
        });
        let spelled = below.flat_map(|(path, variable)| {
            let variable = variable.map(str::to_ascii_lowercase);
            variable.into_iter().chain([path.replace('.', "_")]).map(move |name| (name, path))
        });
        let all: Vec<(String, &str)> = spelled.collect();
        // The very name of a variable or a path is no misspelled key.
        let is_exact = all.iter().any(|(name, _)| *name == wanted);
        let near = did_you_mean(key, known.iter().copied());
        if !near.is_empty() && !is_exact {
            return near;
        }
        let Some(name) = nearest(&wanted, all.iter().map(|(name, _)| name.as_str())) else {
            return String::new();
        };
        let meant = all.iter().find(|(known, _)| known == name);
        meant.map_or_else(String::new, |(_, path)| format!("; did you mean `{path}`?"))
    }

    /// Reports whether a path with keys below it cannot be a value itself.
    fn must_be_section(&self, pattern: &str) -> bool {
        let row = self.patterns.iter().find(|known| known.path == pattern);
        row.is_none_or(|row| row.is_section || pattern.ends_with('*'))
    }

    /// The keys directly below a path.
    fn children(&self, pattern: &str) -> BTreeSet<&str> {
        let below = self.patterns.iter().filter_map(|known| {
            let rest = known.path.strip_prefix(pattern)?;
            if pattern.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
        });
        below.filter_map(|rest| rest.split('.').next()).collect()
    }
}
