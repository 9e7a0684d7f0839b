//! The applications of a target: their sessions, and the limits that their processes share.

use super::kind::{OptionType, Text};
use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::names::is_name;
use super::options::{self, OptionRow, PoolKind};
use super::{Scope, source};
use crate::dsn::Dsn;
use crate::metrics::Label as _;
use crate::pool::PoolLimits;
use crate::probe::TargetKind;
use crate::source::SourceSettings;
use crate::view::Pattern;
use crate::view::application::{ApplicationSettings, NameMatch, ProcessPool, SessionMatch};

/// The section that the variables describe. It is no name: a name follows from the pattern or the role.
const UNNAMED: &str = "default";

/// Reads a target's applications; without any, the URL's role in its database is one.
pub(super) fn read(
    kind: TargetKind,
    layers: &Layers<'_>,
    url: Option<&Dsn>,
    limits: &PoolLimits,
    scope: &Scope<'_>,
) -> Applications {
    let mut names = layers.names(is_name);
    if names.is_empty() && kind.spec().shows_applications {
        names.push(UNNAMED.to_owned());
    }
    let mut applications = Applications::default();
    for name in names {
        let layers = layers.section(&name);
        let name = Some(name).filter(|name| name != UNNAMED);
        let settings = one(&layers, name.clone(), url, limits);
        applications.sources.extend(source::read(&layers, &settings, name.as_deref(), url, scope));
        applications.inferred.push(settings);
    }
    applications
}

/// The applications of a target.
#[derive(Default)]
pub(super) struct Applications {
    /// Their sessions and limits.
    pub(super) inferred: Vec<ApplicationSettings>,
    /// The status that some of them serve themselves.
    pub(super) sources: Vec<SourceSettings>,
}

fn one(
    layers: &Layers<'_>,
    name: Option<String>,
    url: Option<&Dsn>,
    limits: &PoolLimits,
) -> ApplicationSettings {
    let urls = layers.own_unlisted(&options::STATUS_URLS);
    // One URL for each process.
    let processes = urls.map(|urls| u32::try_from(urls.value.len()).unwrap_or(u32::MAX));
    let sessions = sessions(layers, url);
    ApplicationSettings {
        name: name.or_else(|| sessions.application_name.as_ref().and_then(Pattern::plain)),
        pool: pool(layers, limits),
        instances: instances(layers, processes),
        sessions,
    }
}

/// Reads the number of processes; `None` if it is to be learned from the sessions.
fn instances(layers: &Layers<'_>, of_urls: Option<u32>) -> Option<u32> {
    if let Some(found) = layers.own_unlisted(&options::INSTANCES) {
        layers.list(options::INSTANCES.key, found.value.to_string(), found.origin);
        return Some(found.value);
    }
    let shown = of_urls.map_or_else(|| "learned".to_owned(), |number| number.to_string());
    layers.list(options::INSTANCES.key, shown, Origin::Default);
    of_urls
}

/// Reads the kind of pool and its limits. Keys of the other kind are refused: they would have no effect.
fn pool(layers: &Layers<'_>, limits: &PoolLimits) -> ProcessPool {
    let kind = layers.own_or(&options::APPLICATION_POOL, PoolKind::Sqlalchemy);
    let refuse = |key: &str, origin: &Origin| {
        layers.refuse(key, origin, format!("has no meaning for `pool: {}`", kind.label()));
    };
    match kind {
        PoolKind::Sqlalchemy => {
            for row in [&options::APPLICATION_MIN, &options::APPLICATION_MAX] {
                if let Some(found) = layers.own_unlisted(row) {
                    refuse(row.key, &found.origin);
                }
            }
            ProcessPool::Sqlalchemy {
                size: layers.get_or(&options::APPLICATION_POOL_SIZE, limits.size),
                max_overflow: layers
                    .get_or(&options::APPLICATION_MAX_OVERFLOW, limits.max_overflow),
            }
        }
        PoolKind::Fixed => {
            let row = &options::APPLICATION_POOL_SIZE;
            if let Some(found) = layers.own_unlisted(row) {
                refuse(row.key, &found.origin);
            }
            let row = &options::APPLICATION_MAX_OVERFLOW;
            if let Some(found) = layers.own_unlisted(row) {
                refuse(row.key, &found.origin);
            }
            fixed(layers)
        }
    }
}

fn fixed(layers: &Layers<'_>) -> ProcessPool {
    let min = layers.own_or(&options::APPLICATION_MIN, 0);
    let max = layers.required(&options::APPLICATION_MAX).unwrap_or(1);
    if min > max {
        let origin = layers.own_unlisted(&options::APPLICATION_MIN).map(|found| found.origin);
        let origin = origin.unwrap_or(Origin::Default);
        layers.refuse(options::APPLICATION_MIN.key, &origin, "must not be larger than `max`");
    }
    ProcessPool::Fixed { min, max }
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
