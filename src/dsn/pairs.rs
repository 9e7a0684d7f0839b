//! libpq's `key=value` text.
//!
//! The rules are `conninfo_parse` of fe-connect.c: blanks around `=` are skipped (so that `host= port=5`
//! is the host `port=5`), a backslash takes the next character as it is, a value in `'` may hold blanks.

use zeroize::Zeroizing;

use super::{Error, Part, Problem, Word};

/// Splits the text. A syntax error ends it, because what follows cannot be told apart any more.
///
/// Fails for a text that does not even begin as one of words.
pub(super) fn words(text: &str) -> Result<(Vec<Word>, Vec<Error>), Error> {
    let mut words = Vec::new();
    let mut rest = Rest { text, at: 0 };
    loop {
        rest.skip_blanks();
        if rest.peek().is_none() {
            return Ok((words, Vec::new()));
        }
        match rest.word() {
            Ok(word) if words.is_empty() && !like_a_name(&word.name) => return Err(no_words()),
            Ok(word) => words.push(word),
            Err(Error { problem: Problem::Separator, .. }) if words.is_empty() => {
                return Err(no_words());
            }
            Err(error) => return Ok((words, error.into())),
        }
    }
}

/// What is still to be read.
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
        while self.peek().is_some_and(blank) {
            self.next();
        }
    }

    fn word(&mut self) -> Result<Word, Error> {
        let start = self.at;
        while self.peek().is_some_and(|c| c != '=' && !blank(c)) {
            self.next();
        }
        let name = self.text[start..self.at].to_owned();
        self.skip_blanks();
        if self.next() != Some('=') {
            // The name may be half a password: not even a plain one is shown.
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
                c if blank(c) => break,
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

/// What is said of a text that is neither a URI nor words: one without a scheme, one in quotes.
fn no_words() -> Error {
    Error::anywhere(Part::Text, Problem::Form)
}

fn like_a_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// C's `isspace`.
fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}
