//! The URI form: `scheme://[user[:password]@][host[:port],...][/database][?parameters]`.
//!
//! The rules are those of `conninfo_uri_parse_options` in libpq's fe-connect.c. With `+driver` in the scheme
//! they are SQLAlchemy's (engine/url.py): its passwords may contain `/` and `?`, its query is encoded as a
//! web form, and it decodes neither hosts nor ports.
//! We differ from libpq in three points. A raw `@` in a host or database is refused, because it is the
//! rest of a password with an unencoded `@` or `/`. A raw `&` in a database is refused, because the `?` was
//! forgotten and a password may follow. `host` and `port` may repeat, as SQLAlchemy writes several hosts.

use std::ops::Range;

use super::percent::{Style, decode};
use super::scheme::{Scheme, libpq_login, sqlalchemy_login};
use super::{Error, Part, Problem, Word};
use crate::secret::Secret;

/// Splits and decodes the text. The words of the authority come first; the parameters override them.
pub(super) fn words(text: &str, scheme: Scheme) -> (Vec<Word>, Vec<Error>) {
    let mut uri = Uri { text, driver: scheme.driver, words: Vec::new(), errors: Vec::new() };
    let at = uri.read_login(scheme.after);
    let at = uri.read_hosts(at);
    let at = uri.read_database(at);
    uri.read_parameters(at);
    (uri.words, uri.errors)
}

/// A URI while it is read. Each method takes the byte where its part begins and returns the byte where
/// that part ends.
struct Uri<'a> {
    text: &'a str,
    driver: bool,
    words: Vec<Word>,
    errors: Vec<Error>,
}

impl Uri<'_> {
    fn read_login(&mut self, start: usize) -> usize {
        let rest = &self.text[start..];
        let split = if self.driver { sqlalchemy_login(rest) } else { libpq_login(rest) };
        let Some((colon, at_sign)) = split else {
            return start;
        };
        let user = start..start + colon.unwrap_or(at_sign);
        self.add_unless_empty(Part::User, "user", user);
        if let Some(colon) = colon {
            self.add_unless_empty(Part::Password, "password", start + colon + 1..start + at_sign);
        }
        start + at_sign + 1
    }

    fn read_hosts(&mut self, start: usize) -> usize {
        let mut hosts = String::new();
        let mut ports = String::new();
        let mut at = start;
        let mut port_at = start;
        loop {
            at = self.read_host(at, &mut hosts);
            if self.byte(at) == Some(b':') {
                port_at = at + 1;
                at = self.read_port(port_at, &mut ports);
            }
            if self.byte(at) != Some(b',') {
                break;
            }
            at += 1;
            hosts.push(',');
            ports.push(',');
        }
        self.add_list(Part::Host, "host", hosts, start);
        self.add_list(Part::Port, "port", ports, port_at);
        at
    }

    fn read_host(&mut self, start: usize, hosts: &mut String) -> usize {
        if self.byte(start) == Some(b'[') {
            return self.read_bracketed(start + 1, hosts);
        }
        let end = self.until(start, if self.driver { b":/?" } else { b":/?," });
        let raw = &self.text[start..end];
        if let Some(offset) = raw.find('@') {
            self.errors.push(Error::new(Part::Host, start + offset, Problem::At));
        } else if self.driver
            && let Some(offset) = raw.find('%')
        {
            self.errors.push(Error::new(Part::Host, start + offset, Problem::EncodedHost));
        } else if let Some(host) = self.decoded(Part::Host, start..end) {
            hosts.push_str(host.reveal());
        }
        end
    }

    fn read_bracketed(&mut self, start: usize, hosts: &mut String) -> usize {
        let Some(length) = self.text[start..].find(']') else {
            self.errors.push(Error::new(Part::Host, start - 1, Problem::Bracket));
            return self.text.len();
        };
        let end = start + length;
        if let Some(host) = self.decoded(Part::Host, start..end) {
            // With one colon alone, `lists` would read SQLAlchemy's `host:port`.
            let colons = host.reveal().matches(':').count();
            if host.reveal().is_empty() || colons == 1 {
                self.errors.push(Error::new(Part::Host, start, Problem::Address));
            }
            hosts.push_str(host.reveal());
        }
        let is_list = self.byte(end + 1) == Some(b',') && !self.driver;
        if !is_list && !matches!(self.byte(end + 1), None | Some(b':' | b'/' | b'?')) {
            self.errors.push(Error::new(Part::Host, end + 1, Problem::AfterBracket));
            return self.until(end + 1, b":/?,");
        }
        end + 1
    }

    fn read_port(&mut self, start: usize, ports: &mut String) -> usize {
        let end = self.until(start, if self.driver { b"/?" } else { b"/?," });
        let raw = &self.text[start..end];
        if let Some(offset) = raw.find('@') {
            self.errors.push(Error::new(Part::Port, start + offset, Problem::At));
            return end;
        }
        if self.driver
            && let Some(offset) = raw.find(',')
        {
            self.errors.push(Error::new(Part::Port, start + offset, Problem::HostList));
            return end;
        }
        if self.driver && raw.is_empty() {
            self.errors.push(Error::new(Part::Port, start - 1, Problem::Port));
            return end;
        }
        let Some(port) = self.decoded(Part::Port, start..end) else {
            return end;
        };
        if self.text[end..].contains('@') && super::lists::port(port.reveal()).is_err() {
            self.errors.push(Error::new(Part::Port, start, Problem::PortOrPassword));
            return end;
        }
        ports.push_str(port.reveal());
        end
    }

    fn read_database(&mut self, start: usize) -> usize {
        if self.byte(start) != Some(b'/') {
            return start;
        }
        let start = start + 1;
        let end = self.until(start, b"?");
        let misplaced = self.text[start..end].find(['@', '&']);
        match misplaced.map(|offset| start + offset) {
            Some(at) if self.byte(at) == Some(b'@') => {
                self.errors.push(Error::new(Part::Database, at, Problem::Slash));
            }
            Some(at) => self.errors.push(Error::new(Part::Database, at, Problem::Ampersand)),
            None => self.add_unless_empty(Part::Database, "dbname", start..end),
        }
        end
    }

    fn read_parameters(&mut self, start: usize) {
        if self.byte(start) != Some(b'?') {
            return;
        }
        let mut at = start + 1;
        while at < self.text.len() {
            let end = self.until(at, b"&");
            if at < end || !self.driver {
                self.read_parameter(at..end);
            }
            at = end + 1;
        }
        if !self.driver {
            self.accept_jdbc_ssl();
        }
    }

    /// Reads `ssl=true` as `sslmode=require`, as libpq does for JDBC's users, unless an `sslmode` asks for
    /// more. asyncpg would mean verify-full by it, but refuses the text `true`.
    fn accept_jdbc_ssl(&mut self) {
        let is_strong = self.words.iter().any(|word| {
            let strong = ["require", "verify-ca", "verify-full"];
            word.name == "sslmode" && strong.contains(&word.value.reveal())
        });
        let is_jdbc = |word: &Word| word.name == "ssl" && word.value.reveal() == "true";
        if is_strong {
            self.words.retain(|word| !is_jdbc(word));
        }
        for word in self.words.iter_mut().filter(|word| is_jdbc(word)) {
            word.value = Secret::new("require");
        }
    }

    fn read_parameter(&mut self, range: Range<usize>) {
        let start = range.start;
        let raw = &self.text[range];
        let Some(equals) = raw.find('=') else {
            self.errors.push(Error::new(Part::Unnamed, start, Problem::Separator));
            return;
        };
        let value_at = start + equals + 1;
        let style = if self.driver { Style::Form } else { Style::Libpq };
        let name = match decode(&raw[..equals], start, style) {
            Ok(name) => name.reveal().to_owned(),
            Err((at, problem)) => return self.errors.push(Error::new(Part::Unnamed, at, problem)),
        };
        let second = raw[equals + 1..].find('=');
        if let Some(offset) = second
            && !self.driver
        {
            self.errors.push(Error::new(
                Part::unknown(&name),
                value_at + offset,
                Problem::SecondSeparator,
            ));
            return;
        }
        match decode(&raw[equals + 1..], value_at, style) {
            // SQLAlchemy drops parameters without a value.
            Ok(value) if self.driver && value.reveal().is_empty() => {}
            Ok(value) => self.add(Word { part: None, name, value, at: value_at }),
            Err((at, problem)) => self.errors.push(Error::new(Part::unknown(&name), at, problem)),
        }
    }

    /// Adds a parameter. SQLAlchemy writes several hosts as several `host` parameters: these become one
    /// list.
    fn add(&mut self, word: Word) {
        let listed =
            matches!(word.name.as_str(), "host" | "port") && !word.value.reveal().is_empty();
        let before =
            self.words.iter_mut().rfind(|other| other.part.is_none() && other.name == word.name);
        match before {
            Some(other) if listed && !other.value.reveal().is_empty() => {
                other.value =
                    Secret::new(format!("{},{}", other.value.reveal(), word.value.reveal()));
            }
            _ => self.words.push(word),
        }
    }

    fn add_list(&mut self, part: Part, name: &str, value: String, at: usize) {
        if !value.is_empty() {
            self.words.push(Word {
                part: Some(part),
                name: name.to_owned(),
                value: value.into(),
                at,
            });
        }
    }

    fn add_unless_empty(&mut self, part: Part, name: &str, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let at = range.start;
        if let Some(value) = self.decoded(part.clone(), range) {
            self.words.push(Word { part: Some(part), name: name.to_owned(), value, at });
        }
    }

    fn decoded(&mut self, part: Part, range: Range<usize>) -> Option<Secret> {
        let style = if !self.driver {
            Style::Libpq
        } else if matches!(part, Part::Host | Part::Port) {
            Style::Verbatim
        } else {
            Style::Python
        };
        decode(&self.text[range.clone()], range.start, style)
            .map_err(|(at, problem)| self.errors.push(Error::new(part, at, problem)))
            .ok()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn until(&self, start: usize, stops: &[u8]) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        start + rest.iter().position(|byte| stops.contains(byte)).unwrap_or(rest.len())
    }
}
