//! `size`: advice on the size of a pool, from a Prometheus, from a live server, or by the rule of thumb.

mod arguments;
mod history;
mod json;
mod live;

use std::collections::BTreeMap;
use std::process::ExitCode;

pub(crate) use self::arguments::SizeArguments;
use super::check::Format;
use super::{Command, UNKNOWN, print};
use crate::sizing::{Advice, Arithmetic, Fit, Inputs, advise, arithmetic_in_words, in_words};
use crate::text::{printable, printable_json};

/// An application with its advice, or the reason why there is none.
pub(super) struct Sized {
    /// The names of the target and of the application.
    names: [String; 2],
    outcome: Result<(Inputs, Advice), String>,
}

impl Sized {
    fn new(target: &str, application: &str, inputs: Result<Inputs, String>) -> Self {
        let outcome = inputs.map(|inputs| {
            let advice = advise(&inputs);
            (inputs, advice)
        });
        Self { names: [target.to_owned(), application.to_owned()], outcome }
    }

    fn fit(&self) -> Fit {
        self.outcome.as_ref().map_or(Fit::Unknown, |(_, advice)| advice.fit)
    }
}

/// Prints the advice and returns the exit code: 0 fits, 1 does not fit, 3 cannot be judged.
pub(super) fn run(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &SizeArguments,
) -> ExitCode {
    let all = if let Some(workers) = arguments.workers {
        let per_worker = arguments.connections_per_worker.unwrap_or(1.0);
        return arithmetic(command, environment, arguments, workers, per_worker);
    } else if arguments.prometheus.url.is_some() {
        history::read(arguments)
    } else {
        live::look(command, environment, arguments)
    };
    match all {
        Ok(all) => report(command, arguments.format, &all),
        Err(message) => {
            eprintln!("cannot size: {}", printable(&message));
            ExitCode::from(UNKNOWN)
        }
    }
}

fn report(command: &Command, format: Format, all: &[Sized]) -> ExitCode {
    let code = code(all.iter().map(Sized::fit));
    match format {
        Format::Table => {
            let words: Vec<String> = all.iter().map(|sized| words(command, sized)).collect();
            print(&words.join("\n"))
        }
        Format::Json => print(&printable_json(&json::of_all(all, code))),
    };
    ExitCode::from(code)
}

fn words(command: &Command, sized: &Sized) -> String {
    match &sized.outcome {
        Ok((inputs, advice)) => in_words(inputs, advice, command.palette),
        Err(message) => {
            let [target, application] = sized.names.each_ref().map(|name| printable(name));
            let separator = if application.is_empty() { "" } else { ", " };
            format!("{target}{separator}{application}: no advice: {}\n", printable(message))
        }
    }
}

/// One application that does not fit decides; otherwise one that cannot be judged.
fn code(fits: impl Iterator<Item = Fit>) -> u8 {
    let fits: Vec<Fit> = fits.collect();
    if fits.contains(&Fit::No) {
        return 1;
    }
    if fits.is_empty() || fits.contains(&Fit::Unknown) { UNKNOWN } else { 0 }
}

fn arithmetic(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &SizeArguments,
    workers: u32,
    per_worker: f64,
) -> ExitCode {
    let given = match arguments.max_connections {
        Some(given) => Ok(Some(given)),
        None if live::has_target(command, environment) => {
            live::given(command, environment, arguments).map(Some)
        }
        None => Ok(None),
    };
    let given = match given {
        Ok(given) => given,
        Err(message) => {
            eprintln!("cannot size: {}", printable(&message));
            return ExitCode::from(UNKNOWN);
        }
    };
    let processes = f64::from(arguments.processes) * arguments.overlap.unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let processes = processes.ceil().clamp(1.0, 1e6) as u32;
    let inputs = Arithmetic { workers, per_worker, processes, given };
    let estimate = inputs.estimate();
    match arguments.format {
        Format::Table => print(&arithmetic_in_words(&inputs, &estimate, command.palette)),
        Format::Json => print(&json::of_arithmetic(&inputs, &estimate)),
    };
    ExitCode::from(u8::from(estimate.fit == Fit::No))
}
