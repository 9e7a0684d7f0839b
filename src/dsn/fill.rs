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
    /// with `sslrootcert=system`). The default host is `localhost`, where libpq tries a socket's directory
    /// first: a monitor seldom runs on the database's host. `login` is the operating system's user.
    ///
    /// Returns an error for each value that is still missing or contradictory.
    #[must_use = "what is still missing is refused, not ignored"]
    pub fn resolve(&mut self, login: Option<&str>) -> Vec<Error> {
        let mut errors = self.resolve_hosts();
        if self.user.is_none() {
            self.user = login.map(str::to_owned);
        }
        if self.user.is_none() {
            errors.push(Error::anywhere(Part::User, Problem::Missing));
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
        for host in &mut self.hosts {
            host.port.get_or_insert(DEFAULT_PORT);
            if host.address == Address::Unset && host.hostaddr.is_none() {
                host.address = Address::Name(LOCALHOST.to_owned());
            }
        }
        errors
    }
}

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
