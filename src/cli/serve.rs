//! `serve`: watch the targets and serve their metrics.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Command, answer, flags, tell};
use crate::app::{self, Daemon, Notifier, logging};
use crate::config::{self, Problem, Problems};
use crate::web;

pub(super) fn run(mut command: Command, environment: BTreeMap<String, String>) -> ExitCode {
    let config = match config::load(&environment, command.settings.config_file.as_deref()) {
        Ok(config) => config,
        Err(problems) => return tell(&problems),
    };
    if let Err(problems) = check_web(&command.settings.web) {
        return tell(&problems);
    }
    if command.check_only {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        return answer("configuration is valid\n");
    }
    if config.production {
        flags::in_production(&mut command);
    }
    // Before any thread runs: the sockets are named by variables of this process.
    let inherited = web::Inherited::from_env();
    logging::init(command.settings.log);
    let notifier = notifier(&environment);
    let daemon = Daemon { settings: command.settings, environment, config, notifier };
    match app::serve(daemon, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All that is wrong with the web configuration file, before anything is begun.
fn check_web(settings: &web::ServerSettings) -> Result<(), Problems> {
    let Some(file) = &settings.web_config_file else { return Ok(()) };
    let Err(found) = web::check(file) else { return Ok(()) };
    let mut problems = Problems::default();
    for problem in found.iter() {
        problems.add(Problem::new("--web.config.file", problem.to_string()));
    }
    Err(problems)
}

/// The service manager, if there is one.
fn notifier(environment: &BTreeMap<String, String>) -> Notifier {
    let variable = |name: &str| environment.get(name).map(String::as_str);
    let socket = variable("NOTIFY_SOCKET").map(std::ffi::OsStr::new);
    match Notifier::new(socket) {
        Ok(notifier) => notifier.with_watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID")),
        Err(error) => {
            tracing::warn!(%error, "the service manager cannot be told anything");
            Notifier::default()
        }
    }
}
