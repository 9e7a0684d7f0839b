//! The address of one process's status.

use std::path::PathBuf;

use thiserror::Error;

use crate::secret::Secret;

/// The path that is asked for on a socket, which has no path of its own.
const PATH: &str = "/api/v1/database/pool/status";

/// The address of one process's status.
#[derive(Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://` or `https://`.
    Web(WebEndpoint),
    /// `unix:///path`, or a socket of a directory.
    Socket(PathBuf),
}

/// A status over TCP.
#[derive(Clone, PartialEq, Eq)]
pub struct WebEndpoint {
    /// True for https.
    pub(super) is_tls: bool,
    /// The name or the address, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The path with its query.
    path: Secret,
    /// `user:password` of the URL, decoded.
    pub(super) login: Option<Secret>,
}

/// The error for a text that is no URL of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an http:// or https:// URL, or unix:// with the path of a socket")]
pub struct BadEndpoint;

impl Endpoint {
    /// Parses a URL.
    ///
    /// # Errors
    /// Another scheme, no host, a bad port, characters that a URL cannot have, or a socket's path that is
    /// not absolute.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        if let Some(path) = text.strip_prefix("unix://") {
            let is_good = path.starts_with('/') && !path.contains(char::is_control);
            return if is_good { Ok(Self::Socket(PathBuf::from(path))) } else { Err(BadEndpoint) };
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(BadEndpoint);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadEndpoint)?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(BadEndpoint),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host, if is_tls { 443 } else { 80 })?;
        let login = login.map(decode);
        Ok(Self::Web(WebEndpoint { is_tls, host, port, path: Secret::new(path), login }))
    }

    /// The address for people. A login and a query are not shown, because they may hold secrets.
    pub fn show(&self) -> String {
        match self {
            Self::Socket(path) => format!("unix://{}", path.display()),
            Self::Web(web) => {
                let scheme = if web.is_tls { "https" } else { "http" };
                let path = web.path.reveal();
                let (path, query) =
                    path.split_once('?').map_or((path, ""), |(path, _)| (path, "?***"));
                let path = if path == "/" { "" } else { path };
                let login = if web.login.is_some() { "***@" } else { "" };
                format!("{scheme}://{login}{}{path}{query}", web.authority())
            }
        }
    }

    /// Returns the same address with this path and query below its own path, as of an HTTP API with a prefix.
    pub(super) fn below(&self, path: &str) -> Self {
        match self {
            Self::Socket(socket) => Self::Socket(socket.clone()),
            Self::Web(web) => {
                let base = web.path.reveal();
                let base = base.split('?').next().unwrap_or_default().trim_end_matches('/');
                Self::Web(WebEndpoint { path: Secret::new(format!("{base}{path}")), ..web.clone() })
            }
        }
    }

    /// The target of the request's first line.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Socket(_) => PATH,
            Self::Web(web) => web.path.reveal(),
        }
    }

    /// The value of the header `Host`.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Socket(_) => "localhost".to_owned(),
            Self::Web(web) => web.authority(),
        }
    }
}

impl WebEndpoint {
    fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.is_tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), BadEndpoint> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(BadEndpoint)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_host = !host.is_empty() && !host.contains(['[', ']', '@', '\\']);
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or(BadEndpoint)?,
        None if port.is_empty() => default,
        None => return Err(BadEndpoint),
    };
    if is_host { Ok((host.to_owned(), port)) } else { Err(BadEndpoint) }
}

/// Decodes percent-encoding such as `%40`. A `%` without two hexadecimal digits is kept unchanged.
fn decode(text: &str) -> Secret {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Secret::new(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_shown_without_secrets() {
        let check = |text: &str, shown: &str, host: &str, path: &str| {
            let endpoint = Endpoint::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(endpoint.show(), shown);
            assert_eq!((endpoint.host().as_str(), endpoint.path()), (host, path));
        };
        check("http://app-0:8000/s?key=x#f", "http://app-0:8000/s?***", "app-0:8000", "/s?key=x");
        check("https://u:p@a.b", "https://***@a.b", "a.b", "/");
        check("http://[::1]:81/x", "http://[::1]:81/x", "[::1]:81", "/x");
        check("http://a?x", "http://a?***", "a", "/?x");
        check("unix:///run/a.sock", "unix:///run/a.sock", "localhost", PATH);
        let Ok(Endpoint::Web(web)) = Endpoint::parse("http://a%40b:%70@h:1") else { panic!() };
        assert_eq!(web.login.map(|login| login.reveal().to_owned()).as_deref(), Some("a@b:p"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "a/x",
            "ftp://a",
            "http://",
            "http://:1",
            "http://a:b",
            "http://a b",
            "http://[::1",
            "http://a:0",
            "http://[::1]x",
            "unix://run/a",
            "unix://",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
