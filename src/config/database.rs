//! A target's database: its URL, what libpq's variables fill, and its password.

use std::path::PathBuf;

use super::Scope;
use super::environment::TARGET;
use super::layers::{Layers, Said};
use super::listing::Origin;
use super::password;
use super::unit::Hidden;
use crate::dsn::{self, Dsn, Host, Part, SslMode};
use crate::pool::{Credentials, PasswordSource};
use crate::probe::TargetKind;
use crate::secret::Secret;

/// The specification's built-in URL.
const BUILT_IN: &str = "postgresql+asyncpg://sentinelops:sentinelops@localhost:5432/sentinelops";

/// The variable that names a file with the URL.
const URL_FILE: &str = "DATABASE_URL_FILE";

/// The database that is PgBouncer's console.
const CONSOLE: &str = "pgbouncer";

/// Where a target is, and who says its password.
pub(super) struct Database {
    pub(super) dsn: Dsn,
    pub(super) credentials: Credentials,
}

/// Reads where a target is.
pub(super) fn read(
    name: &str,
    kind: TargetKind,
    layers: &Layers<'_>,
    scope: &Scope<'_>,
) -> Option<Database> {
    let url = url(name, layers);
    let given = password::read(layers, scope);
    let Said { value, origin } = url?;
    let mut dsn = match dsn::parse(value.reveal()) {
        Ok(dsn) => dsn,
        Err(errors) => {
            refuse(layers, &origin, &errors);
            return None;
        }
    };
    let built_in = dsn::parse(BUILT_IN).is_ok_and(|built_in| built_in == dsn);
    if scope.production && built_in {
        let message = "the built-in URL must not be used in production: set DATABASE_URL";
        let place = if origin == Origin::Default {
            "DATABASE_URL".into()
        } else {
            layers.place("url", &origin)
        };
        layers.ledger().refuse(place, message);
    }
    if kind == TargetKind::PgBouncer && dsn.database.is_none() {
        dsn.database = Some(CONSOLE.to_owned());
    }
    // Before the variables fill it: a password of theirs is not in the file.
    let in_file = dsn.password.as_ref().and_then(|_| url_file(&origin, scope));
    let source = fill(name, &mut dsn, given, layers, scope, &origin).or(in_file);
    let home = scope.environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    layers.list("url", dsn.to_string(), origin);
    for parameter in &dsn.ignored {
        scope
            .note(format!("target `{name}`: the URL's parameter `{parameter}` means nothing here"));
    }
    Some(Database { dsn, credentials: Credentials { source, home } })
}

fn url(name: &str, layers: &Layers<'_>) -> Option<Said<Secret>> {
    if layers.has("url") {
        return layers.peek("url", &Hidden);
    }
    if name == TARGET {
        return Some(Said::default(Secret::new(BUILT_IN)));
    }
    layers.refuse("url", &Origin::Default, "is missing");
    None
}

/// Fills what the URL leaves open: our own password, libpq's variables, libpq's defaults.
fn fill(
    name: &str,
    dsn: &mut Dsn,
    given: Option<password::Given>,
    layers: &Layers<'_>,
    scope: &Scope<'_>,
    origin: &Origin,
) -> Option<PasswordSource> {
    let by_url = dsn.password.is_some();
    let variables = scope.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut errors = dsn.fill(variables);
    let login = ["USER", "LOGNAME"].iter().find_map(|name| scope.environment.get(*name));
    errors.extend(dsn.resolve(login.map(String::as_str)));
    refuse(layers, origin, &errors);
    match given {
        Some(_) if by_url => {
            layers.ledger().warn(format!(
                "target `{name}`: the URL has a password, so the other one is not used"
            ));
            None
        }
        Some(given) => {
            dsn.password = given.now;
            given.source
        }
        None => None,
    }
}

fn refuse(layers: &Layers<'_>, origin: &Origin, errors: &[dsn::Error]) {
    for error in errors {
        match &error.part {
            Part::Variable(name) => layers.ledger().refuse(*name, error.problem.to_string()),
            Part::Text
            | Part::Scheme
            | Part::User
            | Part::Password
            | Part::Host
            | Part::Port
            | Part::Database
            | Part::Parameter(_)
            | Part::Unnamed => {
                layers.refuse("url", origin, error.to_string());
            }
        }
    }
}

/// A password in the URL of a file is asked for again there.
fn url_file(origin: &Origin, scope: &Scope<'_>) -> Option<PasswordSource> {
    match origin {
        Origin::Variable(name) if name == URL_FILE => {
            Some(PasswordSource::UrlFile(PathBuf::from(scope.environment.get(URL_FILE)?)))
        }
        Origin::Variable(_) | Origin::Default | Origin::File(_) | Origin::Url | Origin::Flag(_) => {
            None
        }
    }
}

/// Whether passwords and data may cross a network unencrypted.
pub(super) fn may_be_plain(dsn: &Dsn) -> bool {
    let weak = match dsn.tls.mode {
        Some(SslMode::Disable | SslMode::Allow | SslMode::Prefer) | None => true,
        Some(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => false,
    };
    weak && !dsn.hosts.iter().all(Host::is_local)
}
