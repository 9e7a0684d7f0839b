//! `serve`: watches the targets and serves their metrics.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use super::{Command, flags, load_with, loader, print, print_warnings, report};
use crate::app::{self, Daemon, Notifier, logging};
use crate::config::{Config, Problem, Problems};
use crate::web;

/// The time in which the last log lines must be written at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

pub(super) fn run(mut command: Command, environment: BTreeMap<String, String>) -> ExitCode {
    let loader = loader(&command, &environment);
    let config = match load_with(&loader, &environment) {
        Ok(config) => config,
        Err(problems) => return report(&problems),
    };
    let web_warnings = match check_web(&command.settings.web) {
        Ok(warnings) => warnings,
        Err(problems) => return report(&problems),
    };
    if command.check_only {
        if let Some(problems) = refused(&config) {
            return report(&problems);
        }
        print_warnings(&config.warnings);
        print_warnings(web_warnings.iter().map(|w| format!("--web.config.file: {w}")));
        return print("configuration is valid\n");
    }
    if config.production {
        flags::in_production(&mut command);
    }
    // This reads LISTEN_FDS and LISTEN_PID and takes the sockets over, so it must come before any thread.
    let inherited = web::Inherited::from_env();
    let log = match logging::init(command.settings.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("the log cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let notifier = notifier(&environment);
    let settings = command.settings;
    let daemon = Daemon { settings, loader, config, notifier, log: log.clone() };
    let outcome = match app::serve(daemon, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    };
    log.wait_until_written(LAST_LINES);
    outcome
}

/// Returns the problems of all files of targets that are refused; `None` without any. A daemon starts without
/// them, but a check must not pass.
fn refused(config: &Config) -> Option<Problems> {
    let mut all = Problems::default();
    for problem in config.target_files.refused.iter().flat_map(|file| file.problems.iter()) {
        all.add(problem.clone());
    }
    (!all.is_empty()).then_some(all)
}

/// Reads the web configuration file, so that its problems are reported before anything starts. Returns
/// its warnings.
fn check_web(settings: &web::ServerSettings) -> Result<Vec<Problem>, Problems> {
    let Some(file) = &settings.web_config_file else { return Ok(Vec::new()) };
    let found = match web::check(file) {
        Ok(warnings) => return Ok(warnings),
        Err(found) => found,
    };
    let mut problems = Problems::default();
    for problem in found.iter() {
        problems.add(Problem::new("--web.config.file", problem.to_string()));
    }
    Err(problems)
}

/// Returns the connection to the service manager; without one it does nothing.
fn notifier(environment: &BTreeMap<String, String>) -> Notifier {
    let variable = |name: &str| environment.get(name).map(String::as_str);
    let socket = variable("NOTIFY_SOCKET").map(std::ffi::OsStr::new);
    match Notifier::new(socket) {
        Ok(notifier) => notifier.with_watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID")),
        Err(error) => {
            tracing::warn!(%error, "the service manager cannot be notified");
            Notifier::default()
        }
    }
}
