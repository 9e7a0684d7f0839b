//! The addresses that a module may be used for.
//!
//! Two questions are kept apart, because the answer to a name comes from a name server, which others may control:
//! may this name be looked up at all, and may this address be connected to?

use std::net::IpAddr;

use super::address::{Caution, Network, layers};
use super::requested::RequestedHost;
use crate::dsn::DEFAULT_PORT;
use crate::view::Pattern;

/// An entry of `allowed_targets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    hosts: Hosts,
    port: AllowedPort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// Names that match a pattern, in lower case.
    Named(String),
    /// The addresses of a network.
    In(Network),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedPort {
    Only(u16),
    Any,
}

impl AllowedPort {
    fn includes(self, port: u16) -> bool {
        match self {
            Self::Only(own) => own == port,
            Self::Any => true,
        }
    }
}

impl Allowed {
    /// Parses `PATTERN`, `PATTERN:PORT`, `NETWORK`, `NETWORK:PORT` or `[IPV6-NETWORK]:PORT`. A port is a number or
    /// `*`; without one it is 5432. `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (hosts, port) = split(text)?;
        let port = match port {
            None => AllowedPort::Only(DEFAULT_PORT),
            Some("*") => AllowedPort::Any,
            Some(port) => AllowedPort::Only(port.parse().ok().filter(|port| *port > 0)?),
        };
        let hosts = if let Some((address, bits)) = hosts.split_once('/') {
            Hosts::In(Network::new(address.parse().ok()?, bits.parse().ok()?)?)
        } else if let Ok(address) = hosts.parse() {
            Hosts::In(Network::host(address))
        } else if is_pattern(hosts) {
            Hosts::Named(hosts.to_ascii_lowercase())
        } else {
            return None;
        };
        Some(Self { hosts, port })
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.hosts {
            Hosts::Named(pattern) => f.write_str(pattern)?,
            Hosts::In(network) => {
                let text = network.to_string();
                if text.contains(':') { write!(f, "[{text}]") } else { f.write_str(&text) }?;
            }
        }
        match self.port {
            AllowedPort::Only(port) => write!(f, ":{port}"),
            AllowedPort::Any => f.write_str(":*"),
        }
    }
}

/// Splits hosts and port. An IPv6 network has colons of its own, so a port needs brackets around it.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (hosts, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((hosts, Some(port))),
            None => port.is_empty().then_some((hosts, None)),
        };
    }
    match text.split_once(':') {
        Some((hosts, port)) if !port.contains(':') => Some((hosts, Some(port))),
        _ => Some((text, None)),
    }
}

/// Reports whether a text is a pattern of names. Something like `10.0.*` is refused: names are not addresses, so it
/// would match nothing.
fn is_pattern(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "*-_.".contains(c));
    let has_letters = text.contains(|c: char| c.is_ascii_alphabetic());
    let has_digits = text.contains(|c: char| c.is_ascii_digit());
    !text.is_empty() && is_plain && (has_letters || !has_digits)
}

/// The entries of a module's `allowed_targets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowList(pub Vec<Allowed>);

impl AllowList {
    /// Reports whether a host may be probed as it is named in a request. A name that passes still has to be looked
    /// up; its addresses go through [`Self::permits_found`].
    pub(super) fn permits(&self, host: &RequestedHost, port: u16) -> bool {
        match host {
            RequestedHost::Name(name) => self.names(port).any(|pattern| matches(pattern, name)),
            RequestedHost::Address(address) => {
                let address = address.to_canonical();
                let is_listed = self.networks(port).any(|network| network.contains(address));
                is_listed && layers(address).all(|layer| self.is_open(layer, port))
            }
        }
    }

    /// Reports whether an address that a name server gave for a permitted name may be connected to.
    pub(super) fn permits_found(&self, name: &str, address: IpAddr, port: u16) -> bool {
        let names_this_machine = name == LOCALHOST && self.names(port).any(|p| p == LOCALHOST);
        layers(address).all(|layer| {
            let is_this_machine = names_this_machine && layer.is_loopback();
            is_this_machine || self.is_open(layer, port)
        })
    }

    fn is_open(&self, address: IpAddr, port: u16) -> bool {
        match Caution::of(address) {
            Caution::Ordinary => true,
            Caution::NetworkWithin(block) => self
                .networks(port)
                .any(|network| network.contains(address) && network.is_within(&block)),
            Caution::Never => false,
        }
    }

    fn names(&self, port: u16) -> impl Iterator<Item = &str> {
        self.entries(port).filter_map(|hosts| match hosts {
            Hosts::Named(pattern) => Some(pattern.as_str()),
            Hosts::In(_) => None,
        })
    }

    fn networks(&self, port: u16) -> impl Iterator<Item = &Network> {
        self.entries(port).filter_map(|hosts| match hosts {
            Hosts::In(network) => Some(network),
            Hosts::Named(_) => None,
        })
    }

    fn entries(&self, port: u16) -> impl Iterator<Item = &Hosts> {
        self.0.iter().filter(move |entry| entry.port.includes(port)).map(|entry| &entry.hosts)
    }
}

/// The only name that stands for this machine by itself (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost";

fn matches(pattern: &str, name: &str) -> bool {
    // No pattern opens this machine by accident: `*` and `local*` do not match it.
    if name == LOCALHOST { pattern == LOCALHOST } else { Pattern::new(pattern).matches(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ondemand::requested::Requested;

    fn list(entries: &[&str]) -> AllowList {
        AllowList(entries.iter().map(|text| Allowed::parse(text).expect(text)).collect())
    }

    fn permits(entries: &[&str], target: &str) -> bool {
        let requested = Requested::parse(target).expect(target);
        list(entries).permits(&requested.host, requested.port)
    }

    #[test]
    fn entries_read_as_written_and_others_are_refused() {
        for (text, shown) in [
            ("db", "db:5432"),
            ("*.DB.internal:6432", "*.db.internal:6432"),
            ("*", "*:5432"),
            ("*:*", "*:*"),
            ("pg-*.svc", "pg-*.svc:5432"),
            ("10.0.0.0/8", "10.0.0.0/8:5432"),
            ("10.0.0.0/8:*", "10.0.0.0/8:*"),
            ("10.0.0.5", "10.0.0.5/32:5432"),
            ("10.0.0.5:5433", "10.0.0.5/32:5433"),
            ("fd00::/8", "[fd00::/8]:5432"),
            ("[fd00::/8]:6432", "[fd00::/8]:6432"),
            ("::1", "[::1/128]:5432"),
            ("localhost:*", "localhost:*"),
        ] {
            assert_eq!(Allowed::parse(text).expect(text).to_string(), shown);
        }
        for text in [
            "",
            "a b",
            "a:0",
            "a:x",
            "a:70000",
            "a:",
            ":5432",
            "10.0.0.0/33",
            "10.0.*",
            "x/8",
            "fd00::/129",
            "[fd00::/8",
            "[fd00::/8]5432",
            "a@b",
            "a,b",
            "*.5",
            "10.0.0.0/8/9",
        ] {
            assert_eq!(Allowed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_need_a_pattern_and_addresses_a_network_and_both_the_port() {
        for (entries, target, expected) in [
            (["*.db.internal"].as_slice(), "a.db.internal", true),
            (&["*.db.internal"], "A.DB.internal:5432/orders", true),
            (&["*.db.internal"], "a.db.internal:6432", false),
            (&["*.db.internal:6432"], "a.db.internal:6432", true),
            (&["*.db.internal:*"], "a.db.internal:1", true),
            (&["*.db.internal"], "a.db.internal.evil.example", false),
            (&["*.db.internal"], "evil-db.internal", false),
            (&["*.db.internal"], "10.0.0.1", false),
            (&["*:*"], "10.0.0.1", false),
            (&["10.0.0.0/8"], "10.0.0.1", true),
            (&["10.0.0.0/8"], "a.db.internal", false),
            (&["10.0.0.0/8"], "[::ffff:10.0.0.1]", true),
            (&["10.0.0.0/8"], "10.0.0.1:22", false),
            (&["fd00::/8"], "[fd00::5]", true),
            (&["0.0.0.0/0:*", "::/0"], "203.0.113.5:1", true),
        ] {
            assert_eq!(permits(entries, target), expected, "{target} with {entries:?}");
        }
    }

    #[test]
    fn this_machine_its_link_and_metadata_are_open_only_where_they_are_named() {
        let everything = ["*:*", "0.0.0.0/0:*", "[::/0]:*"];
        for target in [
            "localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "0.0.0.0",
            "[::]",
            "169.254.0.1",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "[64:ff9b::127.0.0.1]",
            "[2002:7f00:1::]",
            "[64:ff9b::10.0.0.1]",
            "[2001:0:1:2:3:4:80ff:fffe]",
            "[ff02::1]",
        ] {
            assert!(!permits(&everything, target), "{target}");
        }
        for (entry, target) in [
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.0/8", "127.1.2.3"),
            ("127.0.0.0/8", "[::ffff:127.0.0.1]"),
            ("::1", "[::1]"),
            ("169.254.0.0/16", "169.254.0.1"),
            ("169.254.169.254", "169.254.169.254"),
            ("64:ff9b::/96", "[64:ff9b::10.0.0.1]"),
        ] {
            assert!(permits(&[entry], target), "{target} with {entry}");
        }
        for (entry, target) in [
            ("169.254.0.0/16", "169.254.169.254"),
            ("64:ff9b::/96", "[64:ff9b::127.0.0.1]"),
            ("0.0.0.0", "0.0.0.0"),
            ("224.0.0.0/4", "224.0.0.1"),
            ("local*", "localhost"),
        ] {
            assert!(!permits(&[entry], target), "{target} with {entry}");
        }
    }

    #[test]
    fn the_addresses_of_a_name_may_be_anywhere_but_on_this_machine() {
        let found = |entries: &[&str], name, address: &str| {
            list(entries).permits_found(name, address.parse().unwrap(), 5432)
        };
        assert!(found(&["*.internal"], "a.internal", "10.0.0.1"));
        assert!(found(&["*.internal"], "a.internal", "fd00::1"));
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"] {
            assert!(!found(&["*.internal"], "a.internal", address), "{address}");
            assert!(!found(&["*", "0.0.0.0/0", "::/0"], "a.internal", address), "{address}");
        }
        assert!(found(&["a.internal", "127.0.0.0/8"], "a.internal", "127.0.0.1"));
        assert!(found(&["localhost"], "localhost", "::1"));
        assert!(!found(&["localhost"], "localhost", "169.254.169.254"));
        assert!(!found(&["localhost", "a.internal"], "a.internal", "127.0.0.1"));
    }
}
