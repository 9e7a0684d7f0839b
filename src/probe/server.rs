//! A server: what the targets have in common that reach the same hosts.
//!
//! They share its connections (see [`crate::pool::Budget`]). One of them, the leader, reads what is the same for
//! all (sessions, limits, databases) and samples the sessions; the others take over its reading, which is immutable.
//!
//! | case | what is done |
//! | --- | --- |
//! | one target | it reads |
//! | another role that may not see what the leader's may not either | it reads for itself |
//! | other views, or other thresholds | it reads for itself |
//! | the leader is removed | the first by name leads |
//! | the leader's probe or its view fails, while another was up before and is up after | the other leads |
//! | a reader may see all sessions and the leader may not | the reader leads |
//! | the same address leads to several servers, in turns (a balancer) | each reads for itself |
//! | the server was replaced or has restarted, and the leader has not noticed yet | the views fail, with the reason |

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::history::SPAN;
use super::snapshot::{Failure, ProbePart, STALE, Snapshot};
use super::target::Target;
use crate::pool::{Reason, ServerAddress, ServerIdentity};
use crate::view::{OwnNames, ReadBy, ReadingNeeds, ServerReading, SharedScan, View, activity};

/// The time for which a target's first probe waits for the first reading of the server.
const FIRST_READING: Duration = Duration::from_secs(2);

/// The number of fresh connections of which it is remembered which server they reached.
const REMEMBERED: usize = 10;

/// A server with its targets.
pub(crate) struct Server {
    address: ServerAddress,
    state: Mutex<State>,
    /// Changes with every reading.
    readings: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The targets by name.
    members: BTreeMap<String, Weak<Target>>,
    leader: Option<String>,
    reading: Option<Arc<Reading>>,
    scan: Option<Arc<SharedScan>>,
    /// When the leader's last probe failed.
    failed: Option<Instant>,
    reached: Reached,
}

/// The server, as its leader has read it.
pub(super) struct Reading {
    target: String,
    at: Instant,
    interval: Duration,
    identity: ServerIdentity,
    sees_all: bool,
    needs: ReadingNeeds,
    pub(super) views: ServerReading,
    results: Vec<(ProbePart, Result<(), Failure>)>,
}

/// What a target does about the views that are the same for all targets of its server.
pub(super) enum Part {
    /// It reads them.
    Reads,
    /// It takes over what another target has read.
    Follows(Arc<Reading>),
    /// Another target should have read them, but what there is does not hold for this target.
    Blind(Failure),
}

impl Part {
    /// The results of the views that were not read by the target itself.
    pub(super) fn results(
        &self,
        enabled: impl Iterator<Item = &'static View>,
    ) -> Vec<(ProbePart, Result<(), Failure>)> {
        let views = enabled.filter(|view| view.name.is_of_server());
        let parts = views.map(|view| ProbePart::View(view.name));
        match self {
            Self::Reads => Vec::new(),
            Self::Follows(reading) => reading.results.clone(),
            Self::Blind(failure) => parts.map(|part| (part, Err(failure.clone()))).collect(),
        }
    }
}

impl Reading {
    pub(super) fn read_by(&self) -> ReadBy {
        ReadBy { target: self.target.clone(), at: self.at }
    }

    /// `None` where the probe has not read the sessions, or does not know of which server.
    fn of(target: &Target, snapshot: &Snapshot) -> Option<Self> {
        let views = &snapshot.views;
        let activity = views.activity.as_ref()?;
        let is_of_server =
            |part: &ProbePart| matches!(part, ProbePart::View(name) if name.is_of_server());
        let results = snapshot.extras.iter().filter(|(part, _)| is_of_server(part));
        Some(Self {
            target: target.name().to_owned(),
            at: snapshot.taken,
            interval: target.settings().schedule.interval,
            identity: snapshot.query.as_ref().ok()?.identity.clone()?,
            sees_all: views.limits.as_ref().map_or(!activity.hides(), |limits| limits.own.sees_all),
            needs: target.settings().views.reading_needs()?,
            views: views.of_server(),
            results: results.cloned().collect(),
        })
    }

    /// What a target does with this reading.
    fn part_of(self: Arc<Self>, needs: &ReadingNeeds, own: &ServerIdentity) -> Part {
        let age = Instant::now().saturating_duration_since(self.at);
        if self.needs != *needs || !(self.sees_all || self.identity.user == own.user) {
            return Part::Reads;
        }
        if self.identity.started != own.started {
            return Part::Blind(self.failure("is of another server, or of one that has restarted"));
        }
        if age > self.interval * STALE {
            return Part::Blind(self.failure(&format!("is {} s old", age.as_secs())));
        }
        Part::Follows(self)
    }

    fn failure(&self, what: &str) -> Failure {
        blind(format!("the reading of the server by target {} {what}", self.target))
    }
}

fn blind(message: String) -> Failure {
    Failure { reason: Reason::Other, message, phase: None, passed: None }
}

/// The servers that fresh connections reached, by their start.
#[derive(Default)]
struct Reached {
    /// Each differs from the one before.
    starts: VecDeque<i64>,
    /// When one was reached again that had been left. A fail-over does not come back; a balancer does.
    returned: Option<Instant>,
}

impl Reached {
    fn add(&mut self, started: i64, now: Instant) {
        if self.starts.back() == Some(&started) {
            return;
        }
        if self.starts.contains(&started) {
            self.returned = Some(now);
        }
        self.starts.push_back(started);
        if self.starts.len() > REMEMBERED {
            self.starts.pop_front();
        }
    }

    /// Reports whether the address leads to several servers in turns.
    fn are_several(&self, now: Instant) -> bool {
        self.returned.is_some_and(|at| now.saturating_duration_since(at) <= SPAN)
    }
}

impl Server {
    /// A server without targets.
    pub(super) fn new(address: ServerAddress) -> Arc<Self> {
        let readings = watch::Sender::new(());
        Arc::new(Self { address, state: Mutex::default(), readings })
    }

    /// Its hosts and ports, the label `server`.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports whether this target reads the server for the others.
    pub(super) fn is_led_by(&self, name: &str) -> bool {
        self.state().leader.as_deref() == Some(name)
    }

    /// Its targets, in the order of their names.
    pub(super) fn members(&self) -> Vec<Arc<Target>> {
        self.state().members.values().filter_map(Weak::upgrade).collect()
    }

    fn join(&self, target: &Arc<Target>) {
        self.state().members.insert(target.name().to_owned(), Arc::downgrade(target));
    }

    fn leave(&self, target: &Target) {
        let mut state = self.state();
        let is_same = |member: &Weak<Target>| std::ptr::eq(member.as_ptr(), target);
        if state.members.get(target.name()).is_some_and(is_same) {
            state.members.remove(target.name());
        }
    }

    /// Lets the first target by name lead where nobody does. Targets that read no sessions come last.
    fn elect(&self) {
        let members = self.members();
        let leads = |member: &&Arc<Target>| self.state().leader.as_deref() == Some(member.name());
        if !members.iter().any(|member| leads(&member)) {
            let reads = |member: &&Arc<Target>| member.settings().views.reading_needs().is_some();
            let first = members.iter().find(reads).or(members.first());
            self.state().leader = first.map(|member| member.name().to_owned());
        }
        for member in &members {
            member.pool().connector().budget().set_leads(leads(&member));
        }
    }

    /// Lets a target lead.
    fn lead(&self, target: &Target, reason: &str) {
        let before = self.state().leader.replace(target.name().to_owned());
        self.state().failed = None;
        self.elect();
        let (server, before) = (self.address.to_string(), before.unwrap_or_default());
        info!(
            target = target.name(),
            server, before, reason, "reads the server for all its targets"
        );
    }

    /// Decides what a target does about the views of the server in this probe.
    pub(super) async fn part(&self, target: &Target) -> Part {
        let part = self.decide(target).await;
        let follows = matches!(part, Part::Follows(_));
        target.set_follows(follows);
        let scan = self.state().scan.clone().filter(|_| follows);
        if let Some(scan) = scan {
            follow(target, &scan);
        }
        part
    }

    async fn decide(&self, target: &Target) -> Part {
        let (needs, own) = (target.settings().views.reading_needs(), target.identity());
        let (Some(needs), Some(own)) = (needs, own) else { return Part::Reads };
        let (is_alone, leads, is_several, failed) = {
            let state = self.state();
            let leads = state.leader.as_deref() == Some(target.name());
            let is_several = state.reached.are_several(Instant::now());
            (state.members.len() <= 1, leads, is_several, state.failed)
        };
        if is_alone || leads || is_several {
            return Part::Reads;
        }
        if failed.is_some_and(|failed| was_up_at(target, failed)) {
            self.lead(target, "the probe of the one before failed");
            return Part::Reads;
        }
        match self.reading(target).await {
            Some(reading) => reading.part_of(&needs, &own),
            None => Part::Blind(blind("no target has read the server yet".to_owned())),
        }
    }

    /// The last reading; waits a moment for the first.
    async fn reading(&self, target: &Target) -> Option<Arc<Reading>> {
        let mut changes = self.readings.subscribe();
        if let Some(reading) = self.state().reading.clone() {
            return Some(reading);
        }
        // Its connection may be the one that the leader waits for.
        target.pool().release_idle().await;
        let patience = FIRST_READING.min(target.settings().schedule.timeout / 4);
        let _ = timeout(patience, changes.changed()).await;
        self.state().reading.clone()
    }

    /// Takes in which server a fresh connection reached.
    pub(super) fn reached(&self, snapshot: &Snapshot) {
        let connected = snapshot.connect.as_ref().and_then(|connect| connect.as_ref().ok());
        if let Some(identity) = connected.and_then(|connected| connected.identity.as_ref()) {
            self.state().reached.add(identity.started, snapshot.taken);
        }
    }

    /// Takes in a probe of a target: what it has read, if it is the leader or sees more than the leader.
    pub(super) fn deliver(&self, target: &Target, snapshot: &Snapshot) {
        if target.follows() {
            return;
        }
        let reading = Reading::of(target, snapshot);
        let mut state = self.state();
        if state.leader.as_deref() != Some(target.name()) {
            let known = state.reading.as_ref().is_some_and(|known| !known.sees_all);
            drop(state);
            if known && reading.is_some_and(|reading| reading.sees_all) {
                self.lead(target, "it may see all sessions");
            }
            return;
        }
        let part = ProbePart::View(activity::VIEW.name);
        let has_failed = snapshot.query.is_err() || snapshot.failure_of(part).is_some();
        state.failed = has_failed.then_some(snapshot.taken);
        if let Some(reading) = reading {
            state.reading = Some(Arc::new(reading));
            drop(state);
            self.readings.send_replace(());
        }
    }

    /// Takes in a scan of the leader, and hands it to the targets that follow.
    fn scanned(&self, target: &Target, scan: SharedScan) {
        let mut state = self.state();
        if state.members.len() <= 1 || state.leader.as_deref() != Some(target.name()) {
            return;
        }
        let scan = Arc::new(scan);
        state.scan = Some(Arc::clone(&scan));
        drop(state);
        self.members().iter().filter(|member| member.follows()).for_each(|m| follow(m, &scan));
    }
}

/// Hands the last scan of a target to the others of its server.
pub(super) fn pass_on_scan(target: &Target) {
    let scan = target.remember(crate::view::Memory::scanned);
    if let Some(scan) = scan.filter(|_| !target.follows()) {
        target.server().scanned(target, scan);
    }
}

/// Samples a target's applications in a scan of another target.
fn follow(target: &Target, scan: &SharedScan) {
    let Some(ServerIdentity { user, database, .. }) = target.identity() else { return };
    let own = OwnNames { user, database };
    target.remember(|memory| memory.follow(&target.settings().views, scan, &own));
}

/// Reports whether a target was up both before a moment and now, when its statement was answered again. A server
/// that was down for all is no reason for another leader.
fn was_up_at(target: &Target, moment: Instant) -> bool {
    target
        .published()
        .is_some_and(|before| before.snapshot.is_up() && before.snapshot.taken < moment)
}

/// The servers of all targets.
#[derive(Default)]
pub(super) struct Servers(Mutex<BTreeMap<ServerAddress, Arc<Server>>>);

impl Servers {
    /// The server at an address.
    pub(super) fn at(&self, address: &ServerAddress) -> Arc<Server> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers.entry(address.clone());
        Arc::clone(server.or_insert_with(|| Server::new(address.clone())))
    }

    /// Takes in a change of the targets.
    pub(super) fn change<'t>(
        &self,
        ended: impl IntoIterator<Item = &'t Arc<Target>>,
        started: impl IntoIterator<Item = &'t Arc<Target>>,
    ) {
        ended.into_iter().for_each(|target| target.server().leave(target));
        started.into_iter().for_each(|target| target.server().join(target));
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, server| !server.state().members.is_empty());
        servers.values().for_each(|server| server.elect());
    }

    /// All servers, in the order of their addresses.
    pub(crate) fn all(&self) -> Vec<Arc<Server>> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.values().cloned().collect()
    }
}
