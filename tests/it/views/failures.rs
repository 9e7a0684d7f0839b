//! A failing view does not affect the others.

use std::time::Duration;

use db_pool_exporter::pool::Reason;
use db_pool_exporter::probe::ProbePart;
use db_pool_exporter::view::{self, statements};

use super::builder;
use crate::support::watch::{Lines, Privilege, Watch, failures, monitor, settings};

on_versions! {
    a_missing_extension_fails_its_view_alone,
    a_view_that_hangs_leaves_the_others_their_time,
    a_probe_statement_that_hangs_leaves_the_views_theirs,
    a_full_server_still_shows_who_has_the_connections,
}

fn with_statements() -> view::ViewSettings {
    view::ViewSettings::default().with(statements::VIEW.name)
}

async fn a_missing_extension_fails_its_view_alone(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let watch = Watch::new(settings(&cluster, with_statements()));
    let missing = (ProbePart::View(statements::VIEW.name), Reason::NoExtension);
    let snapshot = watch.probe().await;
    assert_eq!(failures(&snapshot), [missing]);
    assert!(snapshot.is_up());
    let lines = Lines::new(snapshot);
    assert_eq!(lines.value("probe_success{probe=\"statements\"}"), 0.0);
    assert_eq!(lines.value("probe_success{probe=\"activity\"}"), 1.0);
    // The extension exists, but the server has not preloaded its library.
    cluster.psql("CREATE EXTENSION pg_stat_statements");
    assert_eq!(failures(&watch.probe().await), [missing]);
}

async fn a_view_that_hangs_leaves_the_others_their_time(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let mut settings = settings(&cluster, with_statements());
    settings.schedule.timeout = Duration::from_millis(1500);
    let watch = Watch::new(settings);
    let admin = cluster.admin().await;
    watch.probe().await;
    let lock = "BEGIN; LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(lock).await.expect("the superuser may");
    let snapshot = watch.probe().await;
    assert_eq!(failures(&snapshot), [(ProbePart::View(statements::VIEW.name), Reason::Timeout)]);
    assert!(snapshot.took < Duration::from_millis(1800), "{:?}", snapshot.took);
    // The statement is cancelled on the server, too.
    admin.batch_execute("ROLLBACK").await.expect("it is its own");
    let after = failures(&watch.probe().await);
    assert_eq!(after, [(ProbePart::View(statements::VIEW.name), Reason::NoExtension)]);
}

async fn a_probe_statement_that_hangs_leaves_the_views_theirs(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let mut settings = settings(&cluster, view::ViewSettings::default());
    settings.schedule.timeout = Duration::from_millis(1500);
    settings.query = "SELECT pg_sleep(60)".to_owned();
    let snapshot = Watch::new(settings).probe().await;
    assert_eq!(failures(&snapshot), [(ProbePart::Query, Reason::Timeout)]);
    assert!(snapshot.took < Duration::from_millis(1800), "{:?}", snapshot.took);
}

async fn a_full_server_still_shows_who_has_the_connections(version: Option<u32>) {
    let cluster = builder(version).setting("max_connections", "10").start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role("greedy", "secret");
    let watch = Watch::new(settings(&cluster, view::ViewSettings::default()));
    watch.good().await;
    let mut held = Vec::new();
    while let Ok(client) = cluster.client("greedy", "secret").await {
        held.push(client);
    }
    let snapshot = watch.probe().await;
    assert_eq!(failures(&snapshot), [(ProbePart::Connect, Reason::TooManyConnections)]);
    let lines = Lines::new(snapshot);
    assert_eq!(lines.value("server_available_connections"), 0.0);
    let greedy = "database=\"postgres\",user=\"greedy\",application=\"\",state=\"idle\"";
    assert_eq!(lines.value(&format!("server_connections{{{greedy}}}")), held.len() as f64);
}

/// The deadline is so near that no statement is sent, so none can be reported as one without an answer.
#[tokio::test]
async fn a_part_that_begins_at_the_deadline_reports_the_deadline() {
    let cluster = builder(None).start();
    monitor(&cluster, Privilege::ReadAllStats);
    let mut settings = settings(&cluster, view::ViewSettings::default());
    settings.schedule.timeout = Duration::from_millis(9);
    let watch = Watch::new(settings);
    let deadline = "not done at the probe's deadline of 0.009 s";
    let mut at_deadline = 0;
    // The pool connects during the first probes; the later ones have a connection at once.
    for _ in 0..10 {
        let snapshot = watch.probe().await;
        for (part, result) in snapshot.parts().filter(|(part, _)| *part != ProbePart::Connect) {
            let failure = result.expect_err("there is no time for a statement");
            assert!(!failure.message.contains("cancelled"), "{part:?}: {failure:?}");
            at_deadline += u32::from(failure.message == deadline);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(at_deadline > 0);
}
