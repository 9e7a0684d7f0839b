//! The inputs from a live server.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::{SizeArguments, Sized};
use crate::app::{self, LiveRequest, LiveTarget};
use crate::cli::progress::Bar;
use crate::cli::{Command, load, print_warnings};
use crate::probe::TargetSettings;

/// The time from one sample to the next.
const STEP: Duration = Duration::from_secs(1);

/// Samples the targets.
pub(super) fn look(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &SizeArguments,
) -> Result<Vec<Sized>, String> {
    let targets = targets(command, environment, arguments)?;
    let seconds = arguments.look.as_secs();
    let all = sample(targets, arguments, arguments.look, &format!("of {seconds} s"))?;
    Ok(all.into_iter().flat_map(|target| of_target(target, arguments)).collect())
}

fn of_target(found: LiveTarget, arguments: &SizeArguments) -> Vec<Sized> {
    let LiveTarget { target, failure, applications, .. } = found;
    let wanted = arguments.application.as_deref();
    let applications: Vec<_> = applications
        .into_iter()
        .filter(|app| wanted.is_none_or(|wanted| app.application == wanted))
        .collect();
    if let Some(failure) = failure {
        return vec![Sized::new(&target, "", Err(failure))];
    }
    if applications.is_empty() {
        let message = "no session of an application was seen: is it running, and are DB_MONITOR_APPLICATION and DB_MONITOR_APPLICATION_USER right?";
        return vec![Sized::new(&target, "", Err(message.to_owned()))];
    }
    let sized = applications.into_iter().map(|inputs| {
        let names = [inputs.target.clone(), inputs.application.clone()];
        let hidden = inputs.usage.active.len() == 0;
        let inputs = if hidden {
            Err("the pool cannot be seen: the exporter's role needs pg_read_all_stats, or a pooler stands between".to_owned())
        } else {
            Ok(inputs)
        };
        Sized::new(&names[0], &names[1], inputs)
    });
    sized.collect()
}

/// Reports whether a target is configured.
pub(super) fn has_target(command: &Command, environment: &BTreeMap<String, String>) -> bool {
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    command.settings.config_file.is_some() || is_set("DATABASE_URL") || is_set("DATABASE_URL_FILE")
}

/// Asks the one target what its server gives to ordinary roles.
pub(super) fn given(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &SizeArguments,
) -> Result<u32, String> {
    let targets = targets(command, environment, arguments)?;
    if targets.len() > 1 {
        return Err("there are several targets: choose one with --target".to_owned());
    }
    let found = sample(targets, arguments, STEP, "")?;
    let found = found.into_iter().next().ok_or("there is no target")?;
    if let Some(failure) = found.failure {
        return Err(failure);
    }
    let server = found.server.ok_or("the limits of the server cannot be read")?;
    Ok(server.ordinary.saturating_sub(server.others))
}

fn targets(
    command: &Command,
    environment: &BTreeMap<String, String>,
    arguments: &SizeArguments,
) -> Result<Vec<TargetSettings>, String> {
    let config = load(command, environment).map_err(|problems| problems.to_string())?;
    print_warnings(&config.warnings);
    let wanted = arguments.target.as_deref();
    let is_wanted = |target: &TargetSettings| wanted.is_none_or(|name| name == target.name);
    let targets: Vec<_> = config.targets.into_iter().filter(is_wanted).collect();
    if targets.is_empty() { Err("there is no such target".to_owned()) } else { Ok(targets) }
}

fn sample(
    targets: Vec<TargetSettings>,
    arguments: &SizeArguments,
    time: Duration,
    unit: &str,
) -> Result<Vec<LiveTarget>, String> {
    let (cores, overlap) = (arguments.cores, arguments.overlap);
    let request = LiveRequest { time, step: STEP, cores, overlap };
    let mut bar = Bar::new(std::io::stderr().is_terminal() && !unit.is_empty());
    let all = app::look(targets, request, |done, all| {
        bar.show(done as usize, all as usize, unit);
    });
    bar.clear();
    all.map_err(|error| format!("cannot probe: {error}"))
}
