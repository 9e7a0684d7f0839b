//! Configuration: variables and a file become the settings of the rooms.
//!
//! The only room that knows the names of options: `options` is the table of them. Nothing is repaired:
//! every problem is collected, with its place and the rule that is broken, and never with the value.

mod application;
mod auth;
mod database;
mod discover;
mod document;
mod environment;
mod kind;
mod label;
mod layers;
mod listing;
mod names;
mod options;
mod password;
mod reference;
mod report;
mod schema;
mod source;
mod sources;
mod target;
mod targets_from;
#[cfg(test)]
mod tests;
mod view;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::config::{Map, Value, ValueKind};

pub(crate) use kind::quote;
pub(crate) use listing::{Entry, Origin, render};
pub(crate) use names::unknown_flag_variables;
pub use options::Place;
pub use reference::{OptionDoc, VariableDoc, reference};
pub(crate) use sources::LARGEST as LARGEST_FILE;

use self::document::Document;
use self::environment::{TargetPresence, Variables};
use self::layers::Layers;
use self::listing::Sourced;
use self::names::is_name;
use self::report::{Findings, Report};
use self::sources::Files;
use self::targets_from::{Glob, GoodFiles, Surroundings};
pub(crate) use self::targets_from::{RefusedFile, TargetFiles};
use crate::files::FileReader;
use crate::ondemand::AuthModule;
use crate::probe::{self, DEFAULT_TARGET};
pub(crate) use crate::problem::{Problem, Problems};

/// A configuration without a problem.
pub(crate) struct Config {
    /// The targets, `default` first, then by name.
    pub targets: Vec<probe::TargetSettings>,
    /// The targets with `databases: discover`, by name.
    pub discover: BTreeMap<String, probe::DiscoverSettings>,
    /// The files of `targets_from`.
    pub target_files: TargetFiles,
    /// The authentication modules of `/probe`, by name.
    pub auth_modules: BTreeMap<String, AuthModule>,
    /// `DB_MONITOR_ENABLED`: false stops all probes.
    pub enabled: bool,
    /// The number of probes that start at once; `None` for that of the processors.
    pub max_concurrent_probes: Option<u32>,
    /// The rules of production apply: `APP_ENV` is `production`, in any case.
    pub production: bool,
    /// Warnings for the log, in the order in which they arose.
    pub warnings: Vec<String>,
    /// Lines for the log's level debug.
    pub notes: Vec<String>,
    /// Every effective value with its origin.
    pub entries: Vec<Entry>,
}

/// Reads the configuration from an environment and a file, once.
///
/// Blocks while files are read, for at most a few seconds.
///
/// # Errors
/// All problems, at once.
#[cfg(test)]
pub(crate) fn load(
    environment: &BTreeMap<String, String>,
    file: Option<&Path>,
) -> Result<Config, Problems> {
    let loader = Loader::new(environment.clone(), file.map(Path::to_owned), FileReader::default());
    loader.load(Reread::All)
}

/// Reads the configuration again and again, and remembers what was good.
pub(crate) struct Loader {
    environment: BTreeMap<String, String>,
    file: Option<PathBuf>,
    /// Remembers files that hang from one reading to the next.
    reader: FileReader,
    memory: Mutex<Memory>,
}

/// What was good when it was last read.
#[derive(Default)]
struct Memory {
    main: Option<Document>,
    files: GoodFiles,
}

/// The files that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reread {
    /// All.
    All,
    /// Those of `targets_from`. The configuration file stays as it was when it was last good: nobody has asked to
    /// take over what is being edited there.
    TargetFiles,
}

impl Loader {
    /// Reads nothing yet.
    pub(crate) fn new(
        environment: BTreeMap<String, String>,
        file: Option<PathBuf>,
        reader: FileReader,
    ) -> Self {
        Self { environment, file, reader, memory: Mutex::default() }
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The reader of all files.
    pub(crate) fn reader(&self) -> &FileReader {
        &self.reader
    }

    /// Reads the configuration. Blocks like [`load`].
    ///
    /// # Errors
    /// All problems of the environment and the configuration file, at once. Those of a file of `targets_from`
    /// are in [`TargetFiles::refused`].
    pub(crate) fn load(&self, what: Reread) -> Result<Config, Problems> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let report = Report::default();
        let files = Files::new(&self.reader);
        let before = memory.main.clone().filter(|_| what == Reread::TargetFiles);
        let document = before.unwrap_or_else(|| self.read_main(&files, &report));
        let file = self.file.as_deref();
        let folder = file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let name = file.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let sources = Sources {
            environment: &self.environment,
            document: &document,
            name: name.unwrap_or_default(),
            folder,
            files,
            good: &memory.files,
        };
        let mut config = resolve(&sources, report)?;
        memory.files = std::mem::take(&mut config.target_files.remembered);
        memory.main = Some(document);
        Ok(config)
    }

    fn read_main(&self, files: &Files<'_>, report: &Report) -> Document {
        match self.file.as_deref().map(|path| Document::read(path, files)) {
            None => Document::default(),
            Some(Ok(document)) => {
                check_content(&document, &self.environment, self.file.as_deref(), report);
                document
            }
            Some(Err(problem)) => {
                report.refuse(problem.place, problem.message);
                Document::default()
            }
        }
    }
}

/// Reports an empty file. Without another target the built-in URL would be used, which is not what a user
/// who names a file wants.
fn check_content(
    document: &Document,
    environment: &BTreeMap<String, String>,
    file: Option<&Path>,
    report: &Report,
) {
    if !document.values.is_empty() {
        return;
    }
    let place = file.map_or_else(String::new, |path| path.display().to_string());
    if environment::names_target(environment) {
        report.warn(format!("{place} is empty"));
    } else {
        report.refuse(place, "is empty, and DATABASE_URL is not set");
    }
}

/// The sources of a configuration.
struct Sources<'a> {
    environment: &'a BTreeMap<String, String>,
    document: &'a Document,
    /// The name of the file.
    name: String,
    /// The folder of the file: relative paths in it begin there.
    folder: PathBuf,
    files: Files<'a>,
    /// The files of `targets_from` that were good before.
    good: &'a GoodFiles,
}

fn resolve(sources: &Sources<'_>, report: Report) -> Result<Config, Problems> {
    let Sources { environment, document, files, .. } = sources;
    let exists = environment::names_target(environment) || !names_others(&document.values);
    let presence = if exists { TargetPresence::Present } else { TargetPresence::Absent };
    environment::check(environment, presence, &report);
    schema::check(document, &report);
    let variables = Variables::read(environment, presence, files, &report);
    let root = Layers::root(&report, &variables, &document.values);
    let app_env = root.get_or(&options::APP_ENV, "development".to_owned());
    environment::warn_app_env(&app_env, &report);
    let production = app_env.eq_ignore_ascii_case("production");
    let enabled = root.get_or(&options::ENABLED, true);
    let max_concurrent_probes = max_concurrent_probes(&root);
    let Sources { environment, folder, files, .. } = sources;
    let scope = Scope { environment, folder, files, app_env: &app_env, production };
    let mut configured = targets(&root, &scope, presence);
    let auth_modules = auth_modules(&root, &scope);
    let mut target_files = target_files(&root, sources, &scope, &configured);
    configured.append(&mut target_files.targets);
    configured.sort_by_cached_key(|target| order(&target.settings.name));
    if let Some(file) = &document.world_readable {
        report.warn_inline_passwords(file);
    }
    let Findings { problems, mut warnings, mut notes, mut entries } = report.finish();
    problems.into_result()?;
    warnings.append(&mut target_files.warnings);
    notes.append(&mut target_files.notes);
    entries.append(&mut target_files.entries);
    let (targets, discover) = separate(configured);
    Ok(Config {
        targets,
        discover,
        target_files,
        auth_modules,
        enabled,
        max_concurrent_probes,
        production,
        warnings,
        notes,
        entries,
    })
}

/// Reads the number of probes that start at once.
fn max_concurrent_probes(root: &Layers<'_>) -> Option<u32> {
    let row = &options::MAX_CONCURRENT_PROBES;
    if let Some(sourced) = root.get(row) {
        return Some(root.get_or(row, sourced.value));
    }
    root.list(row.key, "8 for each processor".to_owned(), Origin::Default);
    None
}

/// Reads the files of `targets_from`.
fn target_files(
    root: &Layers<'_>,
    sources: &Sources<'_>,
    scope: &Scope<'_>,
    configured: &[target::Configured],
) -> TargetFiles {
    let Some(found) = root.own(&options::TARGETS_FROM) else { return TargetFiles::default() };
    let globs: Vec<Glob> = found.value.into_iter().map(|text| Glob { text }).collect();
    let taken: Vec<String> = configured.iter().map(|target| target.settings.name.clone()).collect();
    let around = Surroundings {
        main: &sources.document.values,
        main_name: &sources.name,
        scope,
        before: sources.good,
    };
    targets_from::read(&globs, &around, &taken)
}

/// `default` first, then by name.
fn order(name: &str) -> (bool, String) {
    (name != DEFAULT_TARGET, name.to_owned())
}

/// The context in which targets are read.
struct Scope<'a> {
    environment: &'a BTreeMap<String, String>,
    folder: &'a Path,
    files: &'a Files<'a>,
    app_env: &'a str,
    production: bool,
}

impl Scope<'_> {
    /// The path to open: a relative one of the file begins at the file's folder.
    fn path(&self, found: &Sourced<PathBuf>) -> PathBuf {
        match found.origin {
            Origin::File(_) => self.folder.join(&found.value),
            Origin::Variable(_) | Origin::Default | Origin::Url | Origin::Flag(_) => {
                found.value.clone()
            }
        }
    }
}

fn separate(
    configured: Vec<target::Configured>,
) -> (Vec<probe::TargetSettings>, BTreeMap<String, probe::DiscoverSettings>) {
    let discover = configured
        .iter()
        .filter_map(|target| Some((target.settings.name.clone(), target.discover.clone()?)));
    let discover = discover.collect();
    (configured.into_iter().map(|target| target.settings).collect(), discover)
}

fn targets(
    root: &Layers<'_>,
    scope: &Scope<'_>,
    presence: TargetPresence,
) -> Vec<target::Configured> {
    target::check_defaults(&root.section("defaults"));
    let section = root.own_section("targets");
    let mut names = section.names(is_name);
    if presence == TargetPresence::Present && !names.iter().any(|name| name == DEFAULT_TARGET) {
        names.push(DEFAULT_TARGET.to_owned());
    }
    names.sort_by_cached_key(|name| order(name));
    let mut targets = Vec::new();
    for name in &names {
        let layers = section.section(name).over(root.section("defaults"));
        targets.extend(target::read(name, &layers, scope));
    }
    targets
}

fn auth_modules(root: &Layers<'_>, scope: &Scope<'_>) -> BTreeMap<String, AuthModule> {
    let section = root.own_section("auth_modules");
    let defaults = root.section("defaults");
    let mut modules = BTreeMap::new();
    for name in section.names(is_name) {
        if let Some(module) = auth::read(&name, &section.section(&name), &defaults, scope) {
            modules.insert(name, module);
        }
    }
    modules
}

/// Reports whether a file names targets, or files of them, but not the one that variables describe. A file with
/// modules alone is for an exporter that probes only on demand: it must not watch the built-in URL as well.
fn names_others(file: &Map<String, Value>) -> bool {
    if file.contains_key(options::TARGETS_FROM.key) {
        return true;
    }
    let is_filled = |key: &str| {
        let table = file.get(key).map(|value| &value.kind);
        matches!(table, Some(ValueKind::Table(table)) if !table.is_empty())
    };
    match file.get("targets").map(|value| &value.kind) {
        Some(ValueKind::Table(targets)) if !targets.is_empty() => {
            !targets.contains_key(DEFAULT_TARGET)
        }
        _ => is_filled("auth_modules"),
    }
}
