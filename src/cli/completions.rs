//! `completions`: prints the completions of a shell.
//!
//! The scripts are made from the command line by `make pages`, and a test compares them. So the program that makes
//! them is no part of this one.

use std::process::ExitCode;

use super::print;

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// Put the output into ~/.local/share/bash-completion/completions/db_pool_exporter.
    Bash,
    /// Put the output into a file `_db_pool_exporter` in a folder of $fpath.
    Zsh,
    /// Put the output into ~/.config/fish/completions/db_pool_exporter.fish.
    Fish,
}

pub(super) fn run(shell: Shell) -> ExitCode {
    print(match shell {
        Shell::Bash => include_str!("../../deploy/completions/db_pool_exporter.bash"),
        Shell::Zsh => include_str!("../../deploy/completions/_db_pool_exporter"),
        Shell::Fish => include_str!("../../deploy/completions/db_pool_exporter.fish"),
    })
}
