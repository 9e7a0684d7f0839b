//! The password of a section: a text, a file or a command.

use std::path::PathBuf;
use std::time::Duration;

use super::Scope;
use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::options;
use crate::pool::{PasswordCommand, PasswordSource};
use crate::secret::Secret;

/// The limit of one run of a password command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which the output of a password command is used.
const COMMAND_CACHE: Duration = Duration::from_secs(600);

/// A password, and the source from which it is read again for each connection.
#[derive(Default)]
pub(super) struct Password {
    pub(super) now: Option<Secret>,
    pub(super) source: Option<PasswordSource>,
}

/// Reads a section's password. The file may set one of the three; a variable wins over the file.
pub(super) fn read(layers: &Layers<'_>, scope: &Scope<'_>) -> Option<Password> {
    let text = layers.own(&options::PASSWORD_TEXT);
    let file = layers.own(&options::PASSWORD_FILE);
    let command = command(layers);
    let origins = [
        text.as_ref().map(|found| &found.origin),
        file.as_ref().map(|found| &found.origin),
        command.as_ref().map(|found| &found.origin),
    ];
    let in_file: Vec<_> =
        origins.into_iter().flatten().filter(|o| matches!(o, Origin::File(_))).collect();
    if let [_, second, ..] = in_file[..] {
        let message = "only one of password, password_file and password_command is allowed";
        layers.refuse(options::PASSWORD_TEXT.key, second, message);
    }
    match (text, file) {
        (Some(text), Some(file)) if is_variable(&file.origin) && !is_variable(&text.origin) => {
            Some(from_file(file, layers, scope))
        }
        (Some(text), _) => {
            layers.report().password_at(&text.origin);
            Some(Password { now: Some(text.value), source: None })
        }
        (None, Some(file)) => Some(from_file(file, layers, scope)),
        (None, None) => {
            let source = PasswordSource::Command(command?.value);
            Some(Password { now: None, source: Some(source) })
        }
    }
}

fn is_variable(origin: &Origin) -> bool {
    matches!(origin, Origin::Variable(_))
}

fn from_file(found: Sourced<PathBuf>, layers: &Layers<'_>, scope: &Scope<'_>) -> Password {
    let path = scope.path(&found);
    let now = scope.files.read_secret(&path);
    if let Err(message) = &now {
        layers.refuse(options::PASSWORD_FILE.key, &found.origin, message.clone());
    }
    Password { now: now.ok(), source: Some(PasswordSource::File(path)) }
}

fn command(layers: &Layers<'_>) -> Option<Sourced<PasswordCommand>> {
    let key = options::PASSWORD_COMMAND.key;
    if !layers.has(&options::PASSWORD_COMMAND) {
        layers.list(key, "none".to_owned(), Origin::Default);
        return None;
    }
    let argv = layers.own_unlisted(&options::PASSWORD_COMMAND_ARGV);
    let timeout = layers.own_or(&options::PASSWORD_COMMAND_TIMEOUT, COMMAND_TIMEOUT);
    let keep = layers.own_or(&options::PASSWORD_COMMAND_CACHE, COMMAND_CACHE);
    let Some(Sourced { value: argv, origin }) = argv else {
        if !layers.has(&options::PASSWORD_COMMAND_ARGV) {
            layers.refuse(options::PASSWORD_COMMAND_ARGV.key, &Origin::Default, "is missing");
        }
        return None;
    };
    // Its arguments may hold a secret.
    layers.list(options::PASSWORD_COMMAND_ARGV.key, "<secret>".to_owned(), origin.clone());
    Some(Sourced { value: PasswordCommand { argv, timeout, keep }, origin })
}
