//! `check`: probes every target once and prints the times of the phases and a hint for each failure.
//!
//! The exit codes are those of a Nagios plugin: 0 healthy, 1 degraded, 2 unhealthy, 3 unknown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::{Command, load, print, print_warnings, report};
use crate::app::{self, Finding};
use crate::health::HealthStatus;
use crate::metrics::Label;
use crate::pool::{Phase, Timings};
use crate::probe::{ProbePart, hint};
use crate::text::{printable, printable_json};

/// The exit code when the targets could not be probed.
const UNKNOWN: u8 = 3;

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table, for people.
    Table,
    /// JSON, for programs.
    Json,
}

/// Probes the targets, prints the report and returns the exit code.
pub(super) fn run(
    command: &Command,
    environment: &BTreeMap<String, String>,
    format: Format,
) -> ExitCode {
    let config = match load(command, environment) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(UNKNOWN);
        }
    };
    print_warnings(&config.warnings);
    let checked = match app::check(config.targets) {
        Ok(checked) => checked,
        Err(error) => {
            eprintln!("cannot probe: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match format {
        Format::Table => print(&table(&checked.findings)),
        Format::Json => print(&printable_json(&json(checked.json, &checked.findings))),
    };
    ExitCode::from(code(worst(&checked.findings)))
}

fn worst(findings: &[Finding]) -> HealthStatus {
    findings.iter().map(|f| f.verdict.status).max().unwrap_or(HealthStatus::Healthy)
}

fn code(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Degraded => 1,
        HealthStatus::Unhealthy => 2,
    }
}

fn table(findings: &[Finding]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    rows.extend(findings.iter().map(row));
    let mut text = head(findings);
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: String = cells
            .map(|(n, (cell, width))| match n {
                0 | 1 => format!("{cell:<width$}  "),
                _ => format!("{cell:>width$}  "),
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for finding in findings {
        advice(&mut text, finding);
        privileges(&mut text, finding);
    }
    text
}

const HEADS: [&str; 10] = [
    "TARGET",
    "STATUS",
    "CONNECT",
    "DNS",
    "TCP",
    "SSL REQUEST",
    "TLS",
    "STARTUP",
    "CHECK-OUT",
    "QUERY",
];

/// Returns the first line, which Nagios shows.
fn head(findings: &[Finding]) -> String {
    let healthy = findings.iter().filter(|f| f.verdict.status == HealthStatus::Healthy).count();
    let status = worst(findings).label().to_ascii_uppercase();
    format!("{status}: {healthy} of {} targets are healthy\n", findings.len())
}

fn row(finding: &Finding) -> Vec<String> {
    let snapshot = &finding.snapshot;
    let connected = snapshot.connect.as_ref().and_then(|connect| connect.as_ref().ok());
    let timings = connected.map(|connected| connected.timings);
    let phase = |phase| show(timings.and_then(|timings| phase_time(&timings, phase)));
    let queried = snapshot.query.as_ref().ok();
    vec![
        printable(&finding.target).into_owned(),
        finding.verdict.status.label().to_owned(),
        show(timings.map(|timings| timings.total)),
        phase(Phase::Dns),
        phase(Phase::Tcp),
        phase(Phase::SslRequest),
        phase(Phase::Tls),
        phase(Phase::Startup),
        show(queried.map(|queried| queried.checkout)),
        show(queried.map(|queried| queried.query)),
    ]
}

fn phase_time(timings: &Timings, wanted: Phase) -> Option<Duration> {
    timings.phases().into_iter().find(|(phase, _)| *phase == wanted)?.1
}

fn show(took: Option<Duration>) -> String {
    took.map_or_else(|| "-".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1e3))
}

/// Adds each failure with a hint, or, when nothing failed, the warnings.
fn advice(text: &mut String, finding: &Finding) {
    pool(text, finding);
    let snapshot = &finding.snapshot;
    let mut reported = Vec::new();
    for (part, result) in snapshot.parts() {
        let Err(failure) = result else { continue };
        // An empty pool has to connect too, so both parts often fail for the same cause: report it once.
        if reported.contains(&failure.message) {
            continue;
        }
        reported.push(failure.message.clone());
        let what = words(part);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{}: {what} failed: {}\n  hint: {}\n",
            printable(&finding.target),
            printable(&failure.message),
            printable(&hint(&finding.target, part, failure))
        );
    }
    let warnings = finding.verdict.checks.iter().filter_map(|check| check.message.as_ref());
    for warning in warnings.filter(|_| reported.is_empty()) {
        let _ = write!(text, "\n{}: {}\n", printable(&finding.target), printable(warning));
    }
}

/// Adds the application's pool, as far as it is seen, and what the server has left.
fn pool(text: &mut String, finding: &Finding) {
    let pool = &finding.verdict.pool;
    let Some(application) = &pool.application else { return };
    let mut words = Vec::new();
    if let (Some(active), Some(open)) = (pool.active, pool.open) {
        let of = pool.limits.and_then(|limits| limits.max);
        let of = of.map(|max| format!(" of {max}")).unwrap_or_default();
        words.push(format!("{active}{of} checked out, {open} open"));
    }
    if let Some((number, is_known)) = pool.instances {
        let noun = if number == 1 { "process" } else { "processes" };
        words.push(format!("{number} {noun}{}", if is_known { "" } else { " assumed" }));
    }
    if let Some(tightest) = finding.snapshot.views.tightest() {
        words.push(format!("{} connections left on the server", tightest.free));
    }
    let (target, application) = (printable(&finding.target), printable(application));
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{target}: pool of {application}: {}\n", words.join(", "));
}

/// Returns a part of a probe in words, to precede "failed".
fn words(part: ProbePart) -> &'static str {
    match part {
        ProbePart::Connect => "a new connection",
        ProbePart::Query => "a statement through the pool",
        ProbePart::Write => "writing",
        ProbePart::View(name) => name.label(),
    }
}

/// Adds what the exporter's role cannot see. The target is healthy all the same, so the exit code does not change.
fn privileges(text: &mut String, finding: &Finding) {
    let Some(note) = Note::privileges(finding) else { return };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\n{}: {}\n  hint: {}\n",
        printable(&finding.target),
        printable(&note.message),
        printable(&note.hint)
    );
}

/// A limitation that does not make a target unhealthy, with the first thing to do about it.
#[derive(serde::Serialize)]
struct Note {
    message: String,
    hint: String,
}

impl Note {
    /// The sessions that the exporter's role cannot see; `None` if it sees all, or if that is not known.
    fn privileges(finding: &Finding) -> Option<Self> {
        let own = &finding.snapshot.views.limits.as_ref()?.own;
        let role = &own.role;
        (!own.sees_all).then(|| Self {
            message: format!(
                "role {role} cannot see what sessions of other roles do: their applications and slow queries stay unknown"
            ),
            hint: format!("GRANT pg_read_all_stats TO {role}"),
        })
    }
}

/// Adds to the JSON of the targets what only the table would have otherwise: hints and notes.
fn json(mut report: serde_json::Value, findings: &[Finding]) -> String {
    let targets = report.get_mut("targets").and_then(serde_json::Value::as_array_mut);
    // Both are in the order of the roster.
    for (target, finding) in targets.into_iter().flatten().zip(findings) {
        annotate(target, finding);
    }
    format!("{report:#}\n")
}

/// Adds the hint of a failed connect or statement to its object. The other parts have no object in the shape
/// of `/api/v1/targets`, so their failures become notes.
fn annotate(target: &mut serde_json::Value, finding: &Finding) {
    let mut notes = Vec::new();
    for (part, result) in finding.snapshot.parts() {
        let Err(failure) = result else { continue };
        let hint = hint(&finding.target, part, failure);
        match part {
            ProbePart::Connect => target["probe"]["connect"]["hint"] = hint.into(),
            ProbePart::Query => target["probe"]["query"]["hint"] = hint.into(),
            ProbePart::Write | ProbePart::View(_) => {
                let message = format!("{} failed: {}", words(part), failure.message);
                notes.push(Note { message, hint });
            }
        }
    }
    notes.extend(Note::privileges(finding));
    target["notes"] = serde_json::json!(notes);
}
