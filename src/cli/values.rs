//! Values of flags. The messages name what is allowed and never the value, which may be a misplaced secret.

use std::time::Duration;

use crate::duration;

/// The name of a whole number in help texts.
pub(super) const WHOLE: &str = "N";

/// The name of a number with a fraction in help texts.
pub(super) const NUMBER: &str = "NUMBER";

/// The name of a duration in help texts.
pub(super) const TIME: &str = "TIME";

/// Reads a whole number within limits.
pub(super) fn whole(text: &str, from: u32, to: u32) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (from..=to).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {from} to {to}"))
}

/// Reads a number with or without a fraction, within limits.
pub(super) fn number(text: &str, from: f64, to: f64) -> Result<f64, String> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = text.parse().ok().filter(|number| is_plain && (from..=to).contains(number));
    number.ok_or_else(|| format!("must be a number from {from} to {to}"))
}

/// Reads a duration within limits, given in seconds: `30s`, `7d`, or plain seconds.
pub(super) fn between_seconds(text: &str, from: f64, to: f64) -> Result<Duration, String> {
    let time = days(text).or_else(|| duration::parse(text));
    let time = time.filter(|time| (from..=to).contains(&time.as_secs_f64()));
    time.ok_or_else(|| {
        let show = |seconds| duration::show(Duration::from_secs_f64(seconds));
        format!("must be a duration from {} to {}", show(from), show(to))
    })
}

/// Reads whole days or weeks, which Go's notation does not have.
fn days(text: &str) -> Option<Duration> {
    let (number, day) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 7.0),
        (None, None) => return None,
    };
    let number = duration::seconds(number)?;
    duration::from_seconds(number.as_secs_f64() * day * 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_within_their_limits() {
        assert_eq!(whole("7", 1, 9), Ok(7));
        assert_eq!(number("1.5", 1.0, 2.0), Ok(1.5));
        let time = |text| between_seconds(text, 1.0, 1e7).ok().map(|time| time.as_secs());
        assert_eq!([time("90"), time("1m30s")], [Some(90); 2]);
        assert_eq!([time("7d"), time("1w"), time("168h")], [Some(604_800); 3]);
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        for text in ["s3cr3t", "", "-1", "+1", "1e3", "nan", "99999999999", "inf", "d"] {
            let refused = [
                whole(text, 1, 9).err(),
                number(text, 1.0, 9.0).err(),
                between_seconds(text, 1.0, 9.0).err(),
            ];
            for message in refused {
                let message = message.unwrap_or_else(|| panic!("{text:?} was accepted"));
                assert!(message.starts_with("must be") && !message.contains("s3cr3t"), "{message}");
            }
        }
    }
}
