//! The views on real servers, compared with results of SQL, of SQLAlchemy and of the servers themselves.
//!
//! The tests run on the operating system's PostgreSQL, and on the oldest and the newest supported version. If
//! TEST_POSTGRES is set, they run on that version only (`make test-all` uses each version in turn).

/// Defines a test of each function for each version.
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
mod foreign;
mod headroom;
mod load;
mod slow;
mod write;

use crate::support::postgres::{Builder, Cluster};

/// Reports whether TEST_POSTGRES is not set.
fn all_versions() -> bool {
    std::env::var_os("TEST_POSTGRES").is_none_or(|version| version.is_empty())
}

/// A cluster of a version; `None` is the default version.
fn builder(version: Option<u32>) -> Builder {
    match version {
        Some(major) => Cluster::builder().version(major),
        None => Cluster::builder(),
    }
}
