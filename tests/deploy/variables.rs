//! Every variable and flag is explained where users look for it, and nothing else is.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{passed, read, root, run};

/// The variables that the code knows: its table, and one for each flag.
fn known() -> BTreeSet<String> {
    let table = read(root("src/config/environment.rs"));
    let rows = table.split_once("const VARIABLES").expect("the table").1;
    let rows = rows.split_once("];").expect("its end").0;
    let names = rows.split('"').filter(|word| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    let mut known: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(known.len() > 25, "{known:?}");
    known.extend(flags().iter().map(|flag| variable(flag)));
    known
}

/// Every flag that has a variable.
fn flags() -> Vec<String> {
    let command = db_pool_exporter::cli::command_line();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let flags: Vec<String> = flags.filter(|flag| *flag != "help").map(str::to_owned).collect();
    assert!(flags.len() > 10, "{flags:?}");
    flags
}

fn variable(flag: &str) -> String {
    format!("DB_POOL_EXPORTER_{}", flag.to_ascii_uppercase().replace(['.', '-'], "_"))
}

/// The variables that stand at the beginning of a line, commented out or not.
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
    // In a service that only checks its configuration there is nothing to start.
    wanted.remove("DB_POOL_EXPORTER_CONFIG_CHECK");
    assert_eq!(assigned(&read(root("deploy/systemd/db_pool_exporter.env"))), wanted);
}

#[test]
fn the_environment_file_shows_the_defaults() {
    let file = read(root("deploy/systemd/db_pool_exporter.env"));
    let lines = file.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let set = lines.filter(|(name, value)| {
        assigned(&format!("{name}=")).len() == 1 && !value.is_empty() && !value.starts_with('/')
    });
    let mut program = Command::new(env!("CARGO_BIN_EXE_db_pool_exporter"));
    let plain = passed(&run(program.arg("config").env_clear()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_db_pool_exporter"));
    let shown = passed(&run(program.arg("config").env_clear().envs(set)));
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains('#'));
        lines.map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()).collect()
    };
    assert!(plain.lines().count() > 20, "{plain}");
    assert_eq!(values(&shown), values(&plain), "{shown}");
}

#[test]
fn the_reference_explains_every_variable_and_every_flag() {
    let text = read(root("docs/configuration.md"));
    let rows: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    for name in known() {
        // The flags' variables follow from the flags.
        let told = name.starts_with("DB_POOL_EXPORTER_") || rows.contains(&name);
        assert!(told, "{name} is not explained");
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
