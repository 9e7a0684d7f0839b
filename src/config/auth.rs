//! Authentication modules: the logins of `/probe`, and the targets that each may be used for.

use std::time::Duration;

use super::Scope;
use super::kind::Hidden;
use super::layers::Layers;
use super::names::is_parameter;
use super::options::Allowed;
use super::{options, password};
use crate::dsn;
use crate::pool::PasswordSource;
use crate::secret::Secret;

/// The limit of one probe with a module.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A login for a database that `/probe` names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AuthModule {
    /// The role.
    pub username: String,
    /// Its password, as of the time when the configuration was read.
    pub password: Option<Secret>,
    /// The source from which the password is read again; `None`: the text in the file is used.
    pub source: Option<PasswordSource>,
    /// Parameters of the connection, as in a URL.
    pub options: Vec<(String, Secret)>,
    /// The limit of one probe.
    pub timeout: Duration,
    /// The targets that may be named; never empty.
    pub allowed: Vec<Allowed>,
}

/// Reads a module; `None` if it lacks something, which is reported.
pub(super) fn read(layers: &Layers<'_>, scope: &Scope<'_>) -> Option<AuthModule> {
    layers.required(&options::AUTH_TYPE);
    let username = layers.required(&options::AUTH_USERNAME);
    let password = password::read(&layers.own_section("userpass"), scope).unwrap_or_default();
    let options = connection_options(&layers.own_section("options"));
    let timeout = layers.own_or(&options::AUTH_TIMEOUT, TIMEOUT);
    let allowed = layers.required(&options::AUTH_ALLOWED_TARGETS)?;
    Some(AuthModule {
        username: username?,
        password: password.now,
        source: password.source,
        options,
        timeout,
        allowed,
    })
}

/// Reads parameters of a connection, checked as in a URL.
fn connection_options(layers: &Layers<'_>) -> Vec<(String, Secret)> {
    let mut options = Vec::new();
    for name in layers.names(is_parameter) {
        let Some(found) = layers.entry(&name, &Hidden) else { continue };
        let quoted = found.value.reveal().replace('\\', "\\\\").replace('\'', "\\'");
        let errors = dsn::parse(&format!("{name}='{quoted}'")).err().unwrap_or_default();
        for error in errors {
            layers.refuse(&name, &found.origin, error.problem.to_string());
        }
        if ["user", "password", "host", "hostaddr", "port"].contains(&name.as_str()) {
            layers.refuse(&name, &found.origin, "is not an option of a module");
        }
        options.push((name, found.value));
    }
    options
}
