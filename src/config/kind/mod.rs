//! The kinds of option values: parsing, the values allowed, and formatting.
//!
//! The `config` crate would turn 20.7 into 21, 5 into true and 00123 into "123", and its errors quote the
//! refused value. So values are parsed here, and a refusal names only what is allowed.

#[cfg(test)]
mod tests;
mod time;

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};

pub(super) use self::time::{Time, TimeOr};

use crate::duration;
use crate::metrics::Label;
use crate::secret::Secret;
use crate::switch;

/// A value before it is parsed.
pub(super) enum RawValue<'a> {
    /// A variable's value, which is always text.
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
    /// A value of a type that no option accepts.
    Other,
}

/// The notation of durations and switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Plain seconds, as the application reads its own variables.
    Seconds,
    /// Also with units, in the file and in the exporter's own variables.
    Units,
}

impl<'a> RawValue<'a> {
    /// Wraps a value of the file.
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

    fn text(&self) -> Option<&'a str> {
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

/// A kind of option value.
pub(super) trait OptionType: Copy {
    /// The parsed value.
    type Value: Clone;

    /// Parses a value; `None` if it is not allowed.
    fn parse(&self, raw: &RawValue<'_>) -> Option<Self::Value>;

    /// Describes the values allowed, to follow "must be".
    fn allowed(&self, grammar: Grammar) -> String;

    /// Formats a value for the subcommand `config`, as YAML.
    fn show(&self, value: &Self::Value) -> String;

    /// Describes the values allowed in the few words of a table's cell.
    fn range(&self, _: Grammar) -> String {
        "text".to_owned()
    }

    /// Rewrites a listed value in the notation of a variable; empty if the option is not set.
    fn as_variable(&self, shown: &str, _: Grammar) -> String {
        if shown == "none" { String::new() } else { shown.trim_matches('"').to_owned() }
    }
}

/// A switch: yes or no.
#[derive(Clone, Copy)]
pub(super) struct Switch;

impl OptionType for Switch {
    type Value = bool;

    fn parse(&self, raw: &RawValue<'_>) -> Option<bool> {
        match raw {
            RawValue::Word(text, _) => switch::parse(text),
            // A quoted number in the file is no switch.
            RawValue::Text("0" | "1") => None,
            // YAML 1.1 reads `yes` and `on` as true, and so do its users.
            RawValue::Text(text) => switch::parse(text),
            RawValue::Switch(switch) => Some(*switch),
            RawValue::Whole(_) | RawValue::Fraction(_) | RawValue::List(_) | RawValue::Other => {
                None
            }
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

    fn range(&self, _: Grammar) -> String {
        "switch".to_owned()
    }
}

/// A whole number from the first to the second; the note explains special values.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) u32, pub(super) u32, pub(super) &'static str);

impl OptionType for Whole {
    type Value = u32;

    fn parse(&self, raw: &RawValue<'_>) -> Option<u32> {
        let number = u32::try_from(raw.whole()?).ok()?;
        (self.0..=self.1).contains(&number).then_some(number)
    }

    fn allowed(&self, _: Grammar) -> String {
        format!("a whole number from {} to {}{}", self.0, self.1, self.2)
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }

    fn range(&self, _: Grammar) -> String {
        format!("{} to {}", self.0, self.1)
    }
}

/// A whole number from 0 to a maximum, or -1 for no limit.
#[derive(Clone, Copy)]
pub(super) struct Limit(pub(super) u32);

impl OptionType for Limit {
    type Value = Option<u32>;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Option<u32>> {
        let number = raw.whole()?;
        if number == -1 {
            return Some(None);
        }
        let number = u32::try_from(number).ok()?;
        (number <= self.0).then_some(Some(number))
    }

    fn allowed(&self, _: Grammar) -> String {
        format!("a whole number from 0 to {}, or -1 for no limit", self.0)
    }

    fn show(&self, value: &Option<u32>) -> String {
        value.map_or("-1".to_owned(), |number| number.to_string())
    }

    fn range(&self, _: Grammar) -> String {
        format!("-1 to {}", self.0)
    }
}

/// A percentage above 0, with a fraction.
#[derive(Clone, Copy)]
pub(super) struct Percent;

impl OptionType for Percent {
    type Value = f64;

    fn parse(&self, raw: &RawValue<'_>) -> Option<f64> {
        let number = match raw {
            RawValue::Word(text, _) => text.trim().parse().ok()?,
            RawValue::Whole(number) => f64::from(i32::try_from(*number).ok()?),
            RawValue::Fraction(number) => *number,
            RawValue::Text(_) | RawValue::Switch(_) | RawValue::List(_) | RawValue::Other => {
                return None;
            }
        };
        (number > 0.0 && number <= 100.0).then_some(number)
    }

    fn allowed(&self, _: Grammar) -> String {
        "a number above 0, to 100".to_owned()
    }

    fn show(&self, value: &f64) -> String {
        value.to_string()
    }

    fn range(&self, _: Grammar) -> String {
        "above 0, to 100".to_owned()
    }
}

/// Text, neither empty nor with control characters; the note names it.
#[derive(Clone, Copy)]
pub(super) struct Text(pub(super) &'static str);

impl OptionType for Text {
    type Value = String;

    fn parse(&self, raw: &RawValue<'_>) -> Option<String> {
        let text = raw.text()?;
        let is_good = !text.trim().is_empty() && !text.contains(char::is_control);
        is_good.then(|| text.to_owned())
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

/// Text that a function accepts; the note describes it.
#[derive(Clone, Copy)]
pub(super) struct Checked(pub(super) fn(&str) -> bool, pub(super) &'static str);

impl OptionType for Checked {
    type Value = String;

    fn parse(&self, raw: &RawValue<'_>) -> Option<String> {
        raw.text().filter(|text| (self.0)(text)).map(str::to_owned)
    }

    fn allowed(&self, _: Grammar) -> String {
        self.1.to_owned()
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// The path of a file.
#[derive(Clone, Copy)]
pub(super) struct FilePath;

impl OptionType for FilePath {
    type Value = PathBuf;

    fn parse(&self, raw: &RawValue<'_>) -> Option<PathBuf> {
        Text("").parse(raw).map(PathBuf::from)
    }

    fn allowed(&self, _: Grammar) -> String {
        "the path of a file".to_owned()
    }

    fn show(&self, value: &PathBuf) -> String {
        quote(&value.to_string_lossy())
    }

    fn range(&self, _: Grammar) -> String {
        "path".to_owned()
    }
}

/// A text that is never shown.
#[derive(Clone, Copy)]
pub(super) struct Hidden;

impl OptionType for Hidden {
    type Value = Secret;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Secret> {
        raw.text().filter(|text| !text.is_empty()).map(Secret::new)
    }

    fn allowed(&self, _: Grammar) -> String {
        "text (in quotes if it looks like a number), not empty".to_owned()
    }

    fn show(&self, _: &Secret) -> String {
        "<secret>".to_owned()
    }
}

/// One word of a closed set: the labels of an enum.
#[derive(Clone, Copy)]
pub(super) struct Choice<L>(PhantomData<L>);

impl<L: Label> Choice<L> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }

    fn words() -> Vec<String> {
        L::all().map(|value| format!("`{}`", value.label())).collect()
    }
}

impl<L: Label> OptionType for Choice<L> {
    type Value = L;

    fn parse(&self, raw: &RawValue<'_>) -> Option<L> {
        let text = raw.text()?;
        L::all().find(|value| value.label() == text)
    }

    fn allowed(&self, _: Grammar) -> String {
        format!("one of: {}", Self::words().join(", "))
    }

    fn show(&self, value: &L) -> String {
        value.label().to_owned()
    }

    fn range(&self, _: Grammar) -> String {
        Self::words().join(" or ")
    }
}

/// A list, not empty.
#[derive(Clone, Copy)]
pub(super) struct List<U>(pub(super) U);

impl<U: OptionType> OptionType for List<U> {
    type Value = Vec<U::Value>;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Vec<U::Value>> {
        match raw {
            RawValue::List([]) => None,
            RawValue::List(values) => {
                values.iter().map(|value| self.0.parse(&RawValue::of(value))).collect()
            }
            RawValue::Word(text, grammar) => {
                let parts = text.split(',').map(str::trim);
                parts.map(|part| self.0.parse(&RawValue::Word(part, *grammar))).collect()
            }
            RawValue::Text(_) | RawValue::Whole(_) => None,
            RawValue::Fraction(_) | RawValue::Switch(_) | RawValue::Other => None,
        }
    }

    fn allowed(&self, grammar: Grammar) -> String {
        format!("a list, not empty; each of it must be {}", self.0.allowed(grammar))
    }

    fn show(&self, values: &Vec<U::Value>) -> String {
        let shown: Vec<_> = values.iter().map(|value| self.0.show(value)).collect();
        format!("[{}]", shown.join(", "))
    }

    fn range(&self, _: Grammar) -> String {
        "list".to_owned()
    }
}

/// Patterns of files: one, or a list of them.
#[derive(Clone, Copy)]
pub(super) struct Globs;

impl OptionType for Globs {
    type Value = Vec<String>;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Vec<String>> {
        let globs = match raw {
            RawValue::Text(text) => vec![(*text).to_owned()],
            RawValue::Word(..)
            | RawValue::List(_)
            | RawValue::Whole(_)
            | RawValue::Fraction(_)
            | RawValue::Switch(_)
            | RawValue::Other => List(Text("")).parse(raw)?,
        };
        globs.iter().all(|glob| is_glob(glob)).then_some(globs)
    }

    fn allowed(&self, _: Grammar) -> String {
        "a pattern of files that end in .yml, .yaml or .toml, or a list of them; `*` in the file's name alone"
            .to_owned()
    }

    fn show(&self, value: &Vec<String>) -> String {
        List(Text("")).show(value)
    }

    fn range(&self, _: Grammar) -> String {
        "list".to_owned()
    }
}

fn is_glob(text: &str) -> bool {
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
    let ending = [".yml", ".yaml", ".toml"].iter().any(|ending| name.ends_with(ending));
    ending && !folder.contains('*') && !text.contains(char::is_control)
}

/// A section, which stands in the table of options only to be described.
#[derive(Clone, Copy)]
pub(super) struct Section;

impl OptionType for Section {
    type Value = ();

    fn parse(&self, _: &RawValue<'_>) -> Option<()> {
        None
    }

    fn allowed(&self, _: Grammar) -> String {
        "a table of keys".to_owned()
    }

    fn show(&self, (): &()) -> String {
        String::new()
    }

    fn range(&self, _: Grammar) -> String {
        "table".to_owned()
    }
}

/// Quotes text where YAML would not read it back as the same text.
pub(crate) fn quote(text: &str) -> String {
    let is_safe = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_null = ["null", "none"].contains(&text.to_ascii_lowercase().as_str());
    let is_taken = is_null || switch::parse(text).is_some();
    if begins_well && !is_taken && is_safe { text.to_owned() } else { format!("{text:?}") }
}
