//! The URI form: `scheme://[user[:password]@][host[:port],...][/database][?parameters]`.
//!
//! The rules are `conninfo_uri_parse_options` of libpq's fe-connect.c; with `+driver` in the scheme they
//! are SQLAlchemy's, whose passwords may hold `/` and `?`, and whose query is a web form's. Differences
//! from libpq: a raw `@` in a host or database is refused (it is the rest of a password whose `@` or
//! `/` was not encoded), a raw `&` in a database too (its `?` was forgotten, and a password may
//! follow), and `host` and `port` may repeat, as SQLAlchemy writes several hosts.

use std::ops::Range;

use super::percent::{Style, decode};
use super::scheme::{Scheme, libpq_login, sqlalchemy_login};
use super::{Error, Part, Problem, Word};
use crate::secret::Secret;

/// Splits and decodes the text: the authority's words first, then the parameters, which override them.
pub(super) fn words(text: &str, scheme: Scheme) -> (Vec<Word>, Vec<Error>) {
    let mut uri = Uri { text, driver: scheme.driver, words: Vec::new(), errors: Vec::new() };
    let at = uri.login(scheme.after);
    let at = uri.hosts(at);
    let at = uri.database(at);
    uri.parameters(at);
    (uri.words, uri.errors)
}

/// A URI half read. Every method takes the byte where it begins and returns the byte where it ended.
struct Uri<'a> {
    text: &'a str,
    driver: bool,
    words: Vec<Word>,
    errors: Vec<Error>,
}

impl Uri<'_> {
    fn login(&mut self, start: usize) -> usize {
        let rest = &self.text[start..];
        let split = if self.driver { sqlalchemy_login(rest) } else { libpq_login(rest) };
        let Some((colon, at_sign)) = split else {
            return start;
        };
        let user = start..start + colon.unwrap_or(at_sign);
        self.unless_empty(Part::User, "user", user);
        if let Some(colon) = colon {
            self.unless_empty(Part::Password, "password", start + colon + 1..start + at_sign);
        }
        start + at_sign + 1
    }

    fn hosts(&mut self, start: usize) -> usize {
        let (mut hosts, mut ports) = (String::new(), String::new());
        let (mut at, mut port_at) = (start, start);
        loop {
            at = self.host(at, &mut hosts);
            if self.byte(at) == Some(b':') {
                port_at = at + 1;
                at = self.port(port_at, &mut ports);
            }
            if self.byte(at) != Some(b',') {
                break;
            }
            at += 1;
            hosts.push(',');
            ports.push(',');
        }
        self.list(Part::Host, "host", hosts, start);
        self.list(Part::Port, "port", ports, port_at);
        at
    }

    fn host(&mut self, start: usize, hosts: &mut String) -> usize {
        if self.byte(start) == Some(b'[') {
            return self.bracketed(start + 1, hosts);
        }
        let end = self.until(start, b":/?,");
        if let Some(offset) = self.text[start..end].find('@') {
            self.errors.push(Error::new(Part::Host, start + offset, Problem::At));
        } else if let Some(host) = self.decoded(Part::Host, start..end) {
            hosts.push_str(host.reveal());
        }
        end
    }

    fn bracketed(&mut self, start: usize, hosts: &mut String) -> usize {
        let Some(length) = self.text[start..].find(']') else {
            self.errors.push(Error::new(Part::Host, start - 1, Problem::Bracket));
            return self.text.len();
        };
        let end = start + length;
        if let Some(host) = self.decoded(Part::Host, start..end) {
            // One colon alone would later read as SQLAlchemy's `host:port`.
            let colons = host.reveal().matches(':').count();
            if host.reveal().is_empty() || colons == 1 {
                self.errors.push(Error::new(Part::Host, start, Problem::Address));
            }
            hosts.push_str(host.reveal());
        }
        if !matches!(self.byte(end + 1), None | Some(b':' | b'/' | b'?' | b',')) {
            self.errors.push(Error::new(Part::Host, end + 1, Problem::AfterBracket));
            return self.until(end + 1, b":/?,");
        }
        end + 1
    }

    fn port(&mut self, start: usize, ports: &mut String) -> usize {
        let end = self.until(start, b"/?,");
        let raw = &self.text[start..end];
        if let Some(offset) = raw.find('@') {
            self.errors.push(Error::new(Part::Port, start + offset, Problem::At));
            return end;
        }
        let Some(port) = self.decoded(Part::Port, start..end) else {
            return end;
        };
        if self.text[end..].contains('@') && super::host::port(port.reveal()).is_err() {
            self.errors.push(Error::new(Part::Port, start, Problem::PortOrPassword));
            return end;
        }
        ports.push_str(port.reveal());
        end
    }

    fn database(&mut self, start: usize) -> usize {
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
            None => self.unless_empty(Part::Database, "dbname", start..end),
        }
        end
    }

    fn parameters(&mut self, start: usize) {
        if self.byte(start) != Some(b'?') {
            return;
        }
        let mut at = start + 1;
        while at < self.text.len() {
            let end = self.until(at, b"&");
            if at < end || !self.driver {
                self.parameter(at..end);
            }
            at = end + 1;
        }
        if !self.driver {
            self.read_jdbc();
        }
    }

    /// libpq's courtesy to JDBC's users: `ssl=true` is `sslmode=require`, here unless an sslmode asks
    /// for more. To asyncpg it would mean verify-full, and it refuses the text.
    fn read_jdbc(&mut self) {
        let strong = ["require", "verify-ca", "verify-full"];
        let is = |word: &Word, name, values: &[&str]| {
            word.name == name && values.contains(&word.value.reveal())
        };
        let said = self.words.iter().any(|word| is(word, "sslmode", &strong));
        self.words.retain(|word| !(said && is(word, "ssl", &["true"])));
        for word in self.words.iter_mut().filter(|word| is(word, "ssl", &["true"])) {
            word.value = Secret::new("require");
        }
    }

    fn parameter(&mut self, range: Range<usize>) {
        let (start, raw) = (range.start, &self.text[range.clone()]);
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
        if let (Some(offset), false) = (second, self.driver) {
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

    /// Adds a parameter; SQLAlchemy writes several hosts as several `host` parameters.
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

    fn list(&mut self, part: Part, name: &str, value: String, at: usize) {
        if !value.is_empty() {
            self.words.push(Word {
                part: Some(part),
                name: name.to_owned(),
                value: value.into(),
                at,
            });
        }
    }

    fn unless_empty(&mut self, part: Part, name: &str, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let at = range.start;
        if let Some(value) = self.decoded(part.clone(), range) {
            self.words.push(Word { part: Some(part), name: name.to_owned(), value, at });
        }
    }

    fn decoded(&mut self, part: Part, range: Range<usize>) -> Option<Secret> {
        let style = if self.driver { Style::Python } else { Style::Libpq };
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
