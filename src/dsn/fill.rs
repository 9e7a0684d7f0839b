//! Completes a URL: first from libpq's environment, then with libpq's defaults.

use std::collections::BTreeMap;
use std::mem;

use super::draft::Draft;
use super::host::LOCALHOST;
use super::tls::{CertMode, Root, SslMode};
use super::{Address, DEFAULT_PORT, Dsn, Error, Host, Part, Problem, table};

impl Dsn {
    /// Reports whether this parameter was given, even with an empty value. `name` is libpq's; aliases
    /// count.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Fills missing parameters from libpq's variables (`PGHOST` and so on). Other variables and empty
    /// ones are not used. As in libpq, a parameter that the URL gave is not filled, even if its value is
    /// empty.
    ///
    /// Returns an error for every bad variable, by name.
    #[must_use = "bad variables are refused, not ignored"]
    pub fn fill<'a>(
        &mut self,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Error> {
        let variables: BTreeMap<&str, &str> = environment
            .into_iter()
            .filter(|(name, value)| name.starts_with("PG") && !value.is_empty())
            .collect();
        let mut draft = Draft::of(mem::take(self));
        let mut errors = Vec::new();
        let mut filled = Vec::new();
        for parameter in table::all() {
            let Some(variable) = parameter.variable.filter(|_| !draft.dsn.is_given(parameter.key))
            else {
                continue;
            };
            let Some(value) = variables.get(variable) else {
                continue;
            };
            match parameter.apply(&mut draft, value) {
                Ok(()) => filled.push((parameter.key, variable)),
                Err(problem) => errors.push(Error::anywhere(Part::Variable(variable), problem)),
            }
        }
        let (dsn, contradictions) = draft.finish();
        *self = dsn;
        errors.extend(contradictions.into_iter().map(|error| with_variable(error, &filled)));
        errors
    }

    /// Sets libpq's defaults: port 5432, the database named like the user, `sslmode=prefer` (`verify-full`
    /// with `sslrootcert=system`). Without a host these are a socket in `/run/postgresql` and then `localhost`.
    /// `login` is the name of the process' effective user.
    ///
    /// Returns an error for each value that is still missing or contradictory.
    #[must_use = "what is still missing is refused, not ignored"]
    pub fn resolve(&mut self, login: Option<&str>) -> Vec<Error> {
        let mut errors = self.resolve_hosts();
        if self.user.is_none() {
            self.user = login.map(str::to_owned);
        }
        if self.user.is_none() {
            errors.push(Error::anywhere(Part::User, Problem::NoUser));
        }
        if self.database.is_none() {
            self.database.clone_from(&self.user);
        }
        let trusts_system = self.tls.root == Some(Root::System);
        let default = if trusts_system { SslMode::VerifyFull } else { SslMode::Prefer };
        self.tls.mode.get_or_insert(default);
        errors.extend(self.tls.contradictions());
        if self.tls.cert_mode == Some(CertMode::Require) && self.tls.cert.is_none() {
            errors.push(Error::anywhere(Part::parameter("sslcertmode"), Problem::Certificate));
        }
        errors
    }

    fn resolve_hosts(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        if !self.is_given("host") && !self.is_given("hostaddr") && self.hosts.len() > 1 {
            errors.push(Error::anywhere(
                Part::Port,
                Problem::Count { given: self.hosts.len(), hosts: 1 },
            ));
        }
        if self.hosts.is_empty() {
            self.hosts.push(Host { address: Address::Unset, hostaddr: None, port: None });
        }
        if self.hosts.iter().any(is_unset) {
            self.given.extend(["host", "port"]);
        }
        self.hosts = mem::take(&mut self.hosts).into_iter().flat_map(with_defaults).collect();
        errors
    }
}

fn is_unset(host: &Host) -> bool {
    host.address == Address::Unset && host.hostaddr.is_none()
}

/// Sets the default port, and replaces a host that is not given by the default hosts.
///
/// libpq's default is the socket directory that it was built with: `/run/postgresql` in the packages of
/// Debian and Red Hat, `/tmp` upstream. asyncpg tries these and then `localhost`. We leave `/tmp` out,
/// because every local user could put a socket there and receive the password.
fn with_defaults(host: Host) -> Vec<Host> {
    let port = host.port.or(Some(DEFAULT_PORT));
    if !is_unset(&host) {
        return vec![Host { port, ..host }];
    }
    let addresses = [Address::Unix(SOCKET_DIRECTORY.into()), Address::Name(LOCALHOST.to_owned())];
    addresses.map(|address| Host { address, hostaddr: None, port }).into()
}

/// The socket directory of PostgreSQL's packages.
const SOCKET_DIRECTORY: &str = "/run/postgresql";

/// Replaces the parameter in an error by the variable that filled it.
fn with_variable(error: Error, filled: &[(&'static str, &'static str)]) -> Error {
    let variable = filled.iter().find(|(key, _)| match &error.part {
        Part::Port => *key == "port",
        Part::Parameter(name) => name == key,
        Part::Text | Part::Scheme | Part::User | Part::Password | Part::Host | Part::Database => {
            false
        }
        Part::Unnamed | Part::Variable(_) => false,
    });
    match variable {
        Some((_, variable)) => Error { part: Part::Variable(variable), ..error },
        None => error,
    }
}
