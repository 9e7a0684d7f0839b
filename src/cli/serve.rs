//! `serve`: watch the targets and serve their metrics.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Command, answer, flags, tell};
use crate::app::{self, Daemon, logging};
use crate::config;
use crate::http;

pub(super) fn run(mut command: Command, environment: BTreeMap<String, String>) -> ExitCode {
    let config = match config::load(&environment, command.settings.config_file.as_deref()) {
        Ok(config) => config,
        Err(problems) => return tell(&problems),
    };
    if command.check_only {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        return answer("configuration is valid\n");
    }
    if config.production {
        flags::in_production(&mut command);
    }
    // Before any thread runs: the sockets are named by variables of this process.
    let inherited = http::Inherited::from_env();
    logging::init(command.settings.log);
    let daemon = Daemon { settings: command.settings, environment, config };
    match app::serve(daemon, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
