//! `drill`: opens all connections of one process at once, holds them briefly and closes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::values::{TIME, WHOLE, between_seconds, whole};
use super::{Command, UNKNOWN, USAGE, load, print, print_warnings, report};
use crate::app::{self, DrillPlan, Drilled};
use crate::duration;
use crate::probe::{Failure, ProbePart, TargetSettings, hint};
use crate::report::place;
use crate::text::{Palette, Tone, printable};

/// The exit code when the server refused a connection.
const REFUSED: u8 = 1;

/// The exit code of a program that Ctrl-C ended, as of a shell.
const INTERRUPTED: u8 = 130;

/// The flags of `drill`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct DrillArguments {
    /// Do it. Without this flag it is only shown what would be done.
    #[arg(long)]
    pub(super) yes: bool,

    /// The number of connections to open [default: DB_POOL_SIZE + DB_MAX_OVERFLOW].
    #[arg(long, value_name = WHOLE, value_parser = |text: &str| whole(text, 1, 5000))]
    pub(super) connections: Option<u32>,

    /// The time for which all of them are held.
    #[arg(long, value_name = TIME, default_value = "3s", value_parser = |text: &str| between_seconds(text, 0.0, 300.0))]
    pub(super) hold: Duration,

    /// The target, if there are several.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
}

/// Runs the drill, or shows it; returns the exit code.
pub(super) fn run(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &DrillArguments,
) -> ExitCode {
    let config = match load(command, environment) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(UNKNOWN);
        }
    };
    print_warnings(&config.warnings);
    let (target, plan) = match chosen(config.targets, arguments) {
        Ok(chosen) => chosen,
        Err(message) => {
            eprintln!("cannot drill: {message}");
            return ExitCode::from(USAGE);
        }
    };
    let intent = intent(&target, plan);
    if !arguments.yes {
        print(&format!(
            "would open {intent}\nWhile they are held, the server may refuse other clients. Nothing was done: add --yes.\n"
        ));
        return ExitCode::from(USAGE);
    }
    eprintln!("opening {intent}");
    match app::drill(&target, plan) {
        Ok(drilled) => {
            print(&in_words(&target, plan, &drilled, command.palette));
            ExitCode::from(code(&drilled))
        }
        Err(error) => {
            eprintln!("cannot drill: {}", printable(&format!("{error:#}")));
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Returns the one target, and what to do with it.
fn chosen(
    targets: Vec<TargetSettings>,
    arguments: &DrillArguments,
) -> Result<(TargetSettings, DrillPlan), &'static str> {
    let wanted = arguments.target.as_deref();
    let mut targets = targets.into_iter().filter(|t| wanted.is_none_or(|name| name == t.name));
    let target = targets.next().ok_or("there is no such target")?;
    if targets.next().is_some() {
        return Err("there are several targets: choose one with --target");
    }
    if !target.kind.spec().has_transactions {
        return Err("the console of PgBouncer has no pool of an application");
    }
    let limits = &target.limits;
    let (size, overflow) = match (arguments.connections, limits.max()) {
        (Some(number), _) if limits.size == 0 || number <= limits.size => (number, 0),
        (Some(number), _) => (limits.size, number - limits.size),
        (None, Some(max)) => (limits.size, max - limits.size),
        (None, None) => return Err("the pool has no limit: give --connections"),
    };
    Ok((target, DrillPlan { size, overflow, hold: arguments.hold }))
}

fn intent(target: &TargetSettings, plan: DrillPlan) -> String {
    let DrillPlan { size, overflow, hold } = plan;
    format!(
        "{} connections at once ({size} + {overflow}) to {}, hold them for {}, and close them",
        plan.connections(),
        printable(&place(target)),
        duration::show(hold)
    )
}

fn code(drilled: &Drilled) -> u8 {
    if drilled.was_interrupted {
        return INTERRUPTED;
    }
    let all_opened = drilled.attempts.iter().all(|(_, result)| result.is_ok());
    if all_opened { 0 } else { REFUSED }
}

fn in_words(
    target: &TargetSettings,
    plan: DrillPlan,
    drilled: &Drilled,
    palette: Palette,
) -> String {
    let times: Vec<Duration> =
        drilled.attempts.iter().filter(|(_, r)| r.is_ok()).map(|(took, _)| *took).collect();
    let (opened, all) = (times.len(), plan.connections());
    let is_good = opened == all as usize;
    let (tone, word) = if is_good { (Tone::Good, "HOLDS") } else { (Tone::Bad, "DOES NOT HOLD") };
    let word = palette.paint(tone, word);
    let mut text = format!("{word}: {opened} of {all} connections were opened\n");
    if let (Some(fastest), Some(slowest)) = (times.first(), times.last()) {
        let median = times[opened / 2];
        let [fastest, median, slowest] = [fastest, &median, slowest].map(|time| ms(*time));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  fastest {fastest}, median {median}, slowest {slowest}");
    }
    for ten in times.chunks(10) {
        let ten: Vec<String> = ten.iter().map(|time| ms(*time)).collect();
        let _ = writeln!(text, "    {}", ten.join("  "));
    }
    for (n, (took, result)) in drilled.attempts.iter().enumerate() {
        if let Err(failure) = result {
            let message = printable(&failure.message);
            let _ = writeln!(text, "  refused: number {} after {}: {message}", n + 1, ms(*took));
        }
    }
    let failures = drilled.attempts.iter().filter_map(|(_, result)| result.as_ref().err());
    for advice in hints(target, failures) {
        let _ = writeln!(text, "    hint: {}", printable(&advice));
    }
    text += &ending(drilled);
    text
}

/// Returns the hints without repetitions.
fn hints<'f>(target: &TargetSettings, failures: impl Iterator<Item = &'f Failure>) -> Vec<String> {
    let mut hints: Vec<String> =
        failures.map(|failure| hint(&target.name, ProbePart::Connect, failure)).collect();
    hints.sort();
    hints.dedup();
    hints
}

fn ending(drilled: &Drilled) -> String {
    let mut text = String::new();
    if let Some(left) = drilled.left {
        let (more, used, ordinary) = (left.more(), left.used, left.ordinary);
        let _ = writeln!(
            text,
            "  left for this role and database while they were held: {more} ({used} of the server's {ordinary} ordinary connections in use)"
        );
    }
    if drilled.was_interrupted {
        text += "  interrupted\n";
    }
    match drilled.unclosed {
        0 => text += "  all are closed\n",
        n => {
            let _ = writeln!(text, "  {n} are not closed yet: the server has not answered");
        }
    }
    text
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
