//! The alerts and recording rules: they are valid and unit-tested, and each alert has a runbook.

use crate::support::checks::{checks, file, succeeds};
use crate::support::installed;

checks! {
    rules_name_only_metrics_that_exist,
    every_alert_has_a_unit_test_that_fires_and_one_that_is_silent,
    every_alert_tells_what_it_is_and_where_to_go_on,
    every_alert_has_a_runbook_and_every_runbook_an_alert,
    every_runbook_has_its_chapters_and_queries_that_can_be_typed,
    every_threshold_is_in_the_one_block_and_used,
    the_alertmanager_example_names_only_alerts_that_exist,
    the_quick_starts_configurations_are_complete_and_valid,
}

#[test]
fn promtool_accepts_the_rules() {
    let rules = ["alerts/db_pool_recording.yml", "alerts/db_pool_alerts.yml"];
    succeeds(&installed(&["promtool"]), ["check", "rules", "--lint-fatal"].iter().chain(&rules));
}

#[test]
fn amtool_accepts_the_alertmanager_example() {
    succeeds(&installed(&["amtool"]), ["check-config", "alerts/alertmanager.example.yml"]);
}

/// One test per file, so that they run in parallel: Prometheus computes days of samples in them.
macro_rules! unit_tests {
    ($($name:ident: $file:literal),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let tests = concat!("alerts/tests/", $file);
                succeeds(&installed(&["promtool"]), ["test", "rules", tests]);
            }
        )+

        #[test]
        fn no_unit_test_is_left_out() {
            let folder = std::fs::read_dir(file("alerts/tests")).expect("the folder is there");
            let names = folder.map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
            names.sort();
            assert_eq!(names, [$($file),+]);
        }
    };
}

unit_tests! {
    alerts_about_application_pools_fire_and_are_silent: "application.yml",
    alerts_about_a_day_of_application_pools_fire_and_are_silent: "application_day.yml",
    alerts_about_the_exporter_fire_and_are_silent: "exporter.yml",
    alerts_about_headroom_fire_and_are_silent: "headroom.yml",
    objectives_fire_and_are_silent: "objective.yml",
    objectives_over_days_fire_and_are_silent: "objective_slow.yml",
    alerts_about_poolers_fire_and_are_silent: "pooler.yml",
    alerts_about_targets_fire_and_are_silent: "target.yml",
    missing_thresholds_are_told: "thresholds.yml",
}
