//! The command line for clap. Values stay text here: `flags` reads them, together with their variables.

use clap::{CommandFactory, Parser, ValueHint};

use super::check::CheckArguments;
use super::completions::Shell;
use super::demo::DemoArguments;
use super::drill::DrillArguments;
use super::extra::extra;
use super::size::SizeArguments;
use crate::app::version;

/// The flags of the daemon that a subcommand has as well, by their beginnings. All are accepted everywhere, so
/// that one environment serves all subcommands, but the help of a subcommand shows only those with an effect.
const SHOWN: [(&str, &[&str]); 7] = [
    ("serve", &["config", "web", "log", "timeout"]),
    ("config", &["config.file", "web", "log", "timeout"]),
    ("check", &["config.file", "color"]),
    ("size", &["config.file", "color"]),
    ("drill", &["config.file", "color"]),
    ("healthcheck", &["web.listen", "web.external", "web.route"]),
    ("demo", &["web", "log"]),
];

/// Returns the command line, with the flags of each subcommand as its help shows them.
pub(super) fn command() -> clap::Command {
    let command = Arguments::command();
    let globals: Vec<clap::Arg> =
        command.get_arguments().filter(|flag| flag.is_global_set()).cloned().collect();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| with_own_flags(sub, name, &globals))
    });
    match extra("") {
        Some(extra) => command.after_long_help(extra.text()),
        None => command,
    }
}

/// The values of flags, for completions. Flags are read by `flags`, whose messages name all problems at once, so clap
/// must not check them first.
const VALUES: [(&str, &[&str]); 3] = [
    ("log.level", &["debug", "info", "warn", "error", "trace"]),
    ("log.format", &["logfmt", "json"]),
    ("color", &["auto", "always", "never"]),
];

/// Returns the command line to be described: with the values of its flags, and with the flags that a subcommand
/// shows in place of those that it accepts.
pub(super) fn command_with_values() -> clap::Command {
    let command = Arguments::command();
    let globals: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|flag| flag.is_global_set())
        .map(|flag| with_values(flag.clone().global(false)))
        .collect();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(|flag| with_values(flag.global(false)));
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| {
            let shown = globals.iter().filter(|flag| is_shown(name, flag)).cloned();
            shown.fold(sub, clap::Command::arg)
        })
    })
}

fn with_values(flag: clap::Arg) -> clap::Arg {
    let long = flag.get_long().unwrap_or_default().to_owned();
    let known = VALUES.iter().find(|(known, _)| *known == long).map(|(_, values)| *values);
    let is_switch = flag.get_value_names().is_some_and(|names| names.iter().any(|n| n == "BOOL"));
    match known.or(is_switch.then_some(&["true", "false"])) {
        Some(values) => flag.value_parser(values.to_vec()).hide_possible_values(true),
        None => flag,
    }
}

/// Reports whether a flag of the daemon has an effect on a subcommand.
fn is_shown(subcommand: &str, flag: &clap::Arg) -> bool {
    let shown = SHOWN.iter().find(|(known, _)| *known == subcommand);
    let long = flag.get_long().unwrap_or_default();
    shown.is_some_and(|(_, flags)| flags.iter().any(|beginning| long.starts_with(beginning)))
}

/// Hides the flags that have no effect on a subcommand, and adds the further sections of its help.
fn with_own_flags(sub: clap::Command, name: &str, globals: &[clap::Arg]) -> clap::Command {
    // clap copies the global flags into a subcommand only where it has none of the same id.
    let hidden = globals.iter().filter(|flag| !is_shown(name, flag));
    let hidden = hidden.map(|flag| flag.clone().hide(true));
    let sub = hidden.fold(sub, clap::Command::arg);
    match extra(name) {
        Some(extra) => sub.after_long_help(extra.text()),
        None => sub,
    }
}

/// A Prometheus exporter for PostgreSQL connection pools.
///
/// Targets are described by the application's own variables (DATABASE_URL, DB_POOL_SIZE, ...) or by a
/// configuration file. Each flag has a variable: DB_POOL_EXPORTER_ and the flag in capitals, with `_` for
/// `.` and `-`.
#[derive(Parser)]
#[command(
    name = "db_pool_exporter",
    version = version::VERSION
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) subcommand: Option<Subcommand>,

    /// The configuration file: TOML if its name ends in .toml, otherwise YAML.
    #[arg(long = "config.file", global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config_file: Option<String>,

    /// Check the configuration and exit: 0 if it is valid, otherwise 64 and a list of every problem.
    #[arg(long = "config.check", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) config_check: Option<String>,

    /// Read the configuration file again when it changes.
    #[arg(long = "config.enable-auto-reload", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) auto_reload: Option<String>,

    #[command(flatten)]
    pub(super) web: Web,

    /// Log messages of this level and above: debug, info, warn, error (or trace) [default: info].
    #[arg(long = "log.level", global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// The format of log lines: logfmt or json [default: logfmt; json with APP_ENV=production].
    #[arg(long = "log.format", global = true, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,

    /// For /probe: seconds to subtract from Prometheus' scrape time-out [default: 0.5].
    #[arg(long = "timeout-offset", global = true, value_name = "SECONDS")]
    pub(super) timeout_offset: Option<String>,

    /// Colours in reports: always, never, or auto for a terminal where NO_COLOR is not set [default: auto].
    #[arg(long = "color", global = true, value_name = "WHEN")]
    pub(super) color: Option<String>,
}

/// The flags of the web server.
#[derive(clap::Args)]
pub(super) struct Web {
    /// Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956].
    #[arg(long = "web.listen-address", global = true, value_name = "ADDRESS")]
    pub(super) listen: Vec<String>,

    /// Path of the metrics [default: /metrics].
    #[arg(long = "web.telemetry-path", global = true, value_name = "PATH")]
    pub(super) telemetry_path: Option<String>,

    /// File with TLS and authentication settings, in the format of the Prometheus exporter toolkit.
    #[arg(long = "web.config.file", global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) web_config_file: Option<String>,

    /// Use the sockets that systemd passes, instead of --web.listen-address.
    #[arg(long = "web.systemd-socket", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) systemd_socket: Option<String>,

    /// The maximum number of requests in progress; 0 means no limit [default: 40].
    #[arg(long = "web.max-requests", global = true, value_name = "N")]
    pub(super) max_requests: Option<String>,

    /// The maximum number of requests to /probe in progress, at most half of --web.max-requests [default: 10].
    #[arg(long = "web.max-probes", global = true, value_name = "N")]
    pub(super) max_probes: Option<String>,

    /// The URL under which clients reach the daemon.
    #[arg(long = "web.external-url", global = true, value_name = "URL")]
    pub(super) external_url: Option<String>,

    /// Prefix of every path [default: the path of --web.external-url].
    #[arg(long = "web.route-prefix", global = true, value_name = "PATH")]
    pub(super) route_prefix: Option<String>,

    /// Allow every client to reload the configuration and to reset the JSON counters.
    #[arg(long = "web.enable-lifecycle", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) lifecycle: Option<String>,

    /// Do not trust a client because it is on this host: for proxies and TCP forwarders in front.
    #[arg(long = "web.disable-local-trust", global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) no_local_trust: Option<String>,
}

/// The subcommands.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Watch the targets and serve their metrics (the default).
    Serve,
    /// Show the effective configuration and the source of each value.
    Config,
    /// Probe every target and exit with 0 if healthy, 1 if degraded, 2 if unhealthy, 3 if unknown.
    Check(CheckArguments),
    /// Advise on the size of the pool and exit with 0 if it fits, 1 if it does not, 3 if unknown.
    Size(Box<SizeArguments>),
    /// Open all connections of one process at once, hold them briefly and close them; exit with 0 if the server gives all.
    Drill(DrillArguments),
    /// Ask a running daemon whether it is alive and exit with 0 or 1.
    Healthcheck,
    /// Start a temporary PostgreSQL and sample applications, and watch them through a scripted day.
    Demo(DemoArguments),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}
