//! A duration as Go writes it.

use std::time::Duration;

use yaml_rust2::Yaml;

/// `1m30s`, `100ms`, `1.5h`, or the number 0.
pub(super) fn read(value: &Yaml) -> Option<Duration> {
    match value.as_i64() {
        Some(0) => Some(Duration::ZERO),
        Some(_) => None,
        None => parse(value.as_str()?),
    }
}

/// Longest first where one begins another.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[digits + unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (text, millis) in
            [("1s", 1000), ("1m30s", 90_000), ("100ms", 100), ("1.5h", 5_400_000), ("0", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "1", "s", "-1s", "1 s", "1d", ".s", "1e400s", "99999999999999999999h", "1.2.3s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
