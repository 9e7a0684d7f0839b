//! The ranks of the families of a target: what is left of them with `metrics: standard` and `metrics: lean`.

use crate::metrics::{Kind, Rank, Ranks};

/// Every family that is not of the main rank. No alert rule stands on an extra one; a test compares.
pub(super) const RANKS: Ranks = &[
    ("db_pool_connect_phase_duration_seconds", Rank::Minor),
    ("db_pool_ping_duration_seconds", Rank::Minor),
    ("db_pool_checkout_wait_seconds", Rank::Extra),
    ("db_pool_use_duration_seconds", Rank::Extra),
    ("db_pool_exporter_view_duration_seconds", Rank::Extra),
    // The status of the target remains.
    ("db_pool_health", Rank::Extra),
    // The exporter's own pool: what is configured, and what follows from other families.
    ("db_pool_connecting_connections", Rank::Extra),
    ("db_pool_overflow_connections", Rank::Extra),
    ("db_pool_utilization_percent", Rank::Extra),
    ("db_pool_saturation_ratio", Rank::Extra),
    ("db_pool_size", Rank::Extra),
    ("db_pool_max_overflow", Rank::Extra),
    ("db_pool_max_connections", Rank::Extra),
    ("db_pool_timeout_seconds", Rank::Extra),
    ("db_pool_recycle_seconds", Rank::Extra),
    ("db_pool_checkins_total", Rank::Extra),
    ("db_pool_slow_queries_total", Rank::Extra),
    ("db_pool_sampling_interval_seconds", Rank::Extra),
    // The applications' pools: details of the inference.
    ("db_pool_app_overflow_connections", Rank::Extra),
    ("db_pool_app_mean_utilization_percent", Rank::Extra),
    ("db_pool_app_mean_saturation_ratio", Rank::Extra),
    ("db_pool_app_instances_evidence", Rank::Extra),
];

/// Describes what a lean target shows of a family, for METRICS.md.
pub(super) fn when_lean(name: &str, kind: Kind) -> &'static str {
    let rank = RANKS.iter().find(|(family, _)| *family == name).map(|(_, rank)| *rank);
    match (rank.unwrap_or(Rank::Main), kind) {
        (Rank::Extra, _) => "no",
        (Rank::Minor, _) => "sum, count",
        (Rank::Main, Kind::Histogram) => "6 buckets",
        (Rank::Main, Kind::Counter | Kind::Gauge) => "yes",
    }
}
