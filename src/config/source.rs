//! Reads the options for the status that an application's own processes serve: its address, its limits and its
//! login.

use std::path::PathBuf;

use super::Scope;
use super::kind::OptionType;
use super::layers::Layers;
use super::listing::Sourced;
use super::options::{self, OptionRow};
use crate::dsn::Dsn;
use crate::files::FileReader;
use crate::source::{Endpoint, Login, SourceKey, SourceSettings};
use crate::view::SessionKey;
use crate::view::application::ApplicationSettings;

/// Reads the options of an application's status; `None` if neither addresses nor a directory is set.
///
/// `name`: the name of its section, if the user chose one.
pub(super) fn read(
    layers: &Layers<'_>,
    application: &ApplicationSettings,
    name: Option<&str>,
    url: Option<&Dsn>,
    scope: &Scope<'_>,
) -> Option<SourceSettings> {
    let endpoints = endpoints(layers);
    let directory = layers.own(&options::STATUS_DIR).map(|found| scope.path(&found));
    if endpoints.is_empty() && directory.is_none() {
        return None;
    }
    let row = &options::STATUS_POOL;
    let pool = layers.own_unlisted(row);
    let (pool, origin) = match pool {
        Some(Sourced { value, origin }) => (Some(value), origin),
        None => (name.map(str::to_owned), super::listing::Origin::Default),
    };
    let shown = pool.as_ref().map_or_else(|| "any".to_owned(), |pool| row.kind.show(pool));
    layers.list(row.key, shown, origin);
    Some(SourceSettings {
        key: key(layers, application, url),
        name: application.name.clone(),
        endpoints,
        directory,
        pool,
        // A pool that closes nothing at check-in has no overflow: its limit is its size.
        max_overflow: if application.pool.closes_overflow() {
            application.pool.max_overflow()
        } else {
            Some(0)
        },
        timeout: layers.own_or(&options::STATUS_TIMEOUT, SourceSettings::TIMEOUT),
        processes: layers.own_or(&options::STATUS_PROCESSES, SourceSettings::PROCESSES),
        login: login(layers, scope),
        ca: layers.own(&options::STATUS_CA).map(|found| scope.path(&found)),
        // Its own: a reader refuses a second read of a path while one is under way, and applications share files.
        files: FileReader::default(),
    })
}

/// Reads the addresses. Refuses an address that is listed twice, because its process would count twice.
fn endpoints(layers: &Layers<'_>) -> Vec<Endpoint> {
    let Some(found) = layers.own(&options::STATUS_URLS) else { return Vec::new() };
    let mut shown: Vec<String> = found.value.iter().map(Endpoint::show).collect();
    shown.sort_unstable();
    if shown.windows(2).any(|pair| pair[0] == pair[1]) {
        let message = "names an address twice; each must belong to another process";
        layers.refuse(options::STATUS_URLS.key, &found.origin, message);
    }
    found.value
}

/// Returns the labels: the names from the settings, or else from the URL. A name with a star is a pattern and
/// not a label, so the label is then empty.
fn key(layers: &Layers<'_>, application: &ApplicationSettings, url: Option<&Dsn>) -> SourceKey {
    let name = |row, url: Option<String>| {
        let own = layers.own_unlisted(row).map(|found| found.value);
        own.or(url).filter(|name| !name.contains('*')).unwrap_or_default()
    };
    // With a pattern of application_name any role fits, unless one is named.
    let by_pattern = application.sessions.application_name.is_some();
    let role = url.and_then(|dsn| dsn.user.clone()).filter(|_| !by_pattern);
    let user = name(&options::MATCH_USER, role);
    let database = name(&options::MATCH_DATABASE, url.and_then(|dsn| dsn.database.clone()));
    let application = application.name.as_deref().unwrap_or(&user);
    let SessionKey { database, user, application } =
        SessionKey::new(&database, &user, application).kept_apart();
    SourceKey { database, user, application }
}

fn login(layers: &Layers<'_>, scope: &Scope<'_>) -> Option<Login> {
    let token = secret_file(layers, &options::STATUS_BEARER_TOKEN_FILE, scope);
    let username = layers.own(&options::STATUS_USERNAME);
    let password = secret_file(layers, &options::STATUS_PASSWORD_FILE, scope);
    let refuse = |row: &str, found: &super::listing::Origin, message| {
        layers.refuse(row, found, message);
        None
    };
    match (token, username, password) {
        (None, None, None) => None,
        (Some(token), None, None) => Some(Login::Bearer(token.value)),
        (None, Some(username), Some(password)) => {
            Some(Login::Basic { username: username.value, password: password.value })
        }
        (Some(token), _, _) => {
            let key = options::STATUS_BEARER_TOKEN_FILE.key;
            refuse(key, &token.origin, "excludes status_username and status_password_file")
        }
        (None, Some(username), None) => {
            let key = options::STATUS_USERNAME.key;
            refuse(key, &username.origin, "needs status_password_file")
        }
        (None, None, Some(password)) => {
            let key = options::STATUS_PASSWORD_FILE.key;
            refuse(key, &password.origin, "needs status_username")
        }
    }
}

/// Reads the path of a secret, which must be readable.
fn secret_file<T: OptionType<Value = PathBuf>>(
    layers: &Layers<'_>,
    row: &OptionRow<T>,
    scope: &Scope<'_>,
) -> Option<Sourced<PathBuf>> {
    let found = layers.own(row)?;
    let value = scope.path(&found);
    if let Err(message) = scope.files.read_secret(&value) {
        layers.refuse(row.key, &found.origin, message);
    }
    Some(Sourced { value, origin: found.origin })
}
