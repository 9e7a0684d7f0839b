//! A target's own labels, shown on `db_pool_target_info`.

use super::kind::Text;
use super::layers::Layers;
use super::names::is_label_name;

/// Reads the labels, by name.
pub(super) fn read(layers: &Layers<'_>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for name in layers.names(is_label_name) {
        if let Some(found) = layers.entry(&name, &Text("the label's value")) {
            labels.push((name, found.value));
        }
    }
    labels
}
