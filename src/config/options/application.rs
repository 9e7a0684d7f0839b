//! Options of an application of a target.

use strum::{IntoStaticStr, VariantArray};

use super::{options, row};
use crate::config::kind::{
    Checked, Choice, Grammar, Limit, List, OptionType, RawValue, Text, Whole, quote,
};

options! {
    /// Options of each of `applications`.
    APPLICATION:

    MATCH_APPLICATION_NAME: Checked = row(
        "match.application_name",
        Checked(is_pattern, "a pattern of application_name, such as `orders-*`"),
        "a pattern of `application_name` (`*` is any text): the sessions that are the application's pool",
    ).own_variable("DB_MONITOR_APPLICATION").example("\"sentinelops-*\"");
    MATCH_USER: Text = row(
        "match.user",
        Text("a role"),
        "the role of those sessions; any role if there is a pattern",
    ).own_variable("DB_MONITOR_APPLICATION_USER").default("the URL's").example("app");
    MATCH_DATABASE: Text = row("match.database", Text("a database"), "the database of those sessions")
        .default("the URL's").example("orders");
    APPLICATION_POOL: Choice<PoolKind> = row(
        "pool",
        Choice::new(),
        "the pool's rules: `sqlalchemy` for a QueuePool (`pool_size`, `max_overflow`); `fixed` for a pool with a minimum \
         and a maximum and no overflow (`min`, `max`), as HikariCP, pgx, psycopg_pool, deadpool, node-postgres and sqlx \
         have",
    );
    APPLICATION_MIN: Whole = row(
        "min",
        Whole(0, 10_000, ""),
        "connections that one process keeps open, for `pool: fixed`",
    ).default("0").example("2");
    APPLICATION_MAX: Whole = row(
        "max",
        Whole(1, 10_000, ""),
        "connections that one process opens at most; required for `pool: fixed`",
    ).default("none").example("10");
    APPLICATION_POOL_SIZE: Whole = row(
        "pool_size",
        Whole(0, 10_000, " (0 is no limit)"),
        "the pool size of one process, for `pool: sqlalchemy`",
    ).default("the target's `pool.size`").example("20");
    APPLICATION_MAX_OVERFLOW: Limit = row(
        "max_overflow",
        Limit(10_000),
        "connections beyond the pool size of one process, for `pool: sqlalchemy`",
    ).default("the target's `pool.max_overflow`").example("10");
    INSTANCES: Whole = row(
        "instances",
        Whole(1, 10_000, ""),
        "how many processes the application has, each with such a pool; without it the number of `status_urls`, and \
         without these it is [learned](how-it-works.md#how-many-processes) from the sessions, as far as they show it",
    ).own_variable("DB_MONITOR_INSTANCES").default("the number learned").example("4");
    STATUS_URLS: List<StatusUrl> = row(
        "status_urls",
        List(StatusUrl),
        "**not used by this version**: the URLs at which each process publishes its pool's status",
    ).example("[\"http://app-0:8000/api/v1/database/pool/status\"]");
}

/// The rules of an application's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::config) enum PoolKind {
    Sqlalchemy,
    Fixed,
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && !text.contains(char::is_control)
}

/// The URL of a process' pool status; shown without a login.
#[derive(Clone, Copy)]
pub(in crate::config) struct StatusUrl;

impl OptionType for StatusUrl {
    type Value = String;

    fn parse(&self, raw: &RawValue<'_>) -> Option<String> {
        let text = Text("").parse(raw)?;
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
        quote(&redacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_urls() {
        let read = |text| StatusUrl.parse(&RawValue::Text(text)).map(|url| StatusUrl.show(&url));
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
