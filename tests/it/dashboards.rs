//! The Grafana dashboards: the rules of dashboard-linter, and Grafana's own types.

use crate::support::checks::{checks, file, succeeds};
use crate::support::installed;

checks! {
    dashboards_name_only_metrics_that_exist,
    dashboards_share_one_look,
    links_lead_to_dashboards_and_variables_that_exist,
    the_data_source_and_the_job_are_variables,
    every_panel_has_a_title_a_description_a_unit_and_a_query,
    no_panel_is_of_a_deprecated_type,
    panels_lie_side_by_side_without_overlap,
    every_query_is_valid_and_narrowed_by_the_variables,
    rates_use_the_rate_interval_and_only_counters_are_rated,
    nothing_doubles_when_two_exporters_watch_one_target,
    the_provisioning_files_are_valid,
    the_exceptions_from_the_linters_rules_are_named_with_reasons,
    every_page_sets_the_scrape_interval_that_the_dashboards_expect,
}

#[test]
fn dashboards_are_what_the_script_makes() {
    succeeds(&installed(&["python"]), [file("dashboards/generate.py").as_str(), "--check"]);
}

#[test]
fn dashboards_are_of_the_types_of_grafana_10_to_12() {
    succeeds("node", [file("tests/dashboards/check.mjs"), installed(&["grafana"])]);
}

#[test]
fn the_mixin_gives_what_the_files_have() {
    succeeds(&installed(&["python"]), [file("tests/monitoring/mixin.py")]);
}
