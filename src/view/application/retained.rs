//! The applications that are shown: those with settings and all others, also for a while after their
//! last session. Each is sampled at every scan, and keeps what its samples add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::cell::{Cell, CellKey, CellMemory, SessionCounts};
use super::infer::infer;
use super::totals::Sums;
use super::{Application, ApplicationCounters, ApplicationSettings, Recent, Vanished};
use crate::metrics::UsageSource;
use crate::view::activity::SessionGroup;
use crate::view::dropped::{CappedFamily, Dropped};
use crate::view::key::SessionKey;
use crate::view::series::{Labels, RETAINED, label};
use crate::view::settings::ViewSettings;

/// For this long after all its sessions ended at once, an application says so.
const VANISHED: Duration = Duration::from_secs(60);

/// Clients choose their application_names, so the cells that are remembered of one application are
/// limited.
const MOST_CELLS: usize = 1_000;

/// A scan, and the time before it that it stands for.
#[derive(Clone, Copy)]
pub(in crate::view) struct Sample<'s> {
    pub(in crate::view) at: Instant,
    pub(in crate::view) span: Duration,
    /// True for the first scan of the target: nothing is known of before.
    pub(in crate::view) is_first: bool,
    pub(in crate::view) groups: &'s [SessionGroup],
    pub(in crate::view) labels: &'s Labels,
}

/// The applications that were seen, kept from one scan to the next.
#[derive(Debug, Default)]
pub(in crate::view) struct Applications {
    /// Those with settings, and the place of these.
    selected: BTreeMap<SessionKey, (usize, Selected)>,
    /// Those without settings, by the label sets of the server's families.
    unselected: BTreeMap<SessionKey, Tracked>,
    /// True once a session of an application with settings was seen.
    seen: bool,
}

/// An application with settings: its cells, and what its samples add up to.
#[derive(Debug)]
struct Selected {
    cells: BTreeMap<CellKey, CellMemory>,
    whole_limit_open: Option<Instant>,
    tracked: Tracked,
}

/// The state that is kept for every application, with settings or without.
#[derive(Debug)]
struct Tracked {
    sums: Sums,
    open: u64,
    vanished: Option<(u64, Instant)>,
    /// When it last had a session.
    seen: Instant,
}

type Cells = BTreeMap<CellKey, SessionCounts>;

impl Applications {
    /// Takes in a scan and returns the applications to show, first those with settings.
    ///
    /// `members`: the label sets that the server's families show.
    pub(in crate::view) fn update(
        &mut self,
        settings: &ViewSettings,
        sample: Sample<'_>,
        members: &BTreeSet<&SessionKey>,
        dropped: &mut Dropped,
    ) -> Vec<Application> {
        let mut all = self.update_selected(settings, sample, dropped);
        all.extend(self.update_others(&settings.applications, sample, members));
        all
    }

    /// Reports whether a session of an application with settings was ever seen.
    pub(in crate::view) fn were_seen(&self) -> bool {
        self.seen
    }

    /// A probe has shown the samples since the one before.
    pub(in crate::view) fn begin_anew(&mut self) {
        self.selected.values_mut().for_each(|(_, app)| app.tracked.sums.begin_anew());
        self.unselected.values_mut().for_each(|tracked| tracked.sums.begin_anew());
    }

    /// Returns the sums of every application for a scrape.
    pub(in crate::view) fn show(&mut self, now: Instant) -> Vec<ApplicationCounters> {
        let selected = self.selected.iter_mut();
        let selected = selected.map(|(key, (_, app))| app.tracked.sums.show(key, now));
        let others = self.unselected.iter_mut().map(|(key, tracked)| ApplicationCounters {
            is_selected: false,
            ..tracked.sums.show(key, now)
        });
        selected.chain(others).collect()
    }

    fn update_selected(
        &mut self,
        settings: &ViewSettings,
        sample: Sample<'_>,
        dropped: &mut Dropped,
    ) -> Vec<Application> {
        let Sample { at, .. } = sample;
        let mut found = select(&settings.applications, sample.groups);
        self.seen |= !found.is_empty();
        self.selected.retain(|key, (_, app)| {
            found.contains_key(key) || at.duration_since(app.tracked.seen) <= RETAINED
        });
        // A client cannot inflate these by choosing names: each role and database makes one.
        let new = found.keys().filter(|key| !self.selected.contains_key(*key)).cloned();
        let new: Vec<SessionKey> = new.collect();
        let room = settings.series_limit.saturating_sub(self.selected.len());
        dropped.add(CappedFamily::Applications, new.len().saturating_sub(room) as u64);
        for key in new.into_iter().take(room) {
            if let Some((place, _)) = found.get(&key) {
                self.selected.insert(key, (*place, Selected::new(at)));
            }
        }
        let selected = self.selected.iter_mut();
        selected
            .map(|(key, (place, app))| {
                let cells = found.remove(key).map(|(_, cells)| cells).unwrap_or_default();
                app.update(&settings.applications[*place], key, sample, cells)
            })
            .collect()
    }

    /// The applications without settings, by the label sets of their sessions.
    fn update_others(
        &mut self,
        settings: &[ApplicationSettings],
        sample: Sample<'_>,
        members: &BTreeSet<&SessionKey>,
    ) -> Vec<Application> {
        let Sample { at, groups, labels, .. } = sample;
        let mut counts: BTreeMap<SessionKey, SessionCounts> = BTreeMap::new();
        for group in groups.iter().filter(|group| !group.is_exporter()) {
            let is_selected = selected_by(settings, group).is_some();
            // Prometheus refuses a whole scrape in which two samples have the same labels.
            let key = label(labels, &group.key);
            if !is_selected && !self.selected.contains_key(key) {
                counts.entry(key.clone()).or_default().add(group);
            }
        }
        let selected = &self.selected;
        self.unselected.retain(|key, _| members.contains(key) && !selected.contains_key(key));
        for key in counts.keys() {
            self.unselected.entry(key.clone()).or_insert_with(|| Tracked::new(at));
        }
        let all = self.unselected.iter_mut();
        all.map(|(key, tracked)| {
            let counts = counts.get(key).copied().unwrap_or_default();
            tracked.update(sample, Application::unselected(key.clone(), counts))
        })
        .collect()
    }
}

impl Selected {
    fn new(at: Instant) -> Self {
        Self { cells: BTreeMap::new(), whole_limit_open: None, tracked: Tracked::new(at) }
    }

    fn update(
        &mut self,
        settings: &ApplicationSettings,
        key: &SessionKey,
        sample: Sample<'_>,
        mut found: Cells,
    ) -> Application {
        let at = sample.at;
        for (key, cell) in &mut self.cells {
            cell.sample(at, found.remove(key).unwrap_or_default());
        }
        self.cells.retain(|_, cell| !cell.is_forgotten(at));
        for (key, counts) in found {
            let before = if sample.is_first { counts } else { SessionCounts::default() };
            let mut cell = CellMemory::new(at, before);
            cell.sample(at, counts);
            self.cells.insert(key, cell);
        }
        self.forget_the_oldest();
        let alive = self.cells.iter().filter(|(_, cell)| cell.is_alive(at));
        let cells: Vec<Cell<'_>> = alive.map(|(key, cell)| cell.cell(key)).collect();
        let app = infer(settings, key.clone(), &cells);
        let since = self.whole_limit_open.unwrap_or(at);
        self.whole_limit_open = is_whole_limit_open(&app).then_some(since);
        let whole_limit_open_for = self.whole_limit_open.map(|since| at.duration_since(since));
        self.tracked.update(sample, Application { whole_limit_open_for, ..app })
    }

    fn forget_the_oldest(&mut self) {
        while self.cells.len() > MOST_CELLS {
            let oldest = self.cells.iter().min_by_key(|(_, cell)| cell.seen());
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            self.cells.remove(&key);
        }
    }
}

/// Reports whether everything that a known number of processes may open is open, although less is
/// certainly checked out.
fn is_whole_limit_open(app: &Application) -> bool {
    let Some((allowed, active)) = app.allowed.zip(app.active) else { return false };
    let max = allowed.max.filter(|max| *max > 0 && allowed.instances.is_known()).map(u64::from);
    max.is_some_and(|max| app.open >= max && active < max)
}

impl Tracked {
    fn new(at: Instant) -> Self {
        Self { sums: Sums::default(), open: 0, vanished: None, seen: at }
    }

    fn update(&mut self, sample: Sample<'_>, app: Application) -> Application {
        let at = sample.at;
        if app.open > 0 {
            self.seen = at;
            self.vanished = None;
        } else if self.open > 0 {
            self.vanished = Some((self.open, at));
        }
        self.open = app.open;
        self.sums.add(at, sample.span, &app);
        let vanished = self.vanished.map(|(sessions, when)| (sessions, at.duration_since(when)));
        Application {
            recent: self.sums.recent(at),
            since_probe: self.sums.since_probe(),
            saturated_for: self.sums.saturated_for(at),
            vanished: vanished
                .filter(|(_, ago)| *ago <= VANISHED)
                .map(|(sessions, ago)| Vanished { sessions, ago }),
            ..app
        }
    }
}

impl Application {
    /// An application without settings: its limits are not known.
    fn unselected(key: SessionKey, counts: SessionCounts) -> Self {
        let active = counts.if_visible(counts.busy);
        Self {
            key,
            source: UsageSource::Activity,
            waiting: None,
            oldest_wait: None,
            open: counts.open,
            active,
            idle: active.map(|active| counts.open - active),
            uncertain: counts.if_visible(counts.idle),
            in_transaction: counts.if_visible(counts.in_transaction),
            leaked: counts.if_visible(counts.leaked),
            unseen: counts.unseen(),
            allowed: None,
            fullest: None,
            mean: None,
            saturated_instances: None,
            are_told_apart: false,
            recent: Recent::default(),
            since_probe: Recent::default(),
            saturated_for: None,
            processes: Vec::new(),
            whole_limit_open_for: None,
            vanished: None,
        }
    }
}

/// Returns the place of the application that these sessions belong to: the first that selects them.
pub(in crate::view) fn selected_by(
    settings: &[ApplicationSettings],
    group: &SessionGroup,
) -> Option<usize> {
    settings.iter().position(|application| application.sessions.holds(group))
}

/// Counts the sessions of every application that has settings, cell by cell. A process has one pool for
/// each role and database that it connects to.
fn select(
    settings: &[ApplicationSettings],
    groups: &[SessionGroup],
) -> BTreeMap<SessionKey, (usize, Cells)> {
    let mut found: BTreeMap<SessionKey, (usize, Cells)> = BTreeMap::new();
    for group in groups {
        let Some(place) = selected_by(settings, group) else { continue };
        let key = settings[place].key(group);
        let (_, cells) = found.entry(key).or_insert_with(|| (place, Cells::new()));
        let cell = (group.key.application.clone(), group.address.clone());
        cells.entry(cell).or_default().add(group);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::application::{NameMatch, SessionMatch};
    use crate::view::fixture;
    use crate::view::pattern::Pattern;

    #[test]
    fn sessions_belong_to_the_first_application_that_they_match() {
        let named = |name: &str, pattern: &str| ApplicationSettings {
            name: Some(name.to_owned()),
            sessions: SessionMatch {
                application_name: Some(Pattern::new(pattern)),
                user: NameMatch::Any,
                database: NameMatch::Like(Pattern::new("d*")),
            },
            ..ApplicationSettings::default()
        };
        let group = fixture::session_group;
        let rows = [
            group("u", "a-1", false),
            group("u", "a-2", false),
            group("v", "a-2", false),
            group("u", "b", false),
        ];
        let settings = [named("first", "a-*"), named("second", "a-2")];
        let found = select(&settings, &rows);
        let shown = found.iter().map(|(key, (_, cells))| {
            let open: u64 = cells.values().map(|counts| counts.open).sum();
            (key.user.as_str(), key.application.as_str(), open)
        });
        assert_eq!(shown.collect::<Vec<_>>(), [("u", "first", 4), ("v", "first", 2)]);
        assert_eq!(selected_by(&settings, &rows[3]), None);
    }
}
