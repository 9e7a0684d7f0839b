//! A target's database: its URL, what libpq's variables fill in, and its password.

use std::path::PathBuf;

use super::Scope;
use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::options::{self, BUILT_IN_URL};
use super::password::{self, Password};
use crate::dsn::{self, Dsn, Host, Part, SessionAttrs, SslMode};
use crate::pool::{Credentials, Passfile, PasswordSource};
use crate::probe::{DEFAULT_TARGET, TargetKind};
use crate::secret::Secret;

/// The address of a target, and the source of its password.
pub(super) struct Database {
    pub(super) dsn: Dsn,
    pub(super) credentials: Credentials,
}

/// Reads the database of a target; `None` if its URL is missing or wrong, which is reported.
pub(super) fn read(
    name: &str,
    configured: Option<TargetKind>,
    layers: &Layers<'_>,
    scope: &Scope<'_>,
) -> Option<Database> {
    let url = url(name, layers, scope);
    let password = password::read(layers, scope);
    let Sourced { value, origin } = url?;
    let mut dsn = match dsn::parse(value.reveal()) {
        Ok(dsn) => dsn,
        Err(errors) => {
            refuse(layers, &origin, &errors);
            return None;
        }
    };
    if scope.production {
        refuse_built_in(&dsn, layers, &origin);
    }
    if dsn.database.is_none() {
        let of_kind = configured.and_then(|kind| kind.spec().default_database);
        dsn.database = of_kind.map(str::to_owned);
    }
    if dsn.password.is_some() {
        layers.report().password_at(&origin);
    }
    // Before the variables fill it: a password of theirs is not in the file.
    let in_file = dsn.password.as_ref().and_then(|_| url_file(&origin, scope));
    let source = fill(name, &mut dsn, password, layers, scope, &origin).or(in_file);
    if configured.unwrap_or(kind_of(&dsn)).spec().is_console && asks_for_session(&dsn) {
        layers.refuse(options::URL.key, &origin, NO_SESSION_ATTRS);
    }
    if dsn.password.as_ref().is_some_and(|password| is_surrounded(password.reveal())) {
        let text = "its password begins or ends with white space or a line break";
        layers.report().warn(format!("target `{name}`: {text}"));
    }
    let credentials = Credentials { source, home: home(scope), passfile: Passfile::Used };
    layers.list(options::URL.key, dsn.to_string(), origin);
    for parameter in &dsn.ignored {
        let text = format!("target `{name}`: the URL's parameter `{parameter}` has no effect here");
        layers.report().note(text);
    }
    Some(Database { dsn, credentials })
}

/// The user's home folder, with `.pgpass` and `.postgresql`.
pub(super) fn home(scope: &Scope<'_>) -> Option<PathBuf> {
    scope.environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

impl Database {
    /// Reports whether its name is that of PgBouncer's console.
    pub(super) fn names_console(&self) -> bool {
        kind_of(&self.dsn).spec().is_console
    }
}

/// The kind of a target without a configured one.
fn kind_of(dsn: &Dsn) -> TargetKind {
    let is_console = dsn.database.is_some()
        && dsn.database.as_deref() == TargetKind::PgBouncer.spec().default_database;
    if is_console { TargetKind::PgBouncer } else { TargetKind::Postgres }
}

fn asks_for_session(dsn: &Dsn) -> bool {
    dsn.session.is_some_and(|session| session != SessionAttrs::Any)
}

const NO_SESSION_ATTRS: &str = "a PgBouncer console cannot be asked for target_session_attrs: it answers no SELECT; remove the parameter (or PGTARGETSESSIONATTRS), or name the database behind PgBouncer";

fn url(name: &str, layers: &Layers<'_>, scope: &Scope<'_>) -> Option<Sourced<Secret>> {
    if layers.has(&options::URL) {
        return layers.own_unlisted(&options::URL);
    }
    if name == DEFAULT_TARGET {
        layers.report().warn(built_in_used(scope));
        return Some(Sourced::default(Secret::new(BUILT_IN_URL)));
    }
    layers.refuse(options::URL.key, &Origin::Default, "is missing");
    None
}

fn is_surrounded(text: &str) -> bool {
    text.trim().len() < text.len()
}

/// Variables in which other programs look for the URL.
const FOREIGN_URLS: [&str; 12] = [
    "DB_URL",
    "DB_URI",
    "DB_DSN",
    "DATABASE_DSN",
    "POSTGRES_URL",
    "POSTGRES_URI",
    "POSTGRES_DSN",
    "POSTGRESQL_URL",
    "PG_URL",
    "PGURL",
    "SQLALCHEMY_DATABASE_URI",
    "SQLALCHEMY_DATABASE_URL",
];

/// The warning that no URL was given, with the name of a variable that looks like a mistyped one.
fn built_in_used(scope: &Scope<'_>) -> String {
    const NAME: &str = "DATABASE_URL";
    let shown = dsn::parse(BUILT_IN_URL).map_or_else(|_| String::new(), |dsn| dsn.to_string());
    let mut names = scope.environment.keys().filter(|name| *name != NAME);
    let near = names.find(|name| strsim::damerau_levenshtein(name, NAME) <= 2);
    let foreign = FOREIGN_URLS
        .iter()
        .find(|name| scope.environment.get(**name).is_some_and(|value| !value.is_empty()));
    let hint = match (near, foreign) {
        (Some(near), _) => format!("; {near} is set: is it mistyped?"),
        (None, Some(name)) => format!("; {name} is set, but is not read: is it meant?"),
        (None, None) => String::new(),
    };
    format!("{NAME} is not set: the built-in URL {shown} is used{hint}")
}

fn refuse_built_in(dsn: &Dsn, layers: &Layers<'_>, origin: &Origin) {
    if dsn::parse(BUILT_IN_URL).is_ok_and(|built_in| built_in == *dsn) {
        let message = "the built-in URL must not be used in production: set DATABASE_URL";
        let place = match origin {
            Origin::Default => "DATABASE_URL".to_owned(),
            Origin::File(_) | Origin::Variable(_) | Origin::Url | Origin::Flag(_) => {
                layers.place(options::URL.key, origin)
            }
        };
        layers.report().refuse(place, message);
    }
}

/// Fills what the URL leaves open: the section's password, libpq's variables, libpq's defaults.
///
/// Returns the source from which the password is read again.
fn fill(
    name: &str,
    dsn: &mut Dsn,
    password: Option<Password>,
    layers: &Layers<'_>,
    scope: &Scope<'_>,
    origin: &Origin,
) -> Option<PasswordSource> {
    let is_in_url = dsn.password.is_some();
    let variables = scope.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut errors = dsn.fill(variables);
    // The name is looked up only when it is needed: name services can be slow.
    let login = if dsn.user.is_none() { effective_user() } else { None };
    errors.extend(dsn.resolve(login.as_deref()));
    refuse(layers, origin, &errors);
    let password = password?;
    if is_in_url {
        layers
            .report()
            .warn(format!("target `{name}`: the URL has a password, so the other one is not used"));
        return None;
    }
    dsn.password = password.now;
    password.source
}

/// Returns the name of the process' effective user, which libpq takes where a URL names no user. The
/// variable USER may belong to someone else.
fn effective_user() -> Option<String> {
    whoami::username().ok()
}

fn refuse(layers: &Layers<'_>, origin: &Origin, errors: &[dsn::Error]) {
    for error in errors {
        match &error.part {
            Part::Variable(name) => layers.report().refuse(*name, error.problem.to_string()),
            Part::Text
            | Part::Scheme
            | Part::User
            | Part::Password
            | Part::Host
            | Part::Port
            | Part::Database
            | Part::Parameter(_)
            | Part::Unnamed => {
                layers.refuse(options::URL.key, origin, error.to_string());
            }
        }
    }
}

/// A password in the URL of a file is read again from that file.
fn url_file(origin: &Origin, scope: &Scope<'_>) -> Option<PasswordSource> {
    let Origin::Variable(name) = origin else { return None };
    let variable = options::URL.variables.into_iter().flatten().find(|v| v.name == name)?;
    let path = if variable.is_file { scope.environment.get(name) } else { None };
    path.map(|path| PasswordSource::UrlFile(PathBuf::from(path)))
}

/// Reports whether passwords and data may cross a network unencrypted.
pub(super) fn may_be_plain(dsn: &Dsn) -> bool {
    is_weak(dsn) && !dsn.hosts.iter().all(Host::is_local)
}

/// Reports whether the sslmode permits a connection without encryption.
pub(super) fn is_weak(dsn: &Dsn) -> bool {
    match dsn.tls.mode {
        Some(SslMode::Disable | SslMode::Allow | SslMode::Prefer) | None => true,
        Some(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => false,
    }
}
