//! `check`: probes every target and prints the phases, the application's pool and a hint for each failure.
//!
//! The exit codes are those of a Nagios plugin: 0 healthy, 1 degraded, 2 unhealthy, 3 unknown.

mod json;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use super::values::{TIME, WHOLE, between_seconds, whole};
use super::{Command, UNKNOWN, load, print, print_warnings, report};
use crate::app;
use crate::health::HealthStatus;
use crate::probe::SampleSeries;
use crate::report::{Report, of_all, worst};
use crate::text::printable_json;

/// The flags of `check`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct CheckArguments {
    /// The format of the report.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: Format,

    /// The number of probes of each target. The last one is judged with those before it, so that a pool that
    /// stays exhausted is unhealthy from the third probe on.
    #[arg(long, value_name = WHOLE, default_value = "1", value_parser = |text: &str| whole(text, 1, 1000))]
    pub(super) samples: u32,

    /// The time from one probe to the next, with --samples.
    #[arg(long, value_name = TIME, default_value = "1s", value_parser = |text: &str| between_seconds(text, 0.1, 3600.0))]
    pub(super) interval: Duration,
}

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table, for people.
    Table,
    /// JSON, for programs.
    Json,
}

/// Probes the targets, prints the report and returns the exit code.
pub(super) fn run(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &CheckArguments,
) -> ExitCode {
    let config = match load(command, environment) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(UNKNOWN);
        }
    };
    print_warnings(&config.warnings);
    let series = SampleSeries { count: arguments.samples, pause: arguments.interval };
    let checked = match app::check(config.targets, series) {
        Ok(checked) => checked,
        Err(error) => {
            eprintln!("cannot probe: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    let reports: Vec<Report<'_>> = checked.findings.iter().map(app::Finding::report).collect();
    let code = code(worst(&reports));
    match arguments.format {
        Format::Table => print(&of_all(&reports, command.palette)),
        Format::Json => {
            let json = json::whole(checked.json, &reports, arguments.samples, code);
            print(&printable_json(&json))
        }
    };
    ExitCode::from(code)
}

fn code(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Degraded => 1,
        HealthStatus::Unhealthy => 2,
    }
}
