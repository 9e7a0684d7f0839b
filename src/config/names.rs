//! Names that users choose, paths of keys, and suggestions for misspelled ones.

/// The names of targets, applications and modules, to follow "the name must be".
pub(super) const NAME: &str =
    "at most 100 letters, digits, `-`, `_`, `.` or `:`, beginning with a letter or digit";

/// Reports whether a text can be the name of a target, an application or a module.
pub(super) fn is_name(name: &str) -> bool {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins_well
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
}

/// Label names that `db_pool_target_info` has already.
const TAKEN_LABELS: [&str; 5] = ["target", "host", "database", "server", "pooler"];

/// The names of labels, to follow "the name must be".
pub(super) const LABEL_NAME: &str = "letters, digits and `_`, not beginning with a digit or `__`, \
                                     and not `target`, `host`, `database` or `pooler`";

/// Reports whether a text can be the name of a target's own label.
pub(super) fn is_label_name(name: &str) -> bool {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
        && !TAKEN_LABELS.contains(&name)
}

/// Reports whether a text can be the name of a connection parameter.
pub(super) fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// Returns a key if it is a plain name: a mangled file can have anything in its place.
pub(super) fn printable(key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !key.is_empty() && key.len() <= 60 && is_plain {
        key.to_owned()
    } else {
        "(a key that is no plain name)".to_owned()
    }
}

/// The prefix of the flags' variables.
pub(super) const FLAGS: &str = "DB_POOL_EXPORTER_";

/// Reports whether Kubernetes sets a variable of this name for a service: `X_SERVICE_HOST`, `X_PORT_80_TCP`.
///
/// See <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
pub(super) fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

/// Warnings for variables of flags that do not exist, each with a suggestion.
pub(crate) fn unknown_flag_variables<'a>(
    set: impl Iterator<Item = &'a str>,
    known: &[String],
) -> Vec<String> {
    let flags = set.filter(|name| name.starts_with(FLAGS) && !is_of_kubernetes(name));
    let unknown = flags.filter(|name| !known.iter().any(|flag| flag == name));
    unknown.map(|name| unknown_variable(name, known)).collect()
}

fn unknown_variable(name: &str, known: &[String]) -> String {
    let near = did_you_mean(name, known.iter().map(String::as_str));
    format!("{name} is not a known variable and is ignored{near}")
}

/// Joins a section's path and a key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Suggests the most similar of the known names; empty if none is similar.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    did_you_mean_within(1 + name.len() / 4, name, known)
}

/// Suggests the most similar of the known names, if it differs in at most `most` characters.
pub(super) fn did_you_mean_within<'a>(
    most: usize,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> String {
    let near = nearest_within(most, name, known);
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Returns the most similar of the known names, if one is as similar as [`did_you_mean`] demands.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(1 + name.len() / 4, name, known)
}

fn nearest_within<'a>(
    most: usize,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let of_similar_length = known.filter(|other| other.len().abs_diff(name.len()) <= most);
    let near = of_similar_length
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= most).map(|(_, near)| near)
}
