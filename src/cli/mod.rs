//! The command line: `db_pool_exporter [SUBCOMMAND] [FLAGS]`.
//!
//! The only place that reads the process' environment and arguments. The rooms below get them as values.

mod arguments;
mod check;
mod completions;
mod config;
mod demo;
mod drill;
mod extra;
mod flags;
mod healthcheck;
mod progress;
mod refusal;
mod serve;
mod size;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::FromArgMatches;

use self::arguments::{Arguments, Subcommand};
pub use self::extra::{EXTRAS, Extra, extra};
use crate::app;
use crate::config::{Config, Loader, Problems, Reread};
use crate::files::FileReader;
use crate::text::{Palette, printable};

/// The exit code for bad flags and bad configuration (EX_USAGE).
const USAGE: u8 = 64;

/// The exit code when there is no answer, as of a Nagios plugin.
const UNKNOWN: u8 = 3;

/// A parsed command line.
pub(crate) struct Command {
    /// The subcommand; `serve` if none was typed.
    pub subcommand: Subcommand,
    /// `--config.check`: checks the configuration and exits.
    pub check_only: bool,
    /// The settings of the daemon that flags give.
    pub settings: app::DaemonSettings,
    /// The colours of reports.
    pub palette: Palette,
    /// Every flag with its value and its source, for `config`.
    pub entries: Vec<crate::config::Entry>,
}

/// Returns the description of the command line, from which the manual pages and the completions are made.
#[must_use]
pub fn command_line() -> clap::Command {
    arguments::command_with_values()
}

/// Runs the program with the process' arguments and environment.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect(), environment())
}

fn run(arguments: Vec<OsString>, environment: BTreeMap<String, String>) -> ExitCode {
    let typed = arguments::command().try_get_matches_from(&arguments);
    let parsed = typed.and_then(|matches| Arguments::from_arg_matches(&matches));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refusal::answer(&error, &arguments, &environment),
    };
    let command = match flags::resolve(parsed, &environment) {
        Ok(command) => command,
        Err(problems) => return report(&problems),
    };
    match command.subcommand.clone() {
        Subcommand::Serve => serve::run(command, environment),
        Subcommand::Config => config::run(command, &environment),
        Subcommand::Check(arguments) => check::run(&command, &environment, &arguments),
        Subcommand::Demo(arguments) => demo::run(command, arguments, &environment),
        Subcommand::Completions { shell } => completions::run(shell),
        Subcommand::Drill(arguments) => drill::run(&command, &environment, &arguments),
        Subcommand::Size(arguments) => size::run(&command, &environment, &arguments),
        Subcommand::Healthcheck => healthcheck::run(&command.settings.web),
    }
}

/// Reads the configuration, and adds warnings of variables that name no flag.
fn load(command: &Command, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let mut config = load_with(&loader(command, environment), environment)?;
    for file in std::mem::take(&mut config.target_files.refused) {
        let problems = file.problems.iter().map(ToString::to_string);
        config.warnings.extend(problems.map(|problem| format!("left out: {problem}")));
    }
    Ok(config)
}

/// Returns the reader of the configuration.
fn loader(command: &Command, environment: &BTreeMap<String, String>) -> Loader {
    let file = command.settings.config_file.clone();
    Loader::new(environment.clone(), file, FileReader::default())
}

/// Reads the configuration like [`load`]; files of targets that are refused are left in it.
fn load_with(loader: &Loader, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let mut config = loader.load(Reread::All)?;
    config.warnings.extend(flags::unknown_variables(environment));
    Ok(config)
}

/// Returns the environment as text. Bytes that are not UTF-8 become replacement characters, which `config`
/// refuses.
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Prints problems to standard error.
fn report(problems: &Problems) -> ExitCode {
    for line in problems.to_string().lines() {
        eprintln!("{}", printable(line));
    }
    ExitCode::from(USAGE)
}

/// Prints the warnings of a configuration to standard error.
fn print_warnings(warnings: impl IntoIterator<Item = impl ToString>) {
    for warning in warnings {
        eprintln!("warning: {}", printable(&warning.to_string()));
    }
}

/// Prints to standard output.
fn print(text: &str) -> ExitCode {
    // A reader that closed the pipe has read enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
