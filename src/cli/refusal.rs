//! The answer to a command line that cannot be run: help, the version, or the mistake.
//!
//! A mistake is shown without the text that was typed, because that may be a misplaced secret. A word is quoted
//! only if it is close to a known name.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{USAGE, arguments, flags, print};
use crate::app::version;
use crate::text::Palette;

const MESSAGES: [(ErrorKind, &str); 7] = [
    (ErrorKind::UnknownArgument, "is not a known argument"),
    (ErrorKind::InvalidSubcommand, "is not a known command"),
    (ErrorKind::ArgumentConflict, "is given more than once, or beside a flag that excludes it"),
    (ErrorKind::InvalidValue, "needs a value"),
    (ErrorKind::NoEquals, "needs `=` before its value"),
    (ErrorKind::TooManyValues, "takes no value"),
    (ErrorKind::InvalidUtf8, "must be UTF-8"),
];

/// How similar a mistyped word must be to a known one: 1 is equal.
const SIMILAR: f64 = 0.75;

/// Prints what was asked for, or the mistake; returns the exit code.
pub(super) fn answer(
    error: &clap::Error,
    typed: &[OsString],
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp {
        let help = error.render();
        return print(&match flags::palette_of_terminal(environment) {
            Palette::Plain => help.to_string(),
            Palette::Ansi => help.ansi().to_string(),
        });
    }
    if kind == ErrorKind::DisplayVersion {
        return print(&format!("{}\n", version::text()));
    }
    let (what, message) = mistake(error, typed);
    let command = subcommand(typed).map(|name| format!(" {name}")).unwrap_or_default();
    eprintln!("{what}: {message}\nSee db_pool_exporter{command} --help");
    ExitCode::from(USAGE)
}

/// Returns the argument at fault and the mistake.
fn mistake(error: &clap::Error, typed: &[OsString]) -> (String, String) {
    let kind = error.kind();
    let argument = flag(error.get(ContextKind::InvalidArg));
    if kind == ErrorKind::MissingRequiredArgument {
        return (argument.unwrap_or_else(|| "an argument".to_owned()), "is missing".to_owned());
    }
    if let Some(allowed) = values(error) {
        return (argument.unwrap_or_default(), format!("must be one of: {allowed}"));
    }
    if let (ErrorKind::ValueValidation, Some(source)) = (kind, error.source()) {
        return (argument.unwrap_or_default(), source.to_string());
    }
    let is_unknown = matches!(kind, ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
    let word = unknown(error, typed).filter(|_| is_unknown);
    let near = word.as_deref().and_then(|word| similar(word, subcommand(typed).as_deref()));
    let known = MESSAGES.iter().find(|(known, _)| *known == kind);
    let message = known.map_or("cannot be parsed", |(_, message)| message);
    match (argument, word, near) {
        // A word that was mistyped is close to a known one, and so no secret.
        (_, Some(word), Some(near)) => (word, format!("{message}; did you mean `{near}`?")),
        (Some(argument), _, _) => (argument, message.to_owned()),
        (None, Some(word), None) if !word.starts_with('-') => {
            let message = format!("{message}; the commands are {}", commands().join(", "));
            ("a word of the command line".to_owned(), message)
        }
        (None, _, _) => ("an argument".to_owned(), message.to_owned()),
    }
}

/// Returns the allowed values, if the mistake is another value.
fn values(error: &clap::Error) -> Option<String> {
    let is_empty = matches!(error.get(ContextKind::InvalidValue), None | Some(ContextValue::None))
        || matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(text)) if text.is_empty());
    let ContextValue::Strings(allowed) = error.get(ContextKind::ValidValue)? else { return None };
    (error.kind() == ErrorKind::InvalidValue && !is_empty && !allowed.is_empty())
        .then(|| allowed.join(", "))
}

/// Returns the word that clap does not know.
fn unknown(error: &clap::Error, typed: &[OsString]) -> Option<String> {
    let context = error.get(ContextKind::InvalidSubcommand).or(error.get(ContextKind::InvalidArg));
    let ContextValue::String(text) = context? else { return None };
    let word = text.split([' ', '=']).next()?;
    let was_typed =
        typed.iter().any(|typed| typed.to_str().is_some_and(|typed| typed.starts_with(word)));
    was_typed.then(|| word.to_owned())
}

/// Returns the known command or flag that is closest to a word, if one is close.
fn similar(word: &str, subcommand: Option<&str>) -> Option<String> {
    let names = if word.starts_with('-') { longs(subcommand) } else { commands() };
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(word, &name), name));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(score, _)| *score >= SIMILAR).map(|(_, name)| name)
}

/// Returns the long flags that a subcommand accepts.
fn longs(subcommand: Option<&str>) -> Vec<String> {
    let mut command = arguments::command();
    command.build();
    let found = subcommand.and_then(|name| command.find_subcommand(name)).unwrap_or(&command);
    found
        .get_arguments()
        .filter_map(|flag| flag.get_long())
        .map(|long| format!("--{long}"))
        .collect()
}

/// Returns the names of the commands.
fn commands() -> Vec<String> {
    let command = arguments::command();
    let names = command.get_subcommands().map(|sub| sub.get_name().to_owned());
    names.chain(["help".to_owned()]).collect()
}

/// Returns the subcommand that was typed.
fn subcommand(typed: &[OsString]) -> Option<String> {
    let typed = |name: &String| typed.iter().skip(1).any(|word| word == name.as_str());
    commands().into_iter().find(typed)
}

/// Returns the name of a flag if it is safe to print.
fn flag(value: Option<&ContextValue>) -> Option<String> {
    let text = if let ContextValue::String(text) = value? {
        text
    } else if let ContextValue::Strings(texts) = value? {
        texts.first()?
    } else {
        return None;
    };
    let name = text.split([' ', '=']).next()?;
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.');
    (is_plain && name.starts_with("--") && name.len() <= 40).then(|| name.to_owned())
}
