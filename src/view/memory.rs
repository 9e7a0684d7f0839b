//! The state of a target's views that is kept from one probe to the next.
//!
//! A snapshot shows one moment. The memory knows which label sets were there before, which slow queries
//! have been counted, which statements are shown, and what the samples of each application add up to. A
//! scan of a probe and one between two probes are samples alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::Views;
use super::activity::{Activity, Scan, Waits};
use super::application::{Application, Applications, Sample, selected_by};
use super::counters::Counters;
use super::dropped::{CappedFamily, Dropped};
use super::headroom::Headroom;
use super::key::SessionKey;
use super::limits::ServerLimits;
use super::pgbouncer::{ConsoleMemory, ConsoleReadings, WaitingSeconds};
use super::row::{Answer, ViewName};
use super::sampling::Sampling;
use super::series::{Labels, Series, label};
use super::settings::ViewSettings;
use super::shared::{OwnNames, ReadBy, ServerReading, SharedScan};
use super::slow::SlowQueryCounter;
use super::statements::{self, StatementMembers};

/// The state of a target's views that is kept from one probe to the next.
#[derive(Debug)]
pub struct Memory {
    pub(super) series: Series,
    pub(super) slow: SlowQueryCounter,
    pub(super) waits: Waits,
    pub(super) applications: Applications,
    pub(super) statements: StatementMembers,
    pub(super) dropped: Dropped,
    pub(super) sampling: Sampling,
    pub(super) console: ConsoleMemory,
    /// The limits that the last probe read, for the headroom at each scan.
    limits: Option<Arc<ServerLimits>>,
    /// The last scan, for the other targets of the server.
    scanned: Option<SharedScan>,
    /// The applications at the last scan of another target.
    followed: Option<Vec<Application>>,
}

/// The input and the output of digesting the views' answers.
pub struct Digest<'m> {
    pub(super) settings: &'m ViewSettings,
    pub(super) memory: &'m mut Memory,
    /// The views of the snapshot so far.
    pub(super) views: Views,
    /// The scan of pg_stat_activity, for what follows from several views.
    pub(super) scan: Option<Scan>,
    /// What a pooler's console has answered.
    pub(super) console: ConsoleReadings,
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
            dropped: Dropped::new(&settings.enabled),
            sampling: Sampling::new(settings.sampling),
            console: ConsoleMemory::new(settings.series_limit),
            limits: None,
            scanned: None,
            followed: None,
        }
    }

    /// Takes in what was read between two probes.
    pub fn sample(&mut self, settings: &ViewSettings, answers: Vec<Box<dyn Answer>>) {
        answers.into_iter().for_each(|answer| answer.sample(settings, self));
    }

    /// Keeps a scan for the other targets of the server.
    pub(super) fn keep(&mut self, scan: Scan) {
        self.scanned = Some(SharedScan::new(scan, self.sampling.interval()));
    }

    /// Returns the last scan, once.
    pub(crate) fn scanned(&mut self) -> Option<SharedScan> {
        self.scanned.take()
    }

    /// Takes in a scan of another target of the server, unless it is known already.
    pub(crate) fn follow(&mut self, settings: &ViewSettings, shared: &SharedScan, own: &OwnNames) {
        if self.sampling.last().is_some_and(|last| last >= shared.at()) {
            return;
        }
        // What is left to the server is counted by the one that reads it.
        self.limits = None;
        self.sampling.follow(shared.interval);
        let (_, applications) = self.take(settings, &shared.seen_by(settings, own));
        self.followed = Some(applications);
    }

    /// As [`Self::digest`], where another target has read the server.
    pub(crate) fn digest_followed(
        &mut self,
        settings: &ViewSettings,
        answers: Vec<Box<dyn Answer>>,
        reading: &ServerReading,
        read_by: ReadBy,
    ) -> Views {
        let mut views = self.digest(settings, answers);
        views.take_over(reading, read_by);
        if views.activity.is_some() {
            views.applications = self.followed.clone().unwrap_or_default();
        }
        views
    }

    /// Returns the pace of the samples, and the time that they stand for.
    pub fn sampling(&mut self) -> &mut Sampling {
        &mut self.sampling
    }

    /// Returns the time that clients of a pooler's pools have waited, for a scrape.
    pub(crate) fn waiting(&mut self) -> WaitingSeconds {
        self.console.show_waiting()
    }

    /// Takes in that the server refused a statement with this SQLSTATE: where it could not convert a text
    /// between encodings, texts are left out from now on.
    pub(crate) fn refused(&mut self, view: ViewName, sqlstate: Option<&str>) {
        let is_conversion = matches!(sqlstate, Some("42883" | "22021" | "22P05"));
        if is_conversion && view == statements::VIEW.name {
            self.statements.refuse_texts();
        }
    }

    /// Returns what the samples add up to, for a scrape. A label set that has not been shown before is
    /// shown with 0.
    pub fn counters(&mut self, now: Instant) -> Counters {
        Counters {
            interval: self.sampling.interval(),
            sampled: self.sampling.sampled(),
            headroom_gone: self.sampling.headroom_gone(),
            applications: self.applications.show(now),
            waiting: vec![(None, self.console.show_waiting())],
        }
    }

    /// Takes in what the views of one probe have read, and returns what its snapshot shows.
    pub fn digest(&mut self, settings: &ViewSettings, answers: Vec<Box<dyn Answer>>) -> Views {
        let console = ConsoleReadings::default();
        let mut digest =
            Digest { settings, memory: self, views: Views::default(), scan: None, console };
        answers.into_iter().for_each(|answer| answer.digest(&mut digest));
        let Digest { mut views, scan, console, .. } = digest;
        if settings.is_console() {
            views.consoles = vec![self.assemble_console(settings, console)];
        }
        self.limits = views.limits.clone().or(self.limits.take());
        views.applications_were_seen = self.applications.were_seen();
        if let (Some(limits), Some(scan)) = (&views.limits, &scan) {
            views.headroom = Some(Arc::new(Headroom::new(limits, scan)));
        }
        if let Some(scan) = scan {
            self.keep(scan);
        }
        // Counters are shown even where the views failed.
        views.slow = self.slow_totals(views.activity.as_deref());
        self.dropped.set(CappedFamily::Server, self.series.rolled());
        views.dropped = self.dropped.totals();
        views
    }

    /// Takes in a scan: admits its label sets, counts its slow queries, and samples the applications.
    pub(super) fn take(
        &mut self,
        settings: &ViewSettings,
        scan: &Scan,
    ) -> (Labels, Vec<Application>) {
        let labels = self.label(settings, scan);
        self.slow.count(&scan.groups, &labels);
        let is_first = self.sampling.last().is_none();
        let span = self.sampling.take(scan.at);
        let headroom = self.limits.as_ref().map(|limits| Headroom::new(limits, scan).ordinary);
        self.sampling.add_headroom(span, headroom);
        let sample = Sample { at: scan.at, span, is_first, groups: &scan.groups, labels: &labels };
        let Self { applications, series, dropped, .. } = self;
        let members = series.members().collect();
        let applications = applications.update(settings, sample, &members, dropped);
        (labels, applications)
    }

    /// Returns the label set of each set of sessions. Those of an application with settings have its
    /// name, in the families of the server too, so that one application has one name everywhere.
    fn label(&mut self, settings: &ViewSettings, scan: &Scan) -> Labels {
        let named = scan.groups.iter().map(|group| {
            let place = selected_by(&settings.applications, group);
            let selected = place.map(|place| settings.applications[place].key(group));
            (group.key.clone(), selected.unwrap_or_else(|| group.key.kept_apart()))
        });
        let named: Labels = named.collect();
        let admitted = self.series.admit(named.values().cloned().collect(), scan.at);
        named.into_iter().map(|(key, name)| (key, label(&admitted, &name).clone())).collect()
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
        let Self { slow, series, .. } = self;
        let totals = series.members().map(|key| (key.clone(), slow.show(key)));
        totals.filter(|(key, total)| *total > 0 || !hidden.contains(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::view::Pattern;
    use crate::view::activity::{SessionGroup, SessionState};
    use crate::view::application::{ApplicationTotals, ProcessPool};
    use crate::view::fixture::{group, session_group};
    use crate::view::series::RETAINED;

    /// Scans of one target, second by second.
    struct Scans {
        settings: ViewSettings,
        memory: Memory,
        now: Instant,
    }

    impl Scans {
        fn new(settings: ViewSettings) -> Self {
            Self { memory: Memory::new(&settings), settings, now: Instant::now() }
        }

        /// An application of one process, with this pattern of application_name.
        fn of(pattern: &str) -> Self {
            let mut settings = ViewSettings::default();
            let app = &mut settings.applications[0];
            app.name = Some("shop".to_owned());
            app.sessions.application_name = Some(Pattern::new(pattern));
            app.pool = ProcessPool::Sqlalchemy { size: 5, max_overflow: Some(3) };
            app.instances = Some(1);
            Self::new(settings)
        }

        fn answers(&mut self, pause: Duration, groups: Vec<SessionGroup>) -> Vec<Box<dyn Answer>> {
            self.now += pause;
            vec![Box::new(Scan { at: self.now, groups, own_open: 1 })]
        }

        fn probe_after(&mut self, pause: Duration, groups: Vec<SessionGroup>) -> Views {
            let answers = self.answers(pause, groups);
            self.memory.digest(&self.settings, answers)
        }

        fn probe(&mut self, groups: Vec<SessionGroup>) -> Views {
            self.probe_after(SECOND, groups)
        }

        fn sample(&mut self, groups: Vec<SessionGroup>) {
            let answers = self.answers(SECOND, groups);
            self.memory.sample(&self.settings, answers);
        }

        /// The sums of the only application, and its peak.
        fn counters(&mut self) -> (ApplicationTotals, u64) {
            let counters = self.memory.counters(self.now);
            let [app] = counters.applications.as_slice() else { panic!("{counters:?}") };
            (app.totals, app.peak)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

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
    fn who_is_gone_is_shown_as_zero_for_ten_minutes() {
        let mut scans = Scans::new(ViewSettings::default());
        scans.probe(vec![group("web", SessionState::Idle, 4)]);
        let gone = scans.probe_after(RETAINED, Vec::new());
        assert_eq!(shown(&gone), (pairs(&[("app", 0)]), pairs(&[("app", 0)])));
        assert_eq!(shown(&scans.probe(Vec::new())), (pairs(&[]), pairs(&[])));
    }

    #[test]
    fn an_application_without_settings_is_shown_beside_the_others() {
        let mut scans = Scans::of("w*");
        let groups =
            vec![group("web", SessionState::Active, 4), group("psql", SessionState::Idle, 1)];
        let views = scans.probe(groups);
        assert_eq!(shown(&views).1, pairs(&[("shop", 4), ("psql", 1)]));
        assert_eq!(shown(&views).0, pairs(&[("psql", 1), ("shop", 4)]), "one name everywhere");
        assert_eq!(views.usage(None).map(|usage| usage.active), Some(4));
        assert_eq!(views.usage(Some("psql")), None);
        assert_eq!(views.activity.unwrap().used, 6);
    }

    #[test]
    fn without_a_name_the_role_is_the_applications_name() {
        let mut scans = Scans::new(ViewSettings::default());
        let views = scans.probe(vec![group("", SessionState::Idle, 4)]);
        assert_eq!(shown(&views), (pairs(&[("app", 4)]), pairs(&[("app", 4)])));
    }

    #[test]
    fn an_exporters_sessions_are_nobodys_pool() {
        let mut scans = Scans::of("*");
        let other = session_group("monitor", "db_pool_exporter", false);
        let groups = vec![group("db_pool_exporter", SessionState::Idle, 3), other];
        let views = scans.probe(groups);
        assert_eq!(shown(&views).1, pairs(&[]));
        assert_eq!(views.activity.unwrap().used, 6, "but they use connections");
    }

    #[test]
    fn no_two_rows_have_the_same_labels() {
        let mut scans = Scans::of("w*");
        let groups =
            vec![group("web", SessionState::Idle, 1), group("shop", SessionState::Idle, 1)];
        let views = scans.probe(groups);
        assert_eq!(shown(&views).1, pairs(&[("shop", 1)]));
    }

    #[test]
    fn an_application_that_may_not_be_seen_shows_no_slow_queries() {
        let mut scans = Scans::of("w*");
        let groups =
            vec![group("web", SessionState::Unknown, 1), group("psql", SessionState::Idle, 1)];
        let views = scans.probe(groups);
        let shown: Vec<&str> = views.slow.iter().map(|(key, _)| key.application.as_str()).collect();
        assert_eq!(shown, ["psql"]);
    }

    #[test]
    fn a_failed_scan_leaves_no_number_but_the_counters() {
        let mut scans = Scans::new(ViewSettings::default());
        scans.probe(vec![group("web", SessionState::Idle, 4)]);
        let views = scans.memory.digest(&scans.settings, Vec::new());
        assert_eq!((views.activity, views.applications.len(), views.slow.len()), (None, 0, 1));
        assert!(views.applications_were_seen);
        scans.counters();
        assert_eq!(scans.counters().0.open, 0.0, "one sample stands for no time");
    }

    #[test]
    fn samples_add_up_and_the_first_scrape_shows_0() {
        let mut scans = Scans::of("web");
        let busy = |n| vec![group("web", SessionState::Active, n)];
        scans.probe(busy(8));
        scans.sample(busy(8));
        let first = scans.counters();
        let none = ApplicationTotals { saturated: Some(0.0), ..ApplicationTotals::default() };
        assert_eq!(first, (none, 8));
        scans.sample(vec![group("web", SessionState::IdleInTransaction, 2)]);
        scans.sample(Vec::new());
        let expected = ApplicationTotals {
            active: 10.0,
            open: 10.0,
            saturated: Some(1.0),
            in_transaction: 2.0,
        };
        assert_eq!(scans.counters(), (expected, 8));
    }

    #[test]
    fn a_probes_scan_is_a_sample_and_a_gap_is_not_made_up() {
        let mut scans = Scans::of("web");
        let busy = || vec![group("web", SessionState::Active, 1)];
        scans.sample(busy());
        scans.counters();
        scans.probe(busy());
        scans.probe_after(SECOND * 60, busy());
        assert_eq!(scans.counters().0.active, 3.0);
        assert_eq!(scans.memory.counters(scans.now).sampled, SECOND * 3);
    }

    #[test]
    fn the_peak_is_that_of_the_last_minute() {
        let mut scans = Scans::of("web");
        let peak = |scans: &mut Scans, n| {
            scans.sample(vec![group("web", SessionState::Active, n)]);
            scans.counters().1
        };
        assert_eq!([7, 2, 2].map(|n| peak(&mut scans, n)), [7, 7, 7]);
        for _ in 0..65 {
            scans.sample(vec![group("web", SessionState::Active, 2)]);
        }
        assert_eq!(scans.counters().1, 2);
    }

    #[test]
    fn two_processes_at_rest_are_two_of_which_nothing_is_certain() {
        let mut scans = Scans::of("web");
        scans.settings.applications[0].instances = None;
        for _ in 0..2 {
            scans.sample(vec![group("web", SessionState::Idle, 8)]);
        }
        let views = scans.probe(vec![group("web", SessionState::Idle, 8)]);
        let app = views.application(None).unwrap();
        let instances = app.allowed.unwrap().instances;
        assert!(instances.is_ambiguous() && !instances.is_known(), "{instances:?}");
        assert_eq!((instances.number, app.active, app.uncertain), (2, Some(0), Some(8)));
        let views = scans.probe(Vec::new());
        let app = views.application(None).unwrap();
        assert_eq!(app.vanished.map(|gone| gone.sessions), Some(8));
        assert_eq!(app.allowed.unwrap().instances.number, 2, "still remembered");
    }

    #[test]
    fn the_whole_limit_that_is_open_has_an_age() {
        let mut scans = Scans::of("web");
        let held =
            || vec![group("web", SessionState::Idle, 5), group("web", SessionState::Active, 3)];
        scans.sample(held());
        let app = scans.probe_after(SECOND * 60, held());
        let app = app.application(None).unwrap();
        assert_eq!(app.whole_limit_open_for, Some(SECOND * 60));
        assert_eq!((app.open, app.active, app.uncertain), (8, Some(3), Some(5)));
        let app = scans.probe(vec![group("web", SessionState::Idle, 5)]);
        assert_eq!(app.application(None).unwrap().whole_limit_open_for, None);
    }

    #[test]
    fn families_have_names_and_labels_of_their_own() {
        let names: BTreeSet<&str> = crate::view::readings().map(|row| row.name).collect();
        assert_eq!(names.len(), crate::view::readings().count());
    }
}
