//! From variables and a file to what every room is told: the only place that knows an option's name.
//!
//! The sources become trees of values (`document`, `environment`), the trees become layers (`layers`),
//! and each option is read through its layers by its kind (`unit`). Nothing is repaired: whatever is
//! wrong is collected, each with its place and what is allowed, and never the value.

mod application;
mod auth;
mod database;
mod document;
mod environment;
mod label;
mod layers;
mod listing;
mod password;
mod target;
#[cfg(test)]
mod tests;
mod unit;
mod view;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::{Map, Value, ValueKind};

pub use crate::problem::{Problem, Problems};
pub use application::{Application, Select};
pub use auth::{Allowed, AuthModule};
pub use listing::{Entry, Origin, render};
pub use target::Details;
pub use unit::quote;
pub use view::{Statements, Views, WriteProbe};

use self::document::File;
use self::environment::{TARGET, Variables};
use self::layers::{Layers, Ledger, Said};
use self::password::read_secret;
use self::unit::{Checked, Switch};
use crate::probe;

/// What names of targets, applications and modules are made of.
const NAME: &str =
    "at most 100 letters, digits, `-`, `_`, `.` or `:`, beginning with a letter or digit";

/// A configuration without a fault.
pub struct Config {
    /// The targets, `default` first, then by name.
    pub targets: Vec<probe::TargetSettings>,
    /// What else is known of each target, by its name.
    pub details: BTreeMap<String, Details>,
    /// How `/probe` may log in.
    pub auth_modules: BTreeMap<String, AuthModule>,
    /// `DB_MONITOR_ENABLED`: whether anything is probed.
    pub enabled: bool,
    /// `APP_ENV`.
    pub app_env: String,
    /// Whether that is `production`.
    pub production: bool,
    /// What the log says at the start: warnings, and what is only worth level debug.
    pub warnings: Vec<String>,
    /// What is only worth level debug.
    pub notes: Vec<String>,
    /// Every effective value with its origin.
    pub entries: Vec<Entry>,
}

/// What reading a target needs to know besides its section.
struct Scope<'a> {
    environment: &'a BTreeMap<String, String>,
    /// Where the file is: its relative paths begin there.
    folder: PathBuf,
    app_env: &'a str,
    production: bool,
    notes: RefCell<Vec<String>>,
}

impl Scope<'_> {
    fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// A path as it is opened: in the file, from the file's folder on.
    fn path(&self, said: &Said<PathBuf>) -> PathBuf {
        match said.origin {
            Origin::File(_) => self.folder.join(&said.value),
            Origin::Variable(_) | Origin::Default | Origin::Url | Origin::Flag(_) => {
                said.value.clone()
            }
        }
    }
}

/// Reads the configuration from an environment and a file.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(
    environment: &BTreeMap<String, String>,
    file: Option<&Path>,
) -> Result<Config, Problems> {
    let ledger = Ledger::default();
    let parsed = match file.map(File::read) {
        None => File::default(),
        Some(Ok(parsed)) => parsed,
        Some(Err(problem)) => {
            ledger.refuse(problem.place, problem.message);
            File::default()
        }
    };
    let folder = file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    read(environment, &parsed, folder, ledger)
}

fn read(
    environment: &BTreeMap<String, String>,
    file: &File,
    folder: PathBuf,
    ledger: Ledger,
) -> Result<Config, Problems> {
    let with_target = environment::names_target(environment) || !names_others(&file.0);
    environment::check(environment, with_target, &ledger);
    let variables = Variables::read(environment, with_target, &ledger);
    let variables = document::tree(variables).map_err(Problems::from)?;
    let mut config = resolve(environment, [&variables, &file.0], folder, with_target, &ledger);
    let (problems, entries, warnings) = ledger.close();
    problems.into_result()?;
    config.entries = entries;
    config.warnings = warnings;
    Ok(config)
}

/// Resolves the sources, from the strongest on.
fn resolve(
    environment: &BTreeMap<String, String>,
    sources: [&Map<String, Value>; 2],
    folder: PathBuf,
    with_target: bool,
    ledger: &Ledger,
) -> Config {
    let root = Layers::root(ledger, sources);
    let allowed = "a name of letters, digits, `-` and `_`, such as `production`";
    let app_env = root.settle("app_env", &Checked(is_app_env, allowed), "development".to_owned());
    let app_env = app_env.value;
    let production = app_env.eq_ignore_ascii_case("production");
    let enabled = root.settle("enabled", &Switch, true).value;
    let notes = RefCell::default();
    let scope = Scope { environment, folder, app_env: &app_env, production, notes };
    let (targets, details) = targets(&root, &scope, with_target);
    let auth_modules = auth_modules(&root, &scope);
    let notes = scope.notes.into_inner();
    let (warnings, entries) = (Vec::new(), Vec::new());
    Config {
        targets,
        details,
        auth_modules,
        enabled,
        app_env,
        production,
        warnings,
        notes,
        entries,
    }
}

type Targets = (Vec<probe::TargetSettings>, BTreeMap<String, Details>);

fn targets(root: &Layers<'_>, scope: &Scope<'_>, with_target: bool) -> Targets {
    root.unlisted(|| target::check_defaults(&root.sub("defaults")));
    let section = root.own_sub("targets");
    let mut names = section.names(is_name, NAME);
    if with_target && !names.iter().any(|name| name == TARGET) {
        names.push(TARGET.to_owned());
    }
    names.sort_by_key(|name| (name != TARGET, name.clone()));
    let mut all = Targets::default();
    for name in names {
        let layers = section.sub(&name).over(root.sub("defaults"));
        if let Some((settings, details)) = target::read(&name, &layers, scope) {
            all.0.push(settings);
            all.1.insert(name, details);
        }
    }
    all
}

fn auth_modules(root: &Layers<'_>, scope: &Scope<'_>) -> BTreeMap<String, AuthModule> {
    let section = root.own_sub("auth_modules");
    let names = section.names(is_name, NAME);
    if !names.is_empty() {
        section.warn_unused("auth_modules");
    }
    names
        .into_iter()
        .filter_map(|name| {
            let module = auth::read(&section.sub(&name), scope)?;
            Some((name, module))
        })
        .collect()
}

/// Whether a file names targets, but not the one that variables describe.
fn names_others(file: &Map<String, Value>) -> bool {
    match file.get("targets").map(|value| &value.kind) {
        Some(ValueKind::Table(targets)) => !targets.is_empty() && !targets.contains_key(TARGET),
        _ => false,
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && name.len() <= 100 && name.chars().all(plain)
}

fn is_app_env(name: &str) -> bool {
    name.len() <= 40 && is_name(name)
}
