//! The memory of a target's views, kept from one probe to the next.
//!
//! A snapshot shows one moment. The memory knows which label sets were there before, which slow queries
//! have been counted, and which statements are shown. A reading between two probes only counts slow
//! queries.

use std::collections::BTreeSet;

use super::Views;
use super::activity::{Activity, Scan, SessionGroup, Waits};
use super::application::Applications;
use super::dropped::{CappedFamily, Dropped};
use super::headroom::Headroom;
use super::key::SessionKey;
use super::row::Answer;
use super::series::{Labels, Series};
use super::settings::ViewSettings;
use super::slow::SlowQueryCounter;
use super::statements::StatementMembers;

/// The memory of a target's views, kept from one probe to the next.
#[derive(Debug)]
pub struct Memory {
    pub(super) series: Series,
    pub(super) slow: SlowQueryCounter,
    pub(super) waits: Waits,
    pub(super) applications: Applications,
    pub(super) statements: StatementMembers,
    pub(super) dropped: Dropped,
}

/// The snapshot's views in the making, with all that an answer needs to add its share.
pub struct Digest<'m> {
    pub(super) settings: &'m ViewSettings,
    pub(super) memory: &'m mut Memory,
    /// The views of the snapshot so far.
    pub(super) views: Views,
    /// The scan of pg_stat_activity, for what follows from several views.
    pub(super) scan: Option<Scan>,
}

impl Memory {
    /// The memory of a target that has not been probed yet.
    pub fn new(settings: &ViewSettings) -> Self {
        Self {
            series: Series::new(settings.series_limit),
            slow: SlowQueryCounter::new(settings.query_cache_size),
            waits: Waits::default(),
            applications: Applications::default(),
            statements: StatementMembers::new(settings.query_cache_size),
            dropped: Dropped::new(),
        }
    }

    /// Takes in what was read between two probes.
    pub(crate) fn sample(&mut self, answers: Vec<Box<dyn Answer>>) {
        answers.into_iter().for_each(|answer| answer.sample(self));
    }

    /// Takes in what the views of one probe have read, and returns what its snapshot shows.
    pub(crate) fn digest(
        &mut self,
        settings: &ViewSettings,
        answers: Vec<Box<dyn Answer>>,
    ) -> Views {
        let mut digest = Digest { settings, memory: self, views: Views::default(), scan: None };
        answers.into_iter().for_each(|answer| answer.digest(&mut digest));
        let Digest { mut views, scan, .. } = digest;
        if let (Some(limits), Some(scan)) = (&views.limits, &scan) {
            views.headroom = Some(Headroom::new(limits, scan));
        }
        // Counters are shown even where the views failed.
        views.slow = self.slow_totals(views.activity.as_ref());
        self.dropped.set(CappedFamily::Server, self.series.rolled());
        views.dropped = self.dropped.totals();
        views
    }

    /// Admits the label sets of a scan and counts its slow queries.
    pub(super) fn take(&mut self, groups: &[SessionGroup]) -> Labels {
        let labels = self.series.admit(groups.iter().map(|group| group.key.clone()).collect());
        self.slow.count(groups, &labels);
        labels
    }

    /// The counter of every label set that is shown and may be seen.
    fn slow_totals(&mut self, activity: Option<&Activity>) -> Vec<(SessionKey, u64)> {
        if !self.slow.is_counting() {
            return Vec::new();
        }
        let members: BTreeSet<&SessionKey> = self.series.members().collect();
        // A set that comes back soon goes on counting where it was; counts are only pruned when there
        // are far more of them than sets that are shown.
        self.slow.prune(members.len() * 10 + 100, |key| members.contains(key));
        let sets = activity.into_iter().flat_map(|activity| &activity.sets);
        let hidden = sets.filter(|(_, sessions)| !sessions.are_visible());
        let hidden: BTreeSet<&SessionKey> = hidden.map(|(key, _)| key).collect();
        let totals = members.into_iter().map(|key| (key.clone(), self.slow.total(key)));
        totals.filter(|(key, total)| *total > 0 || !hidden.contains(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::activity::SessionState;
    use crate::view::fixture::group;
    use crate::view::series::RETAINED;

    fn scan(groups: Vec<SessionGroup>) -> Vec<Box<dyn Answer>> {
        vec![Box::new(Scan { groups, own_open: 1 })]
    }

    /// Open connections by the label `application`: of the server's families, and of the applications'.
    type Shown = Vec<(String, u64)>;

    fn shown(views: &Views) -> (Shown, Shown) {
        let sets = &views.activity.as_ref().unwrap().sets;
        let server = sets.iter().map(|(key, s)| (key.application.clone(), s.open())).collect();
        let apps = views.applications.iter().map(|app| (app.key.application.clone(), app.open));
        (server, apps.collect())
    }

    fn pairs(pairs: &[(&str, u64)]) -> Shown {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    #[test]
    fn who_is_gone_is_shown_as_zero_for_a_while() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        memory.digest(&settings, scan(vec![group("web", SessionState::Idle, 4)]));
        for _ in 0..RETAINED {
            let (server, apps) = shown(&memory.digest(&settings, scan(Vec::new())));
            assert_eq!((server, apps), (pairs(&[("web", 0)]), pairs(&[("default", 0)])));
        }
        let (server, apps) = shown(&memory.digest(&settings, scan(Vec::new())));
        assert_eq!((server, apps), (pairs(&[]), pairs(&[])));
    }

    #[test]
    fn an_application_without_settings_is_shown_beside_the_others() {
        let mut settings = ViewSettings::default();
        settings.applications[0].sessions.application_name = Some(crate::view::Pattern::new("w*"));
        let mut memory = Memory::new(&settings);
        let groups =
            vec![group("web", SessionState::Active, 4), group("psql", SessionState::Idle, 1)];
        let views = memory.digest(&settings, scan(groups));
        assert_eq!(shown(&views).1, pairs(&[("default", 4), ("psql", 1)]));
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
        assert_eq!(shown(&views).1, pairs(&[("default", 1)]));
    }

    #[test]
    fn an_application_that_may_not_be_seen_shows_no_slow_queries() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        let groups =
            vec![group("web", SessionState::Unknown, 1), group("psql", SessionState::Idle, 1)];
        let views = memory.digest(&settings, scan(groups));
        let shown: Vec<&str> = views.slow.iter().map(|(key, _)| key.application.as_str()).collect();
        assert_eq!(shown, ["psql"]);
    }

    #[test]
    fn a_failed_scan_leaves_no_number_but_the_counters() {
        let settings = ViewSettings::default();
        let mut memory = Memory::new(&settings);
        memory.digest(&settings, scan(vec![group("web", SessionState::Idle, 4)]));
        let views = memory.digest(&settings, Vec::new());
        assert_eq!((views.activity, views.applications.len(), views.slow.len()), (None, 0, 1));
    }

    #[test]
    fn families_have_names_and_labels_of_their_own() {
        let names: BTreeSet<&str> = crate::view::readings().map(|row| row.name).collect();
        assert_eq!(names.len(), crate::view::readings().count());
    }
}
