//! The servers of a URL: lists of names, addresses and ports that must match.
//!
//! libpq keeps three comma-separated lists and matches them at the end, so that the environment can give
//! one of them; so do we. `host:port` inside `host=` is SQLAlchemy's and asyncpg's.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::parameter::{Parameter, read};
use super::{Dsn, Error, Part, Problem, number};

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What to connect to, and the name that a certificate must have.
    pub address: Address,
    /// Where to connect instead of looking the name up.
    pub hostaddr: Option<IpAddr>,
    /// The port; after [`Dsn::resolve`] always there.
    pub port: Option<u16>,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or an IP address, without brackets, with its zone id.
    Name(String),
    /// The directory of a Unix socket; beginning with `@`, one in the abstract namespace.
    Unix(PathBuf),
    /// Not given; after [`Dsn::resolve`] only where `hostaddr` is.
    Unset,
}

impl Host {
    /// The host for people: its name, its socket's folder or its address, without the port.
    pub fn show(&self) -> String {
        match (&self.address, self.hostaddr) {
            (Address::Name(name), _) => name.clone(),
            (Address::Unix(folder), _) => folder.display().to_string(),
            (Address::Unset, Some(address)) => address.to_string(),
            (Address::Unset, None) => LOCALHOST.to_owned(),
        }
    }

    /// Reports whether the host is this machine, so that nothing crosses a network. A name other than
    /// `localhost` is not looked up: it counts as remote.
    pub fn is_local(&self) -> bool {
        match (&self.address, self.hostaddr) {
            (_, Some(address)) => is_loopback(address),
            (Address::Unix(_), None) => true,
            (Address::Name(name), None) => name == LOCALHOST || name.parse().is_ok_and(is_loopback),
            (Address::Unset, None) => false,
        }
    }
}

/// Reports whether an address is a loopback address, IPv4 addresses mapped into IPv6 included.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// libpq's default port.
pub const DEFAULT_PORT: u16 = 5432;

/// The host that stands for this machine.
pub(super) const LOCALHOST: &str = "localhost";

/// The parameters of this file.
pub(super) const PARAMETERS: &[Parameter] = &[
    read("host", Some("PGHOST"), |draft, text| draft.lists.read_names(text), None),
    read("hostaddr", Some("PGHOSTADDR"), |draft, text| draft.lists.read_addresses(text), None),
    read("port", Some("PGPORT"), |draft, text| draft.lists.read_ports(text), None),
];

/// The three lists, and the ports that stood beside the names.
#[derive(Default)]
pub(super) struct Lists {
    names: Option<Vec<Address>>,
    addresses: Option<Vec<Option<IpAddr>>>,
    ports: Option<Vec<Option<u16>>>,
    inline: Option<Vec<Option<u16>>>,
}

impl Lists {
    /// The lists that a parsed URL came from.
    pub(super) fn of(dsn: &Dsn) -> Self {
        Self {
            names: dsn
                .said("host")
                .then(|| dsn.hosts.iter().map(|host| host.address.clone()).collect()),
            addresses: dsn
                .said("hostaddr")
                .then(|| dsn.hosts.iter().map(|host| host.hostaddr).collect()),
            ports: dsn.said("port").then(|| dsn.hosts.iter().map(|host| host.port).collect()),
            inline: None,
        }
    }

    fn read_names(&mut self, text: &str) -> Result<(), Problem> {
        let hosts: Vec<_> = text.split(',').map(named).collect::<Result<_, _>>()?;
        let (names, inline): (Vec<_>, Vec<_>) = hosts.into_iter().unzip();
        self.inline = inline.iter().any(Option::is_some).then_some(inline);
        self.names = Some(names);
        Ok(())
    }

    fn read_addresses(&mut self, text: &str) -> Result<(), Problem> {
        let address = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Problem::Address),
        };
        self.addresses = Some(text.split(',').map(address).collect::<Result<_, _>>()?);
        Ok(())
    }

    fn read_ports(&mut self, text: &str) -> Result<(), Problem> {
        self.ports = Some(text.split(',').map(port).collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Matches the lists: as many addresses as names, and one port for all or one for each.
    pub(super) fn combine(self, dsn: &mut Dsn) -> Result<(), Error> {
        if self.inline.is_some() && self.ports.is_some() {
            return Err(Error::anywhere(Part::Port, Problem::PortTwice));
        }
        if self.inline.is_some() {
            dsn.said.insert("port");
        }
        let addresses = self.addresses.unwrap_or_default();
        let mut ports = self.inline.or(self.ports).unwrap_or_default();
        // Nothing named yet: as many as there are ports, for the environment may still name them.
        let unnamed = if addresses.is_empty() { ports.len() } else { addresses.len() };
        let hosts = self.names.as_ref().map_or(unnamed, Vec::len);
        let names = self.names.unwrap_or_default();
        if let [one] = ports[..] {
            ports = vec![one; hosts];
        }
        matching(Part::parameter("hostaddr"), addresses.len(), hosts)?;
        matching(Part::Port, ports.len(), hosts)?;
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

/// A list is empty or as long as the hosts.
fn matching(part: Part, given: usize, hosts: usize) -> Result<(), Error> {
    if given == 0 || given == hosts {
        return Ok(());
    }
    Err(Error::anywhere(part, Problem::Count { given, hosts }))
}

/// A port, or none for an empty text.
pub(super) fn port(text: &str) -> Result<Option<u16>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = number::integer(text).map_err(|_| Problem::Port)?;
    u16::try_from(number).ok().filter(|&port| port > 0).map(Some).ok_or(Problem::Port)
}

/// An element of the list of hosts: a host, perhaps with its port.
fn named(text: &str) -> Result<(Address, Option<u16>), Problem> {
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
        Some((host, text)) if !text.contains(':') && !socket(host) => {
            Ok((address(host)?, port(text)?))
        }
        _ => Ok((address(text)?, None)),
    }
}

fn address(text: &str) -> Result<Address, Problem> {
    if text.is_empty() {
        return Ok(Address::Unset);
    }
    if socket(text) {
        return Ok(Address::Unix(text.into()));
    }
    if text.contains('@') {
        return Err(Problem::At);
    }
    if text.contains(':') {
        return ip_v6(text);
    }
    let allowed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if text.chars().all(allowed) { Ok(Address::Name(text.to_owned())) } else { Err(Problem::Host) }
}

/// libpq's `is_unixsock_path`.
fn socket(text: &str) -> bool {
    text.starts_with(['/', '@'])
}

fn ip_v6(text: &str) -> Result<Address, Problem> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let zoned = !zone.is_empty() && zone.chars().all(plain);
    match address.parse::<Ipv6Addr>() {
        Ok(_) if zoned => Ok(Address::Name(text.to_owned())),
        _ => Err(Problem::Address),
    }
}
