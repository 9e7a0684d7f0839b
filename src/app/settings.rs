//! What the daemon is told by flags.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::logging;

/// The daemon's own settings; those of targets are in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// Whether a changed file is read again by itself.
    pub auto_reload: bool,
    /// The web side.
    pub web: Web,
    /// The log.
    pub log: logging::Settings,
}

/// The flags of the web side.
#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    /// Where it listens; at least one, unless sockets come from systemd.
    pub listen: Vec<Listen>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// TLS and authentication, in the exporter toolkit's format.
    pub config_file: Option<PathBuf>,
    /// Requests answered at a time; 0 is no limit.
    pub max_requests: u32,
    /// The URL under which others reach the daemon.
    pub external_url: Option<String>,
    /// What stands before every path, without a `/` at its end; empty for nothing.
    pub route_prefix: String,
    /// Whether the sockets come from systemd.
    pub systemd_socket: bool,
    /// Whether `/-/reload` and the like answer to everybody.
    pub lifecycle: bool,
    /// What is taken off a scrape's time-out.
    pub timeout_offset: Duration,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A port at every address of the machine.
    Any(u16),
    /// An address and a port.
    Address(SocketAddr),
    /// A host name and a port; it is looked up when the daemon starts.
    Host(String, u16),
    /// A socket of this machine.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `:9956`, `127.0.0.1:0`, `[::1]:9956`, `localhost:9956` or `unix:/path`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':')?;
        let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits)?;
        if host.is_empty() {
            return Some(Self::Any(port));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let name = host.chars().all(plain) && host.starts_with(|c: char| c.is_ascii_alphabetic());
        name.then(|| Self::Host(host.to_owned(), port))
    }

    /// An address of the loopback from which it can be asked; `None` for a socket or a name.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Any(port) => Some((Ipv4Addr::LOCALHOST, *port).into()),
            Self::Address(at) if !at.ip().is_unspecified() => Some(*at),
            Self::Address(at) if at.is_ipv4() => Some((Ipv4Addr::LOCALHOST, at.port()).into()),
            Self::Address(at) => Some((Ipv6Addr::LOCALHOST, at.port()).into()),
            Self::Host(..) | Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        for text in [":9956", "127.0.0.1:0", "[::1]:9956", "unix:/run/x.sock", "localhost:80"] {
            assert_eq!(Listen::parse(text).map(|l| l.to_string()).as_deref(), Some(text));
        }
        for text in ["", "9956", ":", ":x", ":+1", ":65536", "::1:9956", "unix:x", "a b:1", "@:1"] {
            assert_eq!(Listen::parse(text), None, "{text:?}");
        }
        let local = |text| Listen::parse(text).and_then(|l| l.local()).map(|a| a.to_string());
        assert_eq!(local(":9956").as_deref(), Some("127.0.0.1:9956"));
        assert_eq!(local("0.0.0.0:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(local("[::]:1").as_deref(), Some("[::1]:1"));
        assert_eq!(local("10.0.0.1:1").as_deref(), Some("10.0.0.1:1"));
        assert_eq!(local("unix:/x"), None);
    }
}
