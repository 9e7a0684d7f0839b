//! Durations as option values.

use std::time::Duration;

use super::{Grammar, OptionType, RawValue};
use crate::duration;

/// A duration from the first to the second.
#[derive(Clone, Copy)]
pub(in crate::config) struct Time(pub(in crate::config) Duration, pub(in crate::config) Duration);

impl Time {
    /// Bounds in milliseconds and in seconds.
    pub(in crate::config) const fn new(least_ms: u64, most_s: u64) -> Self {
        Self(Duration::from_millis(least_ms), Duration::from_secs(most_s))
    }
}

impl OptionType for Time {
    type Value = Duration;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Duration> {
        let time = raw.duration()?;
        (self.0..=self.1).contains(&time).then_some(time)
    }

    fn allowed(&self, grammar: Grammar) -> String {
        let Self(least, most) = self;
        match grammar {
            Grammar::Seconds => {
                format!("seconds, from {} to {}", least.as_secs_f64(), most.as_secs_f64())
            }
            Grammar::Units => format!(
                "a time from {} to {}, such as `1m30s`, `250ms`, or in seconds",
                duration::show(*least),
                duration::show(*most)
            ),
        }
    }

    fn show(&self, value: &Duration) -> String {
        duration::show(*value)
    }

    fn range(&self, grammar: Grammar) -> String {
        let Self(least, most) = self;
        match grammar {
            Grammar::Seconds => {
                format!("{} to {} seconds", least.as_secs_f64(), most.as_secs_f64())
            }
            Grammar::Units => format!("{} to {}", duration::show(*least), duration::show(*most)),
        }
    }

    fn as_variable(&self, shown: &str, grammar: Grammar) -> String {
        match (grammar, duration::parse(shown)) {
            (Grammar::Seconds, Some(time)) => time.as_secs_f64().to_string(),
            (Grammar::Seconds, None) | (Grammar::Units, _) => shown.to_owned(),
        }
    }
}

/// A duration, or a word (or its number) for none.
#[derive(Clone, Copy)]
pub(in crate::config) struct TimeOr {
    pub(in crate::config) time: Time,
    pub(in crate::config) word: &'static str,
    pub(in crate::config) number: Option<i64>,
    /// A variable must be a whole number, as the application reads it.
    pub(in crate::config) whole: bool,
}

impl OptionType for TimeOr {
    type Value = Option<Duration>;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Option<Duration>> {
        let is_word = raw.text().is_some_and(|text| text.trim().eq_ignore_ascii_case(self.word));
        if is_word || (self.number.is_some() && raw.whole() == self.number) {
            return Some(None);
        }
        if self.whole && matches!(raw, RawValue::Word(..)) {
            raw.whole()?;
        }
        self.time.parse(raw).map(Some)
    }

    fn allowed(&self, grammar: Grammar) -> String {
        let none = match self.number {
            Some(number) => format!("{number} ({})", self.word),
            None => format!("`{}`", self.word),
        };
        let whole = if self.whole && grammar == Grammar::Seconds { "whole " } else { "" };
        format!("{whole}{}, or {none}", self.time.allowed(grammar))
    }

    fn show(&self, value: &Option<Duration>) -> String {
        value.map_or(self.word.to_owned(), duration::show)
    }

    fn range(&self, grammar: Grammar) -> String {
        let none = match (self.number, grammar) {
            (Some(number), Grammar::Seconds) => number.to_string(),
            (Some(_) | None, _) => format!("`{}`", self.word),
        };
        format!("{}, or {none}", self.time.range(grammar))
    }

    fn as_variable(&self, shown: &str, grammar: Grammar) -> String {
        match self.number {
            Some(number) if shown == self.word => number.to_string(),
            Some(_) | None => self.time.as_variable(shown, grammar),
        }
    }
}
