//! A value that must never be seen: passwords, tokens, keys.
//!
//! It has no `Debug`, `Display` or `Serialize` on purpose, so that a struct holding one cannot be
//! printed by accident either. Its memory is overwritten when it is dropped.

use zeroize::Zeroizing;

/// A text that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
