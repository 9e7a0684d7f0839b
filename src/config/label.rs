//! A target's own labels, as `db_pool_target_info` shows them.

use super::layers::Layers;
use super::unit::Text;

/// Names that `db_pool_target_info` has already.
const TAKEN: [&str; 3] = ["target", "host", "database"];

/// Reads the labels, by name.
pub(super) fn read(layers: &Layers<'_>) -> Vec<(String, String)> {
    let allowed = "letters, digits and `_`, not beginning with a digit or `__`, \
                   and not `target`, `host` or `database`";
    let names = layers.names(is_name, allowed);
    let value = Text("the label's value");
    let label = |name: String| layers.own(&name, &value).map(|said| (name, said.value));
    names.into_iter().filter_map(label).collect()
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(plain) && !name.starts_with("__") && !TAKEN.contains(&name)
}
