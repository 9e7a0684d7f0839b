//! Whose sessions are an application's pool, and what its processes share.

use super::layers::{Layers, Said};
use super::listing::Origin;
use super::unit::{Checked, Given, Grammar, Limit, List, Text, Unit, Whole};
use crate::dsn::Dsn;
use crate::pool;
use crate::probe::TargetKind;
use crate::view::Pattern;
use crate::view::application::{ApplicationSettings, NameMatch, SessionMatch};

/// An application whose pool is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The label `application`.
    pub name: String,
    /// Whose sessions are its pool.
    pub select: Select,
    /// Connections that each process keeps; 0 is no limit.
    pub pool_size: u32,
    /// Connections beyond it; `None` is no limit.
    pub max_overflow: Option<u32>,
    /// How many processes there are.
    pub instances: u32,
    /// Where each process tells its pool's status.
    pub status_urls: Vec<String>,
}

impl Application {
    /// As its sessions are looked for.
    pub(super) fn watched(&self) -> ApplicationSettings {
        let like = |name: &Option<String>, otherwise| {
            name.as_ref().map_or(otherwise, |name| NameMatch::Like(Pattern::new(name)))
        };
        let by_name = self.select.application_name.is_some();
        let sessions = SessionMatch {
            application_name: self.select.application_name.as_ref().map(Pattern::new),
            user: like(
                &self.select.user,
                if by_name { NameMatch::Any } else { NameMatch::SameAsExporter },
            ),
            database: like(&self.select.database, NameMatch::SameAsExporter),
        };
        ApplicationSettings {
            name: self.name.clone(),
            sessions,
            pool_size: self.pool_size,
            max_overflow: self.max_overflow,
            instances: self.instances,
        }
    }
}

/// Which sessions are meant; all that is said must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// A pattern of `application_name`, in which `*` is any text.
    pub application_name: Option<String>,
    /// The role.
    pub user: Option<String>,
    /// The database.
    pub database: Option<String>,
}

/// Reads a target's applications; without any, the URL's role in its database is one.
pub(super) fn read(
    kind: TargetKind,
    layers: &Layers<'_>,
    url: Option<&Dsn>,
    limits: &pool::PoolLimits,
) -> Vec<Application> {
    let mut names = layers.names(super::is_name, super::NAME);
    if names.is_empty() && kind == TargetKind::Postgres {
        names.push(super::environment::TARGET.to_owned());
    }
    names.into_iter().map(|name| one(layers.sub(&name), name, url, limits)).collect()
}

fn one(
    layers: Layers<'_>,
    name: String,
    url: Option<&Dsn>,
    limits: &pool::PoolLimits,
) -> Application {
    let size = Whole(0..=10_000, " (0 is no limit)");
    let status_urls = match layers.own("status_urls", &List(StatusUrl)) {
        Some(said) => {
            layers.warn_unused(&layers.place("status_urls", &said.origin));
            said.value
        }
        None => Vec::new(),
    };
    let processes = u32::try_from(status_urls.len()).unwrap_or(1).max(1);
    Application {
        select: select(&layers.sub("match"), url),
        pool_size: layers.settle("pool_size", &size, limits.size).value,
        max_overflow: layers.settle("max_overflow", &Limit(10_000), limits.max_overflow).value,
        instances: layers.settle("instances", &Whole(1..=10_000, ""), processes).value,
        status_urls,
        name,
    }
}

fn select(layers: &Layers<'_>, url: Option<&Dsn>) -> Select {
    let pattern = Checked(is_pattern, "a pattern of application_name, such as `orders-*`");
    let application_name = layers.own("application_name", &pattern).map(|said| said.value);
    // With a pattern any role fits, unless one is named.
    let role = url.and_then(|dsn| dsn.user.clone()).filter(|_| application_name.is_none());
    let database = url.and_then(|dsn| dsn.database.clone());
    Select {
        application_name,
        user: or_url(layers, "user", &Text("a role"), role),
        database: or_url(layers, "database", &Text("a database"), database),
    }
}

/// An option that is otherwise as the target's URL has it.
fn or_url(layers: &Layers<'_>, key: &str, unit: &Text, url: Option<String>) -> Option<String> {
    let said = layers.peek(key, unit).or(url.map(|value| Said { value, origin: Origin::Url }));
    let shown = said.as_ref().map_or("any".to_owned(), |said| unit.show(&said.value));
    let origin = said.as_ref().map_or(Origin::Default, |said| said.origin.clone());
    layers.list(key, shown, origin);
    said.map(|said| said.value)
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && !text.contains(char::is_control)
}

/// Where a process tells its pool's status; shown without what stands before an `@`.
struct StatusUrl;

impl Unit for StatusUrl {
    type Value = String;

    fn read(&self, given: &Given<'_>) -> Option<String> {
        let text = Text("").read(given)?;
        let rest = text.strip_prefix("http://").or(text.strip_prefix("https://"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !host.ends_with(']') => (name, port.parse::<u16>().ok()),
            Some(_) | None => (host, Some(0)),
        };
        let plain = text.chars().all(|c| c.is_ascii_graphic());
        (plain && !name.is_empty() && port.is_some()).then_some(text)
    }

    fn allowed(&self, _: Grammar) -> String {
        "an http:// or https:// URL".to_owned()
    }

    fn show(&self, value: &String) -> String {
        let redacted = match (value.split_once("://"), value.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
            _ => value.clone(),
        };
        super::unit::quote(&redacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_urls() {
        let read = |text| StatusUrl.read(&Given::Text(text)).map(|url| StatusUrl.show(&url));
        for text in ["http://a/x", "https://a.b:8000", "http://[::1]/x", "http://[::1]:80/x?y=z"] {
            assert_eq!(read(text), Some(format!("{text:?}")));
        }
        for text in
            ["a/x", "ftp://a", "http://", "http:///x", "http://:1", "http://a:b", "http://a b"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("http://u:p@a/x").as_deref(), Some("\"http://***@a/x\""));
    }
}
