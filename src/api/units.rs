//! Numbers and moments as the JSON shows them.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds, to the microsecond.
pub(super) fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Seconds, to the millisecond.
pub(super) fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

/// Rounds to three digits after the point.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// A moment as in RFC 3339, in UTC, to the millisecond.
pub(super) fn moment(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let time = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339_in_utc() {
        let check = |ms, expected: &str| {
            assert_eq!(moment(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)), expected);
        };
        check(0, "1970-01-01T00:00:00Z");
        check(1_750_000_000_120, "2025-06-15T15:06:40.12Z");
    }
}
