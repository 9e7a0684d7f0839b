//! An application's connection pools, inferred from the server's sessions.
//!
//! The number of open connections is exact. The number of checked-out ones is a lower bound (see
//! `infer.rs`). Overflow is exact for one process, and a lower bound for several that share one name. Waiting for a connection happens inside the application and cannot be seen from here.

mod infer;
mod retained;
mod settings;

pub(super) use retained::Applications;
pub use settings::{ApplicationSettings, NameMatch, SessionMatch};

use self::infer::SessionCounts;
use super::Views;
use super::key::SessionKey;
use crate::metrics::{Kind, Reading, Samples, Usage, UsageSource};

/// An application's pools, all its processes together, as its sessions show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its labels; `application` is the name in its settings if it has any.
    pub key: SessionKey,
    /// Open connections.
    pub open: u64,
    /// Connections that are checked out: a lower bound. `None` where the exporter's role may not see the
    /// sessions' states; likewise below.
    pub active: Option<u64>,
    /// Open connections that are not known to be checked out.
    pub idle: Option<u64>,
    /// Connections that are idle in transaction beyond the leak threshold.
    pub leaked: Option<u64>,
    /// The configured limits; `None` for applications without settings.
    pub allowed: Option<AllowedConnections>,
}

/// The number of connections that an application's pools may open, all its processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedConnections {
    /// The number of processes: as configured, or more where their names show more.
    pub instances: u32,
    /// Connections that their pools keep; `None` without a limit.
    pub size: Option<u32>,
    /// Connections beyond the size; `None` without a limit.
    pub max_overflow: Option<u32>,
    /// Open above the size.
    pub overflow: u64,
    /// True if more is open than the limits allow. Then the settings are wrong, and ratios are left out.
    pub is_exceeded: bool,
}

impl AllowedConnections {
    /// Size and overflow together; `None` without a limit.
    pub(crate) fn max(&self) -> Option<u32> {
        Some(self.size?.saturating_add(self.max_overflow?))
    }
}

impl Application {
    /// The application's pools as one pool; `None` without settings, or where they cannot be seen.
    ///
    /// Exceeded limits are left out, so that no ratio is made of them.
    pub fn usage(&self) -> Option<Usage> {
        let allowed = self.allowed?;
        let usage = Usage {
            active: self.active?,
            idle: self.idle?,
            open: self.open,
            overflow: allowed.overflow,
            size: allowed.size,
            max_overflow: allowed.max_overflow,
            max: allowed.max(),
            source: UsageSource::Activity,
        };
        Some(if allowed.is_exceeded {
            Usage { size: None, max_overflow: None, max: None, ..usage }
        } else {
            usage
        })
    }

    /// Sets all counts to 0: its last session has ended.
    fn clear(&mut self) {
        self.open = 0;
        self.active = Some(0);
        self.idle = Some(0);
        self.leaked = Some(0);
        if let Some(allowed) = &mut self.allowed {
            allowed.overflow = 0;
            allowed.is_exceeded = false;
        }
    }

    /// An application without settings: its limits are not known.
    fn unselected(key: SessionKey, counts: SessionCounts) -> Self {
        Self {
            key,
            open: counts.open,
            active: counts.if_visible(counts.busy),
            idle: counts.if_visible(counts.open - counts.busy),
            leaked: counts.if_visible(counts.leaked),
            allowed: None,
        }
    }
}

const LABELS: &[&str] = &["database", "user", "application", "source"];

const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&Views, &mut Samples<'_>),
) -> Reading<Views> {
    Reading { name, help, kind: Kind::Gauge, labels: LABELS, read }
}

/// The families of [`Application`].
pub(super) const READINGS: &[Reading<Views>] = &[
    gauge(
        "db_pool_app_active_connections",
        "Connections that the application has checked out. From source activity a lower bound: a connection that was checked out and has sent nothing yet looks idle.",
        |views, out| each(views, out, |app| app.active.map(to_f64)),
    ),
    gauge(
        "db_pool_app_idle_connections",
        "Open connections of the application that are not known to be checked out. From source activity some of them may be.",
        |views, out| each(views, out, |app| app.idle.map(to_f64)),
    ),
    gauge(
        "db_pool_app_open_connections",
        "Open connections of the application, all processes together.",
        |views, out| each(views, out, |app| Some(to_f64(app.open))),
    ),
    gauge(
        "db_pool_app_leaked_connections",
        "Connections of the application that have been idle in a transaction for longer than leak_threshold.",
        |views, out| each(views, out, |app| app.leaked.map(to_f64)),
    ),
    gauge(
        "db_pool_app_overflow_connections",
        "Open connections of the application above its pool size, all processes together. A lower bound where several processes share one application_name.",
        |views, out| each(views, out, |app| Some(to_f64(app.allowed?.overflow))),
    ),
    gauge(
        "db_pool_app_size",
        "Pool size of the application, all processes together, as configured; absent without a limit.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.size?))),
    ),
    gauge(
        "db_pool_app_max_connections",
        "Pool size and overflow of the application, all processes together, as configured; +Inf without a limit.",
        |views, out| {
            each(views, out, |app| Some(app.allowed?.max().map_or(f64::INFINITY, f64::from)));
        },
    ),
    gauge(
        "db_pool_app_utilization_percent",
        "Checked-out connections in percent of the pool size, over 100 in overflow. A mean over all processes: one can be full while others are idle. Absent without a limit, and when more is open than configured.",
        |views, out| each(views, out, |app| app.usage()?.utilization_percent()),
    ),
    gauge(
        "db_pool_app_saturation_ratio",
        "Checked-out connections divided by pool size plus overflow; at 1 the next check-out waits. A mean over all processes: one can be full while others are idle. Absent without a limit, and when more is open than configured.",
        |views, out| each(views, out, |app| app.usage()?.saturation_ratio()),
    ),
    gauge(
        "db_pool_app_instances",
        "Number of processes that the limits are multiplied by: as configured, or more where names of their own show more.",
        |views, out| each(views, out, |app| Some(f64::from(app.allowed?.instances))),
    ),
];

fn each(views: &Views, out: &mut Samples<'_>, value: impl Fn(&Application) -> Option<f64>) {
    for app in &views.applications {
        out.push(app.key.labels_and(UsageSource::Activity.label()), value(app));
    }
}

fn to_f64(n: u64) -> f64 {
    n as f64
}
