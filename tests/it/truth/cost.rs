//! What sampling costs, on both sides. `make cost-sampling` runs it, on a machine that does nothing else.

use std::fs;
use std::time::Duration;

use super::samples::rare_probes;
use super::stage::Stage;
use crate::support::postgres::Cluster;
use crate::support::workers;

/// How long is measured.
const SPAN: Duration = Duration::from_secs(30);
/// The promise, in parts of a core.
const LIMIT: f64 = 0.005;

#[test]
#[ignore = "a measurement of more than a minute: make cost-sampling"]
fn sampling_costs_less_than_half_a_percent_of_a_core_on_either_side() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut parts = Vec::new();
    for sessions in [300, 1_000] {
        let cluster = workers::cluster(Cluster::builder().setting("max_connections", "1100"));
        let mut held = Vec::new();
        for _ in 0..sessions {
            held.push(runtime.block_on(cluster.client_at_socket("app")));
        }
        let stage = Stage::on(cluster, rare_probes("1"));
        let settled = Duration::from_secs(5);
        std::thread::sleep(settled);
        let [daemon, server] = measured(&stage);
        let interval =
            stage.said().page.sample("db_pool_sampling_interval_seconds{target=\"default\"}");
        println!(
            "{sessions} sessions, sampled every {interval:?} s: the exporter takes {:.2} % of a core, its backends {:.2} %",
            daemon * 100.0,
            server * 100.0
        );
        parts.extend([daemon, server]);
        drop(held);
    }
    assert!(parts.iter().all(|part| *part > 0.0 && *part < LIMIT), "{parts:?}");
}

/// The parts of a core that the exporter and its sessions on the server use.
fn measured(stage: &Stage) -> [f64; 2] {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'db_pool_exporter'";
    let backends = stage.cluster.psql(sql);
    let daemon = stage.daemon.pid().as_raw_nonzero().to_string();
    let used = || {
        let backends: f64 = backends.lines().map(seconds_of).sum();
        [seconds_of(&daemon), backends]
    };
    let before = used();
    std::thread::sleep(SPAN);
    let after = used();
    [0, 1].map(|side| (after[side] - before[side]) / SPAN.as_secs_f64())
}

/// The time that a process has spent on a processor, all its threads together: exact to the nanosecond.
fn seconds_of(pid: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(of).sum::<f64>() / 1e9
}
