//! The status of one process's pool: from JSON to numbers that can be trusted.
//!
//! `integrations/status.schema.json` is the contract. A missing field is not known, and an unknown one is
//! ignored. A known field with an impossible value refuses the whole answer: a program that counts to -3
//! cannot be trusted with the rest.

mod fields;

use thiserror::Error;

use self::fields::Fields;
use super::histogram::BucketCounts;
use super::totals::Counts;
use crate::metrics::{CHECKOUT, CONNECT, QUERY};

/// The only version of `db_pool_status` that is known.
const VERSION: u64 = 1;

/// The longest name of an application or an instance that is taken.
const LONGEST: usize = 64;

/// Why an answer is refused. The place is the path of a field; its value is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum StatusError {
    /// The text is not one JSON object.
    #[error("the answer is no JSON object")]
    NotJson,
    /// A field holds what it cannot.
    #[error("{path} {problem}")]
    Nonsense {
        /// The path of the field, with dots.
        path: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// Neither the specification's fields nor the extension are there.
    #[error("the answer has no field metrics.connections: it is no pool's status")]
    NoStatus,
}

/// The pool of one process, as it describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStatus {
    /// The process; `None` if the status has only the specification's fields.
    pub identity: Option<ProcessIdentity>,
    /// The class of the pool, such as `QueuePool`.
    pub pool_class: Option<String>,
    /// Its limits.
    pub limits: PoolLimitsTold,
    /// Its connections and its callers now.
    pub now: PoolGauges,
    /// Its events since the counters started.
    pub(super) counts: Counts,
}

/// The process that a pool is in.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessIdentity {
    /// The name that the application gave to the pool.
    pub application: String,
    /// New in each process and after each fork.
    pub instance_id: String,
    /// The process's own view of its pid.
    pub pid: Option<u64>,
    /// When its counters started, in seconds since 1970.
    pub started_at: f64,
}

/// The limits of one process's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolLimitsTold {
    /// The pool has limits. `size`: connections that it keeps; `max`: that it may open.
    Limited {
        /// Connections that it keeps; `None` without a limit.
        size: Option<u32>,
        /// Connections beyond the size; `None` without a limit.
        max_overflow: Option<u32>,
        /// The maximum number of open connections; `None` without a limit.
        max: Option<u32>,
    },
    /// The pool has no limits, or they have no meaning for its class.
    Unlimited,
    /// Only the size is known, as in the specification; 0 is none.
    SizeOnly(u32),
    /// Nothing is known.
    Unknown,
}

/// A pool's connections and callers at one moment; `None`: not known, or without a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolGauges {
    /// Connections that are checked out.
    pub active: Option<u64>,
    /// Connections that are open and not checked out.
    pub idle: Option<u64>,
    /// Open connections.
    pub open: Option<u64>,
    /// Open connections above the size.
    pub overflow: Option<u64>,
    /// Connects under way.
    pub connecting: Option<u64>,
    /// Callers that wait for a connection.
    pub waiting: Option<u64>,
    /// For how long the first of them has waited, in seconds.
    pub oldest_wait: Option<f64>,
}

impl PoolStatus {
    /// Parses the body of an answer.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub(super) fn parse(body: &[u8]) -> Result<Self, StatusError> {
        let value: serde_json::Value =
            serde_json::from_slice(body).map_err(|_| StatusError::NotJson)?;
        let root = Fields::root(&value).ok_or(StatusError::NotJson)?;
        match root.section("db_pool_status")? {
            Some(extension) => extended(&extension),
            None => specified(&root),
        }
    }
}

/// Reads the extension, which repeats all of the specification's numbers.
fn extended(status: &Fields<'_>) -> Result<PoolStatus, StatusError> {
    if status.count("schema_version")? != Some(VERSION) {
        return Err(status.nonsense("schema_version", "is not 1, which is all that is known"));
    }
    let totals = status.required("totals")?;
    let checkouts = totals.required("checkouts")?;
    let results = ["ok", "timeout", "error", "cancelled"];
    let mut counts = Counts {
        checkouts: results
            .iter()
            .map(|result| checkouts.count(result))
            .collect::<Result<_, _>>()?,
        connects: totals.count("connects")?,
        failed: totals.count("failed_connects")?,
        closed: totals.map("closed")?,
        ..Counts::default()
    };
    if let Some(histograms) = status.section("histograms")? {
        counts.waits = histogram(&histograms, "checkout_wait_seconds", CHECKOUT)?;
        counts.connect_times = histogram(&histograms, "connect_duration_seconds", CONNECT)?;
        counts.uses = histogram(&histograms, "use_duration_seconds", QUERY)?;
    }
    Ok(PoolStatus {
        identity: Some(identity(status)?),
        pool_class: status.text("pool_class")?.map(str::to_owned),
        limits: limits(&status.required("limits")?)?,
        now: gauges(&status.required("now")?)?,
        counts,
    })
}

fn identity(status: &Fields<'_>) -> Result<ProcessIdentity, StatusError> {
    let process = status.required("process")?;
    let name = |fields: &Fields<'_>, key| -> Result<String, StatusError> {
        let text = fields.text(key)?.unwrap_or_default();
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        let is_good = !text.is_empty() && text.len() <= LONGEST && is_plain;
        let problem = "is not a name of 1 to 64 letters, digits, `_`, `.` and `-`";
        if is_good { Ok(text.to_owned()) } else { Err(fields.nonsense(key, problem)) }
    };
    let started_at = process.number("started_at")?;
    Ok(ProcessIdentity {
        application: name(status, "application")?,
        instance_id: name(&process, "instance_id")?,
        pid: process.count("pid")?,
        started_at: started_at.ok_or_else(|| process.nonsense("started_at", "is missing"))?,
    })
}

fn limits(limits: &Fields<'_>) -> Result<PoolLimitsTold, StatusError> {
    let size = limits.small("size")?;
    let max_overflow = limits.limit("max_overflow")?;
    let max = limits.small("max_connections")?;
    Ok(match (size, max) {
        (None, None) => PoolLimitsTold::Unlimited,
        // Without a maximum, size and overflow limit only what is kept.
        (size, max) => PoolLimitsTold::Limited {
            size: size.filter(|size| *size > 0),
            max_overflow: max_overflow.flatten(),
            max,
        },
    })
}

fn gauges(now: &Fields<'_>) -> Result<PoolGauges, StatusError> {
    Ok(PoolGauges {
        active: now.count("checked_out")?,
        idle: now.count("idle")?,
        open: now.count("open")?,
        overflow: now.count("overflow")?,
        connecting: now.count("connecting")?,
        waiting: now.count("waiting")?,
        oldest_wait: now.number("oldest_wait_seconds")?,
    })
}

fn histogram(
    histograms: &Fields<'_>,
    key: &str,
    bounds: &'static [f64],
) -> Result<Option<BucketCounts>, StatusError> {
    let Some(histogram) = histograms.section(key)? else { return Ok(None) };
    let edges = histogram.numbers("edges")?;
    let counts = histogram.counts("counts")?;
    let sum = histogram.number("sum")?;
    let sum = sum.ok_or_else(|| histogram.nonsense("sum", "is missing"))?;
    if !edges.is_sorted_by(|one, next| one < next) {
        return Err(histogram.nonsense("edges", "do not grow"));
    }
    if counts.len() != edges.len() + 1 {
        return Err(histogram.nonsense("counts", "are not one more than edges"));
    }
    let all = counts.iter().try_fold(0_u64, |all, count| all.checked_add(*count));
    if all.is_none() || histogram.count("count")?.is_some_and(|count| Some(count) != all) {
        return Err(histogram.nonsense("count", "is not the sum of counts"));
    }
    Ok(Some(BucketCounts::of(bounds, &edges, &counts, sum)))
}

/// Reads the specification's fields alone.
fn specified(root: &Fields<'_>) -> Result<PoolStatus, StatusError> {
    let metrics = root.section("metrics")?.ok_or(StatusError::NoStatus)?;
    let connections = metrics.section("connections")?.ok_or(StatusError::NoStatus)?;
    let (active, idle) = (connections.count("active")?, connections.count("idle")?);
    let sum = active.zip(idle).and_then(|(active, idle)| active.checked_add(idle));
    let mut counts = Counts { failed: connections.count("failed")?, ..Counts::default() };
    if let Some(events) = metrics.section("events")? {
        counts.checkouts = vec![events.count("checkouts")?];
        counts.connects = events.count("connects")?;
        let closed = events.count("disconnects")?;
        counts.closed = closed.map(|closed| [("other".to_owned(), closed)].into());
    }
    let size = match root.section("pool_config")? {
        Some(config) => config.small("size")?,
        None => None,
    };
    Ok(PoolStatus {
        identity: None,
        pool_class: root.text("pool_class")?.map(str::to_owned),
        limits: size.map_or(PoolLimitsTold::Unknown, PoolLimitsTold::SizeOnly),
        now: PoolGauges {
            active,
            idle,
            open: connections.count("total")?.or(sum),
            // SQLAlchemy's own `overflow()` is below 0 until the pool is full.
            overflow: connections.signed("overflow")?.map(|n| u64::try_from(n).unwrap_or(0)),
            ..PoolGauges::default()
        },
        counts,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(value: &Value) -> Result<PoolStatus, StatusError> {
        PoolStatus::parse(value.to_string().as_bytes())
    }

    /// As the specification prints it.
    fn specification() -> Value {
        json!({
            "pool_class": "QueuePool",
            "metrics": {
                "connections": {"active": 5, "idle": 15, "total": 20, "overflow": 0, "failed": 1},
                "performance": {"avg_connection_time_ms": 12.5, "avg_query_time_ms": 3.2, "slow_queries": 2},
                "events": {"checkouts": 1523, "checkins": 1518, "connects": 20, "disconnects": 3}
            },
            "pool_config": {"size": 20, "timeout": 30.0, "recycle": 3600, "pre_ping": true}
        })
    }

    fn extension() -> Value {
        let times = json!({"edges": [0.1, 1.0], "counts": [3, 2, 1], "sum": 4.5, "count": 6});
        json!({
            "pool_class": "QueuePool", "metrics": {}, "pool_config": {},
            "db_pool_status": {
                "schema_version": 1,
                "application": "orders",
                "process": {"pid": 7, "started_at": 1.5, "instance_id": "0f".repeat(16)},
                "pool_class": "QueuePool",
                "limits": {"size": 3, "max_overflow": 2, "max_connections": 5, "timeout_seconds": 0.4},
                "now": {"checked_out": 5, "idle": 0, "overflow": 2, "open": 5, "connecting": 0,
                        "waiting": 4, "oldest_wait_seconds": 0.25, "retired": 0},
                "totals": {
                    "checkouts": {"ok": 9, "timeout": 2, "error": 1, "cancelled": 0},
                    "connects": 8, "failed_connects": 1, "disconnects": 3,
                    "closed": {"overflow": 2, "broken": 1}
                },
                "histograms": {"checkout_wait_seconds": times},
                "what_comes_later": [1, null]
            }
        })
    }

    #[test]
    fn the_specifications_fields_are_enough_and_the_rest_is_absent() {
        let status = parse(&specification()).unwrap();
        assert_eq!((status.identity.clone(), status.limits), (None, PoolLimitsTold::SizeOnly(20)));
        let PoolGauges { active, idle, open, overflow, waiting, oldest_wait, .. } = status.now;
        assert_eq!((active, idle, open, overflow), (Some(5), Some(15), Some(20), Some(0)));
        assert_eq!((waiting, oldest_wait), (None, None));
        assert_eq!(status.counts.checkouts, [Some(1523)]);
        assert_eq!((status.counts.failed, status.counts.waits), (Some(1), None));
        let few = json!({"metrics": {"connections": {"active": 1}}});
        assert_eq!(parse(&few).unwrap().now.open, None);
    }

    #[test]
    fn overflow_below_zero_is_sqlalchemys_and_no_nonsense() {
        let mut status = specification();
        status["metrics"]["connections"]["overflow"] = json!(-15);
        assert_eq!(parse(&status).unwrap().now.overflow, Some(0));
    }

    #[test]
    fn the_extension_tells_all() {
        let status = parse(&extension()).unwrap();
        assert_eq!(status.identity.as_ref().map(|process| process.pid), Some(Some(7)));
        assert_eq!((status.now.waiting, status.now.oldest_wait), (Some(4), Some(0.25)));
        let limits = PoolLimitsTold::Limited { size: Some(3), max_overflow: Some(2), max: Some(5) };
        assert_eq!(status.limits, limits);
        assert_eq!(status.counts.checkouts, [9, 2, 1, 0].map(Some));
        let waits = status.counts.waits.unwrap();
        assert_eq!((waits.counts.iter().sum::<u64>(), waits.sum), (6, 4.5));
    }

    #[test]
    fn a_pool_of_another_class_has_no_limits() {
        let mut status = extension();
        let pool = &mut status["db_pool_status"];
        pool["limits"] = json!({});
        pool["now"] = json!({"open": 1, "connecting": 0});
        let status = parse(&status).unwrap();
        assert_eq!((status.limits, status.now.active), (PoolLimitsTold::Unlimited, None));
    }

    #[test]
    fn nonsense_refuses_the_answer_and_names_the_field() {
        let bad = [
            ("/now/waiting", json!(-1), "db_pool_status.now.waiting is not a whole number from 0"),
            ("/now/open", json!("5"), "db_pool_status.now.open is not a whole number from 0"),
            ("/now/open", json!(5.5), "db_pool_status.now.open is not a whole number from 0"),
            ("/now/open", json!(1e300), "db_pool_status.now.open is not a whole number from 0"),
            ("/now", json!([]), "db_pool_status.now is not an object"),
            (
                "/now/oldest_wait_seconds",
                json!(-0.1),
                "db_pool_status.now.oldest_wait_seconds is not a number from 0",
            ),
            (
                "/schema_version",
                json!(2),
                "db_pool_status.schema_version is not 1, which is all that is known",
            ),
            (
                "/process/instance_id",
                json!("a\"b"),
                "db_pool_status.process.instance_id is not a name of 1 to 64 letters, digits, `_`, `.` and `-`",
            ),
            (
                "/totals/checkouts/ok",
                json!(true),
                "db_pool_status.totals.checkouts.ok is not a whole number from 0",
            ),
            (
                "/totals/closed",
                json!({"a": -1}),
                "db_pool_status.totals.closed holds what is not a whole number from 0",
            ),
            (
                "/histograms/checkout_wait_seconds/counts",
                json!([1]),
                "db_pool_status.histograms.checkout_wait_seconds.counts are not one more than edges",
            ),
            (
                "/histograms/checkout_wait_seconds/edges",
                json!([1.0, 0.1]),
                "db_pool_status.histograms.checkout_wait_seconds.edges do not grow",
            ),
            (
                "/histograms/checkout_wait_seconds/count",
                json!(7),
                "db_pool_status.histograms.checkout_wait_seconds.count is not the sum of counts",
            ),
            (
                "/limits/max_overflow",
                json!(-2),
                "db_pool_status.limits.max_overflow is not a whole number from 0, or -1",
            ),
        ];
        for (path, value, expected) in bad {
            let mut status = extension();
            *status["db_pool_status"].pointer_mut(path).unwrap() = value;
            assert_eq!(parse(&status).unwrap_err().to_string(), expected);
        }
        let mut status = specification();
        status["metrics"]["connections"]["active"] = json!(-5);
        let message = "metrics.connections.active is not a whole number from 0";
        assert_eq!(parse(&status).unwrap_err().to_string(), message);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in ["", "<html>", "[1]", "null", "{\"a\": NaN}", "{\"a\": 1e999}", "{} {}"] {
            assert_eq!(PoolStatus::parse(text.as_bytes()), Err(StatusError::NotJson), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(PoolStatus::parse(deep.as_bytes()), Err(StatusError::NotJson));
        assert_eq!(parse(&json!({"status": "healthy"})), Err(StatusError::NoStatus));
    }
}
