//! Log lines as `key=value` pairs (logfmt), the format of Prometheus' own tools.
//!
//! Written here because the crate for this format escapes apostrophes, and Go's readers reject `\'`. Values
//! are quoted by the rules of Go's `strconv.Quote`: printable characters stay, others are escaped.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::text::is_unsafe;

/// The field that is the text of an event.
const MESSAGE: &str = "message";

/// Writes an event: its time, its level, its text, its fields.
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("ts=")?;
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, " level={level}")?;
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        writeln!(writer, "{}{}", pairs.message, pairs.others)
    }
}

/// The fields of an event as text; the message apart, because it comes first on the line.
#[derive(Default)]
struct Pairs {
    message: String,
    others: String,
}

impl Pairs {
    fn add(&mut self, field: &Field, value: &str) {
        let out = match field.name() {
            MESSAGE => &mut self.message,
            _ => &mut self.others,
        };
        out.push(' ');
        out.push_str(field.name());
        out.push('=');
        write_value(out, value);
    }
}

impl Visit for Pairs {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Reports whether a value with this character must be quoted.
fn needs_quotes(c: char) -> bool {
    c.is_whitespace() || is_unsafe(c) || matches!(c, '"' | '=' | '\\')
}

/// Writes a value, in quotes if a logfmt reader could misread it.
fn write_value(out: &mut String, value: &str) {
    if !value.is_empty() && !value.contains(needs_quotes) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if !is_unsafe(c) => out.write_char(c),
            c if c <= '\u{ffff}' => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_only_where_they_must_be() {
        let check = |value: &str, expected: &str| {
            let mut out = String::new();
            write_value(&mut out, value);
            assert_eq!(out, expected);
        };
        check("refused", "refused");
        check("127.0.0.1:9956", "127.0.0.1:9956");
        check("", "\"\"");
        check("the exporter's role", "\"the exporter's role\"");
        check("it's", "it's");
        check("a=b", "\"a=b\"");
        check("role \"app\"", "\"role \\\"app\\\"\"");
        check("one\ntwo\\", "\"one\\ntwo\\\\\"");
        check("\u{1b}[31m", "\"\\u001b[31m\"");
        check("\u{202e}\u{2028}", "\"\\u202e\\u2028\"");
        check("\u{e0041}", "\"\\U000e0041\"");
    }
}
