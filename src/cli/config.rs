//! `config`: prints the effective configuration and the source of each value.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Command, flags, load, print, print_warnings, report};
use crate::config::render;

pub(super) fn run(mut command: Command, environment: &BTreeMap<String, String>) -> ExitCode {
    match load(&command, environment) {
        Ok(config) => {
            if config.production {
                flags::in_production(&mut command);
            }
            print_warnings(&config.warnings);
            print(&format!("{}{}", render(&command.entries), render(&config.entries)))
        }
        Err(problems) => report(&problems),
    }
}
