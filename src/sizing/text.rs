//! Inputs and advice in words.

use std::fmt::Write as _;

use super::advise::{Advice, Binding, Fit, Plan};
use super::arithmetic::{Arithmetic, Estimate};
use super::demand::Basis;
use super::inputs::{Inputs, Measured, PoolLimit};
use crate::text::{Palette, Tone, printable};

/// Returns an application's inputs, the advice, and the variables to paste.
pub(crate) fn in_words(inputs: &Inputs, advice: &Advice, palette: Palette) -> String {
    let name = |text: &str| printable(text).into_owned();
    let mut text = format!(
        "{} ({}, role {}, database {}): {}\n",
        name(&inputs.target),
        name(&inputs.application),
        name(&inputs.user),
        name(&inputs.database),
        fit_in_words(advice.fit, palette)
    );
    let rows = [
        ("window", Some(window(inputs))),
        ("may open", Some(may_open(inputs, advice))),
        ("server", Some(server(inputs))),
        ("uses", uses(inputs)),
        ("waits", waits(inputs, advice)),
        ("processors", processors(inputs)),
        ("needs", needs(advice)),
        ("room", room(advice)),
        ("decides", Some(decides(advice).to_owned())),
        ("note", note(inputs, advice)),
    ];
    for (head, row) in rows {
        if let Some(row) = row {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {head:<11} {row}");
        }
    }
    text += &paste(inputs, advice);
    text
}

fn fit_in_words(fit: Fit, palette: Palette) -> String {
    match fit {
        Fit::Yes => palette.paint(Tone::Good, "FITS"),
        Fit::No => palette.paint(Tone::Bad, "DOES NOT FIT"),
        Fit::Unknown => palette.paint(Tone::Warning, "CANNOT BE JUDGED"),
    }
}

fn window(inputs: &Inputs) -> String {
    let span = &inputs.span;
    let (seen, asked) = (time(span.seen.as_secs_f64()), time(span.asked.as_secs_f64()));
    let step = time(span.step.as_secs_f64());
    let samples = inputs.usage.active.len();
    let source = match span.measured {
        Measured::Prometheus => "Prometheus",
        Measured::Live => "sampled now",
    };
    format!("{source}: {seen} of data in {asked}, {samples} samples {step} apart")
}

fn may_open(inputs: &Inputs, advice: &Advice) -> String {
    let processes = inputs.processes;
    let guess = if processes.are_known { "" } else { " (a guess: set DB_MONITOR_INSTANCES)" };
    let usual = if processes.most == processes.usual {
        String::new()
    } else {
        format!(", usually {}", processes.usual)
    };
    let pool = match (inputs.pool.size, inputs.pool.max) {
        (_, PoolLimit::Unlimited) => "no limit".to_owned(),
        (Some(size), PoolLimit::AtMost(max)) if size < max => format!("({size} + {})", max - size),
        (_, PoolLimit::AtMost(max)) => max.to_string(),
    };
    let most = count(processes.most, "process", "processes");
    let all = advice.may_open.map_or_else(|| "any number".to_owned(), |all| all.to_string());
    format!("{most}{guess}{usual} x {pool} = {all} connections")
}

fn server(inputs: &Inputs) -> String {
    let Some(server) = &inputs.server else {
        return "its limits are not known (the views limits and activity must be on)".to_owned();
    };
    let (given, _) = server.for_application();
    let mut words = format!(
        "{given} for this application: {} for ordinary roles of max_connections {}, others used up to {}",
        server.ordinary, server.max_connections, server.others
    );
    if let Some(limit) = server.role {
        let _ = write!(words, ", the role's CONNECTION LIMIT leaves {limit}");
    }
    if let Some(limit) = server.database {
        let _ = write!(words, ", the database's CONNECTION LIMIT leaves {limit}");
    }
    words
}

fn uses(inputs: &Inputs) -> Option<String> {
    let usage = &inputs.usage;
    let active = &usage.active;
    let peak = usage.peak.or(active.peak())?.max(active.peak()?);
    let mut words = format!(
        "{:.1} checked out on average, p99 {}, peak {peak} (all processes)",
        active.mean()?,
        active.quantile(0.99)?
    );
    if let Some(fullest) = usage.fullest.as_ref().and_then(|fullest| fullest.peak()) {
        let _ = write!(words, ", fullest process up to {fullest}");
    }
    if let (Some(rate), Some(hold)) = (usage.rate, usage.hold) {
        let hold = hold.as_secs_f64();
        let by_little = rate * hold;
        let _ = write!(
            words,
            "; {rate:.1} check-outs/s held for {} = {by_little:.1} (Little)",
            time(hold)
        );
    }
    Some(words)
}

fn waits(inputs: &Inputs, advice: &Advice) -> Option<String> {
    let full = advice.need?.full;
    let mut words = format!("a process had nothing left for {} % of the time", percent(full));
    if let Some(wait) = inputs.usage.longest_wait.filter(|wait| !wait.is_zero()) {
        let _ = write!(words, "; longest wait {}", time(wait.as_secs_f64()));
    }
    if let Some(timeouts) = inputs.usage.timeouts.filter(|n| *n >= 0.5) {
        let _ = write!(words, "; {timeouts:.0} check-outs timed out");
    }
    Some(words)
}

fn processors(inputs: &Inputs) -> Option<String> {
    let on_cpu = inputs.usage.on_cpu.as_ref()?;
    let (p99, peak) = (on_cpu.quantile(0.99)?, on_cpu.peak()?);
    let mut words = format!("sessions on CPU, of all clients: p99 {p99}, peak {peak}");
    if let Some(cores) = inputs.server.as_ref().and_then(|server| server.cores) {
        let most = cores * 2 + 1;
        let _ = write!(words, "; {cores} cores serve about {most} active sessions well");
    }
    Some(words)
}

fn needs(advice: &Advice) -> Option<String> {
    let demand = advice.need?.demand;
    let basis = match demand.basis {
        Basis::Fullest => "by the fullest process",
        Basis::Shared => "if the load is shared by chance",
        Basis::Means => "if callers come at random: full pools hide what was wanted",
    };
    let least = if demand.is_open_ended { "at least " } else { "" };
    let to = if demand.peak > demand.max && !demand.is_open_ended {
        format!(" to {}", demand.peak)
    } else {
        String::new()
    };
    let max = demand.max;
    Some(format!("{least}{max}{to} connections a process, {basis}"))
}

fn room(advice: &Advice) -> Option<String> {
    let now = advice
        .room_now
        .map(|n| format!("{} as it is now", count(n, "more process", "more processes")));
    let then = advice.room_then.map(|n| format!("{n} with the advice"));
    let words: Vec<String> = now.into_iter().chain(then).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn decides(advice: &Advice) -> &'static str {
    match advice.binding {
        Binding::Application => "what the application needs",
        Binding::Waits => "the pools are too small: callers wait",
        Binding::Server => {
            "the server's max_connections, less what is reserved and what others use"
        }
        Binding::Role => "the CONNECTION LIMIT of the role",
        Binding::Database => "the CONNECTION LIMIT of the database",
        Binding::Processors => "the server's processors: larger pools would make it slower",
    }
}

fn note(inputs: &Inputs, advice: &Advice) -> Option<String> {
    let mut notes = Vec::new();
    if inputs.span.measured == Measured::Live {
        notes.push("a short look shows no busy hour, no batch job and no deploy: size from a week in Prometheus");
    }
    if advice.need.is_some() && !advice.plan_is_enough {
        notes.push("the server does not give what is needed: fewer processes, PgBouncer, or a higher max_connections");
    }
    if advice.need.is_some_and(|need| need.demand.is_open_ended) {
        notes.push("the pools are overloaded: look at slow queries and leaks first, enlarge, and measure again");
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// The variables of the plan, to paste.
fn paste(inputs: &Inputs, advice: &Advice) -> String {
    let Some(Plan { size, overflow }) = advice.plan else {
        return "  advice      none: the server leaves less than one connection a process\n"
            .to_owned();
    };
    let plan = Plan { size, overflow };
    let all = u64::from(plan.max()) * u64::from(inputs.processes.most);
    let up_to = advice.up_to.map(|most| format!(", up to {} to cover every peak", most - size));
    let up_to = up_to.unwrap_or_default();
    format!(
        "  advice      for each process, {all} connections in all{up_to}:\n\nDB_POOL_SIZE={size}\nDB_MAX_OVERFLOW={overflow}\n"
    )
}

/// Returns the rule of thumb and its result in words.
pub(crate) fn arithmetic_in_words(
    inputs: &Arithmetic,
    estimate: &Estimate,
    palette: Palette,
) -> String {
    let Plan { size, overflow } = estimate.plan;
    let Arithmetic { workers, per_worker, processes, given } = inputs;
    let mut text = format!(
        "pool size     {workers} workers x {per_worker} connections = {size}\n\
         overflow      half of it = {overflow}\n\
         connections   {} x ({size} + {overflow}) = {}\n",
        count(*processes, "process", "processes"),
        estimate.total
    );
    match given {
        Some(given) => {
            let fit = fit_in_words(estimate.fit, palette);
            let room = estimate.room.map(|n| count(n, "more process", "more processes"));
            let room = room.unwrap_or_default();
            let _ = writeln!(text, "server        gives {given}: {fit}, room for {room}");
        }
        None => text += "server        not compared: set DATABASE_URL, or give --max-connections\n",
    }
    let _ = write!(text, "\nDB_POOL_SIZE={size}\nDB_MAX_OVERFLOW={overflow}\n");
    text
}

fn count(n: u32, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn percent(part: f64) -> String {
    match part * 100.0 {
        percent if percent < 0.001 => "0".to_owned(),
        percent if percent < 0.1 => "less than 0.1".to_owned(),
        percent => format!("{percent:.1}"),
    }
}

/// Returns a time in the unit that suits it.
fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{} s", tenth(seconds)),
        seconds if seconds < 7200.0 => format!("{} min", tenth(seconds / 60.0)),
        seconds if seconds < 172_800.0 => format!("{} h", tenth(seconds / 3600.0)),
        seconds => format!("{} d", tenth(seconds / 86_400.0)),
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_parts_read_well() {
        let times = [0.042, 1.0, 90.0, 600.0, 86_400.0, 604_800.0].map(time);
        assert_eq!(times, ["42 ms", "1 s", "90 s", "10 min", "24 h", "7 d"]);
        assert_eq!([1e-6, 0.0001, 0.004].map(percent), ["0", "less than 0.1", "0.4"]);
    }

    #[test]
    fn the_rule_of_thumb_in_words() {
        let inputs = Arithmetic { workers: 4, per_worker: 5.0, processes: 8, given: Some(97) };
        let words = arithmetic_in_words(&inputs, &inputs.estimate(), Palette::Plain);
        let expected = "pool size     4 workers x 5 connections = 20\n\
            overflow      half of it = 10\n\
            connections   8 processes x (20 + 10) = 240\n\
            server        gives 97: DOES NOT FIT, room for 0 more processes\n\n\
            DB_POOL_SIZE=20\nDB_MAX_OVERFLOW=10\n";
        assert_eq!(words, expected);
    }
}
