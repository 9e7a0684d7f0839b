//! Applications that serve the status of their own pools: what they say stands in place of what would be
//! inferred from their sessions, so that nothing is counted twice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::UsageSource;
use crate::source::{ProcessReport, Source, SourceReport, SourceSettings};
use crate::view::application::{
    AllowedConnections, ApplicationCounters, ApplicationTotals, Evidence, Fullest, Instances,
    MOST_PROCESSES, ProcessPool, ProcessUsage, Recent, Sums,
};
use crate::view::{Application, Counters, SessionKey, Views};

/// A gap between two polls counts for no more than this.
const LONGEST_GAP: Duration = Duration::from_secs(20);

/// The pools of one application, as its processes describe them.
pub(crate) struct EndpointPools {
    source: Source,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    sums: Sums,
    /// When a process last answered.
    last: Option<Instant>,
}

impl EndpointPools {
    pub(super) fn new(settings: SourceSettings) -> Self {
        Self { source: Source::new(settings), samples: Mutex::default() }
    }

    /// Reads all processes. `target`: the target's name, for the log.
    pub(super) async fn poll(&self, target: &str) {
        let report = self.source.poll(target).await;
        self.sample(&report, Instant::now());
    }

    /// Reads all processes, unless that was done before.
    pub(super) async fn poll_first(&self, target: &str) {
        if self.source.report().is_none() {
            self.poll(target).await;
        }
    }

    /// The report of the last poll; `None` before the first.
    pub(crate) fn report(&self) -> Option<Arc<SourceReport>> {
        self.source.report()
    }

    fn sample(&self, report: &SourceReport, now: Instant) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = row(report, &[]) else {
            samples.last = None;
            return;
        };
        let span = samples.last.map_or(Duration::ZERO, |last| now.duration_since(last));
        samples.last = Some(now);
        samples.sums.add(now, span.min(LONGEST_GAP), &row);
    }

    /// Puts the application's own numbers in place of the inferred ones, if a process has answered.
    pub(super) fn replace(&self, views: &mut Views, now: Instant) {
        let Some(report) = self.report() else { return };
        let (replaced, others): (Vec<_>, Vec<_>) = views.applications.drain(..).partition(|app| {
            app.allowed.is_some() && self.is_name(&app.key, report.name.as_deref())
        });
        views.applications = match row(&report, &replaced) {
            Some(row) => {
                views.applications_were_seen = true;
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                let recent = samples.sums.recent(now);
                let since_probe = samples.sums.since_probe();
                let saturated_for = samples.sums.saturated_for(now);
                samples.sums.begin_anew();
                let row = Application { recent, since_probe, saturated_for, ..row };
                [row].into_iter().chain(others).collect()
            }
            None => replaced.into_iter().chain(others).collect(),
        };
    }

    /// Puts the sums of the application's own samples in place of those of its sessions' samples. Sessions
    /// that idle in a transaction are seen on the server alone.
    pub(super) fn replace_counters(&self, counters: &mut Counters, now: Instant) {
        let Some(report) = self.report().filter(|report| report.is_up()) else { return };
        let all = std::mem::take(&mut counters.applications);
        let (replaced, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|app| app.is_selected && self.is_name(&app.key, report.name.as_deref()));
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let own = samples.sums.show(&key(&report), now);
        let in_transaction = replaced.iter().map(|app| app.totals.in_transaction).sum();
        let totals = ApplicationTotals { in_transaction, ..own.totals };
        let own = ApplicationCounters { totals, source: UsageSource::Endpoint, ..own };
        counters.applications = [own].into_iter().chain(others).collect();
    }

    /// Reports whether an application with settings is this one. Without a name it is the only one.
    fn is_name(&self, key: &SessionKey, name: Option<&str>) -> bool {
        name.is_none() || key.application == self.source.settings().key.application
    }
}

fn key(report: &SourceReport) -> SessionKey {
    SessionKey::new(&report.key.database, &report.key.user, &report.key.application)
}

/// Makes an application of a report; `None` where no process says how much is open. `replaced`: the same
/// application as its sessions show it.
fn row(report: &SourceReport, replaced: &[Application]) -> Option<Application> {
    let open = report.sum(ProcessReport::open)?;
    let active = report.sum(ProcessReport::active);
    let all = &report.processes;
    let seen = |number: fn(&Application) -> Option<u64>| {
        replaced.iter().filter_map(number).reduce(u64::saturating_add)
    };
    let is_limited = all.iter().any(|process| process.max.is_some());
    let full = u32::try_from(report.full_processes()).unwrap_or(u32::MAX);
    Some(Application {
        key: key(report),
        source: UsageSource::Endpoint,
        waiting: report.waiting(),
        oldest_wait: report.oldest_wait().and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
        open,
        active,
        idle: report.sum(|process| process.status.now.idle),
        uncertain: active.map(|_| 0),
        in_transaction: seen(|app| app.in_transaction),
        leaked: seen(|app| app.leaked),
        unseen: None,
        allowed: Some(allowed(report)),
        fullest: all.iter().filter_map(one).max_by(fuller),
        mean: mean(report, open, active),
        saturated_instances: is_limited.then_some(full),
        are_told_apart: true,
        recent: Recent::default(),
        since_probe: Recent::default(),
        saturated_for: None,
        processes: processes(report),
        whole_limit_open_for: None,
        vanished: None,
    })
}

/// Adds up a limit; `None` if one of the processes has none.
fn sum(report: &SourceReport, limit: fn(&ProcessReport) -> Option<u32>) -> Option<u32> {
    report
        .processes
        .iter()
        .try_fold(0_u32, |sum, process| Some(sum.saturating_add(limit(process)?)))
}

fn number(report: &SourceReport) -> u32 {
    u32::try_from(report.processes.len()).unwrap_or(u32::MAX)
}

fn allowed(report: &SourceReport) -> AllowedConnections {
    let first = report.processes.first();
    AllowedConnections {
        instances: Instances { number: number(report), evidence: Evidence::Endpoint },
        process: ProcessPool::Sqlalchemy {
            size: first.and_then(|process| process.size).unwrap_or(0),
            max_overflow: first.and_then(|process| process.max_overflow),
        },
        size: sum(report, |process| process.size),
        max_overflow: sum(report, |process| process.max_overflow),
        max: sum(report, |process| process.max),
        overflow: report.sum(ProcessReport::overflow),
        exceeded: None,
    }
}

/// Lists several processes, the fullest first.
fn processes(report: &SourceReport) -> Vec<ProcessUsage> {
    let known = report.processes.iter().filter_map(|process| Some((process, one(process)?)));
    let mut known: Vec<_> = known.collect();
    if known.len() < 2 {
        return Vec::new();
    }
    known.sort_by(|(_, one), (_, other)| fuller(other, one));
    let listed = known.into_iter().take(MOST_PROCESSES);
    let listed = listed.map(|(process, usage)| ProcessUsage {
        name: process.instance.clone(),
        address: None,
        usage,
    });
    listed.collect()
}

fn one(process: &ProcessReport) -> Option<Fullest> {
    Some(Fullest {
        active: process.active()?,
        open: process.open()?,
        processes: 1,
        size: process.size.map(u64::from),
        max: process.max.map(u64::from),
    })
}

/// Compares two processes; one without a limit is the less full.
fn fuller(one: &Fullest, other: &Fullest) -> std::cmp::Ordering {
    let ratio = |process: &Fullest| process.saturation_ratio().unwrap_or(-1.0);
    ratio(one).total_cmp(&ratio(other))
}

fn mean(report: &SourceReport, open: u64, active: Option<u64>) -> Option<Fullest> {
    Some(Fullest {
        active: active?,
        open,
        processes: number(report),
        size: sum(report, |process| process.size).map(u64::from),
        max: sum(report, |process| process.max).map(u64::from),
    })
}
