//! The flags of `size`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use crate::cli::check::Format;
use crate::cli::values::{NUMBER, TIME, WHOLE, between_seconds, number, whole};
use crate::source::Endpoint;

/// The flags of `size`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct SizeArguments {
    #[command(flatten)]
    pub(super) prometheus: PrometheusArguments,

    /// Without Prometheus: the time for which the server is sampled once a second.
    #[arg(long = "for", value_name = TIME, default_value = "60s", value_parser = |text: &str| between_seconds(text, 10.0, 86_400.0))]
    pub(super) look: Duration,

    /// The rule of thumb instead of measurements: workers that share one pool.
    #[arg(long, value_name = WHOLE, requires = "connections_per_worker", conflicts_with = "url", value_parser = |text: &str| whole(text, 1, 100_000))]
    pub(super) workers: Option<u32>,

    /// With --workers: connections that one worker uses on average.
    #[arg(long, value_name = NUMBER, requires = "workers", value_parser = |text: &str| number(text, 0.01, 10_000.0))]
    pub(super) connections_per_worker: Option<f64>,

    /// With --workers: processes, each with a pool of its own.
    #[arg(long, value_name = WHOLE, default_value = "1", value_parser = |text: &str| whole(text, 1, 100_000))]
    pub(super) processes: u32,

    /// With --workers: connections that the server gives to all of them [default: asked of the target, if there is one].
    #[arg(long, value_name = WHOLE, value_parser = |text: &str| whole(text, 1, 1_000_000))]
    pub(super) max_connections: Option<u32>,

    /// The most processes at once as a multiple of the usual number, such as 2 while a deploy overlaps [default: as seen].
    #[arg(long, value_name = NUMBER, value_parser = |text: &str| number(text, 1.0, 10.0))]
    pub(super) overlap: Option<f64>,

    /// The processors of the database server: then it is judged whether more connections would make it slower.
    #[arg(long, value_name = WHOLE, value_parser = |text: &str| whole(text, 1, 4096))]
    pub(super) cores: Option<u32>,

    /// Only this target.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,

    /// Only this application.
    #[arg(long, value_name = "NAME")]
    pub(super) application: Option<String>,

    /// The format of the report.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: Format,
}

/// The flags for a Prometheus.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct PrometheusArguments {
    /// The Prometheus that scrapes the exporter.
    #[arg(long = "prometheus.url", value_name = "URL", value_hint = ValueHint::Url, value_parser = web)]
    pub(super) url: Option<WebAddress>,

    /// The time to look at, up to now.
    #[arg(long, value_name = TIME, default_value = "7d", value_parser = |text: &str| between_seconds(text, 60.0, 31_536_000.0))]
    pub(super) window: Duration,

    /// The name of a login to Prometheus; needs --prometheus.password-file.
    #[arg(long = "prometheus.username", value_name = "NAME", requires = "password_file")]
    pub(super) username: Option<String>,

    /// A file with the password of --prometheus.username.
    #[arg(long = "prometheus.password-file", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "username")]
    pub(super) password_file: Option<PathBuf>,

    /// A file with a token for Prometheus.
    #[arg(long = "prometheus.bearer-token-file", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "username")]
    pub(super) bearer_token_file: Option<PathBuf>,

    /// A file with the certificates to trust for https [default: those of the system].
    #[arg(long = "prometheus.ca-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) ca_file: Option<PathBuf>,
}

/// An http or https address that is not shown, because it may hold a login.
#[derive(Clone, PartialEq)]
pub(crate) struct WebAddress(pub(super) Endpoint);

impl std::fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.show())
    }
}

fn web(text: &str) -> Result<WebAddress, String> {
    match Endpoint::parse(text) {
        Ok(endpoint @ Endpoint::Web(_)) => Ok(WebAddress(endpoint)),
        Ok(Endpoint::Socket(_)) | Err(_) => {
            Err("must be an http:// or https:// URL, such as http://prometheus:9090".to_owned())
        }
    }
}
