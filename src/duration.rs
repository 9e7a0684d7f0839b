//! Durations as text: Go's notation (`1m30s`, `250ms`) and plain seconds.

use std::time::Duration;

/// Unit names with their lengths in seconds. `ms` stands before `m`, which is a prefix of it.
const UNITS: [(&str, f64); 7] = [
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ns", 1e-9),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

/// Parses plain seconds: digits with at most one point. No sign, exponent, `inf` or `nan`.
pub fn seconds(text: &str) -> Option<Duration> {
    let (number, rest) = number(text.trim())?;
    if rest.is_empty() { from_seconds(number) } else { None }
}

/// Parses Go's notation: numbers, each with its unit, or `0` alone.
///
/// Negative durations, which Go allows, are refused. So is a leading point.
/// See <https://pkg.go.dev/time#ParseDuration>.
pub fn go(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (count, after) = number(rest)?;
        let (name, unit) = UNITS.iter().find(|(name, _)| after.starts_with(name))?;
        total = total.checked_add(from_seconds(count * unit)?)?;
        rest = after.get(name.len()..)?;
    }
    if text.is_empty() { None } else { Some(total) }
}

/// Parses plain seconds or Go's notation, whichever the text is.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    seconds(text).or_else(|| go(text))
}

/// Converts seconds; `None` if negative, not a number or too large.
pub fn from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// Formats a duration so that [`parse`] reads it back: `1h30m`, `250ms`, `1.5s`.
pub fn show(duration: Duration) -> String {
    if duration.subsec_nanos() > 0 {
        let is_whole_ms = duration.subsec_nanos().is_multiple_of(1_000_000);
        if duration.as_secs() == 0 && is_whole_ms {
            return format!("{}ms", duration.as_millis());
        }
        return format!("{}s", duration.as_secs_f64());
    }
    let all = duration.as_secs();
    let parts = [(all / 3600, "h"), (all / 60 % 60, "m"), (all % 60, "s")];
    let text: String =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Seconds for people, rounded to milliseconds: `0.249 s` rather than `0.249484917 s`.
pub fn rounded_seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

/// Milliseconds for people, rounded to microseconds.
pub fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Splits a number off the start of a text.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads_and_seconds() {
        let ms = |n| Some(Duration::from_millis(n));
        let table = [
            ("10", ms(10_000)),
            ("0.25", ms(250)),
            ("1m30s", ms(90_000)),
            ("250ms", ms(250)),
            ("1.5h", ms(5_400_000)),
            (" 5s ", ms(5_000)),
            ("0", ms(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("inf", None),
            ("nan", None),
            ("NaN", None),
            (".5", None),
            ("1.2.3", None),
            ("5 s", None),
            ("5x", None),
            ("s", None),
            ("1s5", None),
            ("99999999999999999999999h", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn gos_notation_needs_units() {
        let ms = |n| Some(Duration::from_millis(n));
        let table = [
            ("1s", ms(1000)),
            ("1m30s", ms(90_000)),
            ("100ms", ms(100)),
            ("1.5h", ms(5_400_000)),
            ("0", ms(0)),
        ];
        for (text, expected) in table {
            assert_eq!(go(text), expected, "{text:?}");
        }
        for text in
            ["", "1", "s", "-1s", "1 s", "1d", ".s", "1e400s", "99999999999999999999h", "1.2.3s"]
        {
            assert_eq!(go(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_for_people_are_short() {
        let measured = Duration::from_nanos(249_484_917);
        assert_eq!(format!("{} s", rounded_seconds(measured)), "0.249 s");
        assert_eq!(format!("{} ms", rounded_ms(measured)), "249.485 ms");
        assert_eq!(rounded_seconds(Duration::from_secs(30)).to_string(), "30");
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["10s", "1m30s", "1h", "250ms", "1.5s", "0s", "24h"] {
            assert_eq!(parse(text).map(show).as_deref(), Some(text));
        }
    }
}
