//! The applications of a target: their sessions, and the limits that their processes share.

use super::kind::{OptionType, Text};
use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::names::is_name;
use super::options::{self, OptionRow};
use crate::dsn::Dsn;
use crate::pool::PoolLimits;
use crate::probe::TargetKind;
use crate::view::Pattern;
use crate::view::application::{ApplicationSettings, NameMatch, SessionMatch};

/// Reads a target's applications; without any, the URL's role in its database is one.
pub(super) fn read(
    kind: TargetKind,
    layers: &Layers<'_>,
    url: Option<&Dsn>,
    limits: &PoolLimits,
) -> Vec<ApplicationSettings> {
    let mut names = layers.names(is_name);
    if names.is_empty() && kind.spec().shows_applications {
        names.push(ApplicationSettings::default().name);
    }
    names.into_iter().map(|name| one(&layers.section(&name), name, url, limits)).collect()
}

fn one(
    layers: &Layers<'_>,
    name: String,
    url: Option<&Dsn>,
    limits: &PoolLimits,
) -> ApplicationSettings {
    let urls = layers.own(&options::STATUS_URLS);
    if let Some(urls) = &urls {
        layers.warn_unused(&layers.place(options::STATUS_URLS.key, &urls.origin));
    }
    // One URL for each process.
    let processes = urls.map(|urls| u32::try_from(urls.value.len()).unwrap_or(u32::MAX));
    let instances = processes.unwrap_or(ApplicationSettings::default().instances);
    ApplicationSettings {
        sessions: sessions(layers, url),
        pool_size: layers.get_or(&options::APPLICATION_POOL_SIZE, limits.size),
        max_overflow: layers.get_or(&options::APPLICATION_MAX_OVERFLOW, limits.max_overflow),
        instances: layers.get_or(&options::INSTANCES, instances),
        name,
    }
}

fn sessions(layers: &Layers<'_>, url: Option<&Dsn>) -> SessionMatch {
    let application_name = layers.own(&options::MATCH_APPLICATION_NAME).map(|found| found.value);
    // With a pattern any role fits, unless one is named.
    let by_pattern = application_name.is_some();
    let role = url.and_then(|dsn| dsn.user.clone()).filter(|_| !by_pattern);
    let database = url.and_then(|dsn| dsn.database.clone());
    let no_role = if by_pattern { NameMatch::Any } else { NameMatch::SameAsExporter };
    SessionMatch {
        application_name: application_name.map(Pattern::new),
        user: name_or_url(layers, &options::MATCH_USER, role, no_role),
        database: name_or_url(
            layers,
            &options::MATCH_DATABASE,
            database,
            NameMatch::SameAsExporter,
        ),
    }
}

/// Reads a name that the target's URL gives otherwise.
fn name_or_url(
    layers: &Layers<'_>,
    row: &OptionRow<Text>,
    url: Option<String>,
    otherwise: NameMatch,
) -> NameMatch {
    let url = url.map(|value| Sourced { value, origin: Origin::Url });
    let Some(found) = layers.own_unlisted(row).or(url) else {
        layers.list(row.key, "any".to_owned(), Origin::Default);
        return otherwise;
    };
    layers.list(row.key, row.kind.show(&found.value), found.origin);
    NameMatch::Like(Pattern::new(found.value))
}
