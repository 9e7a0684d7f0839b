//! The variables: the application's own and the exporter's. They describe the target `default`.

use std::collections::{BTreeMap, BTreeSet};

use super::kind::Grammar;
use super::names::{self, did_you_mean, did_you_mean_within, join};
use super::options::{self, VariableRow};
use super::report::Report;
use super::sources::Files;
use crate::probe::DEFAULT_TARGET;

/// A variable that is set.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) grammar: Grammar,
}

/// The variables that are set, by the paths of the options that they set.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, Set>);

impl Variables {
    /// Takes the known variables out of an environment; those of the target only if it exists.
    pub(super) fn read(
        environment: &BTreeMap<String, String>,
        target: TargetPresence,
        files: &Files<'_>,
        report: &Report,
    ) -> Self {
        let mut all = BTreeMap::new();
        for row in options::variables() {
            if target == TargetPresence::Absent && describes_target(&row) {
                continue;
            }
            let Some(text) = value(environment, row.variable.name) else { continue };
            let Some(text) = content(&row, text, files, report) else { continue };
            let VariableRow { variable, path, .. } = row;
            all.insert(path, Set { name: variable.name, text, grammar: variable.grammar });
        }
        Self(all)
    }

    /// The variable that sets the option at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Set> {
        self.0.get(path)
    }

    /// Reports whether a variable sets the option at a path, or one below it.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path) || !self.names(path).is_empty()
    }

    /// The names directly below a path.
    pub(super) fn names(&self, path: &str) -> Vec<&str> {
        let below = self.0.keys().filter_map(|key| key.strip_prefix(path)?.strip_prefix('.'));
        let names: BTreeSet<&str> = below.filter_map(|rest| rest.split('.').next()).collect();
        names.into_iter().collect()
    }
}

/// The presence of the target `default`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetPresence {
    Present,
    Absent,
}

/// Reports whether the environment names the database of the target `default`.
pub(super) fn names_target(environment: &BTreeMap<String, String>) -> bool {
    let mut variables = options::URL.variables.iter().flatten();
    variables.any(|variable| value(environment, variable.name).is_some())
}

/// Reports what is wrong with the environment as a whole.
pub(super) fn check(
    environment: &BTreeMap<String, String>,
    target: TargetPresence,
    report: &Report,
) {
    let url = options::URL.variables.map(|variable| variable.map(|found| found.name));
    let password = [&options::PASSWORD_TEXT.variables, &options::PASSWORD_FILE.variables]
        .map(|variables| variables[0].map(|found| found.name));
    for pair in [url, password] {
        let set = pair.map(|name| name.filter(|name| value(environment, name).is_some()));
        if let [Some(plain), Some(file)] = set {
            report.refuse(format!("{plain} and {file}"), "only one of the two may be set");
        }
    }
    warn_unknown(environment, report);
    if target == TargetPresence::Absent {
        warn_ignored(environment, report);
    }
}

/// Warns of variables that are probably misspelled.
fn warn_unknown(environment: &BTreeMap<String, String>, report: &Report) {
    let known: Vec<&str> = options::variables().map(|row| row.variable.name).collect();
    for name in environment.keys().filter(|name| !is_foreign(name)) {
        if known.contains(&name.as_str()) {
            continue;
        }
        let near = suggestion(name, &known);
        let stem = name.strip_suffix("_FILE").filter(|stem| known.contains(stem));
        if let Some(stem) = stem {
            report
                .warn(format!("{name} is not a known variable and is ignored: {stem} has no file"));
        } else if name.starts_with(OWN) || !near.is_empty() {
            report.warn(format!("{name} is not a known variable and is ignored{near}"));
        }
    }
}

/// Suggests a known variable. An application has variables of its own (DATABASE_USER), so that outside
/// of the prefixes of the pool and of the exporter only a slip of two characters counts.
fn suggestion(name: &str, known: &[&str]) -> String {
    let known = known.iter().copied();
    if name.starts_with(OWN) || name.starts_with("DB_POOL_") {
        did_you_mean(name, known)
    } else {
        did_you_mean_within(2, name, known)
    }
}

/// The prefix of the variables that are the exporter's alone.
const OWN: &str = "DB_MONITOR_";

/// Reports whether a variable cannot be meant for the targets.
fn is_foreign(name: &str) -> bool {
    let is_ours = ["DB_", "DATABASE_"].iter().any(|prefix| name.starts_with(prefix));
    // The flags' variables are checked where the flags are known.
    !is_ours || name.starts_with(names::FLAGS) || names::is_of_kubernetes(name)
}

/// Warns of an APP_ENV that looks like production, but is not.
pub(super) fn warn_app_env(app_env: &str, report: &Report) {
    let name = app_env.to_ascii_lowercase();
    let distance = strsim::damerau_levenshtein(&name, "production");
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_usual = words.any(|word| ["prd", "prod", "production", "live"].contains(&word));
    // `preprod` and `non-prod` are something else, and say so.
    let is_other = ["non", "not", "pre", "no-"].iter().any(|other| name.starts_with(other));
    if distance > 0 && !is_other && (name.starts_with("prod") || is_usual || distance <= 3) {
        report.warn(
            "APP_ENV looks like production, but is not `production`: the rules of production do not apply"
                .to_owned(),
        );
    }
}

/// Warns of variables of a target that does not exist.
fn warn_ignored(environment: &BTreeMap<String, String>, report: &Report) {
    for row in options::variables().filter(describes_target) {
        if value(environment, row.variable.name).is_some() {
            report.warn(format!(
                "{} is ignored: variables describe the target `{DEFAULT_TARGET}`, which exists when \
                 DATABASE_URL is set or the file names no other target",
                row.variable.name
            ));
        }
    }
}

fn describes_target(row: &VariableRow) -> bool {
    row.path.starts_with(&join("targets", DEFAULT_TARGET))
}

/// A variable's text; an empty one counts as unset.
fn value<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
}

/// The value that a variable gives, itself or by the file that it names.
fn content(row: &VariableRow, text: &str, files: &Files<'_>, report: &Report) -> Option<String> {
    let name = row.variable.name;
    if text.contains(char::REPLACEMENT_CHARACTER) {
        report.refuse(name, "must be UTF-8");
        return None;
    }
    if !row.variable.is_file {
        return Some(text.to_owned());
    }
    match files.read_secret(text.as_ref()) {
        Ok(content) => Some(content.reveal().to_owned()),
        Err(message) => {
            report.refuse(name, message);
            None
        }
    }
}

/// The names of all variables.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    options::variables().map(|row| row.variable.name)
}
