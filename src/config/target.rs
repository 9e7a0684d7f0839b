//! A target: what its section, `defaults:`, its URL and the built-in defaults come to.
//!
//! One line an option. What is read here in every target may also stand in `defaults:`.

use std::sync::Arc;
use std::time::Duration;

use super::application::{self, Application};
use super::database::{self, Database};
use super::layers::{Layers, Said};
use super::listing::Origin;
use super::unit::{Choice, Limit, Percent, Switch, Text, Time, TimeOr, Whole};
use super::view::{self, Views, WriteProbe};
use super::{Scope, label};
use crate::dsn::Dsn;
use crate::pool;
use crate::probe::{Schedule, TargetKind, TargetSettings, Thresholds};
use crate::view::ViewSettings;

/// As the server shows us.
const APPLICATION_NAME: &str = "db_pool_exporter";

const INTERVAL: Time = Time::new(100, 3600);
const DEADLINE: Time = Time::new(10, 3600);
const POOL_TIMEOUT: Time = Time::new(1, 3600);
const CONNECT_TIMEOUT: Time = Time::new(10, 300);
const STATEMENT: Time = Time::new(1, 86_400);
const SIZE: u32 = 10_000;

const COMMAND_TIMEOUT: TimeOr =
    TimeOr { time: STATEMENT, word: "none", number: None, whole: false };
const RECYCLE: TimeOr =
    TimeOr { time: Time::new(0, 31_536_000), word: "never", number: Some(-1), whole: true };
const CONNECT_INTERVAL: TimeOr =
    TimeOr { time: Time::new(100, 86_400), word: "never", number: Some(0), whole: false };

const KINDS: Choice<TargetKind> =
    Choice(&[("postgres", TargetKind::Postgres), ("pgbouncer", TargetKind::PgBouncer)]);

/// What is known of a target beyond its probe's settings.
#[derive(Clone, PartialEq)]
pub struct Details {
    /// What of the server's side is looked at.
    pub views: Views,
    /// Whether the text of slow queries may be shown.
    pub show_query_text: bool,
    /// Whether and how writing is probed.
    pub write_probe: WriteProbe,
    /// Whose sessions are pools to be watched.
    pub applications: Vec<Application>,
}

/// Reads a target; `None` if its database could not be made out.
pub(super) fn read(
    name: &str,
    layers: &Layers<'_>,
    scope: &Scope<'_>,
) -> Option<(TargetSettings, Details)> {
    let kind = layers.own_or("kind", &KINDS, TargetKind::Postgres).value;
    let database = database::read(name, kind, layers, scope);
    let labels = label::read(&layers.own_sub("labels"));
    let url = database.as_ref().map(|database| &database.dsn);
    let common = common(kind, layers, url);
    let applications =
        application::read(kind, &layers.own_sub("applications"), url, &common.limits);
    if scope.production {
        warn(name, &common.limits, url, layers);
    }
    let Database { dsn, credentials } = database?;
    let details = Details {
        views: common.views,
        show_query_text: common.show_query_text,
        write_probe: common.write_probe,
        applications,
    };
    let settings = TargetSettings {
        name: name.to_owned(),
        labels,
        kind,
        schedule: common.schedule,
        query: common.statement.query,
        slow_threshold: common.statement.slow_threshold,
        command_timeout: common.statement.timeout,
        connect: pool::ConnectSettings {
            dsn: Arc::new(dsn),
            timeout: common.connect_timeout,
            credentials,
            application_name: APPLICATION_NAME.to_owned(),
            console: kind == TargetKind::PgBouncer,
        },
        limits: common.limits,
        thresholds: common.thresholds,
        views: match kind {
            // Its console has no such views.
            TargetKind::PgBouncer => ViewSettings::off(),
            TargetKind::Postgres => details.views.looked_at(ViewSettings {
                slow_threshold: common.statement.slow_threshold,
                query_cache_size: common.statement.cache_size.try_into().unwrap_or(usize::MAX),
                show_query_text: details.show_query_text,
                applications: details.applications.iter().map(Application::watched).collect(),
                leak_threshold: common.leak_threshold,
                series_limit: common.series_limit.try_into().unwrap_or(usize::MAX),
                ..ViewSettings::default()
            }),
        },
        write: details.write_probe.wanted(),
        app_env: scope.app_env.to_owned(),
    };
    Some((settings, details))
}

/// Checks `defaults:` by itself, also when no target takes it.
pub(super) fn check_defaults(layers: &Layers<'_>) {
    common(TargetKind::Postgres, layers, None);
}

/// What may also stand in `defaults:`.
struct Common {
    schedule: Schedule,
    statement: Statement,
    connect_timeout: Duration,
    limits: pool::PoolLimits,
    thresholds: Thresholds,
    views: Views,
    show_query_text: bool,
    /// A session idle in transaction for longer is a leak.
    leak_threshold: Duration,
    /// Label sets of database, user and application.
    series_limit: u32,
    write_probe: WriteProbe,
}

struct Statement {
    query: String,
    slow_threshold: Duration,
    timeout: Option<Duration>,
    cache_size: u32,
}

fn common(kind: TargetKind, layers: &Layers<'_>, url: Option<&Dsn>) -> Common {
    let schedule = schedule(layers);
    let connect_timeout = layers.settle_with_url(
        "connect_timeout",
        &CONNECT_TIMEOUT,
        url.and_then(|dsn| dsn.connect_timeout),
        Duration::from_secs(10),
    );
    Common {
        statement: statement(kind, layers, url),
        connect_timeout: connect_timeout.value,
        limits: limits(layers, schedule.timeout),
        thresholds: thresholds(layers),
        views: view::views(&layers.sub("views")),
        show_query_text: layers.settle("show_query_text", &Switch, false).value,
        leak_threshold: layers.settle("leak_threshold", &STATEMENT, Duration::from_secs(60)).value,
        series_limit: layers.settle("series_limit", &Whole(1..=10_000, ""), 100).value,
        write_probe: view::write_probe(layers),
        schedule,
    }
}

fn schedule(layers: &Layers<'_>) -> Schedule {
    let interval = layers.settle("interval", &INTERVAL, Duration::from_secs(10)).value;
    let timeout = layers.settle("timeout", &DEADLINE, interval);
    let sampling = layers.settle("slow_query_sampling", &INTERVAL, interval);
    within(layers, "timeout", &timeout, interval);
    within(layers, "slow_query_sampling", &sampling, interval);
    let connect = layers.said("connect_interval", &CONNECT_INTERVAL);
    let shown = match &connect {
        Some(Said { value: Some(every), .. }) => crate::duration::show(*every),
        Some(Said { value: None, .. }) => "never".to_owned(),
        None => "each probe".to_owned(),
    };
    let origin = connect.as_ref().map_or(Origin::Default, |said| said.origin.clone());
    layers.list("connect_interval", shown, origin);
    Schedule {
        interval,
        timeout: timeout.value,
        connect_interval: connect.map_or(Some(Duration::ZERO), |said| said.value),
        sampling: sampling.value,
    }
}

fn within(layers: &Layers<'_>, key: &str, said: &Said<Duration>, interval: Duration) {
    if said.value > interval {
        layers.refuse(key, &said.origin, "must not be longer than the interval");
    }
}

fn statement(kind: TargetKind, layers: &Layers<'_>, url: Option<&Dsn>) -> Statement {
    let timeout = url.and_then(|dsn| dsn.command_timeout).map(Some);
    let slow = Duration::from_secs(1);
    Statement {
        query: query(kind, layers),
        slow_threshold: layers.settle("slow_query_threshold", &STATEMENT, slow).value,
        timeout: layers.settle_with_url("command_timeout", &COMMAND_TIMEOUT, timeout, None).value,
        cache_size: layers
            .settle("query_cache_size", &Whole(0..=1_000_000, " (0 remembers none)"), 1200)
            .value,
    }
}

fn query(kind: TargetKind, layers: &Layers<'_>) -> String {
    const STATEMENT: Text = Text("a statement");
    match kind {
        TargetKind::Postgres => layers.settle("query", &STATEMENT, "SELECT 1".to_owned()).value,
        TargetKind::PgBouncer => {
            // Its console knows no SELECT, so it does not take the query of `defaults`.
            layers.said("query", &STATEMENT);
            layers.own_or("query", &STATEMENT, "SHOW VERSION".to_owned()).value
        }
    }
}

fn limits(layers: &Layers<'_>, ping_timeout: Duration) -> pool::PoolLimits {
    let pool = layers.sub("pool");
    let hour = Some(Duration::from_secs(3600));
    pool::PoolLimits {
        size: pool.settle("size", &Whole(0..=SIZE, " (0 is no limit)"), 20).value,
        max_overflow: pool.settle("max_overflow", &Limit(SIZE), Some(10)).value,
        timeout: pool.settle("timeout", &POOL_TIMEOUT, Duration::from_secs(30)).value,
        recycle: pool.settle("recycle", &RECYCLE, hour).value,
        pre_ping: pool.settle("pre_ping", &Switch, true).value,
        ping_timeout,
        use_lifo: pool.settle("use_lifo", &Switch, true).value,
        echo: pool.settle("echo", &Switch, false).value,
        echo_statements: layers.settle("echo", &Switch, false).value,
    }
}

fn thresholds(layers: &Layers<'_>) -> Thresholds {
    Thresholds {
        saturation_percent: layers.settle("saturation_percent", &Percent, 90.0).value,
        slow_rate_percent: layers.settle("slow_rate_percent", &Percent, 5.0).value,
    }
}

/// What is told, once, in production.
fn warn(name: &str, limits: &pool::PoolLimits, url: Option<&Dsn>, layers: &Layers<'_>) {
    if !limits.pre_ping {
        layers.ledger().warn(format!(
            "target `{name}`: pre-ping is off in production: a dead connection is found only by its user"
        ));
    }
    if url.is_some_and(database::may_be_plain) {
        layers.ledger().warn(format!(
            "target `{name}`: the connection to a server that is not local may be without TLS in production"
        ));
    }
}
