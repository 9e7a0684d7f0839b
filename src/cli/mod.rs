//! The command line: `db_pool_exporter [SUBCOMMAND] [FLAGS]`.
//!
//! The only place that reads the process' environment and arguments; everybody below is handed them.

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
use crate::config::Problems;

/// The exit code for what is wrong with flags or configuration (EX_USAGE).
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

/// What is to be done, and with what.
pub struct Command {
    /// What is to be done.
    pub subcommand: Subcommand,
    /// Whether only the configuration is to be checked.
    pub check_only: bool,
    /// What the daemon is told by flags.
    pub settings: app::DaemonSettings,
    /// Every flag with its value and origin.
    pub entries: Vec<crate::config::Entry>,
}

/// The command line as data: what the manual page and the shells' completions are made from.
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
        Err(problems) => return tell(&problems),
    };
    match command.subcommand {
        Subcommand::Serve => serve::run(command, environment),
        Subcommand::Config => config::run(command, &environment),
        Subcommand::Check { format } => check::run(&command, &environment, format),
        Subcommand::Demo => demo::run(command),
        Subcommand::Healthcheck => healthcheck::run(&command.settings.web),
    }
}

/// The environment as text; what is no UTF-8 gets replacement characters, which `config` refuses.
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Tells what is wrong, on standard error.
fn tell(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(USAGE)
}

/// Answers on standard output.
fn answer(text: &str) -> ExitCode {
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What clap says, without any text that was typed: it may be a secret in the wrong place.
fn refuse(error: &clap::Error) -> ExitCode {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp {
        return answer(&error.render().to_string());
    }
    if kind == ErrorKind::DisplayVersion {
        return answer(&format!("{}\n", app::version::text()));
    }
    let known = MESSAGES.iter().find(|(known, _)| *known == kind);
    let message = known.map_or("is not understood", |(_, message)| message);
    let hint = name(error.get(ContextKind::SuggestedArg))
        .or(name(error.get(ContextKind::SuggestedSubcommand)))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let argument = name(error.get(ContextKind::InvalidArg));
    let argument = argument.unwrap_or_else(|| "an argument".to_owned());
    eprintln!("{argument}: {message}{hint}\nSee db_pool_exporter --help");
    ExitCode::from(USAGE)
}

/// An argument's name, if it is one.
fn name(value: Option<&ContextValue>) -> Option<String> {
    let text = if let ContextValue::String(text) = value? {
        text
    } else if let ContextValue::Strings(texts) = value? {
        texts.first()?
    } else {
        return None;
    };
    let name = text.split([' ', '=']).next()?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '-' || c == '.';
    let short = name.len() <= 40 && name.chars().all(plain);
    let is_name = name.starts_with("--") || arguments::SUBCOMMANDS.contains(&name);
    (short && is_name).then(|| name.to_owned())
}
