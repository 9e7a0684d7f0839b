//! The alert rules of `alerts/`, with their times divided, so that the demo's day passes in minutes.
//!
//! The rules are the project's own files, built into the program: what fires here fires in production, only
//! later.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The rule files, by name.
const FILES: [(&str, &str); 2] = [
    ("db_pool_recording.yml", include_str!("../../../alerts/db_pool_recording.yml")),
    ("db_pool_alerts.yml", include_str!("../../../alerts/db_pool_alerts.yml")),
];

/// Thresholds that are times of the rules themselves, and by how much more than the rules they are divided: a
/// transaction counts as long after half an hour, and no scene of the demo is that long.
const TIMES: [(&str, f64); 3] = [
    ("idle_in_transaction_seconds", 1.0),
    ("transaction_seconds", 5.0),
    ("headroom_prediction_seconds", 1.0),
];

/// Times from here on stand for whole days. The demo has no days, so they are divided once more.
const LONG_SECONDS: f64 = 23.0 * 3600.0;

/// By how much more long times are divided.
const LONG: f64 = 288.0;

/// Writes the rules into a folder, with all times divided. Returns the names of the files.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(folder: &Path, factor: f64) -> Result<Vec<&'static str>> {
    for (name, text) in FILES {
        fs::write(folder.join(name), faster(text, factor)).context("the rules")?;
    }
    Ok(FILES.map(|(name, _)| name).to_vec())
}

/// Divides the times of a rule file: windows, offsets, `for` and `interval`, and thresholds that are times.
fn faster(text: &str, factor: f64) -> String {
    let mut result = String::with_capacity(text.len());
    let mut threshold = None;
    for line in text.lines() {
        let line = divide_keys(line, factor);
        let line = after("offset ", &after("[", &line, factor), factor);
        let line = threshold.take().and_then(|by: f64| vector(&line, factor * by)).unwrap_or(line);
        let record = line.trim().strip_prefix("- record: db_pool:threshold:");
        threshold =
            record.and_then(|name| TIMES.iter().find(|(time, _)| *time == name)).map(|t| t.1);
        result.push_str(&line);
        result.push('\n');
    }
    result
}

/// Divides the time of a line that is `for: TIME` or `interval: TIME`.
fn divide_keys(line: &str, factor: f64) -> String {
    let divided = line.split_once(": ").and_then(|(key, value)| {
        let is_time = matches!(key.trim(), "for" | "interval");
        let (time, rest) = divided(value, factor).filter(|_| is_time)?;
        rest.is_empty().then(|| format!("{key}: {time}"))
    });
    divided.unwrap_or_else(|| line.to_owned())
}

/// Divides each time that follows `mark`.
fn after(mark: &str, line: &str, factor: f64) -> String {
    let mut parts = line.split(mark);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.push_str(mark);
        match divided(part, factor) {
            Some((time, rest)) => result.extend([&time, rest]),
            None => result.push_str(part),
        }
    }
    result
}

/// Divides the number of a line that is `expr: vector(NUMBER)`.
fn vector(line: &str, factor: f64) -> Option<String> {
    let (head, rest) = line.split_once("vector(")?;
    let seconds: f64 = rest.strip_suffix(')')?.parse().ok()?;
    Some(format!("{head}vector({:.3})", seconds / factor))
}

/// Divides the time that a text begins with. Returns it in milliseconds, and the rest of the text.
fn divided(text: &str, factor: f64) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: f64 = text.get(..end)?.parse().ok()?;
    let unit = match text.get(end..=end)? {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    let seconds = number * unit;
    let factor = if seconds < LONG_SECONDS { factor } else { factor * LONG };
    let milliseconds = (seconds * 1000.0 / factor).round().max(1.0);
    Some((format!("{milliseconds}ms"), text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_offsets_pauses_and_thresholds_that_are_times_are_divided() {
        let faster = |text: &str| faster(text, 20.0);
        let text = "expr: rate(x[5m]) / rate(y[15m] offset 1h)\nfor: 2m\n";
        assert_eq!(
            faster(text),
            "expr: rate(x[15000ms]) / rate(y[45000ms] offset 180000ms)\nfor: 6000ms\n"
        );
        let of_days = "expr: max_over_time(x[1d]) offset 23h\n";
        assert_eq!(faster(of_days), "expr: max_over_time(x[15000ms]) offset 14375ms\n");
        let threshold =
            "  - record: db_pool:threshold:idle_in_transaction_seconds\n    expr: vector(60)\n";
        assert!(faster(threshold).ends_with("expr: vector(3.000)\n"), "{}", faster(threshold));
    }

    #[test]
    fn other_thresholds_texts_and_labels_stay() {
        for text in [
            "- record: db_pool:threshold:app_utilization_percent\n  expr: vector(90)\n",
            "summary: 'for: 5m or so'\n",
            "expr: x{le=\"0.5\"} > 5\n",
            "name: [a, b]\n",
        ] {
            assert_eq!(faster(text, 20.0), text);
        }
    }

    #[test]
    fn the_rule_files_have_each_threshold_that_is_a_time() {
        let text = FILES[0].1;
        for (name, by) in TIMES {
            let (_, rest) = text.split_once(&format!("threshold:{name}\n")).expect("it is there");
            let line = rest.lines().next().expect("its value");
            assert!(vector(line, by).is_some(), "{line}");
        }
    }

    #[test]
    fn no_time_of_the_rule_files_is_left_as_it_was() {
        for (name, text) in FILES {
            let faster = faster(text, 20.0);
            for mark in ["[5m]", "[15m]", "[1h]", "[7d]", "for: 5m", "offset 1h"] {
                assert!(!faster.contains(mark), "{name}: {mark}");
            }
            assert_eq!(faster.lines().count(), text.lines().count(), "{name}");
        }
    }
}
