//! Settings for tests: of this room, of the rooms above, and of `tests/`.

use std::sync::Arc;
use std::time::Duration;

use super::{ConnectSettings, Credentials, PoolLimits};
use crate::dsn::{self, Dsn};

/// Settings for this URL, with the user `nobody` if it names none, and a limit of ten seconds.
///
/// # Panics
/// The URL is bad or incomplete.
pub fn connect(url: &str) -> ConnectSettings {
    let mut dsn = dsn::parse(url).expect("a good URL");
    assert!(dsn.resolve(Some("nobody")).is_empty(), "the URL is complete");
    connect_to(dsn)
}

/// Connects as these settings of a URL say, and takes ten seconds at most.
pub fn connect_to(dsn: Dsn) -> ConnectSettings {
    ConnectSettings {
        dsn: Arc::new(dsn),
        timeout: Duration::from_secs(10),
        credentials: Credentials::default(),
        application_name: "db_pool_exporter".to_owned(),
        ping: "",
        linger: ConnectSettings::LINGER,
    }
}

/// The specification's defaults: 20 connections, and 10 beyond them.
pub fn limits() -> PoolLimits {
    PoolLimits::default()
}
