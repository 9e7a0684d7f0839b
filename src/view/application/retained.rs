//! The applications that are shown: those with settings and all others, also for a while after their
//! last session.

use std::collections::{BTreeMap, BTreeSet};

use super::Application;
use super::infer::{SessionCounts, select};
use crate::view::activity::SessionGroup;
use crate::view::dropped::{CappedFamily, Dropped};
use crate::view::key::SessionKey;
use crate::view::series::{Labels, RETAINED, label};
use crate::view::settings::ViewSettings;

/// The applications that were seen, kept from one probe to the next.
#[derive(Debug, Default)]
pub(in crate::view) struct Applications {
    /// Applications with settings, and for how many snapshots each has had no session.
    selected: BTreeMap<SessionKey, (Application, u32)>,
    /// Label sets that have shown sessions of no application with settings.
    unselected: BTreeSet<SessionKey>,
}

impl Applications {
    /// Takes in a scan and returns the applications to show, first those with settings.
    ///
    /// `members`: the label sets that the server's families show.
    pub(in crate::view) fn update(
        &mut self,
        settings: &ViewSettings,
        groups: &[SessionGroup],
        labels: &Labels,
        members: &BTreeSet<&SessionKey>,
        dropped: &mut Dropped,
    ) -> Vec<Application> {
        let mut rest: Vec<&SessionGroup> = groups.iter().collect();
        let found = select(&settings.applications, &mut rest);
        // A client cannot inflate these by choosing names: each role and database makes one.
        let too_many = found.len().saturating_sub(settings.series_limit);
        dropped.add(CappedFamily::Applications, too_many as u64);
        self.selected.values_mut().for_each(|(_, missing)| *missing += 1);
        for (key, application) in found.into_iter().take(settings.series_limit) {
            self.selected.insert(key, (application, 0));
        }
        self.selected.retain(|_, (_, missing)| *missing <= RETAINED);
        for (application, missing) in self.selected.values_mut() {
            if *missing > 0 {
                application.clear();
            }
        }
        let selected = self.selected.values().map(|(application, _)| application.clone());
        let mut all: Vec<Application> = selected.collect();
        all.extend(self.others(&rest, labels, members));
        all
    }

    /// The applications without settings, by the label sets of their sessions.
    fn others(
        &mut self,
        groups: &[&SessionGroup],
        labels: &Labels,
        members: &BTreeSet<&SessionKey>,
    ) -> Vec<Application> {
        self.unselected.retain(|key| members.contains(key));
        let known = self.unselected.iter();
        let mut counts: BTreeMap<SessionKey, SessionCounts> =
            known.map(|key| (key.clone(), SessionCounts::default())).collect();
        for group in groups {
            let key = label(labels, &group.key);
            self.unselected.insert(key.clone());
            counts.entry(key.clone()).or_default().add(group);
        }
        // Prometheus refuses a whole scrape in which two samples have the same labels.
        counts.retain(|key, _| !self.selected.contains_key(key));
        counts.into_iter().map(|(key, counts)| Application::unselected(key, counts)).collect()
    }
}
