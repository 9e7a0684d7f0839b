//! The command line: `db_pool_exporter [SUBCOMMAND] [FLAGS]`.
//!
//! The only place that reads the process' environment and arguments. The rooms below get them as values.

mod arguments;
mod check;
mod config;
mod demo;
mod flags;
mod healthcheck;
mod serve;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, Subcommand};
use crate::app;
use crate::config::{Config, Problems};
use crate::text::printable;

/// The exit code for bad flags and bad configuration (EX_USAGE).
const USAGE: u8 = 64;

const MESSAGES: [(ErrorKind, &str); 7] = [
    (ErrorKind::UnknownArgument, "is not a known argument"),
    (ErrorKind::InvalidSubcommand, "is not a known argument"),
    (ErrorKind::ArgumentConflict, "is given more than once"),
    (ErrorKind::InvalidValue, "needs a value"),
    (ErrorKind::NoEquals, "needs `=` before its value"),
    (ErrorKind::TooManyValues, "takes no value"),
    (ErrorKind::InvalidUtf8, "must be UTF-8"),
];

/// A parsed command line.
pub(crate) struct Command {
    /// The subcommand; `serve` if none was typed.
    pub subcommand: Subcommand,
    /// `--config.check`: checks the configuration and exits.
    pub check_only: bool,
    /// The settings of the daemon that flags give.
    pub settings: app::DaemonSettings,
    /// Every flag with its value and its source, for `config`.
    pub entries: Vec<crate::config::Entry>,
}

/// Returns the description of the command line, from which the manual page and the completions are made.
#[must_use]
pub fn command_line() -> clap::Command {
    Arguments::command()
}

/// Runs the program with the process' arguments and environment.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect(), environment())
}

fn run(arguments: Vec<OsString>, environment: BTreeMap<String, String>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let command = match flags::resolve(arguments, &environment) {
        Ok(command) => command,
        Err(problems) => return report(&problems),
    };
    match command.subcommand {
        Subcommand::Serve => serve::run(command, environment),
        Subcommand::Config => config::run(command, &environment),
        Subcommand::Check { format } => check::run(&command, &environment, format),
        Subcommand::Demo => demo::run(command),
        Subcommand::Healthcheck => healthcheck::run(&command.settings.web),
    }
}

/// Reads the configuration, and adds warnings of variables that name no flag.
fn load(command: &Command, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let mut config = crate::config::load(environment, command.settings.config_file.as_deref())?;
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

/// Prints clap's error without the text that was typed, because that may be a misplaced secret.
fn refuse(error: &clap::Error) -> ExitCode {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp {
        return print(&error.render().to_string());
    }
    if kind == ErrorKind::DisplayVersion {
        return print(&format!("{}\n", app::version::text()));
    }
    let known = MESSAGES.iter().find(|(known, _)| *known == kind);
    let message = known.map_or("cannot be parsed", |(_, message)| message);
    let hint = name(error.get(ContextKind::SuggestedArg))
        .or(name(error.get(ContextKind::SuggestedSubcommand)))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let argument = name(error.get(ContextKind::InvalidArg));
    let argument = argument.unwrap_or_else(|| "an argument".to_owned());
    eprintln!("{argument}: {message}{hint}\nSee db_pool_exporter --help");
    ExitCode::from(USAGE)
}

/// Returns the name of an argument if it is safe to print.
fn name(value: Option<&ContextValue>) -> Option<String> {
    let text = if let ContextValue::String(text) = value? {
        text
    } else if let ContextValue::Strings(texts) = value? {
        texts.first()?
    } else {
        return None;
    };
    let name = text.split([' ', '=']).next()?;
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.');
    let is_name = name.starts_with("--") || arguments::SUBCOMMANDS.contains(&name);
    (is_plain && is_name && name.len() <= 40).then(|| name.to_owned())
}
