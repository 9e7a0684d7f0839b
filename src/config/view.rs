//! The views of a target, and its write probe.

use std::collections::BTreeSet;

use super::layers::Layers;
use super::listing::Origin;
use super::options;
use crate::probe::TargetKind;
use crate::probe::write::{DEFAULT_TABLE, Table, WriteProbeSettings};
use crate::view::statements::StatementsSettings;
use crate::view::{ViewSettings, all_views, statements};

/// Reads which views are on, and the settings that all of them share. Views that targets of this kind do not have are
/// checked only: `defaults` may set them for others.
pub(super) fn read(kind: TargetKind, layers: &Layers<'_>) -> ViewSettings {
    let default = ViewSettings::default();
    let mut enabled = BTreeSet::new();
    let unlisted = layers.unlisted();
    for view in all_views().filter(|view| view.name != statements::VIEW.name) {
        let is_own = kind.spec().views.iter().any(|own| own.name == view.name);
        let layers = if is_own { layers } else { &unlisted };
        if layers.get_or(&options::view_switch(view), view.on_by_default) && is_own {
            enabled.insert(view.name);
        }
    }
    let has_statements = kind.spec().views.iter().any(|own| own.name == statements::VIEW.name);
    let statements =
        statements(if has_statements { layers } else { &unlisted }).filter(|_| has_statements);
    if statements.is_some() {
        enabled.insert(statements::VIEW.name);
    }
    let query_cache_size = size(layers, &options::QUERY_CACHE_SIZE, default.query_cache_size);
    if query_cache_size == 0 && statements.is_some() {
        let row = &options::QUERY_CACHE_SIZE;
        let origin = layers.get(row).map_or(Origin::Default, |found| found.origin);
        let place = layers.place(row.key, &origin);
        layers
            .report()
            .warn(format!("{place} is 0: the view `statements` remembers none and shows nothing"));
    }
    ViewSettings {
        enabled,
        statements: statements.unwrap_or_default(),
        sampling: default.sampling,
        slow_threshold: layers.get_or(&options::SLOW_QUERY_THRESHOLD, default.slow_threshold),
        leak_threshold: layers.get_or(&options::LEAK_THRESHOLD, default.leak_threshold),
        query_cache_size,
        show_query_text: layers.get_or(&options::SHOW_QUERY_TEXT, default.show_query_text),
        series_limit: size(layers, &options::SERIES_LIMIT, default.series_limit),
        applications: Vec::new(),
    }
}

fn size(
    layers: &Layers<'_>,
    row: &options::OptionRow<super::kind::Whole>,
    default: usize,
) -> usize {
    let default = u32::try_from(default).unwrap_or(u32::MAX);
    usize::try_from(layers.get_or(row, default)).unwrap_or(usize::MAX)
}

/// Reads the one view that has options of its own: its switch can also be a table of them. `None` if the
/// view is off.
fn statements(layers: &Layers<'_>) -> Option<StatementsSettings> {
    let row = options::view_switch(&statements::VIEW);
    let switch = layers.switch(&row, statements::VIEW.on_by_default);
    if switch.value {
        return Some(statement_options(layers));
    }
    layers.list(row.key, "false".to_owned(), switch.origin);
    // A bad value is reported, although the view is off.
    statement_options(&layers.unlisted());
    None
}

fn statement_options(layers: &Layers<'_>) -> StatementsSettings {
    let default = StatementsSettings::default();
    StatementsSettings {
        top: layers.get_or(&options::STATEMENTS_TOP, default.top),
        show_text: layers.get_or(&options::STATEMENTS_SHOW_TEXT, default.show_text),
    }
}

/// Reads the settings of the write probe; `None` if it is off.
pub(super) fn write_probe(layers: &Layers<'_>) -> Option<WriteProbeSettings> {
    let default = WriteProbeSettings::default();
    let use_insertmanyvalues =
        layers.get_or(&options::USE_INSERTMANYVALUES, default.use_insertmanyvalues);
    let is_enabled = layers.get_or(&options::WRITE_PROBE_ENABLED, false);
    let table = layers.get_or(&options::WRITE_PROBE_TABLE, DEFAULT_TABLE.to_owned());
    let rows = layers.get_or(&options::WRITE_PROBE_ROWS, default.rows);
    match Table::new(&table) {
        Ok(table) if is_enabled => Some(WriteProbeSettings { table, rows, use_insertmanyvalues }),
        Ok(_) => None,
        Err(error) => {
            layers.refuse(options::WRITE_PROBE_TABLE.key, &Origin::Default, error.to_string());
            None
        }
    }
}
