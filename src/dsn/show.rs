//! The redacted URL: what is shown wherever a URL is shown.
//!
//! It parses back to the same, but for the passwords, which are `***`, and the ignored parameters.
//! Several hosts stand in the authority only if ports were given too, because libpq's authority with
//! several hosts always gives ports.

use std::fmt;

use super::percent::encode;
use super::{Address, Dsn, Host, parameter};

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        self.show_login(f)?;
        if self.hosts_inside() {
            f.write_str(&joined(&self.hosts, authority))?;
        }
        if let Some(database) = &self.database {
            write!(f, "/{}", encode(database, ""))?;
        }
        let mut query = self.place();
        query.extend(self.parameters());
        for (i, (name, value)) in query.iter().enumerate() {
            write!(f, "{}{name}={}", if i == 0 { '?' } else { '&' }, encode(value, "/:,*!"))?;
        }
        Ok(())
    }
}

impl Dsn {
    fn show_login(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            f.write_str(&encode(user, ""))?;
        }
        if self.password.is_some() {
            f.write_str(":***")?;
        }
        if self.user.is_some() || self.password.is_some() { f.write_str("@") } else { Ok(()) }
    }

    /// Whether the hosts can stand in the authority.
    fn hosts_inside(&self) -> bool {
        self.hosts.len() < 2 || (self.said("host") && self.said("port"))
    }

    /// The parts of the authority that must stand in the query: because they cannot stand there, or
    /// because they were given as empty.
    fn place(&self) -> Vec<(&'static str, String)> {
        let inside = self.hosts_inside();
        let name = |host: &Host| path_or_name(&host.address);
        let address =
            |host: &Host| host.hostaddr.map(|address| address.to_string()).unwrap_or_default();
        let port = |host: &Host| host.port.map(|port| port.to_string()).unwrap_or_default();
        let hosts = joined(&self.hosts, name);
        let ports = joined(&self.hosts, port);
        let rows = [
            ("user", self.user.is_none(), String::new()),
            ("password", self.password.is_none(), String::new()),
            ("dbname", self.database.is_none(), String::new()),
            ("host", !inside || hosts.is_empty(), hosts),
            ("hostaddr", true, joined(&self.hosts, address)),
            ("port", !inside || ports.is_empty(), ports),
        ];
        let shown = rows.into_iter().filter(|(name, outside, _)| *outside && self.said(name));
        shown.map(|(name, _, value)| (name, value)).collect()
    }

    fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        parameter::all().filter_map(|parameter| {
            let given = parameter.show?(self);
            let value = given.or(self.said(parameter.name).then(String::new))?;
            Some((parameter.name, value))
        })
    }
}

/// A host as the authority has it.
fn authority(host: &Host) -> String {
    let name = path_or_name(&host.address);
    let bracketed = matches!(&host.address, Address::Name(name) if name.contains(':'));
    let name = if bracketed { format!("[{}]", encode(&name, ":")) } else { encode(&name, "") };
    match host.port {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

fn path_or_name(address: &Address) -> String {
    match address {
        Address::Name(name) => name.clone(),
        Address::Unix(path) => path.to_string_lossy().into_owned(),
        Address::Unset => String::new(),
    }
}

fn joined(hosts: &[Host], text: impl Fn(&Host) -> String) -> String {
    hosts.iter().map(text).collect::<Vec<_>>().join(",")
}
