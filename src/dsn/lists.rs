//! The lists of names, addresses and ports in a URL, and how they become hosts.
//!
//! libpq keeps three comma-separated lists and matches them at the end, so that the environment can
//! supply one of them. `host:port` inside `host=` comes from SQLAlchemy and asyncpg.

use std::net::{IpAddr, Ipv6Addr};

use super::host::{Address, Host};
use super::{Dsn, Error, Part, Problem, number};

/// The three lists, and the ports written beside the names.
#[derive(Default)]
pub(super) struct Lists {
    names: Option<Vec<Address>>,
    addresses: Option<Vec<Option<IpAddr>>>,
    ports: Option<Vec<Option<u16>>>,
    inline: Option<Vec<Option<u16>>>,
}

impl Lists {
    /// Returns the lists of a parsed URL, so that the environment can complete them.
    pub(super) fn of(dsn: &Dsn) -> Self {
        Self {
            names: dsn
                .is_given("host")
                .then(|| dsn.hosts.iter().map(|host| host.address.clone()).collect()),
            addresses: dsn
                .is_given("hostaddr")
                .then(|| dsn.hosts.iter().map(|host| host.hostaddr).collect()),
            ports: dsn.is_given("port").then(|| dsn.hosts.iter().map(|host| host.port).collect()),
            inline: None,
        }
    }

    pub(super) fn read_names(&mut self, text: &str) -> Result<(), Problem> {
        let hosts: Vec<_> = text.split(',').map(host_and_port).collect::<Result<_, _>>()?;
        let (names, inline): (Vec<_>, Vec<_>) = hosts.into_iter().unzip();
        self.inline = inline.iter().any(Option::is_some).then_some(inline);
        self.names = Some(names);
        Ok(())
    }

    pub(super) fn read_addresses(&mut self, text: &str) -> Result<(), Problem> {
        self.addresses = Some(text.split(',').map(ip_address).collect::<Result<_, _>>()?);
        Ok(())
    }

    pub(super) fn read_ports(&mut self, text: &str) -> Result<(), Problem> {
        self.ports = Some(text.split(',').map(port).collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Combines the lists into hosts. There must be as many addresses as names, and one port for all
    /// hosts or one for each.
    pub(super) fn combine(self, dsn: &mut Dsn) -> Result<(), Error> {
        if self.inline.is_some() && self.ports.is_some() {
            return Err(Error::anywhere(Part::Port, Problem::PortTwice));
        }
        if self.inline.is_some() {
            dsn.given.insert("port");
        }
        let addresses = self.addresses.unwrap_or_default();
        let mut ports = self.inline.or(self.ports).unwrap_or_default();
        // Without names the ports decide the number of hosts, because PGHOST may still name them.
        let unnamed = if addresses.is_empty() { ports.len() } else { addresses.len() };
        let hosts = self.names.as_ref().map_or(unnamed, Vec::len);
        let names = self.names.unwrap_or_default();
        if let [one] = ports[..] {
            ports = vec![one; hosts];
        }
        check_length(Part::parameter("hostaddr"), addresses.len(), hosts)?;
        check_length(Part::Port, ports.len(), hosts)?;
        dsn.hosts = (0..hosts)
            .map(|i| Host {
                address: names.get(i).cloned().unwrap_or(Address::Unset),
                hostaddr: addresses.get(i).copied().flatten(),
                port: ports.get(i).copied().flatten(),
            })
            .collect();
        Ok(())
    }
}

/// Requires that a list is empty or as long as the list of hosts.
fn check_length(part: Part, given: usize, hosts: usize) -> Result<(), Error> {
    if given == 0 || given == hosts {
        return Ok(());
    }
    Err(Error::anywhere(part, Problem::Count { given, hosts }))
}

fn ip_address(text: &str) -> Result<Option<IpAddr>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Problem::Address)
}

/// Reads a port; an empty text is no port.
pub(super) fn port(text: &str) -> Result<Option<u16>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = number::integer(text).map_err(|_| Problem::Port)?;
    u16::try_from(number).ok().filter(|&port| port > 0).map(Some).ok_or(Problem::Port)
}

/// Reads an element of the list of hosts: a host, perhaps with its port.
fn host_and_port(text: &str) -> Result<(Address, Option<u16>), Problem> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Problem::Bracket)?;
        let port = match rest.strip_prefix(':') {
            Some(text) => port(text)?,
            None if rest.is_empty() => None,
            None => return Err(Problem::AfterBracket),
        };
        return ip_v6(address).map(|address| (address, port));
    }
    match text.split_once(':') {
        Some((host, text)) if !text.contains(':') && !is_socket(host) => {
            Ok((address(host)?, port(text)?))
        }
        _ => Ok((address(text)?, None)),
    }
}

fn address(text: &str) -> Result<Address, Problem> {
    if text.is_empty() {
        return Ok(Address::Unset);
    }
    if is_socket(text) {
        return Ok(Address::Unix(text.into()));
    }
    if text.contains('@') {
        return Err(Problem::At);
    }
    if text.contains(':') {
        return ip_v6(text);
    }
    if text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        Ok(Address::Name(text.to_owned()))
    } else {
        Err(Problem::Host)
    }
}

/// libpq's `is_unixsock_path`.
fn is_socket(text: &str) -> bool {
    text.starts_with(['/', '@'])
}

fn ip_v6(text: &str) -> Result<Address, Problem> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let has_good_zone =
        !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match address.parse::<Ipv6Addr>() {
        Ok(_) if has_good_zone => Ok(Address::Name(text.to_owned())),
        _ => Err(Problem::Address),
    }
}
