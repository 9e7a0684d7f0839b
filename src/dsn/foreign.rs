//! Parameters that drivers of other languages take out of a URL themselves and never send to a server.
//!
//! They are refused like every unknown parameter, but with the driver's name and a page that says what to
//! do. `docs/migration.md` has the same table.

/// The drivers, each with its own parameters.
const DRIVERS: &[(&str, &[&str])] = &[
    (
        "Prisma",
        &[
            "schema",
            "connection_limit",
            "pool_timeout",
            "socket_timeout",
            "pgbouncer",
            "sslaccept",
            "sslidentity",
            "single_use_connections",
        ],
    ),
    (
        "pgx",
        &[
            "pool_max_conns",
            "pool_min_conns",
            "pool_min_idle_conns",
            "pool_max_conn_lifetime",
            "pool_max_conn_lifetime_jitter",
            "pool_max_conn_idle_time",
            "pool_health_check_period",
            "default_query_exec_mode",
            "statement_cache_capacity",
            "description_cache_capacity",
        ],
    ),
    ("lib/pq", &["binary_parameters", "disable_prepared_binary_result", "sslinline", "krbspn"]),
    (
        "node-postgres",
        &[
            "uselibpqcompat",
            "connectionTimeoutMillis",
            "idleTimeoutMillis",
            "max",
            "query_timeout",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "keepAlive",
        ],
    ),
    (
        "Rails",
        &[
            "adapter",
            "encoding",
            "pool",
            "max_connections",
            "min_connections",
            "checkout_timeout",
            "idle_timeout",
            "reaping_frequency",
            "prepared_statements",
            "statement_limit",
            "advisory_locks",
            "schema_search_path",
            "min_messages",
            "variables",
        ],
    ),
    (
        "JDBC",
        &[
            "currentSchema",
            "ApplicationName",
            "connectTimeout",
            "loginTimeout",
            "socketTimeout",
            "tcpKeepAlive",
            "targetServerType",
            "loadBalanceHosts",
            "prepareThreshold",
            "preparedStatementCacheQueries",
            "preparedStatementCacheSizeMiB",
            "reWriteBatchedInserts",
            "defaultRowFetchSize",
            "stringtype",
            "binaryTransfer",
            "sslfactory",
        ],
    ),
    ("sqlx", &["statement-cache-capacity"]),
    ("Django", &["conn_max_age", "conn_health_checks"]),
];

/// Returns the parameter's name, and the driver that takes it.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static str)> {
    DRIVERS.iter().find_map(|(driver, names)| {
        let known = names.iter().find(|known| **known == name)?;
        Some((*known, *driver))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsn::{parse, table};

    #[test]
    fn each_is_refused_with_its_driver_and_the_page_that_lists_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migration.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        for (driver, names) in DRIVERS {
            let row = page.lines().find(|line| line.starts_with(&format!("| {driver} |")));
            let row = row.unwrap_or_else(|| panic!("{path} has no row of {driver}"));
            for name in *names {
                assert!(row.contains(&format!("`{name}`")), "{path}: {driver} has no {name}");
                assert!(table::all().all(|known| known.name != *name), "{name} is known");
                let errors = parse(&format!("postgresql://h?{name}=1")).err().expect("refused");
                let text = errors[0].to_string();
                let rule = format!("is a parameter of {driver}, and means nothing to a server");
                assert!(text.starts_with(&format!("parameter `{name}`")), "{text}");
                assert!(text.contains(&rule) && text.contains("docs/migration.md"), "{text}");
            }
        }
    }
}
