//! Which targets are about one server: the same address in two URLs, or in a URL and in a pooler's configuration.
//!
//! Names are compared as they are written, and by the address to which the exporter's last connection led. This
//! machine has many names (`localhost`, `127.0.0.1`, a socket), and what a pooler calls so is the pooler's machine.

use std::sync::Arc;

use super::target::Target;
use crate::dsn::{Address, DEFAULT_PORT, Host, is_loopback};
use crate::pool::Peer;
use crate::view::Views;

/// A server's address, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    host: String,
    port: u16,
}

/// A database of a pooler, and the server to which it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PooledDatabase {
    /// Its name in the pooler's configuration.
    pub name: String,
    /// The server as `host:port`; `local:port` for a Unix socket.
    pub server: String,
    /// Its name on the server.
    pub database: String,
}

impl PooledDatabase {
    /// The databases that a pooler's console has shown; `None` if it has shown none.
    pub(super) fn of(views: &Views) -> Option<Arc<[Self]>> {
        let shown = views.consoles.iter().filter_map(|console| console.limits.as_ref());
        let databases = shown.flat_map(|limits| &limits.databases).map(|(name, limits)| Self {
            name: name.clone(),
            server: limits.server.clone(),
            database: limits.database.clone(),
        });
        let mut databases: Vec<Self> = databases.collect();
        // The processes of one pooler have the same.
        databases.dedup();
        (!databases.is_empty()).then(|| databases.into())
    }
}

/// The host of the machine that is spoken of.
const HERE: &str = "localhost";

impl ServerAddress {
    fn new(host: &str, port: u16) -> Self {
        let plain = host.trim_end_matches('.').to_ascii_lowercase();
        let is_here = plain == HERE || plain.parse().is_ok_and(is_loopback);
        Self { host: if is_here { HERE.to_owned() } else { plain }, port }
    }

    fn of(host: &Host) -> Self {
        let port = host.port.unwrap_or(DEFAULT_PORT);
        match (&host.address, host.hostaddr) {
            (Address::Name(name), _) => Self::new(name, port),
            (Address::Unset, Some(address)) => Self::new(&address.to_string(), port),
            (Address::Unix(_), _) | (Address::Unset, None) => Self::new(HERE, port),
        }
    }

    /// Reads `host:port` as a pooler writes it, where `local` is a Unix socket. `pooler`: where the pooler is.
    fn of_pooler(server: &str, pooler: &Self) -> Option<Self> {
        let (host, port) = server.rsplit_once(':')?;
        let host = if host == "local" { HERE } else { host };
        let address = Self::new(host, port.parse().ok()?);
        Some(if address.host == HERE {
            Self { host: pooler.host.clone(), ..address }
        } else {
            address
        })
    }
}

impl Target {
    /// Reports whether the URLs of both targets lead to one address.
    pub(crate) fn has_address_of(&self, other: &Self) -> bool {
        let others = other.addresses();
        self.addresses().iter().any(|address| others.contains(address))
    }

    /// Reports whether a server in the configuration of a pooler, as `host:port`, is that of this target.
    pub(crate) fn is_server_of(&self, pooler: &Self, server: &str) -> bool {
        let own = self.addresses();
        let of_pooler = pooler.addresses();
        let mut seen = of_pooler.iter().filter_map(|at| ServerAddress::of_pooler(server, at));
        seen.any(|address| own.contains(&address))
    }

    /// The addresses of its URL, and the one that the last connection reached.
    fn addresses(&self) -> Vec<ServerAddress> {
        let named = self.settings().connect.dsn.hosts.iter().map(ServerAddress::of);
        let published = self.published();
        let queried = published.as_ref().and_then(|p| p.snapshot.query.as_ref().ok());
        let reached = queried.and_then(|queried| match &queried.server.peer {
            Peer::Tcp(address) => {
                let ip = address.ip().to_canonical().to_string();
                Some(ServerAddress::new(&ip, address.port()))
            }
            Peer::Unix(_) => None,
        });
        named.chain(reached).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn host(address: Address, port: u16) -> ServerAddress {
        ServerAddress::of(&Host { address, hostaddr: None, port: Some(port) })
    }

    fn named(name: &str) -> ServerAddress {
        host(Address::Name(name.to_owned()), 5432)
    }

    #[test]
    fn this_machine_has_many_names() {
        let here = named("localhost");
        for same in [named("127.0.0.1"), named("::1"), named("LOCALHOST.")] {
            assert_eq!(same, here);
        }
        assert_eq!(host(Address::Unix(PathBuf::from("/run/postgresql")), 5432), here);
        assert_ne!(host(Address::Name("localhost".to_owned()), 5433), here);
        assert_eq!(named("DB.example."), named("db.example"));
        assert_ne!(named("db"), here);
    }

    #[test]
    fn a_server_beside_the_pooler_is_on_the_poolers_machine() {
        let pooler = ServerAddress::new("bouncer", 6432);
        let of = |server| ServerAddress::of_pooler(server, &pooler);
        assert_eq!(of("127.0.0.1:5432"), Some(named("bouncer")));
        assert_eq!(of("local:5432"), Some(named("bouncer")));
        assert_eq!(of("db:5432"), Some(named("db")));
        assert_eq!(of("fd00::1:5432"), Some(named("fd00::1")));
        assert_eq!(of("db:"), None);
    }
}
