//! The targets of the configuration, and those that follow from the databases of their servers.
//!
//! | what happens | what is said and done |
//! | --- | --- |
//! | the first listing | one line with the number of targets |
//! | a database appears, or goes | one line, and a target more or less; all others go on |
//! | it is renamed | it goes under one name and appears under the other |
//! | it is dropped while it is probed | its target fails with `no_database`, and the next second lists anew |
//! | a database without CONNECT for the role | left out, one line, counted as `no_privilege` |
//! | templates, databases that allow no connections | left out |
//! | more databases than `limit` | the first by name, one line, counted as `over_limit` |
//! | a standby | as a primary: the listing is read-only |
//! | the listing fails | the last list stays, one line until it succeeds, `db_pool_discovery_success 0` |
//! | a pooler between | the same, with a hint |
//! | a reload changes the patterns | they choose from the last list at once; nothing is listed for it |
//! | a reload changes the server | the list of the other server is forgotten |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::metrics::{Kind, Label as _, Reading, Samples};
use crate::pool::Reason;
use crate::probe::{
    DiscoverSettings, Failure, ListedDatabase, Roster, Target, TargetSettings, list_databases,
};

/// How often the fleet looks for a listing that is due.
const TICK: Duration = Duration::from_secs(1);

/// All targets: those of the configuration, and those that follow from them.
pub(crate) struct Fleet {
    roster: Arc<Roster>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    configured: Vec<TargetSettings>,
    /// The targets whose databases become targets, by name.
    discover: BTreeMap<String, DiscoverSettings>,
    servers: BTreeMap<String, Discovered>,
}

/// What is known of the databases of one target's server.
#[derive(Default)]
pub(crate) struct Discovered {
    /// The last list; `None` before the first.
    databases: Option<Vec<ListedDatabase>>,
    /// The end of the last listing, good or not.
    tried: Option<Instant>,
    /// The end of the last good one.
    succeeded: Option<Instant>,
    is_running: bool,
    /// The failure of the last listing.
    failure: Option<Failure>,
    counts: BTreeMap<Choice, usize>,
}

/// What became of a database; the label `result`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
enum Choice {
    /// It is a target.
    Watched,
    /// `include` and `exclude` leave it out.
    NotWanted,
    /// The exporter's role may not connect to it.
    NoPrivilege,
    /// Beyond `limit`.
    OverLimit,
}

/// The databases of one server, each with its choice.
fn choose<'d>(
    own: Option<&str>,
    settings: &DiscoverSettings,
    databases: &'d [ListedDatabase],
) -> Vec<(&'d str, Choice)> {
    let mut watched = 0;
    // The target watches its own database itself.
    let others = databases.iter().filter(|database| own != Some(&database.name));
    let chosen = others.map(|database| {
        let choice = if !settings.wants(&database.name) {
            Choice::NotWanted
        } else if !database.may_connect {
            Choice::NoPrivilege
        } else if watched >= settings.limit {
            Choice::OverLimit
        } else {
            watched += 1;
            Choice::Watched
        };
        (database.name.as_str(), choice)
    });
    chosen.collect()
}

impl Fleet {
    /// A fleet without targets.
    pub(crate) fn new(roster: Arc<Roster>) -> Arc<Self> {
        Arc::new(Self { roster, state: Mutex::default() })
    }

    /// The targets that run.
    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Replaces the targets of the configuration. Lists of databases stay where their server does.
    pub(crate) fn configure(
        &self,
        targets: Vec<TargetSettings>,
        discover: BTreeMap<String, DiscoverSettings>,
    ) {
        let mut state = self.lock();
        let State { configured, servers, .. } = &mut *state;
        servers.retain(|name, _| {
            let server = |all: &[TargetSettings]| {
                let found = all.iter().find(|settings| settings.name == *name);
                found.map(|settings| settings.connect.dsn.hosts.clone())
            };
            discover.contains_key(name) && server(configured) == server(&targets)
        });
        state.configured = targets;
        state.discover = discover;
        self.apply(&mut state);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands all targets to the roster.
    fn apply(&self, state: &mut State) {
        let mut all = Vec::with_capacity(state.configured.len());
        for settings in &state.configured {
            all.push(settings.clone());
            let Some(discover) = state.discover.get(&settings.name) else { continue };
            let Some(server) = state.servers.get_mut(&settings.name) else { continue };
            let own = settings.connect.dsn.database.as_deref();
            let chosen = choose(own, discover, server.databases.as_deref().unwrap_or_default());
            server.counts = Choice::all().map(|choice| (choice, 0)).collect();
            for (database, choice) in chosen {
                *server.counts.entry(choice).or_default() += 1;
                if choice == Choice::Watched {
                    all.push(settings.of_database(database));
                }
            }
        }
        self.roster.apply(all);
    }

    /// Lists the databases of the servers when it is time to, until it is dropped.
    pub(crate) async fn discover(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => running.extend(self.due(Instant::now()).into_iter().map(list)),
                Some((target, listed)) = running.next(), if !running.is_empty() => {
                    self.listed(&target, listed);
                }
            }
        }
    }

    /// Takes the targets that must be listed now.
    fn due(&self, now: Instant) -> Vec<Arc<Target>> {
        if !self.roster.is_probing() {
            return Vec::new();
        }
        let mut state = self.lock();
        let State { discover, servers, .. } = &mut *state;
        if discover.is_empty() {
            return Vec::new();
        }
        let lost = self.lost();
        let due = discover.iter().filter_map(|(name, settings)| {
            let target = self.roster.target(name)?;
            // After its first probe: the start of many targets is spread already.
            target.published()?;
            let server = servers.entry(name.clone()).or_default();
            let is_lost = lost.get(name.as_str()).copied() > server.tried;
            let pause = target.settings().schedule.interval;
            let is_due = !server.is_running && server.is_due(now, settings.refresh, pause, is_lost);
            server.is_running |= is_due;
            is_due.then_some(target)
        });
        due.collect()
    }

    /// When a probe last found that the database of a target is gone, by the name of the target that listed it.
    fn lost(&self) -> BTreeMap<String, Instant> {
        let mut lost = BTreeMap::new();
        for target in self.roster.targets() {
            let Some(parent) = &target.settings().parent else { continue };
            let Some(published) = target.published() else { continue };
            let failure = published.snapshot.failure();
            if failure.is_some_and(|(_, failure)| failure.reason == Reason::NoDatabase) {
                let taken = published.snapshot.taken;
                lost.entry(parent.clone())
                    .and_modify(|at: &mut Instant| *at = taken.max(*at))
                    .or_insert(taken);
            }
        }
        lost
    }

    /// Takes in a listing.
    fn listed(&self, target: &Target, listed: Result<Vec<ListedDatabase>, Failure>) {
        let mut state = self.lock();
        let name = target.name();
        let is_current = self.roster.target(name).is_some_and(|now| std::ptr::eq(&*now, target));
        let State { configured, discover, servers } = &mut *state;
        let (Some(server), Some(settings)) = (servers.get_mut(name), discover.get(name)) else {
            return;
        };
        server.is_running = false;
        let now = Instant::now();
        server.tried = Some(now);
        match listed {
            // A reload has replaced the target meanwhile: its server may be another one.
            Ok(_) if !is_current => server.tried = None,
            Ok(databases) => {
                let own = configured.iter().find(|settings| settings.name == name);
                let own = own.and_then(|settings| settings.connect.dsn.database.as_deref());
                tell(name, own, settings, server.databases.as_deref(), &databases);
                if server.failure.take().is_some() {
                    info!(target = name, "the databases can be listed again");
                }
                server.succeeded = Some(now);
                let is_same = server.databases.as_ref() == Some(&databases);
                server.databases = Some(databases);
                if !is_same {
                    self.apply(&mut state);
                }
            }
            Err(failure) => {
                if server.failure.is_none() {
                    let error = &failure.message;
                    warn!(target = name, %error, "the databases cannot be listed, the last list stays");
                }
                server.failure = Some(failure);
            }
        }
    }

    /// Calls a function with what is known of each server's databases, for a scrape.
    pub(super) fn with_servers<T>(
        &self,
        with: impl FnOnce(&BTreeMap<String, Discovered>) -> T,
    ) -> T {
        with(&self.lock().servers)
    }
}

impl Discovered {
    /// Reports whether the databases must be listed. After a failure, and where a database is gone, that is once
    /// an interval of the probes.
    fn is_due(&self, now: Instant, refresh: Duration, pause: Duration, is_lost: bool) -> bool {
        let is_over = |since: Option<Instant>, time| {
            since.is_none_or(|since| now.saturating_duration_since(since) >= time)
        };
        let is_old = is_over(self.succeeded, refresh) || self.failure.is_some() || is_lost;
        is_old && is_over(self.tried, pause.min(refresh))
    }
}

async fn list(target: Arc<Target>) -> (Arc<Target>, Result<Vec<ListedDatabase>, Failure>) {
    let failed = target.published().and_then(|published| published.snapshot.query.clone().err());
    let listed = match failed {
        // A target that is down is not asked again before its next probe.
        Some(failure) => Err(failure),
        None => list_databases(&target).await,
    };
    (target, listed)
}

/// Logs what a listing changes.
fn tell(
    target: &str,
    own: Option<&str>,
    settings: &DiscoverSettings,
    before: Option<&[ListedDatabase]>,
    now: &[ListedDatabase],
) {
    let of = |databases, choice| -> BTreeSet<&str> {
        let chosen = choose(own, settings, databases).into_iter();
        chosen.filter(|(_, made)| *made == choice).map(|(name, _)| name).collect()
    };
    let watched = of(now, Choice::Watched);
    if let Some(before) = before {
        let before = of(before, Choice::Watched);
        for database in watched.difference(&before) {
            info!(target, database, "a database appeared, and is watched");
        }
        for database in before.difference(&watched) {
            info!(target, database, "a database is gone, and is not watched any more");
        }
    } else {
        info!(target, databases = watched.len(), "the databases are listed, and watched");
    }
    for (choice, message) in [
        (Choice::NoPrivilege, "databases are left out: the role needs the privilege CONNECT"),
        (Choice::OverLimit, "databases are left out: there are more than databases.limit"),
    ] {
        let left_out = of(now, choice);
        if !left_out.is_empty() && before.is_none_or(|before| of(before, choice) != left_out) {
            let databases = some(&left_out);
            warn!(target, databases, "{message}");
        }
    }
}

/// The first names, and the number of the others.
fn some(names: &BTreeSet<&str>) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

/// The families of [`Discovered`]; read at each scrape.
pub(super) const READINGS: &[Reading<Discovered>] = &[
    Reading {
        name: "db_pool_discovery_success",
        help: "1 when the databases of the target's server could be listed when that was last tried, otherwise 0: then the last list stays. Only with databases: discover.",
        kind: Kind::Gauge,
        labels: &[],
        read: |server, out| out.push([], server.tried.map(|_| server.failure.is_none())),
    },
    Reading {
        name: "db_pool_discovery_databases",
        help: "Databases of the target's server beside its own, by what became of them: watched, not_wanted (include and exclude), no_privilege (the role lacks CONNECT), over_limit. Templates, and databases that allow no connections, are missing.",
        kind: Kind::Gauge,
        labels: &["result"],
        read: counts,
    },
];

fn counts(server: &Discovered, out: &mut Samples<'_>) {
    if server.databases.is_some() {
        server.counts.iter().for_each(|(choice, count)| out.push([choice.label()], *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Pattern;

    fn database(name: &str, may_connect: bool) -> ListedDatabase {
        ListedDatabase { name: name.to_owned(), may_connect }
    }

    #[test]
    fn each_database_has_one_choice_and_the_targets_own_has_none() {
        let settings = DiscoverSettings {
            include: vec![Pattern::new("app*")],
            exclude: vec![Pattern::new("*old")],
            refresh: DiscoverSettings::REFRESH,
            limit: 2,
        };
        let databases = [
            database("app", true),
            database("app1", true),
            database("app2", false),
            database("app3", true),
            database("app4", true),
            database("app_old", true),
            database("postgres", true),
        ];
        let expected = [
            ("app1", Choice::Watched),
            ("app2", Choice::NoPrivilege),
            ("app3", Choice::Watched),
            ("app4", Choice::OverLimit),
            ("app_old", Choice::NotWanted),
            ("postgres", Choice::NotWanted),
        ];
        assert_eq!(choose(Some("app"), &settings, &databases), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_is_due_when_it_is_old_failed_or_a_database_is_gone() {
        let (refresh, pause) = (Duration::from_secs(300), Duration::from_secs(10));
        let start = Instant::now();
        let good =
            Discovered { tried: Some(start), succeeded: Some(start), ..Discovered::default() };
        let due = |server: &Discovered, after, is_lost| {
            server.is_due(start + Duration::from_secs(after), refresh, pause, is_lost)
        };
        assert!(due(&Discovered::default(), 0, false), "never listed");
        assert!(!due(&good, 299, false) && due(&good, 300, false));
        assert!(!due(&good, 9, true) && due(&good, 10, true), "at most once an interval");
        let failure = Some(Failure::new(Reason::Other, ""));
        let failed = Discovered { failure, ..good };
        assert!(!due(&failed, 9, false) && due(&failed, 10, false));
    }
}
