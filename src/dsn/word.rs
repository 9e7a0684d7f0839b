//! Parameters with a closed set of words: the set is the enum, so that no list can miss one.

use strum::VariantArray;

use super::Problem;

/// A word of a closed set; its text is libpq's.
pub(super) trait Keyword:
    VariantArray + Copy + PartialEq + Into<&'static str> + 'static
{
    /// The word with this text.
    fn parse(text: &str) -> Result<Self, Problem> {
        let found = Self::VARIANTS.iter().find(|&&word| word.into() == text);
        found.copied().ok_or_else(|| Problem::Allowed(Self::allowed()))
    }

    /// All words, as an error lists them.
    fn allowed() -> String {
        let words: Vec<&str> = Self::VARIANTS.iter().map(|&word| word.into()).collect();
        words.join(", ")
    }
}

impl<T: VariantArray + Copy + PartialEq + Into<&'static str> + 'static> Keyword for T {}

/// Reports which of two words the text is: `true` for the second.
pub(super) fn is_second(text: &str, words: [&str; 2]) -> Result<bool, Problem> {
    match words.iter().position(|&word| word == text) {
        Some(index) => Ok(index == 1),
        None => Err(Problem::Allowed(words.join(", "))),
    }
}
