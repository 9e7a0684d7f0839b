//! Maps the names of OpenTelemetry's semantic conventions for database clients to our families.
//!
//! <https://opentelemetry.io/docs/specs/semconv/database/database-metrics/>. There is no second set of
//! names: a Collector or a dashboard can translate with this table.

use std::fmt::Write as _;

/// A metric of OpenTelemetry, and the families with the same meaning.
pub(super) struct OtelRow {
    /// Its name below `db.client.connection.`, with the attribute that selects the part.
    otel: &'static str,
    /// The family of an application's pools; empty where there is none.
    pub(super) application: &'static str,
    /// The family of the exporter's own pool, which `db-pool-metrics` gives to any pool.
    pub(super) own: &'static str,
    /// The differences in meaning, for the table in METRICS.md.
    note: &'static str,
}

const fn row(
    otel: &'static str,
    application: &'static str,
    own: &'static str,
    note: &'static str,
) -> OtelRow {
    OtelRow { otel, application, own, note }
}

/// All metrics of the conventions.
pub(super) const OTEL: &[OtelRow] = &[
    row(
        "`count`, state `used`",
        "db_pool_app_active_connections",
        "db_pool_active_connections",
        "",
    ),
    row("`count`, state `idle`", "db_pool_app_idle_connections", "db_pool_idle_connections", ""),
    row(
        "`idle.max`",
        "db_pool_app_size",
        "db_pool_size",
        "a QueuePool keeps no more than its size",
    ),
    row("`idle.min`", "db_pool_app_min_connections", "", "only with `pool: fixed`"),
    row("`max`", "db_pool_app_max_connections", "db_pool_max_connections", "+Inf without a limit"),
    row("`pending_requests`", "db_pool_app_pending_requests", "db_pool_pending_requests", ""),
    row(
        "`timeouts`",
        "db_pool_app_checkouts_total",
        "db_pool_checkouts_total",
        "with `result=\"timeout\"`",
    ),
    row(
        "`create_time`",
        "db_pool_app_connect_duration_seconds",
        "db_pool_connect_duration_seconds",
        "",
    ),
    row(
        "`wait_time`",
        "db_pool_app_checkout_wait_seconds",
        "db_pool_checkout_wait_seconds",
        "without the time of a connect, which `create_time` has",
    ),
    row("`use_time`", "db_pool_app_use_duration_seconds", "db_pool_use_duration_seconds", ""),
];

/// The section of METRICS.md.
pub(super) fn section() -> String {
    let mut text = String::from(
        "\n## OpenTelemetry\n\nThe metrics `db.client.connection.*` of the semantic conventions, and the families with the same \
         meaning. The attribute\n`db.client.connection.pool.name` is the label `application`, for the exporter's own pool `target`.\n\n\
         | `db.client.connection.` | an application's pools | the exporter's own pool | difference |\n\
         | --- | --- | --- | --- |\n",
    );
    for OtelRow { otel, application, own, note } in OTEL {
        let code = |name: &str| if name.is_empty() { String::new() } else { format!("`{name}`") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {otel} | {} | {} | {note} |", code(application), code(own));
    }
    text
}
