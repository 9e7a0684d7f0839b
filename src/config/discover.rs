//! `databases: discover`: the databases of a target's server that become targets.

use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::options::{self, OptionRow};
use crate::config::kind::{List, Text};
use crate::probe::{DiscoverSettings, TargetKind};
use crate::view::Pattern;

/// Reads the option of a target; `None` where it has none.
pub(super) fn read(kind: TargetKind, layers: &Layers<'_>) -> Option<DiscoverSettings> {
    let row = &options::DATABASES;
    let is_table = layers.has_table(row.key);
    let word = if is_table { None } else { layers.own_unlisted(row) };
    if !is_table && word.is_none() {
        return None;
    }
    if !kind.spec().shows_applications {
        let origin = word.map_or(Origin::Default, |found| found.origin);
        let message = "PgBouncer has no list of a server's databases: give it to a target with the server's own address";
        layers.refuse(row.key, &origin, message);
        return None;
    }
    if let Some(Sourced { value, origin }) = word {
        layers.list(row.key, value, origin);
    }
    let limit = layers.own_or(&options::DISCOVER_LIMIT, DiscoverSettings::LIMIT);
    Some(DiscoverSettings {
        include: patterns(layers, &options::DISCOVER_INCLUDE),
        exclude: patterns(layers, &options::DISCOVER_EXCLUDE),
        refresh: layers.own_or(&options::DISCOVER_REFRESH, DiscoverSettings::REFRESH),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    })
}

fn patterns(layers: &Layers<'_>, row: &OptionRow<List<Text>>) -> Vec<Pattern> {
    let found = layers.own_unlisted(row);
    let Some(Sourced { value, origin }) = found else { return Vec::new() };
    layers.list(row.key, crate::config::kind::OptionType::show(&row.kind, &value), origin);
    value.into_iter().map(Pattern::new).collect()
}
