//! libpq's `key=value` form.
//!
//! The rules are those of `conninfo_parse` in fe-connect.c. Blanks around `=` are skipped, so that
//! `host= port=5` is the host `port=5`. A backslash escapes the next character. A value in `'` may contain
//! blanks.

use zeroize::Zeroizing;

use super::{Error, Part, Problem, Word};

/// Splits the text. A syntax error ends the reading, because the words after it cannot be separated.
///
/// # Errors
/// The text does not begin with a word.
pub(super) fn words(text: &str) -> Result<(Vec<Word>, Vec<Error>), Error> {
    let mut words = Vec::new();
    let mut rest = Rest { text, at: 0 };
    loop {
        rest.skip_blanks();
        if rest.peek().is_none() {
            return Ok((words, Vec::new()));
        }
        match rest.word() {
            Ok(word) if words.is_empty() && !is_name(&word.name) => return Err(neither_form()),
            Ok(word) => words.push(word),
            Err(Error { problem: Problem::Separator, .. }) if words.is_empty() => {
                return Err(neither_form());
            }
            Err(error) => return Ok((words, error.into())),
        }
    }
}

/// The text, and the byte up to which it was read.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.next();
        }
    }

    fn word(&mut self) -> Result<Word, Error> {
        let start = self.at;
        while self.peek().is_some_and(|c| c != '=' && !is_blank(c)) {
            self.next();
        }
        let name = self.text[start..self.at].to_owned();
        self.skip_blanks();
        if self.next() != Some('=') {
            // The name may be a part of a password, so it is not shown even if it looks plain.
            return Err(Error::new(Part::Unnamed, start, Problem::Separator));
        }
        self.skip_blanks();
        let at = self.at;
        let value = if self.peek() == Some('\'') { self.quoted(&name)? } else { self.bare() };
        Ok(Word { part: None, name, value: value.into(), at })
    }

    fn bare(&mut self) -> String {
        let mut value = String::with_capacity(self.text.len() - self.at);
        while let Some(c) = self.next() {
            match c {
                '\\' => value.extend(self.next()),
                c if is_blank(c) => break,
                c => value.push(c),
            }
        }
        value
    }

    fn quoted(&mut self, name: &str) -> Result<String, Error> {
        let start = self.at;
        self.next();
        let mut value = Zeroizing::new(String::with_capacity(self.text.len() - self.at));
        loop {
            match self.next() {
                Some('\'') => return Ok(std::mem::take(&mut *value)),
                Some('\\') => value.extend(self.next()),
                Some(c) => value.push(c),
                None => return Err(Error::new(Part::unknown(name), start, Problem::Quote)),
            }
        }
    }
}

/// The error for a text that is neither a URI nor words, such as one without a scheme or in quotes.
fn neither_form() -> Error {
    Error::anywhere(Part::Text, Problem::Form)
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// C's `isspace`.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}
