//! A server that a URL names: its name, its address and its port.

use std::net::IpAddr;
use std::path::PathBuf;

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The host to connect to. A certificate must match it, also where `hostaddr` is given.
    pub address: Address,
    /// `hostaddr`: the IP address to connect to, instead of looking the name up.
    pub hostaddr: Option<IpAddr>,
    /// The port; always set after [`Dsn::resolve`](super::Dsn::resolve).
    pub port: Option<u16>,
}

/// A host name, or what takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or an IP address, without brackets but with the zone id.
    Name(String),
    /// The directory of a Unix socket. With a leading `@` the socket is in the abstract namespace.
    Unix(PathBuf),
    /// Not given. After [`Dsn::resolve`](super::Dsn::resolve) only where `hostaddr` is given.
    Unset,
}

impl Host {
    /// Returns the host as people know it: its name, its socket's directory or its address, without
    /// the port.
    pub fn show(&self) -> String {
        match (&self.address, self.hostaddr) {
            (Address::Name(name), _) => name.clone(),
            (Address::Unix(folder), _) => folder.display().to_string(),
            (Address::Unset, Some(address)) => address.to_string(),
            (Address::Unset, None) => LOCALHOST.to_owned(),
        }
    }

    /// Reports whether the host is this machine, so that nothing crosses a network. A name other than
    /// `localhost` counts as remote, because it is not looked up here.
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

/// The name of this machine.
pub(super) const LOCALHOST: &str = "localhost";
