//! A target: its section, `defaults`, its URL and the rooms' defaults, merged into settings.
//!
//! One call reads an option. Everything that `common` reads may also stand in `defaults`.

use std::sync::Arc;
use std::time::Duration;

use super::database::{self, Database};
use super::kind::OptionType as _;
use super::layers::Layers;
use super::listing::{Origin, Sourced};
use super::{Scope, application, discover, label, options, view};
use crate::dsn::Dsn;
use crate::metrics::Detail;
use crate::pool::{CONNECTIONS_PER_SERVER, ConnectSettings, Credentials, PoolLimits};
use crate::probe::write::WriteProbeSettings;
use crate::probe::{
    DiscoverSettings, ProcessSettings, Schedule, TargetKind, TargetSettings, Thresholds,
};
use crate::view::ViewSettings;
use crate::view::activity::EXPORTER_NAME;

/// A target as it is configured.
#[derive(Clone)]
pub(super) struct Configured {
    pub(super) settings: TargetSettings,
    pub(super) discover: Option<DiscoverSettings>,
}

/// Reads a target; `None` if its database is unknown, which is reported.
pub(super) fn read(name: &str, layers: &Layers<'_>, scope: &Scope<'_>) -> Option<Configured> {
    let configured = layers.own_unlisted(&options::KIND);
    let database = database::read(name, configured.as_ref().map(|kind| kind.value), layers, scope);
    let kind = kind(configured, database.as_ref(), layers);
    let discover = discover::read(kind, layers);
    let labels = label::read(&layers.own_section(options::LABELS.key));
    let url = database.as_ref().map(|database| &database.dsn);
    let common = common(kind, layers, url);
    let processes = processes(kind, layers);
    let applications = layers.own_section(options::APPLICATIONS.key);
    let applications = application::read(kind, &applications, url, &common.limits, scope);
    if scope.production {
        warn(name, &common.limits, url, layers);
    }
    let Database { dsn, credentials } = database?;
    let settings = TargetSettings {
        name: name.to_owned(),
        labels,
        kind,
        schedule: common.schedule,
        query: common.query,
        slow_threshold: common.views.slow_threshold,
        command_timeout: common.command_timeout,
        connections_per_server: common.connections_per_server,
        connect: ConnectSettings {
            dsn: Arc::new(dsn),
            timeout: common.connect_timeout,
            credentials,
            application_name: EXPORTER_NAME.to_owned(),
            ping: kind.spec().ping,
            linger: ConnectSettings::LINGER,
        },
        limits: common.limits,
        thresholds: common.thresholds,
        views: ViewSettings { applications: applications.inferred, ..common.views },
        sources: applications.sources,
        processes,
        write: common.write,
        app_env: scope.app_env.to_owned(),
        detail: common.detail,
        parent: None,
    };
    Some(Configured { settings, discover })
}

/// The kind of a target: the configured one, or that of the database in its URL.
fn kind(
    configured: Option<Sourced<TargetKind>>,
    database: Option<&Database>,
    layers: &Layers<'_>,
) -> TargetKind {
    let is_console = database.is_some_and(|database| database.names_console());
    let by_url = Sourced { value: TargetKind::PgBouncer, origin: Origin::Url };
    let found = configured.or(is_console.then_some(by_url));
    let Sourced { value, origin } = found.unwrap_or(Sourced::default(TargetKind::Postgres));
    layers.list(options::KIND.key, options::KIND.kind.show(&value), origin);
    value
}

/// The way in which the processes of a pooler are found.
fn processes(kind: TargetKind, layers: &Layers<'_>) -> ProcessSettings {
    let is_console = kind.spec().is_console;
    let listing = if is_console { layers } else { &layers.unlisted() };
    let discover = listing.own(&options::DISCOVER);
    let listed = listing.own(&options::PROCESSES);
    if !is_console {
        let discover = discover.iter().map(|found| (options::DISCOVER.key, &found.origin));
        let listed = listed.iter().map(|found| (options::PROCESSES.key, &found.origin));
        for (key, origin) in discover.chain(listed) {
            layers.refuse(key, origin, "has a meaning only for `kind: pgbouncer`");
        }
    }
    match (discover, listed) {
        (Some(_), Some(listed)) => {
            let message = "cannot stand beside `discover`";
            layers.refuse(options::PROCESSES.key, &listed.origin, message);
            ProcessSettings::One
        }
        (Some(_), None) => ProcessSettings::Peers,
        (None, Some(listed)) => ProcessSettings::Listed(listed.value),
        (None, None) => ProcessSettings::One,
    }
}

/// The settings for addresses that are not in the configuration, but for the names and the hosts: those of
/// `defaults`. `dsn`: the login, and what stands in the URL of a target.
///
/// No application is inferred, because its limits are not known, and nothing is written.
pub(super) fn template(
    defaults: &Layers<'_>,
    dsn: Arc<Dsn>,
    credentials: Credentials,
    timeout: Duration,
    scope: &Scope<'_>,
) -> TargetSettings {
    let kind = TargetKind::Postgres;
    let common = common(kind, &defaults.unlisted(), None);
    let (connect_timeout, command_timeout) = (dsn.connect_timeout, dsn.command_timeout);
    TargetSettings {
        name: String::new(),
        parent: None,
        labels: Vec::new(),
        kind,
        schedule: Schedule { timeout, ..common.schedule },
        query: common.query,
        slow_threshold: common.views.slow_threshold,
        command_timeout: command_timeout.or(common.command_timeout),
        connections_per_server: common.connections_per_server,
        connect: ConnectSettings {
            dsn,
            timeout: connect_timeout.unwrap_or(common.connect_timeout),
            credentials,
            application_name: EXPORTER_NAME.to_owned(),
            ping: kind.spec().ping,
            linger: ConnectSettings::LINGER,
        },
        limits: common.limits,
        thresholds: common.thresholds,
        views: common.views,
        sources: Vec::new(),
        write: None,
        app_env: scope.app_env.to_owned(),
        detail: common.detail,
        processes: ProcessSettings::One,
    }
}

/// Checks `defaults` by itself, even if no target uses it.
pub(super) fn check_defaults(defaults: &Layers<'_>) {
    common(TargetKind::Postgres, &defaults.unlisted(), None);
}

/// The settings that `defaults` may hold too.
struct Common {
    schedule: Schedule,
    query: String,
    command_timeout: Option<Duration>,
    connect_timeout: Duration,
    connections_per_server: u32,
    limits: PoolLimits,
    thresholds: Thresholds,
    views: ViewSettings,
    write: Option<WriteProbeSettings>,
    detail: Detail,
}

fn common(kind: TargetKind, layers: &Layers<'_>, url: Option<&Dsn>) -> Common {
    let schedule = schedule(layers);
    Common {
        query: query(kind, layers),
        command_timeout: layers.get_or_url(
            &options::COMMAND_TIMEOUT,
            url.and_then(|dsn| dsn.command_timeout).map(Some),
            None,
        ),
        connect_timeout: layers.get_or_url(
            &options::CONNECT_TIMEOUT,
            url.and_then(|dsn| dsn.connect_timeout),
            ConnectSettings::TIMEOUT,
        ),
        connections_per_server: layers
            .get_or(&options::MAX_CONNECTIONS_PER_SERVER, CONNECTIONS_PER_SERVER),
        limits: limits(layers, schedule.timeout),
        thresholds: thresholds(layers),
        views: ViewSettings {
            sampling: sampling(layers, schedule.interval),
            ..view::read(kind, layers)
        },
        write: view::write_probe(layers),
        detail: layers.get_or(&options::METRICS, Detail::Standard),
        schedule,
    }
}

fn schedule(layers: &Layers<'_>) -> Schedule {
    let interval = layers.get_or(&options::INTERVAL, Schedule::default().interval);
    let default = Schedule::every(interval);
    let timeout = layers.get(&options::TIMEOUT);
    if let Some(Sourced { value, origin }) = timeout
        && value > interval
    {
        layers.refuse(options::TIMEOUT.key, &origin, TOO_LONG);
    }
    Schedule {
        interval,
        timeout: layers.get_or(&options::TIMEOUT, default.timeout),
        connect_interval: connect_interval(layers, default.connect_interval),
    }
}

/// Reads the time between two samples of activity.
fn sampling(layers: &Layers<'_>, interval: Duration) -> Duration {
    let row = &options::SLOW_QUERY_SAMPLING;
    if let Some(Sourced { value, origin }) = layers.get(row)
        && value > interval
    {
        layers.refuse(row.key, &origin, TOO_LONG);
    }
    layers.get_or(row, ViewSettings::default().sampling.min(interval))
}

const TOO_LONG: &str = "must not be longer than the interval";

fn connect_interval(layers: &Layers<'_>, default: Option<Duration>) -> Option<Duration> {
    let row = &options::CONNECT_INTERVAL;
    if layers.get(row).is_some() {
        return layers.get_or(row, default);
    }
    layers.list(row.key, "each probe".to_owned(), Origin::Default);
    default
}

fn query(kind: TargetKind, layers: &Layers<'_>) -> String {
    let spec = kind.spec();
    let default = spec.default_query.to_owned();
    if spec.takes_shared_query {
        layers.get_or(&options::QUERY, default)
    } else {
        layers.own_or(&options::QUERY, default)
    }
}

fn limits(layers: &Layers<'_>, ping_timeout: Duration) -> PoolLimits {
    let default = PoolLimits::default();
    PoolLimits {
        size: layers.get_or(&options::POOL_SIZE, default.size),
        max_overflow: layers.get_or(&options::POOL_MAX_OVERFLOW, default.max_overflow),
        timeout: layers.get_or(&options::POOL_TIMEOUT, default.timeout),
        recycle: layers.get_or(&options::POOL_RECYCLE, default.recycle),
        pre_ping: layers.get_or(&options::POOL_PRE_PING, default.pre_ping),
        ping_timeout,
        use_lifo: layers.get_or(&options::POOL_USE_LIFO, default.use_lifo),
        echo: layers.get_or(&options::POOL_ECHO, default.echo),
        echo_statements: layers.get_or(&options::ECHO, default.echo_statements),
    }
}

fn thresholds(layers: &Layers<'_>) -> Thresholds {
    let default = Thresholds::default();
    Thresholds {
        saturation_percent: layers.get_or(&options::SATURATION_PERCENT, default.saturation_percent),
        slow_rate_percent: layers.get_or(&options::SLOW_RATE_PERCENT, default.slow_rate_percent),
    }
}

/// Warns of what is unwise in production.
fn warn(name: &str, limits: &PoolLimits, url: Option<&Dsn>, layers: &Layers<'_>) {
    if !limits.pre_ping {
        layers.report().warn(format!(
            "target `{name}`: pre-ping is off in production: a dead connection is noticed only when it is used"
        ));
    }
    if url.is_some_and(database::may_be_plain) {
        layers.report().warn(format!(
            "target `{name}`: the connection to a server that is not local may be without TLS in production"
        ));
    }
}
