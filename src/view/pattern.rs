//! A pattern for names: `*` stands for any characters, everything else for itself.

/// A pattern such as `sentinelops-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Every text is a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match more than one name.
    pub fn is_open(&self) -> bool {
        self.0.contains('*')
    }

    /// A name for all that match: without its stars, and what joined them.
    pub fn stem(&self) -> &str {
        let stem = self.0.split('*').find(|part| !part.is_empty()).unwrap_or("all");
        let stem = stem.trim_matches(['-', '_', '.', ':', '/', '@', ' ']);
        if stem.is_empty() { "all" } else { stem }
    }

    /// Whether a whole name matches.
    pub fn matches(&self, name: &str) -> bool {
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
    fn a_stem_names_all_that_match() {
        let check = |pattern: &str, stem: &str| assert_eq!(Pattern::new(pattern).stem(), stem);
        check("sentinelops-*", "sentinelops");
        check("*-web", "web");
        check("*", "all");
        check("app", "app");
    }
}
