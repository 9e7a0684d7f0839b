//! The address in a request: `HOST[:PORT][/DATABASE][?sslmode=..]`, perhaps behind `postgresql://`.
//!
//! This is no database URL. What could carry a login, a file, a socket or a second host is not in the grammar at
//! all, and neither is any notation of an address that a resolver understands and this parser does not: what was
//! checked must be what is connected to.

use std::net::IpAddr;

use crate::dsn::{DEFAULT_PORT, SslMode};
use crate::metrics::Label as _;

/// The longest text that is looked at, in bytes. A name has at most 253, a database 63.
const LONGEST: usize = 400;

/// An address that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requested {
    pub(super) host: RequestedHost,
    pub(super) port: u16,
    pub(super) database: Option<String>,
    pub(super) sslmode: Option<SslMode>,
}

/// A host that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestedHost {
    /// A name, in lower case.
    Name(String),
    /// An address, IPv6 in brackets.
    Address(IpAddr),
}

impl Requested {
    /// Parses the address of a request; `None` for everything that is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/?=[]$-".contains(c));
        if text.len() > LONGEST || !is_plain {
            return None;
        }
        let text = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let (text, sslmode) = match text.split_once('?') {
            Some((text, query)) => (text, Some(sslmode(query)?)),
            None => (text, None),
        };
        let (place, database) = match text.split_once('/') {
            Some((place, "")) => (place, None),
            Some((place, name)) => (place, Some(database(name)?)),
            None => (text, None),
        };
        let (host, port) = host_and_port(place)?;
        Some(Self { host, port, database, sslmode })
    }

    /// The address without its `sslmode`: the label `target`.
    pub(super) fn shown(&self) -> String {
        let database = self.database.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        match &self.host {
            RequestedHost::Address(IpAddr::V6(address)) => {
                format!("[{address}]:{}{database}", self.port)
            }
            RequestedHost::Address(IpAddr::V4(address)) => {
                format!("{address}:{}{database}", self.port)
            }
            RequestedHost::Name(name) => format!("{name}:{}{database}", self.port),
        }
    }
}

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Reads the only parameter of an address.
fn sslmode(query: &str) -> Option<SslMode> {
    let word = query.strip_prefix("sslmode=")?;
    SslMode::all().find(|mode| mode.label() == word)
}

fn database(name: &str) -> Option<String> {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.$".contains(c));
    (is_plain && name.len() <= 63).then(|| name.to_owned())
}

fn host_and_port(text: &str) -> Option<(RequestedHost, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (RequestedHost::Address(IpAddr::V6(address.parse().ok()?)), port)
        }
        None => {
            let (host, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            (name_or_address(host)?, port)
        }
    };
    Some((host, port.map_or(Some(DEFAULT_PORT), number)?))
}

/// Reads a port of plain digits: no sign, no blank.
fn number(port: &str) -> Option<u16> {
    let is_plain = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|port| is_plain && *port > 0)
}

fn name_or_address(host: &str) -> Option<RequestedHost> {
    if is_numeric(host) {
        return Some(RequestedHost::Address(IpAddr::V4(host.parse().ok()?)));
    }
    is_name(host).then(|| RequestedHost::Name(host.to_ascii_lowercase()))
}

/// Reports whether a resolver could read a host as an IPv4 address, in any of the notations of `inet_aton`: decimal,
/// octal, hexadecimal, with one to four parts. Such a host must be an address in the usual notation. The rule is that
/// of the URL standard (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn is_numeric(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let is_hexadecimal = hexadecimal.is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    is_hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

/// Reports whether a text is a host name without a dot at its end, which some matchers drop and others do not.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && is_plain && !label.starts_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_written() {
        for (text, shown) in [
            ("db", "db:5432"),
            ("db:6432", "db:6432"),
            ("DB.Internal:5432/orders", "db.internal:5432/orders"),
            ("db_1-a.x/", "db_1-a.x:5432"),
            ("postgresql://db:5433/orders?sslmode=require", "db:5433/orders"),
            ("postgres://db", "db:5432"),
            ("10.0.0.1", "10.0.0.1:5432"),
            ("10.0.0.1:1/o$_.-x", "10.0.0.1:1/o$_.-x"),
            ("[fd00::1]:5433/x", "[fd00::1]:5433/x"),
            ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]:5432"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example:5432"),
            ("db?sslmode=verify-full", "db:5432"),
        ] {
            assert_eq!(Requested::parse(text).expect(text).shown(), shown);
        }
        assert_eq!(Requested::parse("db?sslmode=require").unwrap().sslmode, Some(SslMode::Require));
    }

    #[test]
    fn everything_else_is_no_address() {
        let long = "a".repeat(64);
        let enormous = "a.".repeat(4_000);
        for text in [
            "",
            "/",
            "/run/postgresql",
            "@abstract",
            "?sslmode=require",
            ":5432",
            "db:",
            "db:0",
            "db:65536",
            "db:+5432",
            "db:05432x",
            "db:5432:5432",
            "fd00::1",
            "[fd00::1",
            "[fd00::1]x",
            "[fe80::1%eth0]",
            "[10.0.0.1]",
            "user@db",
            "user:pw@db",
            "db,other",
            "db;x",
            "db:5432,other:5432",
            "host=db",
            "host=db port=5432",
            "db/a/b",
            "db/x y",
            "db/x%00",
            "db%00",
            "db\0",
            "db\n",
            "db\r\nHost: x",
            " db",
            "db ",
            "db\t",
            "db?",
            "db?options=-c",
            "db?sslkey=/x",
            "db?passfile=/x",
            "db?service=x",
            "db?hostaddr=127.0.0.1",
            "db?sslmode=require&x=y",
            "db?sslmode=x",
            "db?sslmode=require?sslmode=disable",
            "postgresql+asyncpg://db",
            "http://db",
            "file:///etc/passwd",
            "//db",
            "db#x",
            "db\\x",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "db.",
            "db..x",
            ".db",
            "-db",
            "bücher.example",
            "db。internal",
            "db．internal",
            "①",
            "１２７.0.0.1",
            "1.2.3",
            "1.2.3.4.5",
            "256.0.0.1",
            "0x",
            "x.0x",
            "x.1",
            "*",
            "*.db",
            &long,
            &enormous,
        ] {
            assert_eq!(Requested::parse(text), None, "{text}");
        }
    }
}
