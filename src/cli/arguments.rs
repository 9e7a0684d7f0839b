//! What can be typed. Values stay text here: `flags` reads them, with their variables.

use clap::Parser;

use super::check::Format;
use crate::app::version;

/// The names of the subcommands.
pub(super) const SUBCOMMANDS: [&str; 5] = ["serve", "config", "check", "healthcheck", "demo"];

/// A Prometheus exporter for PostgreSQL connection pools.
///
/// Targets are described by the application's own variables (DATABASE_URL, DB_POOL_SIZE, ...) or by a
/// configuration file. Each flag can also be given by a variable: DB_POOL_EXPORTER_ and the flag in
/// capitals, `.` and `-` as `_`.
#[derive(Parser)]
#[command(
    name = "db_pool_exporter",
    version = version::VERSION,
    disable_help_subcommand = true
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) subcommand: Option<Subcommand>,

    /// The configuration file, YAML or TOML by its ending.
    #[arg(long = "config.file", global = true, value_name = "FILE")]
    pub(super) config_file: Option<String>,

    /// Check the configuration and end: 0, or 64 with all that is wrong.
    #[arg(long = "config.check", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) config_check: Option<String>,

    /// Read the configuration file again when it changes.
    #[arg(long = "config.enable-auto-reload", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) auto_reload: Option<String>,

    #[command(flatten)]
    pub(super) web: Web,

    /// Log only from this level on: debug, info, warn, error (or trace) [default: info].
    #[arg(long = "log.level", global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production].
    #[arg(long = "log.format", global = true, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,

    /// Without effect in this version: seconds that /probe will take off Prometheus' time-out [default: 0.5].
    #[arg(long = "timeout-offset", global = true, value_name = "SECONDS")]
    pub(super) timeout_offset: Option<String>,
}

/// The flags of the web side.
#[derive(clap::Args)]
pub(super) struct Web {
    /// Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956].
    #[arg(long = "web.listen-address", global = true, value_name = "ADDRESS")]
    pub(super) listen: Vec<String>,

    /// The path of the metrics [default: /metrics].
    #[arg(long = "web.telemetry-path", global = true, value_name = "PATH")]
    pub(super) telemetry_path: Option<String>,

    /// TLS and authentication, in the exporter toolkit's format.
    #[arg(long = "web.config.file", global = true, value_name = "FILE")]
    pub(super) web_config_file: Option<String>,

    /// Take the sockets from systemd instead.
    #[arg(long = "web.systemd-socket", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) systemd_socket: Option<String>,

    /// Requests answered at a time; 0 is no limit [default: 40].
    #[arg(long = "web.max-requests", global = true, value_name = "N")]
    pub(super) max_requests: Option<String>,

    /// The URL under which others reach the daemon.
    #[arg(long = "web.external-url", global = true, value_name = "URL")]
    pub(super) external_url: Option<String>,

    /// What stands before every path [default: the path of --web.external-url].
    #[arg(long = "web.route-prefix", global = true, value_name = "PATH")]
    pub(super) route_prefix: Option<String>,

    /// Let everybody reload the configuration and reset the metrics.
    #[arg(long = "web.enable-lifecycle", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) lifecycle: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Subcommand {
    /// Watch the targets and serve their metrics (the default).
    Serve,
    /// Show the effective configuration, and where each value came from.
    Config,
    /// Probe every target once and tell: 0 healthy, 1 degraded, 2 unhealthy, 3 not to be judged.
    Check {
        /// How the findings are told.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Ask a running daemon whether it is alive: 0 or 1.
    Healthcheck,
    /// Watch a throwaway PostgreSQL and an application with a life of its own, until Ctrl-C.
    Demo,
}
