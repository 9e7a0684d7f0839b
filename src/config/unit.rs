//! What a value can be: how it is read, what is allowed, how it is shown.
//!
//! The `config` crate would turn 20.7 into 21, 5 into true and 00123 into "123", and print a value that
//! it refuses; so its values are read here, by their kind, and a refusal says only what is allowed.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};

use crate::duration;
use crate::secret::Secret;
use crate::switch;

/// A value as it was given.
pub(super) enum Given<'a> {
    /// By a variable, which is always text.
    Word(&'a str, Grammar),
    /// Text in the file.
    Text(&'a str),
    /// A whole number in the file.
    Whole(i64),
    /// A number with a fraction in the file.
    Fraction(f64),
    /// `true` or `false` in the file.
    Switch(bool),
    /// A list in the file.
    List(&'a [Value]),
    /// Nothing that an option can be.
    Other,
}

/// How durations are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Seconds only, as the application reads them.
    Seconds,
    /// Also with units.
    Units,
}

impl<'a> Given<'a> {
    /// A value of the file.
    pub(super) fn of(value: &'a Value) -> Self {
        match &value.kind {
            ValueKind::String(text) => Self::Text(text),
            ValueKind::I64(number) => Self::Whole(*number),
            ValueKind::Float(number) => Self::Fraction(*number),
            ValueKind::Boolean(switch) => Self::Switch(*switch),
            ValueKind::Array(values) => Self::List(values),
            ValueKind::Nil | ValueKind::Table(_) => Self::Other,
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => Self::Other,
        }
    }

    fn words(&self) -> Option<&'a str> {
        match self {
            Self::Word(text, _) | Self::Text(text) => Some(text),
            Self::Whole(_) | Self::Fraction(_) | Self::Switch(_) | Self::List(_) | Self::Other => {
                None
            }
        }
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Self::Word(text, _) => text.trim().parse().ok(),
            Self::Whole(number) => Some(*number),
            Self::Text(_) | Self::Fraction(_) | Self::Switch(_) | Self::List(_) | Self::Other => {
                None
            }
        }
    }

    fn duration(&self) -> Option<Duration> {
        match self {
            Self::Word(text, Grammar::Seconds) => duration::seconds(text),
            Self::Word(text, Grammar::Units) | Self::Text(text) => duration::parse(text),
            Self::Whole(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            Self::Fraction(number) => duration::from_seconds(*number),
            Self::Switch(_) | Self::List(_) | Self::Other => None,
        }
    }
}

/// A kind of value.
pub(super) trait Unit {
    /// What it becomes.
    type Value: Clone;

    /// Reads a value; `None` if it is not allowed.
    fn read(&self, given: &Given<'_>) -> Option<Self::Value>;

    /// What is allowed, after "must be".
    fn allowed(&self, grammar: Grammar) -> String;

    /// As `config` shows it.
    fn show(&self, value: &Self::Value) -> String;
}

/// Yes or no.
pub(super) struct Switch;

impl Switch {
    fn word(text: &str) -> Option<bool> {
        switch::parse(text)
    }
}

impl Unit for Switch {
    type Value = bool;

    fn read(&self, given: &Given<'_>) -> Option<bool> {
        match given {
            Given::Word(text, _) => Self::word(text),
            // YAML 1.1 reads `yes` and `on` as true, and so do its users.
            Given::Text(text) => Self::word(text).filter(|_| !matches!(*text, "0" | "1")),
            Given::Switch(switch) => Some(*switch),
            Given::Whole(_) | Given::Fraction(_) | Given::List(_) | Given::Other => None,
        }
    }

    fn allowed(&self, grammar: Grammar) -> String {
        match grammar {
            Grammar::Seconds => "true or false (or 1/0, yes/no, on/off)".to_owned(),
            Grammar::Units => "true or false".to_owned(),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number within bounds; a note says what its special values mean.
pub(super) struct Whole(pub(super) RangeInclusive<u32>, pub(super) &'static str);

impl Unit for Whole {
    type Value = u32;

    fn read(&self, given: &Given<'_>) -> Option<u32> {
        u32::try_from(given.whole()?).ok().filter(|number| self.0.contains(number))
    }

    fn allowed(&self, _: Grammar) -> String {
        format!("a whole number from {} to {}{}", self.0.start(), self.0.end(), self.1)
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }
}

/// A whole number from 0, or -1 for no limit.
pub(super) struct Limit(pub(super) u32);

impl Unit for Limit {
    type Value = Option<u32>;

    fn read(&self, given: &Given<'_>) -> Option<Option<u32>> {
        match given.whole()? {
            -1 => Some(None),
            number => u32::try_from(number).ok().filter(|n| *n <= self.0).map(Some),
        }
    }

    fn allowed(&self, _: Grammar) -> String {
        format!("a whole number from 0 to {}, or -1 for no limit", self.0)
    }

    fn show(&self, value: &Option<u32>) -> String {
        value.map_or("-1".to_owned(), |number| number.to_string())
    }
}

/// Percent, with a fraction, more than 0.
pub(super) struct Percent;

impl Unit for Percent {
    type Value = f64;

    fn read(&self, given: &Given<'_>) -> Option<f64> {
        let number = match given {
            Given::Word(text, _) => text.trim().parse().ok()?,
            Given::Whole(number) => f64::from(i32::try_from(*number).ok()?),
            Given::Fraction(number) => *number,
            Given::Text(_) | Given::Switch(_) | Given::List(_) | Given::Other => return None,
        };
        (number > 0.0 && number <= 100.0).then_some(number)
    }

    fn allowed(&self, _: Grammar) -> String {
        "a number above 0, to 100".to_owned()
    }

    fn show(&self, value: &f64) -> String {
        value.to_string()
    }
}

/// A time within bounds.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Duration, pub(super) Duration);

impl Time {
    /// Bounds in milliseconds and seconds.
    pub(super) const fn new(least_ms: u64, most_s: u64) -> Self {
        Self(Duration::from_millis(least_ms), Duration::from_secs(most_s))
    }
}

impl Unit for Time {
    type Value = Duration;

    fn read(&self, given: &Given<'_>) -> Option<Duration> {
        given.duration().filter(|time| (self.0..=self.1).contains(time))
    }

    fn allowed(&self, grammar: Grammar) -> String {
        let (least, most) = (self.0, self.1);
        match grammar {
            Grammar::Seconds => {
                format!("seconds, from {} to {}", least.as_secs_f64(), most.as_secs_f64())
            }
            Grammar::Units => format!(
                "a time from {} to {}, such as `1m30s`, `250ms`, or in seconds",
                duration::show(least),
                duration::show(most)
            ),
        }
    }

    fn show(&self, value: &Duration) -> String {
        duration::show(*value)
    }
}

/// A time, or a word (or its number) for none.
pub(super) struct TimeOr {
    pub(super) time: Time,
    pub(super) word: &'static str,
    pub(super) number: Option<i64>,
    /// Whether only whole seconds are allowed in a variable, as the application reads it.
    pub(super) whole: bool,
}

impl Unit for TimeOr {
    type Value = Option<Duration>;

    fn read(&self, given: &Given<'_>) -> Option<Option<Duration>> {
        let said = given.words().is_some_and(|text| text.trim().eq_ignore_ascii_case(self.word));
        if said || (self.number.is_some() && given.whole() == self.number) {
            return Some(None);
        }
        if self.whole && matches!(given, Given::Word(..)) {
            given.whole()?;
        }
        self.time.read(given).map(Some)
    }

    fn allowed(&self, grammar: Grammar) -> String {
        let none = match (self.number, grammar) {
            (Some(number), _) => format!("{number} ({})", self.word),
            (None, _) => format!("`{}`", self.word),
        };
        let whole = if self.whole && grammar == Grammar::Seconds { "whole " } else { "" };
        format!("{whole}{}, or {none}", self.time.allowed(grammar))
    }

    fn show(&self, value: &Option<Duration>) -> String {
        value.map_or(self.word.to_owned(), duration::show)
    }
}

/// Text, neither empty nor with control characters; the note says what it is.
pub(super) struct Text(pub(super) &'static str);

impl Unit for Text {
    type Value = String;

    fn read(&self, given: &Given<'_>) -> Option<String> {
        let fits = |text: &&str| !text.trim().is_empty() && !text.contains(char::is_control);
        given.words().filter(fits).map(str::to_owned)
    }

    fn allowed(&self, _: Grammar) -> String {
        format!(
            "{}, as text without control characters (in quotes if it looks like a number)",
            self.0
        )
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// Text that a function accepts.
pub(super) struct Checked(pub(super) fn(&str) -> bool, pub(super) &'static str);

impl Unit for Checked {
    type Value = String;

    fn read(&self, given: &Given<'_>) -> Option<String> {
        given.words().filter(|text| (self.0)(text)).map(str::to_owned)
    }

    fn allowed(&self, _: Grammar) -> String {
        self.1.to_owned()
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// A path of a file.
pub(super) struct FilePath;

impl Unit for FilePath {
    type Value = PathBuf;

    fn read(&self, given: &Given<'_>) -> Option<PathBuf> {
        Text("").read(given).map(PathBuf::from)
    }

    fn allowed(&self, _: Grammar) -> String {
        "the path of a file".to_owned()
    }

    fn show(&self, value: &PathBuf) -> String {
        quote(&value.to_string_lossy())
    }
}

/// A text that is never shown.
pub(super) struct Hidden;

impl Unit for Hidden {
    type Value = Secret;

    fn read(&self, given: &Given<'_>) -> Option<Secret> {
        given.words().filter(|text| !text.is_empty()).map(Secret::new)
    }

    fn allowed(&self, _: Grammar) -> String {
        "text (in quotes if it looks like a number), not empty".to_owned()
    }

    fn show(&self, _: &Secret) -> String {
        "<secret>".to_owned()
    }
}

/// One of a few words, and what each means.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Unit for Choice<T> {
    type Value = T;

    fn read(&self, given: &Given<'_>) -> Option<T> {
        let said = given.words()?;
        self.0.iter().find(|(word, _)| *word == said).map(|(_, value)| *value)
    }

    fn allowed(&self, _: Grammar) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("one of: {}", words.join(", "))
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value);
        word.map_or_else(String::new, |(word, _)| (*word).to_owned())
    }
}

/// A list of at least one.
pub(super) struct List<U>(pub(super) U);

impl<U: Unit> Unit for List<U> {
    type Value = Vec<U::Value>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<U::Value>> {
        match given {
            Given::List([]) => None,
            Given::List(values) => values.iter().map(|v| self.0.read(&Given::of(v))).collect(),
            Given::Word(..) | Given::Text(_) | Given::Whole(_) => None,
            Given::Fraction(_) | Given::Switch(_) | Given::Other => None,
        }
    }

    fn allowed(&self, grammar: Grammar) -> String {
        format!("a list, not empty; each of it must be {}", self.0.allowed(grammar))
    }

    fn show(&self, values: &Vec<U::Value>) -> String {
        let shown: Vec<_> = values.iter().map(|value| self.0.show(value)).collect();
        format!("[{}]", shown.join(", "))
    }
}

/// Text as YAML reads it back: as text.
pub fn quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let word = ["null", "none"].contains(&text.to_ascii_lowercase().as_str());
    let taken = word || Switch::word(text).is_some();
    if plain && !taken && text.chars().all(safe) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Given<'_> {
        Given::Word(text, Grammar::Seconds)
    }

    #[test]
    fn switches() {
        for text in ["true", "TRUE", "1", "Yes", "on"] {
            assert_eq!(Switch.read(&word(text)), Some(true), "{text}");
        }
        for text in ["false", "False", "0", "no", "OFF"] {
            assert_eq!(Switch.read(&word(text)), Some(false), "{text}");
        }
        for text in ["5", "truee", "y", "t", "-1", "1.0"] {
            assert_eq!(Switch.read(&word(text)), None, "{text}");
        }
        assert_eq!(Switch.read(&Given::Whole(1)), None);
        assert_eq!(Switch.read(&Given::Whole(5)), None);
        assert_eq!(Switch.read(&Given::Text("on")), Some(true));
    }

    #[test]
    fn whole_numbers_are_never_rounded() {
        let size = Whole(0..=10_000, "");
        assert_eq!(size.read(&word("20")), Some(20));
        assert_eq!(size.read(&Given::Whole(0)), Some(0));
        for text in ["20.7", "-1", "10001", "abc", "0x10", "99999999999999999999"] {
            assert_eq!(size.read(&word(text)), None, "{text}");
        }
        assert_eq!(size.read(&Given::Fraction(20.7)), None);
        assert_eq!(size.read(&Given::Fraction(20.0)), None);
        assert_eq!(size.read(&Given::Text("20")), None);
        assert_eq!(size.read(&Given::Switch(true)), None);
        assert_eq!(Limit(10).read(&word("-1")), Some(None));
        assert_eq!(Limit(10).read(&word("-2")), None);
        assert_eq!(Limit(10).read(&Given::Whole(0)), Some(Some(0)));
    }

    #[test]
    fn times() {
        let time = Time::new(1, 3600);
        assert_eq!(time.read(&word("30.0")), Some(Duration::from_secs(30)));
        assert_eq!(time.read(&word("30s")), None, "the application would refuse it");
        assert_eq!(time.read(&Given::Text("30s")), Some(Duration::from_secs(30)));
        assert_eq!(time.read(&Given::Fraction(0.25)), Some(Duration::from_millis(250)));
        for given in [word("0"), word("-1"), word("nan"), word("1e2"), word("3601")] {
            assert_eq!(time.read(&given), None);
        }
        assert_eq!(time.read(&Given::Fraction(f64::NAN)), None);
        assert_eq!(time.read(&Given::Whole(-1)), None);
    }

    #[test]
    fn times_that_may_be_none() {
        let command = TimeOr { time: Time::new(1, 60), word: "none", number: None, whole: false };
        assert_eq!(command.read(&word("None")), Some(None));
        assert_eq!(command.read(&word("2.5")), Some(Some(Duration::from_millis(2500))));
        assert_eq!(command.read(&word("0")), None);
        let recycle =
            TimeOr { time: Time::new(0, 60), word: "never", number: Some(-1), whole: true };
        assert_eq!(recycle.read(&word("-1")), Some(None));
        assert_eq!(recycle.read(&Given::Whole(-1)), Some(None));
        assert_eq!(recycle.read(&word("20.7")), None);
        assert_eq!(recycle.read(&word("20")), Some(Some(Duration::from_secs(20))));
        assert_eq!(recycle.read(&word("-2")), None);
    }

    #[test]
    fn percent() {
        assert_eq!(Percent.read(&word("0.5")), Some(0.5));
        for text in ["0", "-1", "101", "NaN", "inf"] {
            assert_eq!(Percent.read(&word(text)), None, "{text}");
        }
    }
}
