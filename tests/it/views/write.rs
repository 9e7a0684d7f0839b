//! The write probe, on servers that accept writes and on servers that do not.

use std::time::Duration;

use db_pool_exporter::pool::Reason;
use db_pool_exporter::probe::write::{Table, WriteProbeSettings};
use db_pool_exporter::probe::{self, ProbePart};
use db_pool_exporter::view;

use super::builder;
use crate::support::postgres::{Cluster, REPLICATION};
use crate::support::wait_for;
use crate::support::watch::{Lines, Privilege, Watch, failures, monitor, settings};

on_versions! {
    rows_at_once_and_one_by_one_are_the_same_rows,
    what_keeps_it_from_writing_is_told_apart,
    a_hot_standby_is_read_only,
}

const TABLE: &str = include_str!("../../../deploy/sql/heartbeat.sql");

fn make_table(cluster: &Cluster) {
    cluster.psql(&format!("\\set role monitor\n{TABLE}"));
}

fn writing(cluster: &Cluster, rows: u32, use_insertmanyvalues: bool) -> probe::TargetSettings {
    let table = Table::new("db_pool_exporter_heartbeat").expect("a name");
    let write = Some(WriteProbeSettings { table, rows, use_insertmanyvalues });
    probe::TargetSettings { write, ..settings(cluster, view::ViewSettings::off()) }
}

async fn rows_at_once_and_one_by_one_are_the_same_rows(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::None);
    make_table(&cluster);
    // The inserted rows are gone at the end; a trigger keeps a copy, and shows which statement inserted each.
    cluster.psql(
        "CREATE TABLE copies (statement bigint, n int);
         CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           INSERT INTO copies SELECT nextval('statements'), n FROM rows; RETURN NULL; END $$;
         CREATE SEQUENCE statements;
         CREATE TRIGGER copy AFTER INSERT ON db_pool_exporter_heartbeat
           REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION copy()",
    );
    let mut rows = Vec::new();
    for at_once in [true, false] {
        cluster.psql("TRUNCATE copies");
        let watch = Watch::new(writing(&cluster, 200, at_once));
        let lines = watch.lines().await;
        assert_eq!(lines.value("write_up"), 1.0);
        assert_eq!(cluster.psql("SELECT count(*) FROM db_pool_exporter_heartbeat"), "0");
        rows.push(cluster.psql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM copies"));
    }
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0].split(' ').count(), 200);
    cluster.psql("DROP TRIGGER copy ON db_pool_exporter_heartbeat");
    let at_once = insert_seconds(&cluster, true).await;
    let one_by_one = insert_seconds(&cluster, false).await;
    eprintln!("200 rows at once {at_once} s, one by one {one_by_one} s");
    assert!(one_by_one > at_once * 2.0);
}

/// The mean time of an insert step of 200 rows.
async fn insert_seconds(cluster: &Cluster, at_once: bool) -> f64 {
    let watch = Watch::new(writing(cluster, 200, at_once));
    for _ in 0..5 {
        watch.good().await;
    }
    let sum = watch.instrument("db_pool_write_duration_seconds_sum{step=\"insert\"}");
    let commits = watch.instrument("db_pool_write_duration_seconds_count{step=\"commit\"}");
    assert_eq!(commits, 5.0);
    sum / 5.0
}

async fn what_keeps_it_from_writing_is_told_apart(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::None);
    let watch = Watch::new(writing(&cluster, 3, true));
    let fails = async |reason| {
        let snapshot = watch.probe().await;
        assert_eq!(failures(&snapshot), [(ProbePart::Write, reason)], "{snapshot:?}");
        assert!(snapshot.is_up());
        assert_eq!(Lines::new(snapshot).value("write_up"), 0.0);
    };
    fails(Reason::NoTable).await;
    make_table(&cluster);
    watch.good().await;
    cluster.psql("REVOKE INSERT ON db_pool_exporter_heartbeat FROM monitor");
    fails(Reason::NoPrivilege).await;
    cluster.psql("GRANT INSERT ON db_pool_exporter_heartbeat TO monitor");
    // The error code of a full disk.
    cluster.psql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'No space left on device'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON db_pool_exporter_heartbeat
           FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
    );
    fails(Reason::DiskFull).await;
    cluster.psql("DROP TRIGGER full_disk ON db_pool_exporter_heartbeat");
    watch.good().await;
    // The way in which operators and cloud services make a server read-only.
    cluster.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.reload();
    wait_for("the setting to hold", Duration::from_secs(5), || {
        (cluster.psql("SHOW default_transaction_read_only") == "on").then_some(())
    });
    fails(Reason::ReadOnly).await;
}

async fn a_hot_standby_is_read_only(version: Option<u32>) {
    let primary = builder(version).hba(REPLICATION).start();
    monitor(&primary, Privilege::ReadAllStats);
    make_table(&primary);
    let standby = primary.standby();
    let write = writing(&standby, 3, true);
    let watch = Watch::new(probe::TargetSettings { views: view::ViewSettings::default(), ..write });
    wait_for("the standby to have it all", Duration::from_secs(20), || {
        let replayed = "SELECT pg_last_wal_replay_lsn() >= ";
        let lsn = primary.psql("SELECT pg_current_wal_lsn()");
        (standby.psql(&format!("{replayed}'{lsn}'")) == "t").then_some(())
    });
    let snapshot = watch.probe().await;
    assert_eq!(failures(&snapshot), [(ProbePart::Write, Reason::ReadOnly)], "{snapshot:?}");
    let lines = Lines::new(snapshot);
    assert_eq!(lines.value("server_in_recovery"), 1.0);
    assert_eq!(
        (lines.value("write_up"), lines.value("probe_success{probe=\"query\"}")),
        (0.0, 1.0)
    );
    Watch::new(writing(&primary, 3, true)).good().await;
}

#[tokio::test]
async fn a_probe_that_runs_out_of_time_names_its_whole_limit() {
    let cluster = builder(None).start();
    monitor(&cluster, Privilege::None);
    make_table(&cluster);
    cluster.psql(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           PERFORM pg_sleep(0.3); RETURN NULL; END $$;
         CREATE TRIGGER slowly AFTER INSERT ON db_pool_exporter_heartbeat
           FOR EACH STATEMENT EXECUTE FUNCTION slowly()",
    );
    // The fourth row has 0.1 s left of the second: that is not how long the server was waited for.
    let mut settings = writing(&cluster, 10, false);
    settings.schedule.timeout = Duration::from_secs(1);
    let watch = Watch::new(settings);
    let snapshot = watch.probe().await;
    let (_, result) =
        snapshot.extras.iter().find(|(part, _)| *part == ProbePart::Write).expect("it was tried");
    let message = &result.as_ref().expect_err("ten rows take three seconds").message;
    let seconds = message.split("within ").nth(1).and_then(|rest| rest.split(' ').next());
    let seconds: f64 = seconds.and_then(|number| number.parse().ok()).expect("a number");
    assert!((0.7..=1.0).contains(&seconds), "{message}");
}
