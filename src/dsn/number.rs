//! Numbers as libpq reads them, and as it prints them back.

use std::time::Duration;

use super::{Dsn, Problem};
use crate::switch;

/// libpq's `parse_int_param`: blanks around, a sign, 32 bits.
pub(super) fn integer(text: &str) -> Result<i32, Problem> {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']).parse().map_err(|_| Problem::Integer)
}

/// Whole seconds; zero and less mean libpq's own default or no limit, here `None`.
pub(super) fn seconds(text: &str) -> Result<Option<Duration>, Problem> {
    Ok(positive(text)?.map(|seconds| Duration::from_secs(seconds.into())))
}

/// Whole milliseconds, likewise.
pub(super) fn milliseconds(text: &str) -> Result<Option<Duration>, Problem> {
    Ok(positive(text)?.map(|milliseconds| Duration::from_millis(milliseconds.into())))
}

/// A count, likewise.
pub(super) fn positive(text: &str) -> Result<Option<u32>, Problem> {
    Ok(u32::try_from(integer(text)?).ok().filter(|&number| number > 0))
}

/// Python's seconds: a positive number, perhaps with a fraction; `None` stands for itself.
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

/// Whole seconds, so that asyncpg's `timeout` can be written as libpq's `connect_timeout`.
pub(super) fn rounded_up(time: Option<Duration>) -> Option<Duration> {
    time.map(|time| Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}

/// A boolean of a driver.
pub(super) fn boolean(text: &str) -> Result<bool, Problem> {
    switch::parse(text).ok_or_else(|| Problem::Allowed("true, false".to_owned()))
}

/// The number as a parameter's text; 0 for one that was given as "none".
pub(super) fn shown(dsn: &Dsn, key: &str, number: Option<u128>) -> Option<String> {
    number.or(dsn.said(key).then_some(0)).map(|number| number.to_string())
}

/// Beyond this a number of seconds is a mistake, and adding it to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);
