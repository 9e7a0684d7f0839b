//! What is kept of a target's views from one probe to the next.
//!
//! A snapshot shows what is now; the memory knows which label sets were there before, which slow
//! queries were counted, and which statements are shown. Samples between probes only count.

use std::collections::{BTreeMap, BTreeSet};

use super::Views;
use super::activity::{Activity, RunningQuery, SessionGroup, SessionStats};
use super::application::{self, Application};
use super::databases::Databases;
use super::headroom::{self, Headroom};
use super::key::SessionKey;
use super::limits::ServerLimits;
use super::name::CappedFamily;
use super::series::{Labels, RETAINED, Series};
use super::settings::ViewSettings;
use super::slow::SlowQueryCounter;
use super::statements::{StatementMembers, StatementStats};

/// What the views of one probe answered; `None` for those that did not, or were not asked.
#[derive(Debug, Default)]
pub struct Answers {
    /// The scan of pg_stat_activity.
    pub activity: Option<Vec<SessionGroup>>,
    /// How many connections of the exporter's own that scan has left out.
    pub ourselves: u64,
    /// What limits connections.
    pub limits: Option<ServerLimits>,
    /// pg_stat_database.
    pub databases: Option<Databases>,
    /// pg_stat_statements.
    pub statements: Option<Vec<StatementStats>>,
}

/// What is kept of a target's views from one probe to the next.
#[derive(Debug)]
pub struct Memory {
    series: Series,
    slow: SlowQueryCounter,
    members: StatementMembers,
    /// Label sets that have shown sessions of no configured application.
    unselected: BTreeSet<SessionKey>,
    /// Applications with settings, and for how many snapshots they have been gone.
    selected: BTreeMap<SessionKey, (Application, u32)>,
    /// What active sessions waited for, and for how many snapshots none has.
    waiting: BTreeMap<(String, String), u32>,
    dropped: BTreeMap<CappedFamily, u64>,
}

impl Memory {
    /// Knows nothing yet.
    pub fn new(settings: &ViewSettings) -> Self {
        Self {
            series: Series::new(settings.series_limit),
            slow: SlowQueryCounter::new(settings.query_cache_size),
            members: StatementMembers::new(settings.query_cache_size),
            unselected: BTreeSet::new(),
            selected: BTreeMap::new(),
            waiting: BTreeMap::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Takes in a scan between two probes: slow queries are counted.
    pub fn sample(&mut self, groups: &[SessionGroup]) {
        self.take(groups);
    }

    /// The statements to be asked for beside the top.
    pub fn statements(&self) -> Vec<i64> {
        self.members.queries()
    }

    /// Takes in what one probe was answered, and tells what its snapshot shows.
    pub fn digest(&mut self, settings: &ViewSettings, answers: Answers) -> Views {
        let Answers { activity: groups, ourselves, limits, databases, statements } = answers;
        let headroom = limits.as_ref().zip(groups.as_ref());
        let headroom = headroom.map(|(limits, groups)| Headroom::new(limits, groups, ourselves));
        let mut views = Views { headroom, ..Views::default() };
        if let Some(groups) = &groups {
            let labels = self.take(groups);
            self.series.age();
            views.activity = Some(self.activity(groups, &labels, ourselves));
            views.applications = self.applications(settings, groups, &labels);
        }
        views.slow = self.slow_totals(views.activity.as_ref());
        self.drop_counted(CappedFamily::Databases, databases.as_ref().map_or(0, |d| d.left_out));
        self.drop_counted(CappedFamily::Roles, limits.as_ref().map_or(0, |l| l.left_out));
        self.dropped.insert(CappedFamily::Server, self.series.rolled());
        views.statements = statements.map(|statements| self.members.choose(statements));
        views.limits = limits;
        views.databases = databases;
        views.dropped = self.dropped.iter().map(|(family, n)| (*family, *n)).collect();
        views
    }

    fn take(&mut self, groups: &[SessionGroup]) -> Labels {
        let labels = self.series.admit(groups.iter().map(|group| group.key.clone()).collect());
        self.slow.count(groups, &labels);
        labels
    }

    fn activity(&mut self, groups: &[SessionGroup], labels: &Labels, ourselves: u64) -> Activity {
        let members = self.series.members().map(|key| (key.clone(), SessionStats::default()));
        let mut sets: BTreeMap<SessionKey, SessionStats> = members.collect();
        for group in groups {
            sets.entry(label(labels, group).clone()).or_default().add(group);
        }
        let mut running: Vec<RunningQuery> = groups.iter().filter_map(RunningQuery::new).collect();
        running.sort_by_key(|running| std::cmp::Reverse(running.age));
        Activity {
            waiting: self.waits(groups, labels, &sets),
            sets: sets.into_iter().collect(),
            running,
            used: headroom::used(groups, ourselves),
        }
    }

    /// Who waits for what. For locks always, for other things while there are such and a while after.
    fn waits(
        &mut self,
        groups: &[SessionGroup],
        labels: &Labels,
        sets: &BTreeMap<SessionKey, SessionStats>,
    ) -> Vec<(String, String, u64)> {
        let mut now: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (key, _) in sets.iter().filter(|(key, s)| !key.database.is_empty() && s.are_visible()) {
            now.insert((key.database.clone(), "Lock".to_owned()), 0);
        }
        for group in groups {
            if let Some(kind) = &group.waits_for {
                let database = label(labels, group).database.clone();
                *now.entry((database, kind.clone())).or_default() += group.sessions;
            }
        }
        self.waiting.values_mut().for_each(|missing| *missing += 1);
        self.waiting.extend(now.keys().map(|pair| (pair.clone(), 0)));
        self.waiting.retain(|_, missing| *missing <= RETAINED);
        let count = |pair: &(String, String)| now.get(pair).copied().unwrap_or(0);
        self.waiting.keys().map(|pair| (pair.0.clone(), pair.1.clone(), count(pair))).collect()
    }

    fn applications(
        &mut self,
        settings: &ViewSettings,
        groups: &[SessionGroup],
        labels: &Labels,
    ) -> Vec<Application> {
        let mut rest: Vec<&SessionGroup> = groups.iter().collect();
        let mut found = application::select(&settings.applications, &mut rest);
        // By names alone a client cannot make more of these: a role and a database make one each.
        let too_many = found.len().saturating_sub(settings.series_limit);
        found = found.into_iter().take(settings.series_limit).collect();
        self.drop_counted(CappedFamily::Applications, too_many as u64);
        self.selected.values_mut().for_each(|(_, missing)| *missing += 1);
        for (key, application) in found {
            self.selected.insert(key, (application, 0));
        }
        self.selected.retain(|_, (_, missing)| *missing <= RETAINED);
        let gone = self.selected.values_mut().filter(|(_, missing)| *missing > 0);
        gone.for_each(|(application, _)| application.empty());
        let mut all: Vec<Application> = self.selected.values().map(|(a, _)| a.clone()).collect();
        all.extend(self.others(&rest, labels));
        all
    }

    /// The applications without settings, by the label sets of their sessions.
    fn others(&mut self, groups: &[&SessionGroup], labels: &Labels) -> Vec<Application> {
        let members: BTreeSet<&SessionKey> = self.series.members().collect();
        self.unselected.retain(|key| members.contains(key));
        let mut seen: BTreeMap<SessionKey, application::SessionCounts> = self
            .unselected
            .iter()
            .map(|key| (key.clone(), application::SessionCounts::default()))
            .collect();
        for group in groups {
            let key = label(labels, group);
            self.unselected.insert(key.clone());
            seen.entry(key.clone()).or_default().add(group);
        }
        // Two rows with the same labels would cost the whole scrape.
        let is_taken = |key: &SessionKey| self.selected.contains_key(key);
        let others = seen.into_iter().filter(|(key, _)| !is_taken(key));
        others.map(|(key, seen)| Application::unselected(key, seen)).collect()
    }

    /// The counter of every label set that is shown and can be seen.
    fn slow_totals(&mut self, activity: Option<&Activity>) -> Vec<(SessionKey, u64)> {
        if !self.slow.is_counting() {
            return Vec::new();
        }
        let members: BTreeSet<&SessionKey> = self.series.members().collect();
        self.slow.prune(members.len() * 10 + 100, |key| members.contains(key));
        let sets = activity.into_iter().flat_map(|activity| &activity.sets);
        let hidden: BTreeSet<&SessionKey> =
            sets.filter(|(_, sessions)| !sessions.are_visible()).map(|(key, _)| key).collect();
        let total = |key: &SessionKey| (key.clone(), self.slow.total(key));
        let told = |(key, n): &(SessionKey, u64)| *n > 0 || !hidden.contains(key);
        members.into_iter().map(total).filter(told).collect()
    }

    fn drop_counted(&mut self, family: CappedFamily, sets: u64) {
        *self.dropped.entry(family).or_default() += sets;
    }
}

fn label<'l>(labels: &'l Labels, group: &'l SessionGroup) -> &'l SessionKey {
    labels.get(&group.key).unwrap_or(&group.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::activity::SessionState;
    use crate::view::fixture::group;

    fn scan(groups: Vec<SessionGroup>) -> Answers {
        Answers { activity: Some(groups), ourselves: 1, ..Answers::default() }
    }

    /// Open connections by the label `application`: of the server's families, and of the applications'.
    type Told = Vec<(String, u64)>;

    fn told(views: &Views) -> (Told, Told) {
        let sets = &views.activity.as_ref().unwrap().sets;
        let server = sets.iter().map(|(key, s)| (key.application.clone(), s.open())).collect();
        let apps = views.applications.iter().map(|app| (app.key.application.clone(), app.open));
        (server, apps.collect())
    }

    fn pairs(pairs: &[(&str, u64)]) -> Told {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    #[test]
    fn who_is_gone_is_told_as_zero_for_a_while() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        memory.digest(&settings, scan(vec![group("web", SessionState::Idle, 4)]));
        for _ in 0..RETAINED {
            let (server, apps) = told(&memory.digest(&settings, scan(Vec::new())));
            assert_eq!((server, apps), (pairs(&[("web", 0)]), pairs(&[("default", 0)])));
        }
        let (server, apps) = told(&memory.digest(&settings, scan(Vec::new())));
        assert_eq!((server, apps), (pairs(&[]), pairs(&[])));
    }

    #[test]
    fn an_application_without_settings_is_told_beside_the_others() {
        let mut settings = ViewSettings::default();
        settings.applications[0].sessions.application_name = Some(crate::view::Pattern::new("w*"));
        let mut memory = Memory::new(&settings);
        let groups =
            vec![group("web", SessionState::Active, 4), group("psql", SessionState::Idle, 1)];
        let views = memory.digest(&settings, scan(groups));
        assert_eq!(told(&views).1, pairs(&[("default", 4), ("psql", 1)]));
        assert_eq!(views.usage(None).map(|usage| usage.active), Some(4));
        assert_eq!(views.usage(Some("psql")), None);
        assert_eq!(views.activity.unwrap().used, 6);
    }

    #[test]
    fn no_two_rows_have_the_same_labels() {
        let mut settings = ViewSettings::default();
        settings.applications[0].sessions.application_name = Some(crate::view::Pattern::new("w*"));
        let mut memory = Memory::new(&settings);
        let groups =
            vec![group("web", SessionState::Idle, 1), group("default", SessionState::Idle, 1)];
        let views = memory.digest(&settings, scan(groups));
        assert_eq!(told(&views).1, pairs(&[("default", 1)]));
    }

    #[test]
    fn an_application_that_may_not_be_seen_has_no_slow_queries_told() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        let groups =
            vec![group("web", SessionState::Unknown, 1), group("psql", SessionState::Idle, 1)];
        let views = memory.digest(&settings, scan(groups));
        let told: Vec<&str> = views.slow.iter().map(|(key, _)| key.application.as_str()).collect();
        assert_eq!(told, ["psql"]);
    }

    #[test]
    fn a_failed_scan_leaves_no_number_but_the_counters() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        memory.digest(&settings, scan(vec![group("web", SessionState::Idle, 4)]));
        let views = memory.digest(&settings, Answers::default());
        assert_eq!((views.activity, views.applications.len(), views.slow.len()), (None, 0, 1));
    }

    #[test]
    fn families_have_names_and_labels_of_their_own() {
        let names: BTreeSet<&str> = crate::view::READINGS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), crate::view::READINGS.len());
    }
}
