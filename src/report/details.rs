//! The details of one target.

use std::fmt::Write as _;

use super::table::phases_in_words;
use super::{Report, part_in_words, tone};
use crate::dsn::DEFAULT_PORT;
use crate::health::{self, Check, CheckName, CheckOutcome, HealthStatus};
use crate::metrics::{Label, UsageSource};
use crate::probe::{Failure, ProbePart, TargetSettings, hint};
use crate::text::{Palette, Tone, printable};
use crate::view::{TightLimit, Tightest};

/// A sentence with the first thing to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The sentence.
    pub message: String,
    /// The first thing to do.
    pub hint: String,
}

impl Report<'_> {
    /// Returns the report of this target alone: where it is, its pool, the server's headroom, each failure and
    /// each check that did not pass with a hint, and what the role may not see.
    pub(crate) fn details(&self, palette: Palette) -> String {
        let status = self.verdict.status;
        let name = printable(&self.settings.name);
        let word = palette.paint(tone(status), status.label());
        let version = self.version().map(|version| format!(", {version}")).unwrap_or_default();
        let place = place(self.settings) + &version;
        let mut text = format!("{name}: {word}: {}\n", printable(&place));
        for line in [self.pool(), self.headroom()].into_iter().flatten() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}", printable(&line));
        }
        let is_bad = status != HealthStatus::Healthy;
        for note in self.failures().chain(self.complaints()) {
            add(&mut text, if is_bad { Tone::Bad } else { Tone::Plain }, palette, &note);
        }
        if let Some(note) = self.privileges() {
            add(&mut text, Tone::Plain, palette, &note);
        }
        for remark in self.verdict.checks.iter().filter_map(remark) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  note: {}", printable(&remark));
        }
        text
    }

    fn version(&self) -> Option<String> {
        let fresh = self.snapshot.connect.as_ref().and_then(|connect| connect.as_ref().ok());
        let pooled = self.snapshot.query.as_ref().ok();
        let server = pooled.map(|queried| &queried.server).or(fresh.map(|fresh| &fresh.server))?;
        let version = server.version.split_whitespace().next()?;
        Some(format!("{} {version}", self.settings.kind.spec().product))
    }

    /// Returns the judged application's pool, as far as it is known.
    fn pool(&self) -> Option<String> {
        let pool = &self.verdict.pool;
        let Some(application) = &pool.application else {
            let is_own = pool.source == UsageSource::Exporter;
            let can_see = self.snapshot.views.activity.is_some();
            return (is_own && can_see)
                .then(|| "pool: no session of the application was seen".to_owned());
        };
        let mut words = Vec::new();
        if let (Some(active), Some(open)) = (pool.active, pool.open) {
            let of = pool.limits.and_then(|limits| limits.max);
            let of = of.map(|max| format!(" of {max}")).unwrap_or_default();
            words.push(format!("{active}{of} checked out, {open} open"));
        } else {
            words.push("cannot be seen now".to_owned());
        }
        if let Some((number, is_known)) = pool.instances {
            let noun = if number == 1 { "process" } else { "processes" };
            words.push(format!("{number} {noun}{}", if is_known { "" } else { " assumed" }));
        }
        Some(format!("pool of {application}: {}", words.join(", ")))
    }

    fn headroom(&self) -> Option<String> {
        let limits = self.snapshot.views.limits.as_ref()?;
        let Tightest { free, limit } = self.snapshot.views.tightest()?;
        let place = match limit {
            TightLimit::Server => String::new(),
            TightLimit::Role(role) => format!(" to role {role}"),
            TightLimit::Database(database) => format!(" to database {database}"),
        };
        let max = limits.max;
        Some(format!(
            "server: {free} connections left on the server{place} (max_connections {max})"
        ))
    }

    /// Returns the parts that failed. An empty pool has to connect too, so connect and statement often fail for
    /// the same cause: it is shown once.
    pub(crate) fn failures(&self) -> impl Iterator<Item = Note> {
        let mut shown: Vec<&str> = Vec::new();
        let failed = self.snapshot.parts().filter_map(|(part, result)| Some((part, result.err()?)));
        failed.filter_map(move |(part, failure)| {
            let is_known = shown.contains(&failure.message.as_str());
            shown.push(&failure.message);
            (!is_known).then(|| self.failure(part, failure))
        })
    }

    fn failure(&self, part: ProbePart, failure: &Failure) -> Note {
        let what = part_in_words(part);
        let before = failure.passed.as_deref().map(phases_in_words);
        let before = before.map(|phases| format!("; passed before: {phases}")).unwrap_or_default();
        Note {
            message: format!("{what} failed: {}{before}", failure.message),
            hint: hint(&self.settings.name, part, failure),
        }
    }

    /// Returns the checks that did not pass, but for those that only repeat a failed part.
    fn complaints(&self) -> impl Iterator<Item = Note> {
        // A pool cannot be seen on a server that cannot be reached: that is no second problem.
        let is_down = self.snapshot.query.is_err();
        let is_repetition =
            move |check: &&Check| is_down && check.kind == CheckName::PoolSaturation;
        let checks = self.verdict.checks.iter().filter(move |check| !is_repetition(check));
        checks.filter_map(|check| {
            let hint = health::hint(check)?.to_owned();
            let message = check.message.as_deref().unwrap_or_default();
            Some(Note { message: format!("{}: {message}", check.kind.label()), hint })
        })
    }

    /// Returns the sessions that the exporter's role cannot see; `None` if it sees all, or if that is not known.
    /// Nothing is wrong with the target then.
    pub(crate) fn privileges(&self) -> Option<Note> {
        let own = &self.snapshot.views.limits.as_ref()?.own;
        let role = &own.role;
        (!own.sees_all).then(|| Note {
            message: format!(
                "role {role} cannot see what sessions of other roles do: their applications and slow queries stay unknown"
            ),
            hint: format!("GRANT pg_read_all_stats TO {role}"),
        })
    }
}

/// Returns the hosts with their ports, the database and the role of a target.
pub(crate) fn place(settings: &TargetSettings) -> String {
    let dsn = &settings.connect.dsn;
    let hosts = dsn.hosts.iter().map(|host| {
        let (name, port) = (host.show(), host.port.unwrap_or(DEFAULT_PORT));
        if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
    });
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    let role = dsn.user.as_deref().unwrap_or("-");
    let database = dsn.database.as_deref().unwrap_or(role);
    format!("{hosts}, database {database}, role {role}")
}

/// Returns the message of a check that passed all the same.
fn remark(check: &Check) -> Option<String> {
    let message = check.message.as_ref().filter(|_| check.outcome == CheckOutcome::Pass)?;
    Some(format!("{}: {message}", check.kind.label()))
}

fn add(text: &mut String, tone: Tone, palette: Palette, note: &Note) {
    let message = palette.paint(tone, &printable(&note.message));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {message}\n    hint: {}", printable(&note.hint));
}
