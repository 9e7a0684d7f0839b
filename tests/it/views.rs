//! The views against real servers, with what SQL, SQLAlchemy and the servers themselves say beside them.
//!
//! The tests run on the operating system's PostgreSQL, and on the oldest and the newest supported one;
//! with TEST_POSTGRES on that version alone (`make test-all` goes through all).

/// Makes a test of each function for each version.
macro_rules! on_versions {
    ($($name:ident),+ $(,)?) => {
        mod usual { $( #[tokio::test] async fn $name() { super::$name(None).await } )+ }
        mod oldest { $( #[tokio::test] async fn $name() {
            if crate::views::all_versions() { super::$name(Some(13)).await }
        } )+ }
        mod newest { $( #[tokio::test] async fn $name() {
            if crate::views::all_versions() { super::$name(Some(18)).await }
        } )+ }
    };
}

mod activity;
mod applications;
mod failures;
mod headroom;
mod load;
mod slow;
mod write;

use crate::support::postgres::{Builder, Cluster};

/// Whether no version was asked for.
fn all_versions() -> bool {
    std::env::var_os("TEST_POSTGRES").is_none_or(|version| version.is_empty())
}

/// A cluster of a version; `None`: the usual one.
fn builder(version: Option<u32>) -> Builder {
    match version {
        Some(major) => Cluster::builder().version(major),
        None => Cluster::builder(),
    }
}
