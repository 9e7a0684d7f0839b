//! The words for yes and no, one function for each grammar.

/// Reads a switch of an option, a flag or a URL: `true`, `1`, `yes`, `on` and their opposites, in any
/// case, with blanks around them.
pub(crate) fn parse(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads a boolean of YAML 1.1, which the exporter toolkit's web configuration file uses: `y` and `n` are
/// booleans there, `1` and `0` are numbers.
pub(crate) fn parse_yaml(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammars_differ_where_their_contracts_do() {
        for (text, option, yaml) in [
            ("true", Some(true), Some(true)),
            ("OFF", Some(false), Some(false)),
            ("1", Some(true), None),
            ("0", Some(false), None),
            ("y", None, Some(true)),
            ("N", None, Some(false)),
            (" yes\n", Some(true), None),
            ("", None, None),
            ("enabled", None, None),
        ] {
            assert_eq!((parse(text), parse_yaml(text)), (option, yaml), "{text:?}");
        }
    }
}
