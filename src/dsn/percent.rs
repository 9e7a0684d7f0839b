//! Percent-encoding, decoded as libpq 18 and as Python do.
//!
//! The text may be a password, so the buffer is overwritten when it is dropped, also after an error.

use std::fmt::Write as _;

use zeroize::Zeroize as _;

use super::Problem;
use crate::secret::Secret;

/// The rules of decoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// libpq 18: spaces around a part are dropped, a space inside is refused, `+` is a plus sign.
    Libpq,
    /// Python's `unquote`: a `%` without two hexadecimal digits stands for itself, and bytes that are not
    /// UTF-8 become U+FFFD.
    Python,
    /// Python's `parse_qsl`: as `unquote`, and `+` is a space.
    Form,
    /// No decoding: SQLAlchemy takes a host and a port as they are written.
    Verbatim,
}

/// Decodes a part that begins at byte `at` of the text. The position in an error counts from the start of
/// the text.
pub(super) fn decode(raw: &str, at: usize, style: Style) -> Result<Secret, (usize, Problem)> {
    let (raw, at) = if style == Style::Libpq { trim(raw, at) } else { (raw, at) };
    let mut buffer = Vec::with_capacity(raw.len());
    let filled = decode_into(&mut buffer, raw.as_bytes(), style);
    let text = filled.and_then(|()| match style {
        Style::Python | Style::Form => Ok(String::from_utf8_lossy(&buffer).into_owned()),
        Style::Libpq | Style::Verbatim => match std::str::from_utf8(&buffer) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err((0, Problem::Utf8)),
        },
    });
    buffer.zeroize();
    text.map(Secret::from).map_err(|(offset, problem)| (at + offset, problem))
}

/// Encodes everything except letters, digits, `-._~` and the characters in `keep`.
pub(super) fn encode(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || (c.is_ascii() && keep.contains(c)) {
            out.push(c);
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String never fails");
        }
    }
    out
}

fn trim(raw: &str, at: usize) -> (&str, usize) {
    let start = raw.len() - raw.trim_start_matches(' ').len();
    (raw.trim_matches(' '), at + start)
}

fn decode_into(out: &mut Vec<u8>, raw: &[u8], style: Style) -> Result<(), (usize, Problem)> {
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        match (byte, style) {
            (b'%', Style::Libpq | Style::Python | Style::Form) => {
                match escaped(raw.get(at + 1..at + 3)) {
                    Ok(decoded) => {
                        out.push(decoded);
                        at += 2;
                    }
                    Err(Problem::Escape) if style != Style::Libpq => out.push(b'%'),
                    Err(problem) => return Err((at, problem)),
                }
            }
            (b' ', Style::Libpq) => return Err((at, Problem::Space)),
            (b'+', Style::Form) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(())
}

fn escaped(digits: Option<&[u8]>) -> Result<u8, Problem> {
    let Some(&[high, low]) = digits else {
        return Err(Problem::Escape);
    };
    match (hexadecimal(high), hexadecimal(low)) {
        (Some(0), Some(0)) => Err(Problem::Nul),
        (Some(high), Some(low)) => Ok(high * 16 + low),
        _ => Err(Problem::Escape),
    }
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
