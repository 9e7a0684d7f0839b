//! The inputs from a Prometheus that scrapes the exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::inputs::{
    Inputs, Measured, PoolLimit, PoolNow, PoolUse, Processes, ServerRoom, Span, Spread, whole,
};
use crate::source::{Prometheus, PrometheusError, Selector, Series};

/// Less data than this is no base for an advice: a day has quiet and busy hours.
pub(crate) const LEAST_DATA: Duration = Duration::from_secs(24 * 3600);

/// A part of the time without data that is accepted: restarts and lost scrapes.
const MISSING: f64 = 0.05;

/// The age of the last sample from which the exporter counts as down.
const DOWN: f64 = 900.0;

/// The part of the time in which the application's pool must have been seen.
const SEEN: f64 = 0.5;

/// The number of points that are asked for at most.
const POINTS: u64 = 10_000;

/// The maximum number of applications that are sized at once.
const MOST_POOLS: usize = 100;

/// The labels that tell one pool from another.
const LABELS: [&str; 6] = ["job", "instance", "target", "database", "user", "application"];

/// Those of them that tell one server from another.
const SERVER_LABELS: [&str; 3] = ["job", "instance", "target"];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRequest {
    /// The time to look at, up to `end`.
    pub window: Duration,
    /// The end, in seconds since 1970.
    pub end: f64,
    /// Only this target.
    pub target: Option<String>,
    /// Only this application.
    pub application: Option<String>,
    /// The number of processors of the server, where it was given.
    pub cores: Option<u32>,
    /// The most processes at once as a multiple of the usual number, where it was given.
    pub overlap: Option<f64>,
}

/// The reason why nothing can be advised.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum HistoryError {
    /// Prometheus gave no usable answer.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// No application of this exporter is known there.
    #[error(
        "no application is known there: db_pool_app_max_connections has no series in the window (does this Prometheus scrape the exporter, and are --target and --application right?)"
    )]
    NoPool,
    /// Too little data.
    #[error(
        "there is data of {0:.1} hours only, and less than 24 hours do not show the busiest one"
    )]
    TooLittle(f64),
    /// The exporter is down.
    #[error("the exporter is down, or not scraped: its last sample is {0:.0} minutes old")]
    Down(f64),
    /// The exporter was down.
    #[error("the exporter was down, or not scraped, for {missing:.1} of {all:.1} hours")]
    WasDown {
        /// Hours without data.
        missing: f64,
        /// Hours of the window since the first sample.
        all: f64,
    },
    /// The application's pool could not be seen.
    #[error(
        "the application's pool was seen for {0:.0} % of the time only: see db_pool_app_visible and docs/runbooks/DbPoolAppUnseen.md"
    )]
    Unseen(f64),
    /// The limits of the pool are not known.
    #[error("the limits of its pool are not known")]
    NoLimits,
}

/// A pool by its labels, and its inputs or the reason why there are none.
pub(crate) type OfPool = (BTreeMap<String, String>, Result<Inputs, HistoryError>);

/// Reads the inputs of every application. `progress`: called with the number of pools that are done, and of all.
///
/// # Errors
/// When Prometheus cannot be asked for the applications, or knows none.
pub(crate) async fn read(
    prometheus: &Prometheus,
    request: &HistoryRequest,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<OfPool>, HistoryError> {
    let pools = pools(prometheus, request).await?;
    let mut all = Vec::new();
    for (n, labels) in pools.iter().enumerate() {
        progress(n, pools.len());
        let inputs = Question::new(prometheus, request, labels).inputs().await;
        all.push((labels.clone(), inputs));
    }
    progress(pools.len(), pools.len());
    Ok(all)
}

/// Finds the label sets of the applications with limits.
async fn pools(
    prometheus: &Prometheus,
    request: &HistoryRequest,
) -> Result<Vec<BTreeMap<String, String>>, HistoryError> {
    let mut wanted = Selector::new();
    let given = [("target", &request.target), ("application", &request.application)];
    for (label, value) in given {
        if let Some(value) = value {
            wanted = wanted.with(label, value);
        }
    }
    let family = format!("db_pool_app_max_connections{}", wanted.text());
    let window = request.window.as_secs();
    let query = format!("group by ({}) (last_over_time({family}[{window}s]))", LABELS.join(","));
    let found = prometheus.at(&query, request.end).await?;
    // A server that is not Prometheus may send any label.
    let sets = found.into_iter().map(|series| {
        let labels =
            series.labels.into_iter().filter(|(label, _)| LABELS.contains(&label.as_str()));
        labels.collect::<BTreeMap<String, String>>()
    });
    let sets: BTreeSet<_> = sets.filter(|labels| labels.contains_key("target")).collect();
    if sets.is_empty() {
        return Err(HistoryError::NoPool);
    }
    Ok(sets.into_iter().take(MOST_POOLS).collect())
}

/// The questions about one pool.
struct Question<'q> {
    prometheus: &'q Prometheus,
    request: &'q HistoryRequest,
    labels: &'q BTreeMap<String, String>,
    pool: Selector,
    server: Selector,
    step: Duration,
}

/// Values by time.
type Points = Vec<(f64, f64)>;

impl<'q> Question<'q> {
    fn new(
        prometheus: &'q Prometheus,
        request: &'q HistoryRequest,
        labels: &'q BTreeMap<String, String>,
    ) -> Self {
        let value = |label: &str| labels.get(label).map_or("", String::as_str);
        let of = |names: &[&str]| {
            names.iter().fold(Selector::new(), |all, label| all.with(label, value(label)))
        };
        // Whole minutes, so that a step has a sample at any usual scrape interval.
        let step = (request.window.as_secs() / POINTS).max(60).next_multiple_of(60);
        Self {
            prometheus,
            request,
            labels,
            pool: of(&LABELS),
            server: of(&SERVER_LABELS),
            step: Duration::from_secs(step),
        }
    }

    fn label(&self, name: &str) -> String {
        self.labels.get(name).cloned().unwrap_or_default()
    }

    async fn inputs(&self) -> Result<Inputs, HistoryError> {
        let up = self.range(&format!("max(db_pool_up{})", self.server.text())).await?;
        let span = self.span(&up)?;
        let active = self.of_pool("db_pool_app_active_connections").await?;
        let seen = active.len() as f64 / up.len().max(1) as f64;
        if seen < SEEN {
            return Err(HistoryError::Unseen(seen * 100.0));
        }
        let instances = self.of_pool("db_pool_app_instances").await?;
        let processes = self.processes(&instances).await?;
        let max = self.of_pool("db_pool_app_max_connections").await?;
        let pool = self.pool_now(&max, &instances).await?;
        let peak = format!(
            "max_over_time(db_pool_app_active_connections_peak{}[{}s])",
            self.pool.text(),
            self.step.as_secs()
        );
        let peak = self.range(&format!("max({peak})")).await?;
        let mut usage = self.usage(&active, &max, &instances).await?;
        usage.peak = largest(&peak).map(whole);
        Ok(Inputs {
            target: self.label("target"),
            application: self.label("application"),
            user: self.label("user"),
            database: self.label("database"),
            span,
            pool,
            processes,
            usage,
            server: self.server_room().await?,
        })
    }

    /// Judges whether there is enough data. `up`: points while the exporter was scraped.
    fn span(&self, up: &Points) -> Result<Span, HistoryError> {
        let (Some((first, _)), Some((last, _))) = (up.first(), up.last()) else {
            return Err(HistoryError::TooLittle(0.0));
        };
        let end = self.request.end;
        if end - last > DOWN {
            return Err(HistoryError::Down((end - last) / 60.0));
        }
        let step = self.step.as_secs_f64();
        let seen = step * up.len() as f64;
        let all = end - first;
        let missing = (all - seen).max(0.0);
        if missing > all * MISSING {
            let (missing, all) = (missing / 3600.0, all / 3600.0);
            return Err(HistoryError::WasDown { missing, all });
        }
        if seen < LEAST_DATA.as_secs_f64() * 0.99 {
            return Err(HistoryError::TooLittle(seen / 3600.0));
        }
        Ok(Span {
            measured: Measured::Prometheus,
            asked: self.request.window,
            seen: Duration::from_secs_f64(seen.min(1e9)),
            step: self.step,
        })
    }

    async fn processes(&self, instances: &Points) -> Result<Processes, HistoryError> {
        let spread: Spread = values(instances).collect();
        let usual = spread.quantile(0.5).ok_or(HistoryError::NoLimits)?.max(1);
        let seen = spread.peak().unwrap_or(usual).max(usual);
        let given = self.request.overlap.map(|factor| whole((f64::from(usual) * factor).ceil()));
        let known = self.of_pool("db_pool_app_instances_known").await?;
        let are_known = known.last().is_some_and(|(_, known)| *known > 0.0);
        Ok(Processes { usual, most: given.unwrap_or(seen).max(usual), are_known })
    }

    async fn pool_now(&self, max: &Points, instances: &Points) -> Result<PoolNow, HistoryError> {
        let of_one = per_process(max, instances).last().map(|(_, max)| *max);
        let max = match of_one {
            Some(max) if max.is_finite() => PoolLimit::AtMost(whole(max)),
            Some(_) => PoolLimit::Unlimited,
            None => return Err(HistoryError::NoLimits),
        };
        let size = self.of_pool("db_pool_app_size").await?;
        let size = per_process(&size, instances).last().map(|(_, size)| whole(*size));
        Ok(PoolNow { size, max })
    }

    async fn usage(
        &self,
        active: &Points,
        max: &Points,
        instances: &Points,
    ) -> Result<PoolUse, HistoryError> {
        let pending = self.of_pool("db_pool_app_pending_requests").await?;
        let waiting: BTreeMap<u64, f64> =
            pending.iter().map(|(at, n)| (at.to_bits(), *n)).collect();
        let wanted = active
            .iter()
            .map(|(at, active)| active + waiting.get(&at.to_bits()).copied().unwrap_or(0.0));
        let sampled = format!("db_pool_sampled_seconds_total{}", self.server.text());
        let saturated = format!("db_pool_app_saturated_seconds_total{}", self.pool.text());
        let window = self.request.window.as_secs();
        let saturated =
            format!("max(increase({saturated}[{window}s])) / max(increase({sampled}[{window}s]))");
        let checkouts =
            |result: &str| self.counted("db_pool_app_checkouts_total", ("result", result));
        // Over the time with data, which can be shorter than the window.
        let ok = checkouts("ok");
        let rate = format!("sum(increase({ok}[{window}s])) / max(increase({sampled}[{window}s]))");
        let uses = |part: &str| {
            let family = format!("db_pool_app_use_duration_seconds_{part}{}", self.pool.text());
            format!("sum(increase({family}[{window}s]))")
        };
        let hold = format!("{} / {}", uses("sum"), uses("count"));
        let wait = format!("db_pool_app_oldest_wait_seconds{}", self.pool.text());
        let wait = format!("max(max_over_time({wait}[{window}s]))");
        Ok(PoolUse {
            active: wanted.collect(),
            fullest: self.fullest(max, instances).await?,
            peak: None,
            means: self.means(&sampled).await?,
            saturated: self.one(&saturated).await?.filter(|part| part.is_finite()),
            has_waiting: pending.len() * 2 > active.len(),
            longest_wait: self.one(&wait).await?.and_then(crate::duration::from_seconds),
            timeouts: self
                .one(&format!("sum(increase({}[{window}s]))", checkouts("timeout")))
                .await?,
            rate: self.one(&rate).await?.filter(|rate| rate.is_finite()),
            hold: self.one(&hold).await?.and_then(crate::duration::from_seconds),
            on_cpu: self.on_cpu().await?,
        })
    }

    fn counted(&self, family: &str, (label, value): (&str, &str)) -> String {
        format!("{family}{}", self.pool.clone().with(label, value).text())
    }

    /// The connections of the fullest process; `None` where processes are never told apart.
    async fn fullest(
        &self,
        max: &Points,
        instances: &Points,
    ) -> Result<Option<Spread>, HistoryError> {
        let fullest = self.of_pool("db_pool_app_saturation_ratio").await?;
        let mean = self.of_pool("db_pool_app_mean_saturation_ratio").await?;
        let of_one = per_process(max, instances);
        let is_alone = values(instances).all(|number| number <= 1.0);
        let differ = joined(&fullest, &mean).any(|(_, one, all)| one > all + 1e-6);
        if is_alone || !differ {
            return Ok(None);
        }
        Ok(Some(joined(&fullest, &of_one).map(|(_, ratio, max)| ratio * max).collect()))
    }

    /// The mean of each hour.
    async fn means(&self, sampled: &str) -> Result<Vec<f64>, HistoryError> {
        let family = format!("db_pool_app_active_connection_seconds_total{}", self.pool.text());
        let query = format!("max(rate({family}[1h])) / max(rate({sampled}[1h]))");
        let hour = Duration::from_secs(3600);
        let start = self.request.end - self.request.window.as_secs_f64() + 3600.0;
        let means = self.prometheus.range(&query, (start, self.request.end), hour).await?;
        let means = means.first().map(|series| series.points.clone()).unwrap_or_default();
        Ok(values(&means).filter(|mean| mean.is_finite() && *mean >= 0.0).collect())
    }

    /// Sessions of all clients that are active and do not wait.
    async fn on_cpu(&self) -> Result<Option<Spread>, HistoryError> {
        let active = self.server.clone().with("state", "active").text();
        let waiting = self.server.text();
        let query = format!(
            "sum(db_pool_server_connections{active}) - (sum(db_pool_server_waiting_connections{waiting}) or vector(0))"
        );
        let points = self.range(&query).await?;
        Ok((!points.is_empty()).then(|| values(&points).map(|n| n.max(0.0)).collect()))
    }

    async fn server_room(&self) -> Result<Option<ServerRoom>, HistoryError> {
        let setting = async |name: &str| {
            let family = format!("db_pool_server_{name}{}", self.server.text());
            let window = self.request.window.as_secs();
            self.one(&format!("max(last_over_time({family}[{window}s]))")).await
        };
        let Some(max) = setting("max_connections").await? else { return Ok(None) };
        let superusers = setting("superuser_reserved_connections").await?.unwrap_or(0.0);
        let reserved = setting("reserved_connections").await?.unwrap_or(0.0);
        let open = self.of_pool("db_pool_app_open_connections").await?;
        let used = format!("max(db_pool_server_used_connections{})", self.server.text());
        let used = self.range(&used).await?;
        Ok(Some(ServerRoom {
            max_connections: whole(max),
            ordinary: whole(max - superusers - reserved),
            others: others(&used, &open),
            role: self.limit("role_connection_limit", "user", &open).await?,
            database: self.limit("database_connection_limit", "database", &open).await?,
            cores: self.request.cores,
        }))
    }

    /// The CONNECTION LIMIT of the application's role or database, less what its other sessions had open.
    async fn limit(
        &self,
        family: &str,
        label: &str,
        open: &Points,
    ) -> Result<Option<u32>, HistoryError> {
        let selector = self.server.clone().with(label, &self.label(label)).text();
        let window = self.request.window.as_secs();
        let limit = format!("max(last_over_time(db_pool_server_{family}{selector}[{window}s]))");
        let Some(limit) = self.one(&limit).await? else { return Ok(None) };
        let all = self.range(&format!("sum(db_pool_server_connections{selector})")).await?;
        Ok(Some(whole(limit).saturating_sub(others(&all, open))))
    }

    /// The points of one of the pool's families. Of several sources the largest counts.
    async fn of_pool(&self, family: &str) -> Result<Points, HistoryError> {
        self.range(&format!("max({family}{})", self.pool.text())).await
    }

    async fn range(&self, query: &str) -> Result<Points, HistoryError> {
        let start = self.request.end - self.request.window.as_secs_f64() + self.step.as_secs_f64();
        let answer = self.prometheus.range(query, (start, self.request.end), self.step).await?;
        Ok(first(answer))
    }

    async fn one(&self, query: &str) -> Result<Option<f64>, HistoryError> {
        let answer = self.prometheus.at(query, self.request.end).await?;
        Ok(first(answer).first().map(|(_, value)| *value))
    }
}

fn first(answer: Vec<Series>) -> Points {
    answer.into_iter().next().map(|series| series.points).unwrap_or_default()
}

fn values(points: &Points) -> impl Iterator<Item = f64> + '_ {
    points.iter().map(|(_, value)| *value)
}

fn largest(points: &Points) -> Option<f64> {
    values(points).filter(|value| value.is_finite()).max_by(f64::total_cmp)
}

/// Pairs of values at the same time.
fn joined<'p>(one: &'p Points, other: &Points) -> impl Iterator<Item = (f64, f64, f64)> + 'p {
    let other: BTreeMap<u64, f64> =
        other.iter().map(|(at, value)| (at.to_bits(), *value)).collect();
    one.iter().filter_map(move |(at, value)| Some((*at, *value, *other.get(&at.to_bits())?)))
}

fn per_process(all: &Points, instances: &Points) -> Points {
    let pairs = joined(all, instances).filter(|(_, _, number)| *number > 0.0);
    pairs.map(|(at, all, number)| (at, all / number)).collect()
}

/// The most that others had open at once: all, less the application's own at the same time.
fn others(all: &Points, own: &Points) -> u32 {
    let own: BTreeMap<u64, f64> = own.iter().map(|(at, value)| (at.to_bits(), *value)).collect();
    let others = all.iter().map(|(at, all)| all - own.get(&at.to_bits()).copied().unwrap_or(0.0));
    others.map(|others| whole(others.min(1e9))).max().unwrap_or(0)
}
