//! Patterns for names, in which `*` matches any characters.

/// A pattern such as `sentinelops-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes any text: without a star it matches itself only.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reports whether more than one name can match.
    pub(crate) fn is_open(&self) -> bool {
        self.0.contains('*')
    }

    /// Returns the pattern without its stars and the separators beside them, as a name for what it
    /// matches: `shop` for `shop-*`; `None` where nothing is left.
    pub fn plain(&self) -> Option<String> {
        let parts = self.0.split('*');
        let names = parts.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric()));
        let parts: Vec<&str> = names.filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join("-"))
    }

    /// Reports whether a name matches as a whole.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut left) = name.strip_prefix(head) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let tail = parts.pop().unwrap_or_default();
        for part in parts {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        left.ends_with(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        };
        check("app", "app", true);
        check("app", "app2", false);
        check("", "", true);
        check("", "x", false);
        check("*", "", true);
        check("*", "anything", true);
        check("sentinelops-*", "sentinelops-host-1", true);
        check("sentinelops-*", "sentinelops", false);
        check("*-web-*", "a-web-b", true);
        check("*-web-*", "a-web", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "aXXbYYc", true);
        check("a*b*c", "aXXcYYb", false);
        check("a*a", "a", false);
        check("ä*", "äö", true);
    }

    #[test]
    fn a_pattern_without_its_stars_is_a_name() {
        let check = |pattern: &str, name: Option<&str>| {
            assert_eq!(Pattern::new(pattern).plain().as_deref(), name, "{pattern}");
        };
        check("shop", Some("shop"));
        check("shop-*", Some("shop"));
        check("*.shop:*", Some("shop"));
        check("shop-*-web_*", Some("shop-web"));
        check("my shop*", Some("my shop"));
        check("*", None);
        check("-*-", None);
    }
}
