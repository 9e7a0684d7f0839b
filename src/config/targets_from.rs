//! `targets_from`: targets in files of their own, which configuration management drops into a folder.
//!
//! Each file stands for itself. One that is broken is refused as a whole, by name, and what it last had lives
//! on, as do all other files. A target belongs to the file that had it first: a file that names it too is
//! refused, so that nothing dropped later can change what runs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Map, Value, ValueKind};

use super::document::Document;
use super::environment::Variables;
use super::layers::Layers;
use super::listing::{Entry, Origin};
use super::names::is_name;
use super::report::{Findings, Report};
use super::target::{self, Configured};
use super::{Scope, schema};
use crate::files::FileError;
use crate::probe::DEFAULT_TARGET;
use crate::problem::{Problem, Problems};
use crate::view::Pattern;
use crate::watch::ListedFolder;

/// Files by a pattern: a folder, and names in it. Names that begin with a point are never meant: editors and
/// configuration management write those before they rename them.
#[derive(Clone)]
pub(super) struct Glob {
    /// As it is written.
    pub(super) text: String,
}

impl Glob {
    fn parts(&self) -> (&str, &str) {
        self.text.rsplit_once('/').map_or(("", self.text.as_str()), |(folder, name)| (folder, name))
    }

    fn folder(&self, of_file: &Path) -> PathBuf {
        let (folder, _) = self.parts();
        let folder = if folder.is_empty() && self.text.starts_with('/') { "/" } else { folder };
        let folder = of_file.join(folder);
        // The folder of a file that is given by its name alone.
        if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
    }

    fn matches(&self, name: &str) -> bool {
        !name.starts_with('.') && Pattern::new(self.parts().1).matches(name)
    }

    /// The name of a file in messages and metrics.
    fn shown(&self, name: &str) -> String {
        let (folder, _) = self.parts();
        if self.text.contains('/') { format!("{folder}/{name}") } else { name.to_owned() }
    }
}

/// The files that were good when they were last read, by their paths.
#[derive(Clone, Default)]
pub(super) struct GoodFiles(BTreeMap<PathBuf, GoodFile>);

#[derive(Clone)]
struct GoodFile {
    values: Map<String, Value>,
    targets: Vec<Configured>,
    entries: Vec<Entry>,
}

/// A file that was refused.
#[derive(Clone, Debug)]
pub(crate) struct RefusedFile {
    /// Its name, as the configuration's patterns lead to it.
    pub name: String,
    /// All its problems; their places begin with the name.
    pub problems: Problems,
    /// True if what it last had lives on.
    pub lives_on: bool,
}

/// The files of all patterns.
#[derive(Default)]
pub(crate) struct TargetFiles {
    /// The number of files that are in force as they are.
    pub good: usize,
    /// Those that are not.
    pub refused: Vec<RefusedFile>,
    /// The folders to watch, as they were before the files were read.
    pub folders: Vec<ListedFolder>,
    pub(super) targets: Vec<Configured>,
    pub(super) entries: Vec<Entry>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) remembered: GoodFiles,
}

/// A file of a pattern.
struct Candidate {
    name: String,
    path: PathBuf,
    document: Result<Document, Problem>,
    standing: Standing,
}

/// The order in which files take the names of targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Unchanged,
    Changed,
    New,
}

/// The surroundings of the files.
pub(super) struct Surroundings<'a> {
    /// The values of the configuration file, for `defaults`.
    pub(super) main: &'a Map<String, Value>,
    /// The name of the configuration file.
    pub(super) main_name: &'a str,
    pub(super) scope: &'a Scope<'a>,
    /// What was good before.
    pub(super) before: &'a GoodFiles,
}

/// Reads the files. `taken`: the targets of the configuration file.
pub(super) fn read(globs: &[Glob], around: &Surroundings<'_>, taken: &[String]) -> TargetFiles {
    let mut files = TargetFiles::default();
    let mut candidates = BTreeMap::new();
    for glob in globs {
        list(glob, around, &mut files, &mut candidates);
    }
    let mut candidates: Vec<Candidate> = candidates.into_values().collect();
    candidates.sort_by(|a, b| (a.standing, &a.path).cmp(&(b.standing, &b.path)));
    let mut owners: HashMap<String, String> =
        taken.iter().map(|name| (name.clone(), around.main_name.to_owned())).collect();
    for candidate in candidates {
        take(candidate, around, &mut owners, &mut files);
    }
    files.refused.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Lists the files of a pattern, and reads them.
fn list(
    glob: &Glob,
    around: &Surroundings<'_>,
    files: &mut TargetFiles,
    candidates: &mut BTreeMap<PathBuf, Candidate>,
) {
    let folder = glob.folder(around.scope.folder);
    let own = glob.clone();
    let is_meant: crate::files::NameFilter = Arc::new(move |name| own.matches(name));
    let listed = around.scope.files.list(&folder, Arc::clone(&is_meant));
    let names: Vec<String> = match &listed {
        Ok(found) => found.iter().map(|file| file.name.clone()).collect(),
        Err(FileError::Io(std::io::ErrorKind::NotFound)) => Vec::new(),
        Err(error) => {
            let problem = Problem::new(&glob.text, format!("the folder {error}"));
            files.refused.push(RefusedFile {
                name: glob.text.clone(),
                problems: problem.into(),
                lives_on: true,
            });
            // Nothing is known of its files: those that were good go on.
            let known = around.before.0.keys().filter(|path| path.parent() == Some(&folder));
            let names = known.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
            names.filter(|name| glob.matches(name)).collect()
        }
    };
    if names.is_empty() {
        files.warnings.push(format!("targets_from: no file matches {}", glob.text));
    }
    files.folders.push(ListedFolder { path: folder.clone(), is_meant, files: listed.ok() });
    for name in names {
        let path = folder.join(&name);
        let shown = glob.shown(&name);
        candidates.entry(path.clone()).or_insert_with(|| candidate(shown, path, around));
    }
}

fn candidate(name: String, path: PathBuf, around: &Surroundings<'_>) -> Candidate {
    let document = Document::read(&path, around.scope.files);
    let document = document.map_err(|problem| Problem { place: name.clone(), ..problem });
    let standing = match (around.before.0.get(&path), &document) {
        (Some(before), Ok(now)) if before.values == now.values => Standing::Unchanged,
        (Some(_), _) => Standing::Changed,
        (None, _) => Standing::New,
    };
    Candidate { name, path, document, standing }
}

/// Takes in a file, or what it last had.
fn take(
    candidate: Candidate,
    around: &Surroundings<'_>,
    owners: &mut HashMap<String, String>,
    files: &mut TargetFiles,
) {
    let Candidate { name, path, document, .. } = candidate;
    let read = document.map_err(Problems::from).and_then(|document| {
        let found = resolve(&name, &path, &document, around, owners)?;
        Ok((document.values, found))
    });
    let good = match read {
        Ok((values, found)) => {
            files.good += 1;
            files.warnings.extend(found.warnings);
            files.notes.extend(found.notes);
            Some(GoodFile { values, targets: found.targets, entries: found.entries })
        }
        Err(problems) => {
            let mut before = around.before.0.get(&path).cloned();
            if let Some(before) = &mut before {
                before.targets.retain(|target| !owners.contains_key(&target.settings.name));
            }
            files.refused.push(RefusedFile {
                name: name.clone(),
                problems,
                lives_on: before.is_some(),
            });
            before
        }
    };
    let Some(good) = good else { return };
    for target in &good.targets {
        owners.insert(target.settings.name.clone(), name.clone());
    }
    files.targets.extend(good.targets.iter().cloned());
    files.entries.extend(good.entries.iter().cloned());
    files.remembered.0.insert(path, good);
}

/// The content of one file.
struct Found {
    targets: Vec<Configured>,
    entries: Vec<Entry>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

/// Reads the targets of one file.
fn resolve(
    name: &str,
    path: &Path,
    document: &Document,
    around: &Surroundings<'_>,
    owners: &HashMap<String, String>,
) -> Result<Found, Problems> {
    let report = Report::default();
    check(&document.values, owners, &report);
    schema::check(document, &report);
    let variables = Variables::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let scope = Scope { folder, ..*around.scope };
    let root = Layers::root(&report, &variables, &document.values);
    let section = root.own_section("targets");
    let mut targets = Vec::new();
    for target in section.names(is_name) {
        let main = Layers::root(&report, &variables, around.main);
        let layers = section.section(&target).over(main.section("defaults"));
        targets.extend(target::read(&target, &layers, &scope));
    }
    if document.world_readable.is_some() {
        report.warn_inline_passwords(name);
    }
    let Findings { problems, warnings, notes, mut entries } = report.finish();
    let mut placed = Problems::default();
    for Problem { place, message } in problems.iter().cloned() {
        placed.add(Problem { place: format!("{name}: {place}"), message });
    }
    placed.into_result()?;
    for entry in &mut entries {
        if let Origin::File(place) = &entry.origin {
            entry.origin = Origin::File(format!("{name}: {place}"));
        }
    }
    Ok(Found { targets, entries, warnings, notes })
}

/// Refuses what a file of targets cannot have.
fn check(values: &Map<String, Value>, owners: &HashMap<String, String>, report: &Report) {
    for key in values.keys().filter(|key| *key != "targets") {
        let place = super::names::printable(key);
        report.refuse(place, "belongs in the configuration file: here are `targets` alone");
    }
    let targets = match values.get("targets").map(|value| &value.kind) {
        Some(ValueKind::Table(targets)) => targets,
        Some(_) => return,
        // A file that is written at this moment is empty. It must not end what runs.
        None => return report.refuse("targets", "is missing"),
    };
    if targets.is_empty() {
        report.refuse("targets", "is empty");
    }
    for name in targets.keys().filter(|name| is_name(name)) {
        let place = format!("targets.{name}");
        if name == DEFAULT_TARGET {
            let message = "is described by variables, or in the configuration file";
            report.refuse(place, message);
        } else if let Some(owner) = owners.get(name) {
            report.refuse(place, format!("is also in {owner}"));
        }
    }
}
