//! Passwords, tokens and keys, which must never be printed.
//!
//! [`Secret`] deliberately has no `Debug`, `Display` or `Serialize`, so that a struct that contains one
//! cannot be printed by accident. Its memory is overwritten when it is dropped.

use zeroize::Zeroizing;

/// A text that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text. The copies that the caller keeps are the caller's to overwrite.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text, for the code that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
