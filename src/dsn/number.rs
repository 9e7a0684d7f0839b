//! Numbers in parameters: parsed and shown as libpq does.

use std::time::Duration;

use super::{Dsn, Problem};
use crate::switch;

/// Parses as libpq's `parse_int_param`: 32 bits with a sign, blanks around it allowed.
pub(super) fn integer(text: &str) -> Result<i32, Problem> {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']).parse().map_err(|_| Problem::Integer)
}

/// Parses whole seconds. Zero and negative numbers are `None`: they mean no limit or the default in libpq.
pub(super) fn seconds(text: &str) -> Result<Option<Duration>, Problem> {
    Ok(positive(text)?.map(|seconds| Duration::from_secs(seconds.into())))
}

/// Parses whole milliseconds; zero and negative numbers are `None`.
pub(super) fn milliseconds(text: &str) -> Result<Option<Duration>, Problem> {
    Ok(positive(text)?.map(|milliseconds| Duration::from_millis(milliseconds.into())))
}

/// Parses a count; zero and negative numbers are `None`.
pub(super) fn positive(text: &str) -> Result<Option<u32>, Problem> {
    Ok(u32::try_from(integer(text)?).ok().filter(|&number| number > 0))
}

/// Parses seconds as Python drivers take them: a positive number with or without a fraction, or `None`.
pub(super) fn fraction(text: &str) -> Result<Option<Duration>, Problem> {
    if text == "None" {
        return Ok(None);
    }
    let seconds: f64 = text.trim().parse().map_err(|_| Problem::Seconds)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration < LONGEST => Ok(Some(duration)),
        _ => Err(Problem::Seconds),
    }
}

/// Rounds up to whole seconds, so that asyncpg's `timeout` can be shown as libpq's `connect_timeout`.
pub(super) fn rounded_up(time: Option<Duration>) -> Option<Duration> {
    time.map(|time| Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}

/// Parses a driver's boolean.
pub(super) fn boolean(text: &str) -> Result<bool, Problem> {
    switch::parse(text).ok_or_else(|| Problem::Allowed("true, false".to_owned()))
}

/// Shows a number as a parameter's text; 0 where the parameter was given without a limit.
pub(super) fn shown(dsn: &Dsn, key: &str, number: Option<u128>) -> Option<String> {
    number.or(dsn.is_given(key).then_some(0)).map(|number| number.to_string())
}

/// Longer times are refused: adding one to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);
