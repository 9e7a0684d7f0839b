//! Makes text of unknown origin safe to show to people.
//!
//! Messages of servers, names of roles and databases and `application_name` are chosen by others. Printed
//! raw, a control character can drive the reader's terminal (ESC, OSC, BEL, CR, the C1 range), and a
//! bidirectional control or a line separator can make a line look like another one
//! (<https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing>).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Reports whether a character must be escaped before it reaches a terminal or a log. A line break counts
/// too.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidirectional
            | '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{fff9}'..='\u{fffb}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}') // invisible
}

/// Returns the text with each unsafe character written as an escape, on one line: `\n`, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe, |out, c| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String never fails"),
    })
}

/// Returns JSON with each unsafe character written as JSON's own escape, so that its meaning stays the same.
/// ASCII is not changed: a serializer has already escaped it inside of texts.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escape(
        json,
        |c| c > '~' && is_unsafe(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a String never fails");
            }
        },
    )
}

fn escape(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) { write(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The colours of a text for a terminal, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Palette {
    /// No escape sequences.
    Plain,
    /// The 16 colours that every terminal has.
    Ansi,
}

/// The meaning of a piece of text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No colour.
    Plain,
    /// All is well: green.
    Good,
    /// Needs attention: yellow.
    Warning,
    /// Does not work: red.
    Bad,
}

impl Palette {
    /// Returns a text in its colour. The text must be printable already.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Ansi, Tone::Good) => "32",
            (Self::Ansi, Tone::Warning) => "33",
            (Self::Ansi, Tone::Bad) => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt of each kind, and its printable form.
    const ATTEMPTS: [(&str, &str); 9] = [
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
        ("ok\rHEALTHY", "ok\\rHEALTHY"),
        ("one\ntwo\tthree", "one\\ntwo\\tthree"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("user\u{202e}nimda", "user\\u{202e}nimda"),
        ("a\u{2066}b\u{2069}", "a\\u{2066}b\\u{2069}"),
        ("a\u{2028}b\u{2029}c\u{85}d", "a\\u{2028}b\\u{2029}c\\u{85}d"),
        ("\u{feff}x\u{e0041}\u{7f}", "\\u{feff}x\\u{e0041}\\u{7f}"),
    ];

    #[test]
    fn what_drives_or_deceives_a_terminal_is_escaped() {
        for (text, expected) in ATTEMPTS {
            assert_eq!(printable(text), expected);
            assert!(!printable(text).contains(is_unsafe));
        }
    }

    #[test]
    fn ordinary_text_of_any_language_is_left_alone() {
        for text in ["", "role \"app\" \\ 100%", "rôle 役割 роль דוגמה مثال", "👩‍👧", "a\u{200c}b"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        for (text, _) in ATTEMPTS {
            let json = serde_json::to_string_pretty(&[text]).unwrap();
            let safe = printable_json(&json);
            assert!(!safe.replace('\n', "").contains(is_unsafe), "{safe}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [text]);
        }
    }
}
