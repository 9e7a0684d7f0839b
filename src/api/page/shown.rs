//! A target as the page shows it: its last snapshot, the verdict on it, and since when each check stands.

use std::sync::Arc;

use tokio::time::Instant;

use crate::api::html::{Html, html};
use crate::health::{self, Check, CheckName, HealthStatus, Verdict};
use crate::metrics::Label as _;
use crate::probe::{Mark, Roster, Snapshot, Target};

/// The state of a target in one word, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// A check fails.
    Unhealthy,
    /// A check warns.
    Degraded,
    /// Not probed yet, or the last probe is too old.
    Unknown,
    /// Monitoring is switched off.
    Disabled,
    /// Every check passes.
    Healthy,
}

impl State {
    /// The word, which is also the class of its elements.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Degraded => "degraded",
            Self::Unknown | Self::Disabled => "unknown",
            Self::Healthy => "healthy",
        }
    }

    /// A sign beside the word: states must not differ by colour alone.
    fn sign(self) -> &'static str {
        match self {
            Self::Unhealthy => "\u{2715}",
            Self::Degraded => "!",
            Self::Unknown | Self::Disabled => "?",
            Self::Healthy => "\u{2713}",
        }
    }

    /// The badge with sign and word.
    pub(super) fn badge(self) -> Html {
        let (sign, word) = (self.sign(), self.word());
        html(
            "<span class=\"badge {}\"><span class=\"sign\" aria-hidden=\"true\">{}</span>{}</span>",
            &[&word, &sign, &word],
        )
    }
}

/// A target with its last snapshot and the verdict on it.
pub(super) struct Shown {
    pub(super) target: Arc<Target>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) verdict: Verdict,
    pub(super) state: State,
    /// True if the last probe ended too long ago to say anything about now.
    pub(super) is_stale: bool,
    marks: Vec<Mark>,
}

impl Shown {
    /// Judges a target now.
    pub(super) fn new(target: Arc<Target>, roster: &Roster, now: Instant) -> Self {
        let snapshot = target.published().map(|published| Arc::clone(&published.snapshot));
        let (verdict, marks) = health::mark(&target, now);
        let interval = target.settings().schedule.interval;
        let is_stale = snapshot.as_ref().is_some_and(|snapshot| snapshot.is_stale(now, interval));
        let state = match (&snapshot, verdict.status) {
            (_, _) if !roster.is_probing() => State::Disabled,
            (None, _) => State::Unknown,
            (Some(_), _) if is_stale => State::Unknown,
            (Some(_), HealthStatus::Unhealthy) => State::Unhealthy,
            (Some(_), HealthStatus::Degraded) => State::Degraded,
            (Some(_), HealthStatus::Healthy) => State::Healthy,
        };
        // Without probes the last snapshot says nothing.
        let snapshot = snapshot.filter(|_| roster.is_probing());
        Self { target, snapshot, verdict, state, is_stale, marks }
    }

    pub(super) fn name(&self) -> &str {
        self.target.name()
    }

    /// The snapshot, if what it says still holds: the target was up, and that is not too long ago.
    pub(super) fn present(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref().filter(|snapshot| !self.is_stale && snapshot.query.is_ok())
    }

    pub(super) fn check(&self, name: CheckName) -> Option<&Check> {
        self.verdict.checks.iter().find(|check| check.kind == name)
    }

    /// Since when a check has had its present result, as far as the exporter has watched.
    pub(super) fn since(&self, name: CheckName) -> Option<Instant> {
        let marks = self.marks.iter().find(|mark| mark.name == name.label());
        marks.map(|mark| mark.since)
    }

    /// What is checked out of the fullest pool as a part of its limit; below 0 where it is not known.
    pub(super) fn fullness(&self) -> f64 {
        let known = self.present().and(self.verdict.pool.saturation_ratio);
        known.unwrap_or(-1.0)
    }

    /// Connections that can still be opened; `None` where it is not known.
    pub(super) fn left(&self) -> Option<u64> {
        self.present()?.views.tightest().map(|tightest| tightest.free)
    }
}
