//! The views of a target, and its write probe.

use std::collections::BTreeSet;

use super::layers::Layers;
use super::listing::Origin;
use super::options;
use crate::probe::write::{DEFAULT_TABLE, Table, WriteProbeSettings};
use crate::view::statements::StatementsSettings;
use crate::view::{ViewSettings, activity, databases, limits, statements};

/// Reads which views are on, and the settings that all of them share.
pub(super) fn read(layers: &Layers<'_>) -> ViewSettings {
    let default = ViewSettings::default();
    let switches = [
        (options::VIEWS_ACTIVITY, &activity::VIEW),
        (options::VIEWS_LIMITS, &limits::VIEW),
        (options::VIEWS_DATABASES, &databases::VIEW),
    ];
    let mut enabled = BTreeSet::new();
    for (row, view) in switches {
        if layers.get_or(&row, view.on_by_default) {
            enabled.insert(view.name);
        }
    }
    let statements = statements(layers, statements::VIEW.on_by_default);
    if statements.is_some() {
        enabled.insert(statements::VIEW.name);
    }
    ViewSettings {
        enabled,
        statements: statements.unwrap_or_default(),
        slow_threshold: layers.get_or(&options::SLOW_QUERY_THRESHOLD, default.slow_threshold),
        leak_threshold: layers.get_or(&options::LEAK_THRESHOLD, default.leak_threshold),
        query_cache_size: size(layers, &options::QUERY_CACHE_SIZE, default.query_cache_size),
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

fn statements(layers: &Layers<'_>, default: bool) -> Option<StatementsSettings> {
    let switch = layers.switch(&options::VIEWS_STATEMENTS, default);
    let read = |layers: &Layers<'_>| {
        let default = StatementsSettings::default();
        StatementsSettings {
            top: layers.get_or(&options::STATEMENTS_TOP, default.top),
            show_text: layers.get_or(&options::STATEMENTS_SHOW_TEXT, default.show_text),
        }
    };
    if switch.value {
        return Some(read(layers));
    }
    layers.list(options::VIEWS_STATEMENTS.key, "false".to_owned(), switch.origin);
    // A bad value is reported, although the view is off.
    read(&layers.unlisted());
    None
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
