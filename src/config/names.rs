//! Names that users choose, paths of keys, and suggestions for misspelled ones.

/// The names of targets, applications and modules, to follow "the name must be".
pub(super) const NAME: &str =
    "at most 100 letters, digits, `-`, `_`, `.` or `:`, beginning with a letter or digit";

/// Reports whether a text can be the name of a target, an application or a module.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins_well && name.len() <= 100 && name.chars().all(plain)
}

/// Label names that `db_pool_target_info` has already.
const TAKEN_LABELS: [&str; 3] = ["target", "host", "database"];

/// The names of labels, to follow "the name must be".
pub(super) const LABEL_NAME: &str = "letters, digits and `_`, not beginning with a digit or `__`, \
                                     and not `target`, `host` or `database`";

/// Reports whether a text can be the name of a target's own label.
pub(super) fn is_label_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well
        && name.chars().all(plain)
        && !name.starts_with("__")
        && !TAKEN_LABELS.contains(&name)
}

/// Reports whether a text can be the name of a connection parameter.
pub(super) fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// Joins a section's path and a key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Suggests the most similar of the known names; empty if none is similar.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let most = 1 + name.len() / 4;
    let of_similar_length = known.filter(|other| other.len().abs_diff(name.len()) <= most);
    let near = of_similar_length
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, near)) if distance <= most => format!("; did you mean `{near}`?"),
        Some(_) | None => String::new(),
    }
}
