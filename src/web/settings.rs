//! The settings of the web server, from flags and environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;

use super::listener::Address;

/// An address to listen on: a value of `--web.listen-address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`; without a host every interface, IPv4 and IPv6. Port 0 takes a free one.
    Tcp {
        /// An address or a name; `None` for every interface.
        host: Option<String>,
        /// The port; 0 for a free one.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

/// The text is not an address to listen on, or not an external URL. The message says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct NotAllowed(&'static str);

const LISTEN: NotAllowed =
    NotAllowed(":port, host:port, [ipv6]:port or unix:/path, with a port from 0 to 65535");

impl FromStr for Listen {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(LISTEN) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(LISTEN)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(LISTEN);
        }
        let port = port.parse().map_err(|_| LISTEN)?;
        Ok(Self::Tcp { host: listen_host(host)?, port })
    }
}

fn listen_host(host: &str) -> Result<Option<String>, NotAllowed> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(LISTEN)?;
        return Ok(Some(inner.to_owned()));
    }
    // An IPv6 address without brackets could be taken for one with another port.
    if host.contains(|c: char| c == ':' || c == '/' || c.is_whitespace()) {
        return Err(LISTEN);
    }
    Ok((!host.is_empty()).then(|| host.to_owned()))
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(host), port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The URL under which clients reach the daemon, perhaps through a proxy: `--web.external-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl(Uri);

impl FromStr for ExternalUrl {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        let bad = NotAllowed("http://host[:port][/path] or https://host[:port][/path]");
        let uri: Uri = text.parse().map_err(|_| bad)?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = uri.query().is_none()
            && uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        if web && plain { Ok(Self(uri)) } else { Err(bad) }
    }
}

impl ExternalUrl {
    /// The host, as a `Host` header names it, without the port.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or("")
    }

    /// Host and port, as in an `Origin` header.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |a| a.as_str())
    }

    /// The path with a slash before and none after; empty for the root.
    pub fn path(&self) -> String {
        normal_prefix(self.0.path())
    }
}

/// Time and size limits against abuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// Between two requests of one connection, and before the first.
    /// More than Prometheus' longest usual interval, so that scrapes need no new handshake.
    pub idle: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// A whole request.
    pub request: Duration,
    /// In-flight answers, once the daemon stops.
    pub grace: Duration,
    /// Open connections; the oldest idle one is closed for a new one.
    pub connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            handshake: Duration::from_secs(10),
            request: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            connections: 512,
        }
    }
}

/// The settings of the web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// `--web.listen-address`, repeatable.
    pub listen: Vec<Listen>,
    /// `--web.systemd-socket`: the sockets that systemd passes, instead of `listen`.
    pub systemd_socket: bool,
    /// `--web.telemetry-path`, with a slash before it.
    pub telemetry_path: String,
    /// `--web.config.file`.
    pub web_config_file: Option<PathBuf>,
    /// `--web.max-requests`: requests in flight; 0 means no limit.
    pub max_requests: usize,
    /// `--web.max-probes`: requests to `/probe` in flight.
    pub max_probes: usize,
    /// `--web.external-url`.
    pub external_url: Option<ExternalUrl>,
    /// `--web.route-prefix`; `None` for the path of the external URL.
    pub route_prefix: Option<String>,
    /// `--web.enable-lifecycle`: every client may reload and reset.
    pub lifecycle: bool,
    /// Trust in direct clients on this host: false with `--web.disable-local-trust`.
    pub local_trust: bool,
    /// `APP_ENV=production`.
    pub production: bool,
    /// `--timeout-offset`: subtracted from the scraper's time-out.
    pub timeout_offset: Duration,
    /// Not configurable; tests shorten them.
    pub limits: HttpLimits,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp { host: None, port: 9956 }],
            systemd_socket: false,
            telemetry_path: "/metrics".to_owned(),
            web_config_file: None,
            max_requests: 40,
            max_probes: 10,
            external_url: None,
            route_prefix: None,
            lifecycle: false,
            local_trust: true,
            production: false,
            timeout_offset: Duration::from_millis(500),
            limits: HttpLimits::default(),
        }
    }
}

impl ServerSettings {
    /// The number of probes on demand that may run at once: at most half of all requests, so that slow databases
    /// never keep `/metrics` waiting.
    pub(crate) fn probes_at_once(&self) -> usize {
        match self.max_requests {
            0 => self.max_probes,
            requests => self.max_probes.min((requests / 2).max(1)),
        }
    }

    /// The prefix of every path that is answered: empty, or a slash and more.
    pub fn prefix(&self) -> String {
        match &self.route_prefix {
            Some(prefix) => normal_prefix(prefix),
            None => self.external_url.as_ref().map(ExternalUrl::path).unwrap_or_default(),
        }
    }

    /// Reports whether clients on this host are trusted on this TCP address in production, so that a proxy
    /// which adds no header would pass for one. False with a web configuration file: its users or client
    /// certificates keep others out.
    pub(crate) fn trusts_local_clients_of(&self, address: &Address) -> bool {
        let Address::Tcp(address) = address else { return false };
        let ip = address.ip().to_canonical();
        let is_open = self.production && self.local_trust && self.web_config_file.is_none();
        is_open && (ip.is_loopback() || ip.is_unspecified())
    }

    /// The prefix of every path that a client sees: a proxy may strip some of it.
    pub fn outside_prefix(&self) -> String {
        self.external_url.as_ref().map_or_else(|| self.prefix(), ExternalUrl::path)
    }
}

fn normal_prefix(text: &str) -> String {
    let inner = text.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_read_as_written() {
        for text in [":9956", "127.0.0.1:0", "[::1]:80", "localhost:9956", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_listen_addresses_are_refused() {
        for text in ["", "9956", "::1:80", "[::1:80", "h:99999", "h:+1", "h:", "unix:x", "a b:1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_come_from_the_external_url_unless_given() {
        let mut settings = ServerSettings {
            external_url: Some("https://proxy/pools/".parse().unwrap()),
            ..ServerSettings::default()
        };
        assert_eq!(
            (settings.prefix(), settings.outside_prefix()),
            ("/pools".into(), "/pools".into())
        );
        settings.route_prefix = Some("/".to_owned());
        assert_eq!(
            (settings.prefix(), settings.outside_prefix()),
            (String::new(), "/pools".into())
        );
    }

    #[test]
    fn probes_on_demand_take_at_most_half_of_the_requests() {
        let at_once = |max_requests, max_probes| {
            ServerSettings { max_requests, max_probes, ..ServerSettings::default() }
                .probes_at_once()
        };
        assert_eq!(ServerSettings::default().probes_at_once(), 10);
        assert_eq!(
            [at_once(0, 100), at_once(10, 100), at_once(1, 100), at_once(40, 3)],
            [100, 5, 1, 3]
        );
    }

    #[test]
    fn local_trust_is_warned_of_in_production_on_loopback_and_on_all_addresses() {
        let production = ServerSettings { production: true, ..ServerSettings::default() };
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for open in ["127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "[::]:1"] {
            assert!(production.trusts_local_clients_of(&tcp(open)), "{open}");
        }
        let closed = [tcp("192.0.2.1:1"), Address::Unix(None)];
        assert!(!closed.iter().any(|address| production.trusts_local_clients_of(address)));
        for settings in [
            ServerSettings::default(),
            ServerSettings { local_trust: false, ..production.clone() },
            ServerSettings { web_config_file: Some("web.yml".into()), ..production.clone() },
        ] {
            assert!(!settings.trusts_local_clients_of(&tcp("127.0.0.1:1")), "{settings:?}");
        }
    }

    #[test]
    fn an_external_url_is_absolute_and_plain() {
        for text in ["/pools", "ftp://x/", "http://u:p@x/", "http://x/?q", "x"] {
            assert!(text.parse::<ExternalUrl>().is_err(), "{text}");
        }
    }
}
