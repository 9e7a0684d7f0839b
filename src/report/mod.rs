//! The result of one probe as text for people: the phases, the application's pool, what failed and what to do.
//!
//! `check` prints it, and `/probe?debug=true` answers with the report of one target. Texts of servers and
//! clients are escaped here.

mod details;
mod table;

pub(crate) use self::details::{Note, place};
use crate::health::{HealthStatus, Verdict};
use crate::metrics::Label;
use crate::probe::{ProbePart, Snapshot, TargetSettings};
use crate::text::{Palette, Tone};

/// A probed target.
#[derive(Clone, Copy)]
pub(crate) struct Report<'r> {
    /// Its settings.
    pub settings: &'r TargetSettings,
    /// The result of the probe.
    pub snapshot: &'r Snapshot,
    /// The verdict on it.
    pub verdict: &'r Verdict,
}

/// Returns the report of several targets: a line for Nagios, a table of phases, and the details of each.
pub(crate) fn of_all(reports: &[Report<'_>], palette: Palette) -> String {
    let healthy = reports.iter().filter(|r| r.verdict.status == HealthStatus::Healthy).count();
    let status = worst(reports);
    let word = palette.paint(tone(status), &status.label().to_ascii_uppercase());
    let mut text = format!("{word}: {healthy} of {} targets are healthy\n", reports.len());
    text += &table::of(reports, palette);
    for report in reports {
        text.push('\n');
        text += &report.details(palette);
    }
    text
}

/// Returns the worst status; healthy without any target.
pub(crate) fn worst(reports: &[Report<'_>]) -> HealthStatus {
    reports.iter().map(|report| report.verdict.status).max().unwrap_or(HealthStatus::Healthy)
}

/// Returns a part of a probe in words, to precede "failed".
pub(crate) fn part_in_words(part: ProbePart) -> &'static str {
    match part {
        ProbePart::Connect => "a new connection",
        ProbePart::Query => "a statement through the pool",
        ProbePart::Write => "writing",
        ProbePart::View(name) => name.label(),
    }
}

fn tone(status: HealthStatus) -> Tone {
    match status {
        HealthStatus::Healthy => Tone::Good,
        HealthStatus::Degraded => Tone::Warning,
        HealthStatus::Unhealthy => Tone::Bad,
    }
}
