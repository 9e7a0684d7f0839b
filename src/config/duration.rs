//! Durations as Go writes them: `1m30s`, `250ms`, or plain seconds.

use std::time::Duration;

const UNITS: [(&str, f64); 7] = [
    // The longer names first: `ms` must not be read as `m`.
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ns", 1e-9),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

/// Plain seconds: digits with at most one point, nothing else (no sign, no exponent, no `inf`).
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (number, rest) = number(text.trim())?;
    rest.is_empty().then(|| from_seconds(number))?
}

/// Plain seconds, or numbers with units one after the other.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(plain) = seconds(text) {
        return Some(plain);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let (count, after) = number(rest)?;
        let (name, unit) = UNITS.iter().find(|(name, _)| after.starts_with(name))?;
        total += count * unit;
        rest = after.get(name.len()..)?;
    }
    if text.is_empty() { None } else { from_seconds(total) }
}

/// A duration of as many seconds; `None` for what is none.
pub(super) fn from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// As it is read back: `1h30m`, `250ms`, `1.5s`.
pub(super) fn show(duration: Duration) -> String {
    if duration.subsec_nanos() > 0 {
        let whole_ms = duration.subsec_nanos().is_multiple_of(1_000_000);
        return match duration.as_secs() == 0 && whole_ms {
            true => format!("{}ms", duration.as_millis()),
            false => format!("{}s", duration.as_secs_f64()),
        };
    }
    let all = duration.as_secs();
    let parts = [(all / 3600, "h"), (all / 60 % 60, "m"), (all % 60, "s")];
    let text: String =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A number at the start of a text, and what follows.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit());
    plain.then(|| Some((digits.parse().ok()?, rest)))?
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
    fn shows_what_it_reads() {
        for text in ["10s", "1m30s", "1h", "250ms", "1.5s", "0s", "24h"] {
            assert_eq!(parse(text).map(show).as_deref(), Some(text));
        }
    }
}
