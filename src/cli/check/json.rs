//! The report as JSON: that of `/api/v1/targets`, with what only `check` has. docs/check.schema.json describes it.

use serde_json::{Value, json};

use crate::dsn::DEFAULT_PORT;
use crate::health;
use crate::metrics::Label;
use crate::probe::{Failure, ProbePart, hint};
use crate::report::{Note, Report, part_in_words, worst};
use crate::view::TightLimit;

/// Returns the whole report. `targets`: the answer of `/api/v1/targets`.
pub(super) fn whole(mut targets: Value, reports: &[Report<'_>], samples: u32, code: u8) -> String {
    let list = targets.get_mut("targets").and_then(Value::as_array_mut);
    // Both are in the order of the roster.
    for (target, report) in list.into_iter().flatten().zip(reports) {
        annotate(target, report);
    }
    let whole = json!({
        "status": worst(reports).label(),
        "exit_code": code,
        "samples": samples,
        "targets": targets["targets"],
    });
    format!("{whole:#}\n")
}

fn annotate(target: &mut Value, report: &Report<'_>) {
    let dsn = &report.settings.connect.dsn;
    let host = dsn.hosts.first();
    target["port"] = host.map_or(DEFAULT_PORT, |host| host.port.unwrap_or(DEFAULT_PORT)).into();
    target["role"] = dsn.user.clone().into();
    target["headroom"] = headroom(report);
    let mut parts = Vec::new();
    let mut notes = Vec::new();
    for (part, result) in report.snapshot.parts() {
        let failure = result.err();
        let advice = failure.map(|failure| hint(&report.settings.name, part, failure));
        match (part, failure) {
            (ProbePart::Connect, Some(failure)) => of_connect(&mut target["probe"], failure),
            (ProbePart::Write | ProbePart::View(_), Some(failure)) => notes.push(Note {
                message: format!("{} failed: {}", part_in_words(part), failure.message),
                hint: advice.clone().unwrap_or_default(),
            }),
            (_, _) => {}
        }
        if let (ProbePart::Connect | ProbePart::Query, Some(advice)) = (part, &advice) {
            target["probe"][part.label()]["hint"] = advice.as_str().into();
        }
        parts.push(json!({
            "part": part.label(),
            "success": failure.is_none(),
            "reason": failure.map(|failure| failure.reason.label()),
            "phase": failure.and_then(|failure| failure.phase).map(Label::label),
            "message": failure.map(|failure| failure.message.as_str()),
            "hint": advice,
        }));
    }
    target["parts"] = parts.into();
    for check in &report.verdict.checks {
        if let Some(hint) = health::hint(check) {
            target["checks"][check.kind.label()]["hint"] = hint.into();
        }
    }
    notes.extend(report.privileges());
    let notes = notes.iter().map(|note| json!({ "message": note.message, "hint": note.hint }));
    target["notes"] = notes.collect();
}

/// Adds the phase that failed, and the times of those before it.
fn of_connect(probe: &mut Value, failure: &Failure) {
    let connect = &mut probe["connect"];
    connect["failed_phase"] = failure.phase.map(Label::label).into();
    if let Some(passed) = &failure.passed {
        let phases = passed.phases().into_iter();
        let ms = |took: std::time::Duration| (took.as_secs_f64() * 1e6).round() / 1e3;
        let phases = phases.map(|(phase, took)| (phase.label().to_owned(), took.map(ms).into()));
        connect["phases"] = Value::Object(phases.collect());
    }
}

fn headroom(report: &Report<'_>) -> Value {
    let views = &report.snapshot.views;
    let (Some(limits), Some(tightest)) = (&views.limits, views.tightest()) else {
        return Value::Null;
    };
    let (kind, name) = match &tightest.limit {
        TightLimit::Server => ("server", None),
        TightLimit::Role(role) => ("role", Some(role)),
        TightLimit::Database(database) => ("database", Some(database)),
    };
    json!({
        "left": tightest.free,
        "limit": kind,
        "name": name,
        "max_connections": limits.max,
    })
}
