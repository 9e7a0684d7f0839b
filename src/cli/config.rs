//! `config`: the effective configuration, and for each value where it came from.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Command, answer, flags, tell};
use crate::config::{load, render};

pub(super) fn run(mut command: Command, environment: &BTreeMap<String, String>) -> ExitCode {
    match load(environment, command.settings.config_file.as_deref()) {
        Ok(config) => {
            if config.production {
                flags::in_production(&mut command);
            }
            config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            answer(&format!("{}{}", render(&command.entries), render(&config.entries)))
        }
        Err(problems) => tell(&problems),
    }
}
