//! Access control: which client gets which answer.
//!
//! A direct client on this host is trusted, unless `--web.disable-local-trust` is given. Two kinds of
//! clients look like one and must not count:
//!
//! - A proxy on this host forwards clients from elsewhere. Most add a header, which ends the trust. A
//!   TCP forwarder adds none and cannot be recognised, nor can nginx from 1.29.7 with a bare `proxy_pass`.
//! - A browser on this host runs pages of other sites, which can send requests here. `Origin` and
//!   `Sec-Fetch-Site` reveal them. After DNS rebinding they do not: an attacker points his own name to
//!   127.0.0.1, so that to the browser his page and this server are one site. Hence the `Host` must be
//!   a name that an attacker cannot point here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Uri, Version};

use super::settings::{ExternalUrl, ServerSettings};

/// The sensitivity of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Open to every client.
    Open,
    /// In production for trusted clients only.
    Sensitive,
    /// Changes something: for trusted clients only, or with `--web.enable-lifecycle` for all; never for a
    /// page of another site, or of a host name that might be another's.
    Change,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Over TCP. An IPv4 client of a dual stack socket has its IPv4 address.
    Tcp(IpAddr),
    /// Over a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix socket"),
        }
    }
}

/// The facts about the sender of a request on which access depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The other end of the connection, perhaps a proxy.
    pub peer: Peer,
    /// Authenticated by password, or by a verified client certificate.
    pub authenticated: bool,
    /// Authenticated, or on this host and not through a proxy.
    pub trusted: bool,
    /// May see details on an [`Access::Open`] route.
    pub sees_details: bool,
}

/// The proof that a client gave of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientLogin {
    /// A password, or a verified certificate.
    Authenticated,
    Anonymous,
}

impl Client {
    pub(super) fn new(
        settings: &ServerSettings,
        peer: Peer,
        login: ClientLogin,
        head: &Parts,
    ) -> Self {
        let authenticated = login == ClientLogin::Authenticated;
        let trusted = authenticated || on_this_host(settings, peer, head);
        Self { peer, authenticated, trusted, sees_details: trusted || !settings.production }
    }
}

/// The reason for which a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotTrusted,
    OtherSite,
}

impl Refusal {
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::NotTrusted => "only for an authenticated client or one on this host",
            Self::OtherSite => "not for a request from another site",
        }
    }
}

/// Decides whether a request may be answered.
pub(super) fn check(
    settings: &ServerSettings,
    access: Access,
    client: &Client,
    head: &Parts,
) -> Result<(), Refusal> {
    let allowed = match access {
        Access::Open => true,
        Access::Sensitive => client.trusted || !settings.production,
        Access::Change => {
            if from_other_site(settings, &head.uri, &head.headers) {
                return Err(Refusal::OtherSite);
            }
            client.trusted || settings.lifecycle
        }
    };
    if allowed { Ok(()) } else { Err(Refusal::NotTrusted) }
}

/// Headers that proxies, meshes and content delivery networks add: the client is not the one that is
/// connected.
const OF_PROXIES: [&str; 6] =
    ["via", "cdn-loop", "cf-connecting-ip", "x-original-host", "x-originating-ip", "x-request-id"];

/// The beginnings of more of them.
const OF_PROXIES_BEGIN: [&str; 6] =
    ["x-envoy-", "x-b3-", "x-proxy", "x-real-", "x-remote-", "l5d-"];

/// Parts of more of them: each vendor has its own prefix.
const OF_PROXIES_CONTAIN: [&str; 6] =
    ["forwarded", "client-ip", "clientip", "client-addr", "user-ip", "remote-ip"];

fn is_of_proxy(name: &str) -> bool {
    OF_PROXIES.contains(&name)
        || OF_PROXIES_BEGIN.iter().any(|begin| name.starts_with(begin))
        || OF_PROXIES_CONTAIN.iter().any(|part| name.contains(part))
}

fn came_through_proxy(version: Version, headers: &HeaderMap) -> bool {
    // nginx before 1.29.7 asks in HTTP/1.0 unless it is configured otherwise; clients speak HTTP/1.1. From
    // 1.29.7 on it asks in HTTP/1.1, and with a bare `proxy_pass` it adds no header and sends the address of
    // this server as Host. Such a request is the same as that of a local client (docs/security.md).
    version < Version::HTTP_11 || headers.keys().map(HeaderName::as_str).any(is_of_proxy)
}

fn on_this_host(settings: &ServerSettings, peer: Peer, head: &Parts) -> bool {
    if !settings.local_trust || came_through_proxy(head.version, &head.headers) {
        return false;
    }
    match peer {
        // Browsers cannot open Unix sockets.
        Peer::Unix => true,
        Peer::Tcp(address) => {
            is_loopback(address)
                && host_is_ours(settings.external_url.as_ref(), &head.uri, &head.headers)
        }
    }
}

/// Only the two addresses that a direct client has: a sidecar of Istio connects from 127.0.0.6.
fn is_loopback(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::LOCALHOST) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// Accepts an address, localhost, the host of the external URL, and no Host at all, which no browser
/// sends.
fn host_is_ours(external: Option<&ExternalUrl>, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(authority) = authority(uri, headers) else {
        return !headers.contains_key(header::HOST);
    };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    address
        || host == "localhost"
        || host.ends_with(".localhost")
        || external.is_some_and(|url| url.host().eq_ignore_ascii_case(&host))
}

fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok(),
    }
}

fn from_other_site(settings: &ServerSettings, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return true;
    }
    let is_browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    // The page of a name that was pointed here after it was loaded has the right Origin.
    if is_browser && !host_is_ours(settings.external_url.as_ref(), uri, headers) {
        return true;
    }
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        origin.to_str().map_or(true, |origin| !is_own_origin(settings, origin, uri, headers))
    })
}

/// Compares host and port, not the scheme: a proxy may terminate TLS.
fn is_own_origin(settings: &ServerSettings, origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else { return false };
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let origin = without_port(origin, default);
    let external = settings.external_url.as_ref();
    external.is_some_and(|url| without_port(url.authority(), default) == origin)
        || authority(uri, headers)
            .is_some_and(|host| without_port(host.as_str(), default) == origin)
}

/// The authority in lower case, without the default port.
fn without_port(authority: &str, default: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    authority.strip_suffix(default).map(str::to_owned).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ServerSettings {
        ServerSettings {
            external_url: Some("https://pools.example/p".parse().unwrap()),
            ..ServerSettings::default()
        }
    }

    fn asked(peer: &str, headers: &[(&'static str, &str)], access: Access) -> Result<(), Refusal> {
        asked_of(&settings(), peer, headers, access)
    }

    fn asked_of(
        settings: &ServerSettings,
        peer: &str,
        pairs: &[(&'static str, &str)],
        access: Access,
    ) -> Result<(), Refusal> {
        let (mut head, ()) = hyper::Request::new(()).into_parts();
        head.uri = Uri::from_static("/-/reload");
        for (name, value) in pairs {
            head.headers.append(*name, value.parse().unwrap());
        }
        let peer = Peer::Tcp(peer.parse().unwrap());
        let client = Client::new(settings, peer, ClientLogin::Anonymous, &head);
        check(settings, access, &client, &head)
    }

    #[test]
    fn a_direct_client_on_loopback_may_change() {
        for host in
            ["localhost:9956", "127.0.0.1:9956", "[::1]:9956", "x.localhost", "pools.example"]
        {
            assert_eq!(asked("127.0.0.1", &[("host", host)], Access::Change), Ok(()), "{host}");
        }
        assert_eq!(asked("::1", &[], Access::Change), Ok(()));
    }

    #[test]
    fn others_may_not() {
        let no = Err(Refusal::NotTrusted);
        assert_eq!(asked("10.0.0.1", &[("host", "localhost")], Access::Change), no);
        assert_eq!(asked("127.0.0.1", &[("host", "evil.example")], Access::Change), no);
        assert_eq!(asked("127.0.0.1", &[("host", "b@d host")], Access::Change), no);
        let like = [
            "x-forwarded-proto",
            "x-envoy-attempt-count",
            "x-b3-traceid",
            "x-proxyuser-ip",
            "forwarded",
            "client-ip",
            "fastly-client-ip",
            "true-client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-original-forwarded-for",
            "x-real-ip",
            "x-real-port",
            "l5d-client-id",
            "l5d-dst-canonical",
            "fly-client-ip",
            "forwarded-for",
            "x-azure-clientip",
            "x-appengine-user-ip",
            "wl-proxy-client-ip",
            "x-remote-ip",
            "x-remote-addr",
        ];
        for name in OF_PROXIES.into_iter().chain(like) {
            assert_eq!(asked("127.0.0.1", &[(name, "1")], Access::Change), no, "{name}");
        }
        assert_eq!(asked("127.0.0.6", &[("host", "localhost")], Access::Change), no, "a sidecar");
        let off = ServerSettings { local_trust: false, ..settings() };
        assert_eq!(asked_of(&off, "127.0.0.1", &[("host", "localhost")], Access::Change), no);
    }

    #[test]
    fn headers_of_ordinary_clients_do_not_end_the_trust() {
        for name in [
            "accept",
            "accept-encoding",
            "authorization",
            "connection",
            "content-length",
            "cookie",
            "sec-ch-ua-platform",
            "traceparent",
            "upgrade-insecure-requests",
            "user-agent",
            "x-prometheus-scrape-timeout-seconds",
        ] {
            assert_eq!(asked("127.0.0.1", &[(name, "1")], Access::Change), Ok(()), "{name}");
        }
    }

    #[test]
    fn nginx_before_1_29_7_without_configuration_asks_in_http_1_0() {
        assert!(came_through_proxy(Version::HTTP_10, &HeaderMap::new()));
        assert!(!came_through_proxy(Version::HTTP_11, &HeaderMap::new()));
        assert!(!came_through_proxy(Version::HTTP_2, &HeaderMap::new()));
    }

    #[test]
    fn a_page_of_a_rebound_name_may_not_even_with_lifecycle() {
        let open = ServerSettings { lifecycle: true, ..settings() };
        let host = ("host", "rebound.example:9956");
        for pair in [("origin", "http://rebound.example:9956"), ("sec-fetch-site", "same-origin")] {
            let asked = asked_of(&open, "127.0.0.1", &[host, pair], Access::Change);
            assert_eq!(asked, Err(Refusal::OtherSite), "{pair:?}");
        }
        // A program sends neither, and may use any name.
        assert_eq!(asked_of(&open, "10.0.0.1", &[host], Access::Change), Ok(()));
    }

    #[test]
    fn other_sites_never_may() {
        let open = ServerSettings { lifecycle: true, ..settings() };
        for pair in [
            ("origin", "null"),
            ("origin", "http://evil.example"),
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let headers = [("host", "localhost:9956"), pair];
            assert_eq!(
                asked_of(&open, "127.0.0.1", &headers, Access::Change),
                Err(Refusal::OtherSite),
                "{pair:?}"
            );
        }
    }

    #[test]
    fn the_own_site_may() {
        for (host, origin) in [
            ("localhost:9956", "http://localhost:9956"),
            ("localhost", "http://localhost:80"),
            ("localhost:443", "https://localhost"),
            ("127.0.0.1:9956", "https://pools.example"),
        ] {
            let headers = [("host", host), ("origin", origin), ("sec-fetch-site", "same-origin")];
            assert_eq!(asked("127.0.0.1", &headers, Access::Change), Ok(()), "{origin}");
        }
    }

    #[test]
    fn in_production_strangers_see_the_open_routes_only() {
        let production = ServerSettings { production: true, ..settings() };
        let ask = |access| asked_of(&production, "10.0.0.1", &[("host", "x")], access);
        assert_eq!(ask(Access::Open), Ok(()));
        assert_eq!(ask(Access::Sensitive), Err(Refusal::NotTrusted));
        assert_eq!(asked("10.0.0.1", &[], Access::Sensitive), Ok(()));
    }

    #[test]
    fn lifecycle_opens_changes_to_all() {
        let open = ServerSettings { lifecycle: true, ..settings() };
        assert_eq!(asked_of(&open, "10.0.0.1", &[], Access::Change), Ok(()));
    }
}
