//! The whole `/metrics` page of a fixed snapshot, compared with a file, so that every change of a name,
//! a label, a bucket or a value shows in a diff. `UPDATE_GOLDEN=1` writes the file anew.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exposition::Exporter;
use super::fleet::Fleet;
use super::log_queue::LogQueue;
use super::reload::ReloadStatus;
use crate::api::Shown;
use crate::metrics::{Filter, Format, Page};
use crate::probe::{Probing, Roster, fixture};
use crate::web::HttpInstruments;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metrics-golden.txt");

/// Families with values of this process or of this build.
const VARYING: &[&str] = &[
    "process_",
    "db_pool_exporter_build_info",
    "db_pool_exporter_config_last_reload_success_timestamp_seconds",
];

/// The page of two targets: one that was probed, and one that was not.
fn page() -> String {
    let roster = Roster::new(TaskTracker::new(), CancellationToken::new(), Probing::Off);
    roster.apply(vec![fixture::settings("orders"), fixture::settings("unprobed")]);
    let orders = roster.target("orders").expect("it was applied");
    fixture::publish(&orders, fixture::rich_snapshot());
    let roster = Arc::new(roster);
    let exporter = Exporter::new(
        Fleet::new(Arc::clone(&roster)),
        Arc::new(HttpInstruments::new(crate::api::ROUTES)),
        ReloadStatus::new(),
        LogQueue::default(),
    );
    let filter = Filter::default();
    let mut page = Page::new(Format::Text, &filter);
    exporter.write(&roster, &Shown::Everything, &mut page);
    page.finish()
}

/// The page in a form that two runs share: what varies is `...`, and the samples of a family are sorted,
/// because their order is no part of the contract. Histograms keep theirs: buckets must ascend.
fn settled(page: &str) -> String {
    let families = page.split_inclusive('\n').map(masked).fold(Vec::new(), |mut families, line| {
        if line.starts_with("# HELP") {
            families.push(Vec::new());
        }
        families.last_mut().expect("a family begins with its help").push(line);
        families
    });
    let sorted = families.into_iter().map(|mut family: Vec<String>| {
        if !family[1].ends_with("histogram\n") {
            family[2..].sort();
        }
        family.concat()
    });
    sorted.collect()
}

/// The line with what varies replaced by `...`.
fn masked(line: &str) -> String {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    if VARYING.iter().any(|prefix| name.starts_with(prefix)) {
        format!("{name} ...\n")
    } else {
        line.to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_of_a_fixed_snapshot_is_the_golden_one() {
    let page = settled(&page());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PATH, &page).expect("the golden page can be written");
    }
    let golden = std::fs::read_to_string(PATH).expect("the golden page is there");
    let differing = page.lines().zip(golden.lines()).find(|(now, then)| now != then);
    assert!(
        page == golden,
        "the page has changed; if on purpose: UPDATE_GOLDEN=1 cargo test --lib golden\n\
         first difference (now, golden): {differing:#?}"
    );
}
