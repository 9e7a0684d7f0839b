//! The totals of an application's samples: times in seconds, which only grow.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Application, Recent};
use crate::metrics::UsageSource;
use crate::view::key::SessionKey;

/// The last minute, in parts of five seconds.
const PART: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

/// The sums of an application's samples since its label set appeared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ApplicationTotals {
    /// Seconds of connections that were certainly checked out.
    pub active: f64,
    /// Seconds of open connections.
    pub open: f64,
    /// Seconds in which a process, or all of them, had nothing left; `None` without limits.
    pub saturated: Option<f64>,
    /// Seconds of connections that were idle in a transaction.
    pub in_transaction: f64,
}

/// The sums of an application, and its peak, for a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplicationCounters {
    /// Its labels.
    pub key: SessionKey,
    /// The source of the samples: its sessions, or its own status.
    pub source: UsageSource,
    /// True if the application has settings.
    pub is_selected: bool,
    /// Its sums.
    pub totals: ApplicationTotals,
    /// The most that was certainly checked out in the last minute.
    pub peak: u64,
}

/// Adds up the samples of one application.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    totals: ApplicationTotals,
    /// True once a scrape has shown the label set. The first scrape shows 0, because `increase()` cannot see
    /// a rise before a series' first sample.
    shown: bool,
    minute: VecDeque<(Instant, Recent)>,
    since_probe: Recent,
    saturated_since: Option<Instant>,
}

impl Sums {
    /// Adds a sample that stands for the time `span` before it.
    pub(crate) fn add(&mut self, at: Instant, span: Duration, app: &Application) {
        let seconds = span.as_secs_f64();
        let is_limited = app.allowed.is_some_and(|allowed| allowed.max.is_some());
        let saturated = if app.is_saturated() { span } else { Duration::ZERO };
        let totals = &mut self.totals;
        totals.open += app.open as f64 * seconds;
        totals.active += app.active.unwrap_or(0) as f64 * seconds;
        totals.in_transaction += app.in_transaction.unwrap_or(0) as f64 * seconds;
        if is_limited || totals.saturated.is_some() {
            *totals.saturated.get_or_insert(0.0) += saturated.as_secs_f64();
        }
        let since = self.saturated_since.unwrap_or(at);
        self.saturated_since = app.is_saturated().then_some(since);
        let peak = app.active.unwrap_or(0);
        let active = span.saturating_mul(u32::try_from(peak).unwrap_or(u32::MAX));
        let sample = Recent { active, peak, saturated, sampled: span };
        self.since_probe = plus(&self.since_probe, &sample);
        self.add_recent(at, sample);
    }

    fn add_recent(&mut self, at: Instant, sample: Recent) {
        match self.minute.back_mut() {
            Some((began, part)) if at.duration_since(*began) < PART => *part = plus(part, &sample),
            Some(_) | None => self.minute.push_back((at, sample)),
        }
        self.forget(at);
    }

    fn forget(&mut self, now: Instant) {
        while self.minute.front().is_some_and(|(began, _)| now.duration_since(*began) >= MINUTE) {
            self.minute.pop_front();
        }
    }

    /// Returns the samples of the last minute.
    pub(crate) fn recent(&mut self, now: Instant) -> Recent {
        self.forget(now);
        self.minute.iter().fold(Recent::default(), |sum, (_, part)| plus(&sum, part))
    }

    /// Returns the samples since the last probe.
    pub(crate) fn since_probe(&self) -> Recent {
        self.since_probe
    }

    /// A probe has shown them: from now on they add up anew.
    pub(crate) fn begin_anew(&mut self) {
        self.since_probe = Recent::default();
    }

    /// Returns for how long a process has had nothing left; `None` while none is full.
    pub(crate) fn saturated_for(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.saturated_since?))
    }

    /// Returns the sums for a scrape: 0 for the first one.
    pub(crate) fn show(&mut self, key: &SessionKey, now: Instant) -> ApplicationCounters {
        let peak = self.recent(now).peak;
        let first = ApplicationTotals {
            saturated: self.totals.saturated.map(|_| 0.0),
            ..ApplicationTotals::default()
        };
        let totals = if self.shown { self.totals } else { first };
        self.shown = true;
        let (key, source) = (key.clone(), UsageSource::Activity);
        ApplicationCounters { key, source, is_selected: true, totals, peak }
    }
}

fn plus(one: &Recent, other: &Recent) -> Recent {
    Recent {
        active: one.active + other.active,
        peak: one.peak.max(other.peak),
        saturated: one.saturated + other.saturated,
        sampled: one.sampled + other.sampled,
    }
}
