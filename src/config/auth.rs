//! Authentication modules: the logins of `/probe` for addresses, and the addresses that each may be used for.

use std::sync::Arc;
use std::time::Duration;

use super::kind::Hidden;
use super::layers::Layers;
use super::listing::Origin;
use super::names::is_parameter;
use super::password::Password;
use super::{Scope, database, options, password, target};
use crate::dsn::{self, Dsn};
use crate::ondemand::{AllowList, AuthModule};
use crate::pool::{Credentials, Passfile};

/// The limit of one probe with a module.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a module; `None` if it lacks something, which is reported. `defaults`: the settings that it shares with
/// the targets.
pub(super) fn read(
    name: &str,
    layers: &Layers<'_>,
    defaults: &Layers<'_>,
    scope: &Scope<'_>,
) -> Option<AuthModule> {
    layers.required(&options::AUTH_TYPE);
    let username = layers.required(&options::AUTH_USERNAME);
    let password = password::read(&layers.own_section("userpass"), scope).unwrap_or_default();
    let url = url(&layers.own_section("options"));
    let timeout = layers.own_or(&options::AUTH_TIMEOUT, TIMEOUT);
    let allowed = layers.required(&options::AUTH_ALLOWED_TARGETS)?;
    let Password { now, source } = password;
    let mut dsn = url?;
    dsn.user = Some(username?);
    dsn.password = now;
    if scope.production && database::is_weak(&dsn) {
        layers.report().warn(format!(
            "auth_modules.{name}: its logins may be without TLS in production: set `sslmode` in its options"
        ));
    }
    let passfile = Passfile::Unused;
    let credentials = Credentials { source, home: database::home(scope), passfile };
    let template = target::template(defaults, Arc::new(dsn), credentials, timeout, scope);
    Some(AuthModule { allowed: AllowList(allowed), template })
}

/// The options that come from elsewhere: the login from the module, the host from the request.
const FROM_ELSEWHERE: [&str; 6] = ["user", "password", "passfile", "host", "hostaddr", "port"];

/// Reads the parameters of the connection, checked as in a URL, each alone and all together.
fn url(layers: &Layers<'_>) -> Option<Dsn> {
    let (mut all, mut is_good) = (String::new(), true);
    for name in layers.names(is_parameter) {
        let Some(found) = layers.entry(&name, &Hidden) else {
            is_good = false;
            continue;
        };
        let quoted = found.value.reveal().replace('\\', "\\\\").replace('\'', "\\'");
        let one = format!("{name}='{quoted}' ");
        let mut problems: Vec<String> = Vec::new();
        if let Err(errors) = dsn::parse(&one) {
            problems.extend(errors.iter().map(|error| error.problem.to_string()));
        }
        if FROM_ELSEWHERE.contains(&name.as_str()) {
            problems.push("is not an option of a module".to_owned());
        }
        is_good &= problems.is_empty();
        problems.into_iter().for_each(|text| layers.refuse(&name, &found.origin, text));
        all.push_str(&one);
    }
    if !is_good {
        return None;
    }
    let (dsn, mut problems) = match dsn::parse(&all) {
        Ok(dsn) => (dsn, Vec::new()),
        Err(errors) => (Dsn::default(), errors),
    };
    let mut whole = dsn.clone();
    whole.user = Some("x".to_owned());
    problems.extend(whole.resolve(None));
    for problem in &problems {
        layers.refuse("sslmode", &Origin::Default, problem.to_string());
    }
    problems.is_empty().then_some(dsn)
}
