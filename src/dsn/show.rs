//! The redacted URL, for every place that shows a URL.
//!
//! It parses back to the same [`Dsn`], except for passwords, which become `***`, and ignored parameters,
//! which are left out. Several hosts are written in the authority only if ports were given too, because
//! in libpq an authority with several hosts always gives ports.

use std::fmt;

use super::percent::encode;
use super::{Address, Dsn, Host, table};

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
        let mut query = self.moved_to_query();
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

    /// Reports whether the hosts can be written in the authority.
    fn hosts_inside(&self) -> bool {
        self.hosts.len() < 2 || (self.is_given("host") && self.is_given("port"))
    }

    /// Returns the parts of the authority that must be written in the query: those that do not fit, and
    /// those given as empty.
    fn moved_to_query(&self) -> Vec<(&'static str, String)> {
        let inside = self.hosts_inside();
        let hosts = joined(&self.hosts, |host| path_or_name(&host.address));
        let addresses = joined(&self.hosts, |host| text_or_empty(host.hostaddr));
        let ports = joined(&self.hosts, |host| text_or_empty(host.port));
        let rows = [
            ("user", self.user.is_none(), String::new()),
            ("password", self.password.is_none(), String::new()),
            ("dbname", self.database.is_none(), String::new()),
            ("host", !inside || hosts.is_empty(), hosts),
            ("hostaddr", true, addresses),
            ("port", !inside || ports.is_empty(), ports),
        ];
        let shown = rows.into_iter().filter(|(name, outside, _)| *outside && self.is_given(name));
        shown.map(|(name, _, value)| (name, value)).collect()
    }

    fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        table::all().filter_map(|parameter| {
            let given = parameter.show?(self);
            let value = given.or(self.is_given(parameter.name).then(String::new))?;
            Some((parameter.name, value))
        })
    }
}

/// Writes a host as in the authority.
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

fn text_or_empty(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn joined(hosts: &[Host], text: impl Fn(&Host) -> String) -> String {
    hosts.iter().map(text).collect::<Vec<_>>().join(",")
}
