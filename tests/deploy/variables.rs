//! The reference pages explain every variable, flag and key with its default, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::{files, passed, read, root, run};

/// All variables of the code: those in its table, and one for each flag.
fn known() -> BTreeSet<String> {
    let table = db_pool_exporter::config::reference();
    let variables = table.iter().flat_map(|option| &option.variables);
    let mut known: BTreeSet<String> = variables.map(|v| v.name.to_owned()).collect();
    assert!(known.len() > 25, "{known:?}");
    known.extend(flags().iter().map(|flag| variable(flag)));
    known
}

/// Every flag that has a variable.
pub(crate) fn flags() -> Vec<String> {
    let command = db_pool_exporter::cli::command_line();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let flags: Vec<String> = flags.filter(|flag| *flag != "help").map(str::to_owned).collect();
    assert!(flags.len() > 10, "{flags:?}");
    flags
}

pub(crate) fn variable(flag: &str) -> String {
    format!("DB_POOL_EXPORTER_{}", flag.to_ascii_uppercase().replace(['.', '-'], "_"))
}

/// The variables that are assigned in a text, commented out or not.
fn assigned(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.trim_start_matches('#'));
    let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let names = names
        .filter(|name| name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    names.map(str::to_owned).collect()
}

#[test]
fn the_environment_file_explains_every_variable() {
    let mut wanted = known();
    // This flag makes no sense for a service: it would check the configuration and exit.
    wanted.remove("DB_POOL_EXPORTER_CONFIG_CHECK");
    assert_eq!(assigned(&read(root("deploy/systemd/db_pool_exporter.env"))), wanted);
}

/// The values that `config` shows with these variables and this file.
pub(crate) fn shown<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    file: Option<&str>,
) -> BTreeMap<String, String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_db_pool_exporter"));
    program.arg("config").env_clear().env("USER", "somebody").envs(variables);
    if let Some(file) = file {
        program.arg("--config.file").arg(root(file));
    }
    let values = flat(&passed(&run(&mut program)));
    assert!(values.len() > 20, "{values:?}");
    values
}

/// Parses the output of `config`: values by path.
fn flat(text: &str) -> BTreeMap<String, String> {
    let mut path: Vec<&str> = Vec::new();
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        path.truncate(depth);
        let (key, rest) = line.trim_start().split_once(':').expect("a key");
        path.push(key);
        if let Some((value, _)) = rest.split_once("  # ") {
            values.insert(path.join("."), value.trim().trim_matches('"').to_owned());
        }
    }
    values
}

#[test]
fn the_environment_file_shows_the_defaults() {
    let file = read(root("deploy/systemd/db_pool_exporter.env"));
    let lines = file.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let set = lines.filter(|(name, value)| {
        assigned(&format!("{name}=")).len() == 1 && !value.is_empty() && !value.starts_with('/')
    });
    assert_eq!(shown(set, None), shown([], None));
}

/// The rows of the reference's tables: name and default.
fn reference() -> BTreeMap<String, String> {
    let text = read(root("docs/configuration.md"));
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        let default = rest.split(" | ").next().unwrap_or_default();
        Some((name.to_owned(), default.trim().trim_matches(['`', '"']).to_owned()))
    });
    let mut first = BTreeMap::new();
    // A module and a target both have a key `timeout`; the target's comes first.
    for (name, default) in rows {
        first.entry(name).or_insert(default);
    }
    first
}

#[test]
fn the_reference_shows_the_defaults_of_variables_and_flags() {
    let rows = reference();
    // Defaults with a space are descriptions, such as "the interval".
    let literal = rows.iter().filter(|(_, default)| !default.is_empty() && !default.contains(' '));
    let set: BTreeMap<String, &str> = literal
        .filter_map(|(name, default)| match name.strip_prefix("--") {
            Some(flag) => Some((variable(flag), default.as_str())),
            None if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Some((name.clone(), default.as_str()))
            }
            None => None,
        })
        .collect();
    assert!(set.len() > 25, "{set:?}");
    let set = set.iter().map(|(name, default)| (name.as_str(), *default));
    assert_eq!(shown(set, None), shown([], None));
}

/// The key in the reference for a path of the file: without the names that users choose.
fn key(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('.').collect();
    match parts.first() {
        Some(&"flags") => return None,
        Some(&"targets" | &"auth_modules") => drop(parts.drain(..2)),
        Some(_) | None => {}
    }
    if parts.first() == Some(&"applications") {
        parts.drain(..2);
    }
    // The keys below these are chosen by users, too.
    if matches!(parts.first(), Some(&"labels" | &"options")) {
        parts.truncate(1);
    }
    Some(parts.join("."))
}

#[test]
fn the_reference_explains_every_key_of_the_file() {
    let rows = reference();
    let is_key = |name: &&String| name.starts_with(|c: char| c.is_ascii_lowercase());
    let explained: BTreeSet<String> = rows.keys().filter(is_key).cloned().collect();
    // A unit test checks that the example has every key.
    let mut keys: BTreeSet<String> =
        shown([], Some("config.example.yml")).keys().filter_map(|path| key(path)).collect();
    // A module's login repeats the password keys of a target; the reference explains them once.
    let login = ["userpass.password", "userpass.password_file", "userpass.password_command"];
    login.iter().for_each(|name| assert!(keys.remove(*name), "{name}"));
    // These keys can also have a plain value instead of a table.
    keys.extend(["views.statements", "applications", "databases"].map(str::to_owned));
    assert_eq!(explained, keys);
}

#[test]
fn the_reference_shows_the_defaults_of_the_files_keys() {
    let (rows, mut checked) = (reference(), 0);
    for (path, value) in shown([], None) {
        let Some(key) = key(&path) else { continue };
        let default = &rows[&key];
        // The listing shows a URL in its normal form, without the password.
        if default.is_empty() || default.contains("the ") || key == "url" {
            continue;
        }
        checked += 1;
        assert_eq!(*default, value, "{key}");
    }
    assert!(checked > 25, "{checked}");
}

/// The configuration files that a page shows.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.lines().any(|line| line == "targets:")).collect()
}

#[test]
fn the_configurations_that_pages_show_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, secret) = (folder.path().join("config.yml"), folder.path().join("secret"));
    std::fs::write(&secret, "secret").expect("a file");
    let here = |line: &str| match line.split_once("_file: ") {
        Some((before, _)) => format!("{before}_file: {}\n", secret.display()),
        None => format!("{line}\n"),
    };
    let mut seen = 0;
    for page in files(&root("docs"), ".md") {
        for example in examples(&read(&page)) {
            seen += 1;
            let text: String = example.lines().map(here).collect();
            std::fs::write(&file, text).expect("a file");
            let mut program = Command::new(env!("CARGO_BIN_EXE_db_pool_exporter"));
            program.arg("--config.check").arg("--config.file").arg(&file).env_clear();
            let output = run(&mut program);
            let errors = String::from_utf8_lossy(&output.stderr);
            // Neither an error nor a warning.
            assert!(output.status.success() && errors.is_empty(), "{}: {errors}", page.display());
        }
    }
    assert!(seen > 2, "{seen}");
}

#[test]
fn the_changelog_names_every_family() {
    let (metrics, changes) = (read(root("METRICS.md")), read(root("CHANGELOG.md")));
    let names = metrics.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    // The page also maps the names to those of OpenTelemetry.
    let names = names.filter(|name| name.starts_with("db_pool_") || name.starts_with("process_"));
    let missing: Vec<&str> = names.filter(|name| !changes.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "under **Metrics**: {missing:?}");
}

#[test]
fn the_reference_explains_every_variable_and_every_flag() {
    let text = read(root("docs/configuration.md"));
    let rows: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    for name in known() {
        // The reference explains how to derive a flag's variable.
        let is_explained = name.starts_with("DB_POOL_EXPORTER_") || rows.contains(&name);
        assert!(is_explained, "{name} is not explained");
    }
    for flag in flags() {
        assert!(rows.contains(&format!("--{flag}")), "--{flag} is not explained");
    }
    let all: BTreeSet<String> =
        known().into_iter().chain(flags().iter().map(|flag| format!("--{flag}"))).collect();
    for row in rows.iter().filter(|row| row.starts_with("DB_") || row.starts_with("--")) {
        assert!(all.contains(row), "{row} is explained, and does not exist");
    }
}
