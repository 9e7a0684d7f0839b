//! Options of an application of a target.

use strum::{IntoStaticStr, VariantArray};

use super::{options, row};
use crate::config::kind::{
    Checked, Choice, FilePath, Grammar, Limit, List, OptionType, RawValue, Text, Time, Whole, quote,
};
use crate::source::{BadEndpoint, Endpoint};

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
        "the addresses at which each process serves [its pool's status](applications.md#point-the-exporter-at-it): \
         `http://`, `https://`, or `unix://` with the path of a socket; in the variable with commas between",
    ).own_variable("DB_MONITOR_STATUS_URLS").example("[\"http://app-0:8000/api/v1/database/pool/status\"]");
    STATUS_DIR: FilePath = row(
        "status_dir",
        FilePath,
        "the directory in which each process has a socket `NAME-PID.sock` with its pool's status",
    ).own_variable("DB_MONITOR_STATUS_DIR").example("/run/app-pools");
    STATUS_POOL: Text = row(
        "status_pool",
        Text("a pool's name"),
        "the NAME of the sockets in `status_dir`, which the application gives to its pool",
    ).own_variable("DB_MONITOR_STATUS_POOL").default("the application's key in the file; any for the variables").example("orders");
    STATUS_TIMEOUT: Time = row(
        "status_timeout",
        Time::new(10, 60),
        "the limit of one request for a status",
    ).example("1s");
    STATUS_PROCESSES: Whole = row(
        "status_processes",
        Whole(1, 1000, ""),
        "the maximum number of processes of which the status is read",
    ).example("64");
    STATUS_BEARER_TOKEN_FILE: FilePath = row(
        "status_bearer_token_file",
        FilePath,
        "a file with a token to send to `status_urls`",
    ).example("/run/secrets/status-token");
    STATUS_USERNAME: Text = row(
        "status_username",
        Text("a name"),
        "the name of a login (Basic) to send to `status_urls`; needs `status_password_file`",
    ).example("monitor");
    STATUS_PASSWORD_FILE: FilePath = row(
        "status_password_file",
        FilePath,
        "a file with the password of `status_username`",
    ).example("/run/secrets/status-password");
    STATUS_CA: FilePath = row(
        "status_ca",
        FilePath,
        "a file with the certificates to trust for `https://` in `status_urls`",
    ).default("the system's").example("/etc/ssl/app-ca.crt");
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

/// The address of a process's pool status; shown without a login.
#[derive(Clone, Copy)]
pub(in crate::config) struct StatusUrl;

impl OptionType for StatusUrl {
    type Value = Endpoint;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Endpoint> {
        Endpoint::parse(&Text("").parse(raw)?).ok()
    }

    fn allowed(&self, _: Grammar) -> String {
        BadEndpoint.to_string()
    }

    fn show(&self, value: &Endpoint) -> String {
        quote(&value.show())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_urls() {
        let read = |text| StatusUrl.parse(&RawValue::Text(text)).map(|url| StatusUrl.show(&url));
        for text in ["http://a/x", "https://a.b:8000", "http://[::1]/x", "unix:///run/a.sock"] {
            assert_eq!(read(text), Some(format!("{text:?}")));
        }
        assert_eq!(read("http://[::1]:81/x?y=z").as_deref(), Some("\"http://[::1]:81/x?***\""));
        for text in
            ["a/x", "ftp://a", "http://", "http:///x", "http://:1", "http://a:b", "http://a b"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("http://u:p@a/x").as_deref(), Some("\"http://***@a/x\""));
    }
}
