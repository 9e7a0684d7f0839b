//! Authentication modules: how `/probe` logs in, and to whom.

use std::net::IpAddr;
use std::time::Duration;

use super::Scope;
use super::layers::Layers;
use super::listing::Origin;
use super::password;
use super::unit::{Choice, Given, Grammar, Hidden, List, Text, Time, Unit};
use crate::dsn;
use crate::pool::PasswordSource;
use crate::secret::Secret;

/// A way to log in to a database that `/probe` names.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthModule {
    /// The role.
    pub username: String,
    /// Its password, as it was when the configuration was read.
    pub password: Option<Secret>,
    /// Where the password is asked for again.
    pub source: Option<PasswordSource>,
    /// Parameters of the connection, as in a URL.
    pub options: Vec<(String, Secret)>,
    /// The longest that a probe may take.
    pub timeout: Duration,
    /// Which targets may be named.
    pub allowed: Vec<Allowed>,
}

/// Targets that may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Hosts whose name fits a pattern (`*` is any text), on this port or on any.
    Name(String, Option<u16>),
    /// Addresses of a network: its address, and how many bits of it count.
    Network(IpAddr, u8),
}

pub(super) fn read(layers: &Layers<'_>, scope: &Scope<'_>) -> Option<AuthModule> {
    const TYPES: Choice<()> = Choice(&[("userpass", ())]);
    layers.must("type", &TYPES);
    let login = layers.own_sub("userpass");
    let username = login.must("username", &Text("a role"));
    let given = password::read(&login, scope);
    let options = options(&layers.own_sub("options"));
    let timeout = layers.settle("timeout", &Time::new(10, 3600), Duration::from_secs(5)).value;
    let allowed = layers.must("allowed_targets", &List(AllowedTarget));
    let (password, source) = match given {
        Some(given) => (given.now, given.source),
        None => (None, None),
    };
    let (username, allowed) = (username?.value, allowed?.value);
    Some(AuthModule { username, password, source, options, timeout, allowed })
}

/// Reads parameters of a connection, and has each judged as in a URL.
fn options(layers: &Layers<'_>) -> Vec<(String, Secret)> {
    let mut options = Vec::new();
    for name in layers.names(is_parameter, "the name of a parameter") {
        let Some(said) = layers.own(&name, &Hidden) else { continue };
        let quoted = said.value.reveal().replace('\\', "\\\\").replace('\'', "\\'");
        let errors = dsn::parse(&format!("{name}='{quoted}'")).err().unwrap_or_default();
        for error in errors {
            layers.refuse(&name, &said.origin, error.problem.to_string());
        }
        options.push((name, said.value));
    }
    for name in ["user", "password", "host", "hostaddr", "port"] {
        if options.iter().any(|(option, _)| option == name) {
            layers.refuse(name, &Origin::Default, "is not an option of a module");
        }
    }
    options
}

fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// A pattern `HOST`, `HOST:PORT`, or a network `ADDRESS/BITS`.
struct AllowedTarget;

impl Unit for AllowedTarget {
    type Value = Allowed;

    fn read(&self, given: &Given<'_>) -> Option<Allowed> {
        let text = Text("").read(given)?;
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Allowed::Network(address, bits));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Some(Allowed::Network(address, bits));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (text.as_str(), None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "*-_.".contains(c);
        let valid = !host.is_empty() && host.chars().all(plain);
        valid.then(|| Allowed::Name(host.to_ascii_lowercase(), port))
    }

    fn allowed(&self, _: Grammar) -> String {
        "a pattern of hosts such as `*.db.internal` or `*.db.internal:5432`, \
         or a network such as `10.0.0.0/8`"
            .to_owned()
    }

    fn show(&self, value: &Allowed) -> String {
        super::unit::quote(&match value {
            Allowed::Name(host, Some(port)) => format!("{host}:{port}"),
            Allowed::Name(host, None) => host.clone(),
            Allowed::Network(address, bits) => format!("{address}/{bits}"),
        })
    }
}
