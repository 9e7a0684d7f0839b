//! The layers as they are seen, and what each shows by itself.

use std::time::Duration;

use crate::health::words;

/// A wait that is shorter is that of a busy system, not of one that has too little of something.
const SHORT: Duration = Duration::from_secs(1);

/// The time from which a phase of the network counts as slow. The alert DbPoolConnectSlow has the same threshold.
const SLOW: Duration = Duration::from_millis(500);

/// The layers of one database.
#[derive(Clone, Debug, Default)]
pub(in crate::health) struct Layers {
    pub(super) application: Seen<ApplicationLayer>,
    pub(super) pooler: Seen<PoolerLayer>,
    pub(super) network: Seen<NetworkLayer>,
    pub(super) server: Seen<ServerLayer>,
}

/// A layer, as far as it is seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Seen<T> {
    /// It is watched.
    Known(T),
    /// It exists and cannot be seen, for this reason.
    Hidden(String),
    /// There is no such layer, as far as the configuration shows.
    #[default]
    Absent,
}

/// Whether a layer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::health) enum Wait {
    No,
    /// It cannot be seen, or what is seen has two explanations.
    Unsure,
    Yes,
}

/// What a layer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::health) struct Finding {
    pub(in crate::health) wait: Wait,
    /// In words, to follow another layer's.
    pub(in crate::health) text: String,
}

impl Finding {
    fn new(wait: Wait, text: impl Into<String>) -> Self {
        Self { wait, text: text.into() }
    }

    pub(super) fn waits(&self) -> bool {
        self.wait == Wait::Yes
    }
}

impl<T> Seen<T> {
    fn find(&self, find: impl FnOnce(&T) -> Finding) -> Option<Finding> {
        match self {
            Self::Known(layer) => Some(find(layer)),
            Self::Hidden(reason) => Some(Finding::new(Wait::Unsure, reason)),
            Self::Absent => None,
        }
    }
}

/// The pools of the applications.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ApplicationLayer {
    pub(super) pools: Vec<ApplicationPool>,
}

/// The pools of one application.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ApplicationPool {
    pub(super) name: String,
    /// Connections that are certainly checked out.
    pub(super) active: u64,
    /// The most that all processes together may open; `None` without a limit.
    pub(super) max: Option<u64>,
    pub(super) processes: u64,
    /// Processes with nothing left.
    pub(super) full: u64,
    /// Callers that wait, where the application shows them.
    pub(super) waiting: u64,
    /// True if the number of processes is known.
    pub(super) is_number_known: bool,
    /// True if each process shows what it has.
    pub(super) are_told_apart: bool,
}

impl Seen<ApplicationLayer> {
    pub(super) fn finding(&self) -> Option<Finding> {
        self.find(|layer| {
            let worst = layer.pools.iter().max_by(|one, other| {
                let by_wait = one.finding().wait.cmp(&other.finding().wait);
                by_wait.then_with(|| one.ratio().total_cmp(&other.ratio()))
            });
            let nobody = || Finding::new(Wait::No, "no application is connected");
            worst.map_or_else(nobody, ApplicationPool::finding)
        })
    }
}

impl ApplicationPool {
    /// The share of its limit that is in use.
    fn ratio(&self) -> f64 {
        self.max.map_or(-1.0, |max| self.active as f64 / max.max(1) as f64)
    }

    fn finding(&self) -> Finding {
        let Self { name, active, processes, full, .. } = self;
        let Some(max) = self.max else {
            return Finding::new(Wait::No, format!("{name} has no limit, {active} in use"));
        };
        let numbers = format!("{active} of {max} connections in use");
        if *full > 0 && (self.is_number_known || self.waiting > 0) {
            let have = if *full == 1 { "has" } else { "have" };
            let who = if *processes > 1 {
                format!("{full} of {processes} processes of {name} {have} no connection left")
            } else {
                format!("{name} has no connection left")
            };
            let waiting = if self.waiting > 0 {
                format!(" and {} callers wait", self.waiting)
            } else {
                String::new()
            };
            return Finding::new(Wait::Yes, format!("{who}{waiting}: {numbers}"));
        }
        // One process can be full behind the free room of another.
        let of_one = (max / processes.max(&1)).max(1);
        if *active >= of_one && (*full > 0 || !self.are_told_apart) {
            let text = format!(
                "a process of {name} may have no connection left: {numbers}, and its processes cannot be told apart"
            );
            return Finding::new(Wait::Unsure, text);
        }
        Finding::new(Wait::No, format!("{name} has {numbers}"))
    }
}

/// The pools of the poolers that lead to the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PoolerLayer {
    pub(super) pools: Vec<PoolerPool>,
    /// Why some of the poolers cannot be seen.
    pub(super) lost: Vec<String>,
}

/// A pool of a pooler.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PoolerPool {
    /// Database and user, as in `shop/app`.
    pub(super) name: String,
    /// Clients that wait for a server connection.
    pub(super) waiting: u64,
    /// How long clients have waited without a break.
    pub(super) waiting_for: Duration,
    /// Server connections that no client can get now.
    pub(super) in_use: u64,
    /// The limit of server connections; `None` without one, or where it is not known.
    pub(super) size: Option<u64>,
    /// True if the pool is paused, as far as it is known.
    pub(super) is_paused: bool,
}

impl Seen<PoolerLayer> {
    pub(super) fn finding(&self) -> Option<Finding> {
        self.find(|layer| {
            let worst = layer.pools.iter().max_by_key(|pool| (pool.waits(), pool.waiting));
            match (worst, layer.lost.first()) {
                (Some(pool), _) if pool.waits() => Finding::new(Wait::Yes, pool.text(layer)),
                (_, Some(lost)) => Finding::new(Wait::Unsure, lost),
                (Some(pool), None) if pool.waiting > 0 => Finding::new(Wait::No, pool.text(layer)),
                (_, None) => Finding::new(Wait::No, "no client waits in PgBouncer"),
            }
        })
    }
}

impl PoolerPool {
    fn waits(&self) -> bool {
        self.waiting > 0 && (self.waiting_for >= SHORT || self.is_paused)
    }

    fn text(&self, layer: &PoolerLayer) -> String {
        let Self { name, waiting, in_use, .. } = self;
        let noun = if *waiting == 1 { "client waits" } else { "clients wait" };
        let since = if self.waiting_for >= SHORT {
            format!(" for {}", words::age(self.waiting_for))
        } else {
            String::new()
        };
        let state = match self.size {
            _ if self.is_paused => "which is paused".to_owned(),
            Some(size) if *in_use >= size => format!("{in_use} of {size} in use"),
            Some(size) => format!("which gets no server connection ({in_use} of {size} in use)"),
            None => format!("{in_use} in use"),
        };
        let others: u64 = layer.pools.iter().map(|pool| pool.waiting).sum::<u64>() - waiting;
        let others = if others > 0 { format!(", and {others} for others") } else { String::new() };
        format!("{waiting} {noun} in PgBouncer{since} for pool {name}, {state}{others}")
    }
}

/// The way to the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NetworkLayer {
    /// Why the server was not reached.
    pub(super) failure: Option<String>,
    /// The time to look the name up and to open the connection of the network.
    pub(super) took: Duration,
}

impl Seen<NetworkLayer> {
    pub(super) fn finding(&self) -> Option<Finding> {
        self.find(|network| match &network.failure {
            Some(failure) => {
                Finding::new(Wait::Yes, format!("the server cannot be reached: {failure}"))
            }
            None if network.took >= SLOW => {
                let seconds = network.took.as_secs_f64();
                let text = format!("the network takes {seconds:.1} s to open a connection");
                Finding::new(Wait::Yes, text)
            }
            None => Finding::new(Wait::No, ""),
        })
    }
}

/// The server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerLayer {
    /// Why it serves nobody.
    pub(super) failure: Option<String>,
    /// Connections that can still be opened; `None` where it is not known.
    pub(super) free: Option<u64>,
    /// What its sessions do; the reason where that cannot be seen.
    pub(super) load: Result<ServerLoad, String>,
}

/// What the sessions of a server do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServerLoad {
    /// Client sessions.
    pub(super) sessions: u64,
    /// Active sessions that wait for nothing.
    pub(super) on_cpu: u64,
    /// Sessions of the database that are checked out of a pool for certain.
    pub(super) busy: u64,
    /// Sessions of the database that wait for a lock.
    pub(super) locked: u64,
    /// The age of the oldest of their queries.
    pub(super) longest_locked: Duration,
}

impl Seen<ServerLayer> {
    /// `is_waited_for`: a layer above waits, so that a few locks among much other work are not its cause.
    pub(super) fn finding(&self, is_waited_for: bool) -> Option<Finding> {
        self.find(|server| server.finding(is_waited_for))
    }
}

impl ServerLayer {
    fn finding(&self, is_waited_for: bool) -> Finding {
        if let Some(failure) = &self.failure {
            return Finding::new(Wait::Yes, format!("the server serves nobody: {failure}"));
        }
        if self.free == Some(0) {
            return Finding::new(Wait::Yes, "the server has no connection left");
        }
        let free = self.free.map(|free| {
            let noun = if free == 1 { "connection" } else { "connections" };
            format!("{free} {noun} free")
        });
        let load = match &self.load {
            Ok(load) => load,
            Err(reason) => {
                let text = match free {
                    Some(free) => format!("the server has {free}, and {reason}"),
                    None => reason.clone(),
                };
                return Finding::new(Wait::Unsure, text);
            }
        };
        let ServerLoad { sessions, on_cpu, busy, locked, longest_locked } = load;
        let decides = if is_waited_for { locked * 2 >= *busy } else { *longest_locked >= SHORT };
        if *locked > 0 && decides {
            let since = words::age(*longest_locked);
            let text = format!(
                "{locked} of {busy} busy sessions wait for a lock on the server, the oldest query for {since}"
            );
            return Finding::new(Wait::Yes, text);
        }
        let cpu = format!("{on_cpu} of {sessions} sessions on CPU");
        let text = free.map_or_else(|| cpu.clone(), |free| format!("{free} and {cpu}"));
        Finding::new(Wait::No, format!("the server has {text}"))
    }
}
