//! Where a password comes from when the URL does not say it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Scope;
use super::layers::{Layers, Said};
use super::listing::Origin;
use super::unit::{FilePath, Hidden, List, Text, Time};
use crate::pool::{PasswordCommand, PasswordSource};
use crate::secret::Secret;

/// The largest file that is taken for a secret.
const LARGEST: u64 = 64 * 1024;

/// A password that is to be used, and where it is asked for again.
pub(super) struct Given {
    pub(super) now: Option<Secret>,
    pub(super) source: Option<PasswordSource>,
}

/// Reads a section's password; at most one way of saying it is allowed, but a variable wins.
pub(super) fn read(layers: &Layers<'_>, scope: &Scope<'_>) -> Option<Given> {
    let text = layers.own("password", &Hidden);
    let file = layers.own("password_file", &FilePath);
    let command = command(layers);
    let origins = [
        text.as_ref().map(|said| said.origin.clone()),
        file.as_ref().map(|said| said.origin.clone()),
        command.as_ref().map(|said| said.origin.clone()),
    ];
    let in_file = |origin: &&Origin| matches!(origin, Origin::File(_));
    if let [_, second, ..] = origins.iter().flatten().filter(in_file).collect::<Vec<_>>()[..] {
        let message = "only one of password, password_file and password_command is allowed";
        layers.refuse("password", second, message);
    }
    let by_variable = |origin: &Origin| matches!(origin, Origin::Variable(_));
    if let Some(said) = text.filter(|said| {
        by_variable(&said.origin) || !file.as_ref().is_some_and(|file| by_variable(&file.origin))
    }) {
        return Some(Given { now: Some(said.value), source: None });
    }
    if let Some(said) = file {
        return Some(from_file(said, layers, scope));
    }
    command.map(|said| Given { now: None, source: Some(PasswordSource::Command(said.value)) })
}

fn from_file(said: Said<PathBuf>, layers: &Layers<'_>, scope: &Scope<'_>) -> Given {
    let path = scope.path(&said);
    let now = read_secret(&path);
    if let Err(message) = &now {
        layers.refuse("password_file", &said.origin, message.clone());
    }
    Given { now: now.ok(), source: Some(PasswordSource::File(path)) }
}

fn command(layers: &Layers<'_>) -> Option<Said<PasswordCommand>> {
    if !layers.has("password_command") {
        layers.list("password_command", "none".to_owned(), Origin::Default);
        return None;
    }
    let section = layers.own_sub("password_command");
    // Its arguments may hold a secret, so they are not shown.
    let command = section.peek("command", &List(Text("a program or an argument")));
    let timeout = section.settle("timeout", &Time::new(100, 60), Duration::from_secs(5)).value;
    let cache = section.settle("cache", &Time::new(0, 86_400), Duration::from_secs(600)).value;
    let Some(Said { value: command, origin }) = command else {
        if !section.has("command") {
            section.refuse("command", &Origin::Default, "is missing");
        }
        return None;
    };
    section.list("command", "<secret>".to_owned(), origin.clone());
    Some(Said { value: PasswordCommand { argv: command, timeout, keep: cache }, origin })
}

/// A file's content as a secret, without its last newline.
///
/// The error says what is wrong without naming the file, whose path may be a mistaken secret.
pub(super) fn read_secret(path: &Path) -> Result<Secret, String> {
    let refuse =
        |error: std::io::Error| format!("names a file that cannot be read: {}", error.kind());
    if std::fs::metadata(path).map_err(refuse)?.len() > LARGEST {
        return Err("names a file that is too large for a secret".to_owned());
    }
    let content = Secret::new(std::fs::read_to_string(path).map_err(refuse)?);
    let text = content.reveal();
    let text = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(text);
    if text.is_empty() {
        return Err("names a file that is empty".to_owned());
    }
    Ok(Secret::new(text))
}
