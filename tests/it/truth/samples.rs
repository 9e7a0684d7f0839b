//! What lasts for less than an interval is counted, and what was counted stays.

use std::time::Duration;

use super::stage::{Expected, Setup, Stage};
use crate::support::wait_for;
use crate::support::workers::{Library, Worker};

with_both_drivers! {
    two_full_seconds_between_two_probes_are_counted,
}

/// A setting with probes that are too rare to see anything.
pub(super) fn rare_probes(sampling: &str) -> Setup {
    Setup::of(5, 3)
        .with("DB_MONITOR_INSTANCES", "1")
        .with("DB_MONITOR_INTERVAL", "15")
        .with("DB_MONITOR_SLOW_QUERY_SAMPLING", sampling)
}

/// Has a pool full for so long.
pub(super) fn fill(worker: &mut Worker, span: Duration) {
    assert_eq!(worker.tell("hold 8").out, 8);
    std::thread::sleep(span);
    assert_eq!(worker.tell("return 8").out, 0);
}

/// A counter of the only application, once it is there.
fn counter(stage: &Stage, family: &str) -> f64 {
    wait_for(family, Duration::from_secs(20), || stage.said().app(family, "app"))
}

fn two_full_seconds_between_two_probes_are_counted(library: Library) {
    let stage = Stage::start(rare_probes("0.1"));
    let mut worker = stage.worker(library, "", 1);
    worker.tell("warm 1");
    let before = counter(&stage, "saturated_seconds_total");
    assert_eq!(before, 0.0, "a label set begins at 0");
    let busy = counter(&stage, "active_connection_seconds_total");
    fill(&mut worker, Duration::from_secs(2));
    std::thread::sleep(Duration::from_millis(500));
    let grown = counter(&stage, "saturated_seconds_total") - before;
    let busy = counter(&stage, "active_connection_seconds_total") - busy;
    println!(
        "full for 2 s between probes: saturated {grown:.2} s, active {busy:.1} connection seconds"
    );
    assert!((1.5..=2.5).contains(&grown), "{grown}");
    assert!((12.0..=20.0).contains(&busy), "8 connections for 2 s: {busy}");
    let peak = Expected { samples: &[("active_connections_peak", 8.0)], ..Expected::default() };
    stage.expect("8 of 8 for 2 s between two probes", "app", &peak);
}

/// Nothing is invented while the view fails, and nothing is taken back.
#[test]
fn counters_survive_a_view_that_fails() {
    let stage = Stage::start(Setup::of(5, 3).with("DB_MONITOR_INSTANCES", "1"));
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    worker.tell("hold 8");
    let sampled = "db_pool_sampled_seconds_total{target=\"default\"}";
    let grown = wait_for("two saturated seconds", Duration::from_secs(20), || {
        stage.said().app("saturated_seconds_total", "app").filter(|seconds| *seconds >= 2.0)
    });
    let view = "ON FUNCTION pg_catalog.pg_stat_get_activity(integer)";
    stage.cluster.psql(&format!("REVOKE EXECUTE {view} FROM PUBLIC"));
    std::thread::sleep(Duration::from_secs(1));
    let first = stage.said();
    std::thread::sleep(Duration::from_secs(4));
    let second = stage.said();
    let read = |said: &super::stage::Said| {
        (said.app("saturated_seconds_total", "app"), said.page.sample(sampled))
    };
    assert_eq!(read(&first), read(&second), "no time was seen");
    assert!(read(&second).0 >= Some(grown), "{:?}", read(&second));
    stage.cluster.psql(&format!("GRANT EXECUTE {view} TO PUBLIC"));
    wait_for("samples again", Duration::from_secs(10), || {
        (stage.said().page.sample(sampled) > read(&second).1).then_some(())
    });
}

/// Neither a probe nor a sampler looks more often than configured; the interval in use is shown.
#[test]
fn the_sampling_interval_in_use_is_shown() {
    for (setup, expected) in [(Setup::of(5, 3), 0.1), (rare_probes("1"), 1.0)] {
        let stage = Stage::start(setup);
        let name = "db_pool_sampling_interval_seconds{target=\"default\"}";
        let shown = wait_for("the sampling interval", Duration::from_secs(10), || {
            stage.said().page.sample(name)
        });
        assert!((expected..=5.0 * expected).contains(&shown), "{shown} for {expected}");
    }
}
