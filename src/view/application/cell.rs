//! Cells: an application's sessions with the same application_name and client address.
//!
//! The finest thing that the server shows of a process. A process with a name or an address of its own
//! is a cell; processes that share both are one cell.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Unseen;
use super::settings::ProcessPool;
use crate::view::activity::{SessionGroup, SessionState};

/// A name or an address still counts for this long after its last session.
const ALIVE: Duration = Duration::from_secs(300);

/// Peaks are remembered for 12 times this long. A rolling deploy, which doubles what is open, is then
/// forgotten within two hours; at night what rests idle keeps the evidence.
const BUCKET: Duration = Duration::from_secs(600);
const MEMORY: Duration = Duration::from_secs(12 * 600);

/// The number of resting connections is the minimum of at least this many samples, over at least this time.
const REST_SAMPLES: usize = 3;
const REST: Duration = Duration::from_millis(1_900);

/// Names of tools that people and scripts use, which are not pools.
const TOOLS: &[&str] = &[
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pgbench",
    "vacuumdb",
    "reindexdb",
];
const TOOL_FAMILIES: &[&str] = &["pgAdmin", "DBeaver", "DataGrip"];

/// The application_name and the client address; `None` for a Unix socket, and where it may not be seen.
pub(super) type CellKey = (String, Option<String>);

/// Sessions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionCounts {
    pub(super) open: u64,
    /// Sessions that are certainly checked out.
    pub(super) busy: u64,
    pub(super) idle: u64,
    pub(super) in_transaction: u64,
    /// Sessions with a state that the exporter's role may not see.
    pub(super) hidden: u64,
    /// Sessions with a state that the server does not track (`track_activities` is off).
    pub(super) untracked: u64,
    pub(super) leaked: u64,
}

impl SessionCounts {
    pub(super) fn add(&mut self, group: &SessionGroup) {
        let if_so = |is_so: bool| if is_so { group.sessions } else { 0 };
        let state = group.state;
        self.open += group.sessions;
        self.busy += if_so(state.is_busy());
        self.idle += if_so(state == SessionState::Idle);
        self.in_transaction += if_so(state.is_idle_in_transaction());
        self.hidden += if_so(state == SessionState::Unknown);
        self.untracked += if_so(state == SessionState::Disabled);
        self.leaked += group.leaked;
    }

    pub(super) fn plus(self, other: &Self) -> Self {
        Self {
            open: self.open + other.open,
            busy: self.busy + other.busy,
            idle: self.idle + other.idle,
            in_transaction: self.in_transaction + other.in_transaction,
            hidden: self.hidden + other.hidden,
            untracked: self.untracked + other.untracked,
            leaked: self.leaked + other.leaked,
        }
    }

    /// Returns why the state of some sessions is not known.
    pub(super) fn unseen(&self) -> Option<Unseen> {
        if self.hidden > 0 {
            Some(Unseen::NoPrivilege)
        } else {
            (self.untracked > 0).then_some(Unseen::NotTracked)
        }
    }

    /// Returns the number, unless the state of some sessions is not known: then it would be too small.
    pub(super) fn if_visible(&self, number: u64) -> Option<u64> {
        (self.hidden + self.untracked == 0).then_some(number)
    }
}

/// A cell with its present counts and its history, as input for the inference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'m> {
    pub(super) name: &'m str,
    pub(super) address: Option<&'m str>,
    pub(super) now: SessionCounts,
    /// Open at two samples in a row. A backend takes a moment to end after its client has closed the
    /// connection, so that one sample can show more than the client ever had.
    pub(super) held: u64,
    /// The most that was open at two samples in a row.
    pub(super) peak: u64,
    /// The most that stayed idle over several samples.
    pub(super) rest: u64,
}

impl Cell<'_> {
    /// Reports whether these are sessions of a well-known tool.
    pub(super) fn is_tool(&self) -> bool {
        TOOLS.contains(&self.name) || TOOL_FAMILIES.iter().any(|tool| self.name.starts_with(tool))
    }

    /// Returns the number of processes that its peak needs.
    pub(super) fn by_open(&self, pool: &ProcessPool) -> u32 {
        processes(self.peak, pool.max())
    }

    /// Returns the number of processes that its idle sessions need, if they rest in their pools.
    pub(super) fn by_rest(&self, pool: &ProcessPool) -> u32 {
        processes(self.rest, pool.size())
    }
}

fn processes(connections: u64, of_one: Option<u32>) -> u32 {
    let Some(of_one) = of_one.filter(|limit| *limit > 0) else { return u32::from(connections > 0) };
    u32::try_from(connections.div_ceil(u64::from(of_one))).unwrap_or(u32::MAX)
}

/// The history of a cell.
#[derive(Debug)]
pub(super) struct CellMemory {
    pub(super) now: SessionCounts,
    held: u64,
    open: Peaks,
    rest: Peaks,
    /// The last samples of idle sessions, the oldest first.
    idle: VecDeque<(Instant, u64)>,
    seen: Instant,
}

impl CellMemory {
    /// The memory of a cell that is new. `before`: its sessions at the scan before.
    pub(super) fn new(now: Instant, before: SessionCounts) -> Self {
        Self {
            now: before,
            held: 0,
            open: Peaks::default(),
            rest: Peaks::default(),
            idle: VecDeque::new(),
            seen: now,
        }
    }

    /// Takes in a sample; without any session it is one of zeros.
    pub(super) fn sample(&mut self, at: Instant, counts: SessionCounts) {
        self.held = counts.open.min(self.now.open);
        self.now = counts;
        if counts.open > 0 {
            self.seen = at;
        }
        self.open.add(at, self.held);
        self.idle.push_back((at, counts.idle));
        while self.idle.len() > REST_SAMPLES
            && self.idle.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= REST)
        {
            self.idle.pop_front();
        }
        if self.rests_are_known(at) {
            self.rest.add(at, self.idle.iter().map(|(_, idle)| *idle).min().unwrap_or(0));
        }
    }

    fn rests_are_known(&self, at: Instant) -> bool {
        let oldest = self.idle.front().map(|(oldest, _)| at.duration_since(*oldest));
        self.idle.len() >= REST_SAMPLES && oldest.is_some_and(|span| span >= REST)
    }

    /// Reports whether it had a session lately.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        now.duration_since(self.seen) <= ALIVE
    }

    /// Reports whether nothing is remembered of it any more.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        now.duration_since(self.seen) > MEMORY
    }

    /// When it last had a session.
    pub(super) fn seen(&self) -> Instant {
        self.seen
    }

    pub(super) fn cell<'m>(&self, key: &'m CellKey) -> Cell<'m> {
        Cell {
            name: &key.0,
            address: key.1.as_deref(),
            now: self.now,
            held: self.held,
            peak: self.open.max(),
            rest: self.rest.max(),
        }
    }
}

/// The peaks of the time that is remembered, one for each [`BUCKET`].
#[derive(Debug, Default)]
struct Peaks(VecDeque<(Instant, u64)>);

impl Peaks {
    fn add(&mut self, at: Instant, value: u64) {
        match self.0.back_mut() {
            Some((began, peak)) if at.duration_since(*began) < BUCKET => *peak = value.max(*peak),
            Some(_) | None => self.0.push_back((at, value)),
        }
        while self.0.front().is_some_and(|(began, _)| at.duration_since(*began) >= MEMORY) {
            self.0.pop_front();
        }
    }

    fn max(&self) -> u64 {
        self.0.iter().map(|(_, peak)| *peak).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(open: u64, idle: u64) -> SessionCounts {
        SessionCounts { open, idle, busy: open - idle, ..SessionCounts::default() }
    }

    fn after(samples: &[(u64, SessionCounts)]) -> (u64, u64, u64) {
        let start = Instant::now();
        let mut memory = CellMemory::new(start, SessionCounts::default());
        for (seconds, counts) in samples {
            memory.sample(start + Duration::from_secs(*seconds), *counts);
        }
        (memory.held, memory.open.max(), memory.rest.max())
    }

    #[test]
    fn one_sample_is_no_peak_because_a_backend_ends_late() {
        assert_eq!(after(&[(0, counts(8, 0)), (1, counts(9, 0)), (2, counts(8, 0))]), (8, 8, 0));
        assert_eq!(after(&[(0, counts(9, 0)), (1, counts(9, 0)), (2, counts(3, 0))]), (3, 9, 0));
    }

    #[test]
    fn rest_is_what_stays_idle_over_three_samples() {
        let idle = |n| counts(10, n);
        assert_eq!(after(&[(0, idle(10)), (1, idle(10))]).2, 0, "two samples are too few");
        assert_eq!(after(&[(0, idle(10)), (1, idle(4)), (2, idle(10))]).2, 4);
        assert_eq!(after(&[(0, idle(1)), (1, idle(9)), (2, idle(8)), (3, idle(9))]).2, 8);
    }

    #[test]
    fn many_samples_in_an_instant_are_no_rest() {
        let start = Instant::now();
        let mut memory = CellMemory::new(start, SessionCounts::default());
        for tenth in 0..19 {
            memory.sample(start + Duration::from_millis(100 * tenth), counts(10, 10));
        }
        assert_eq!(memory.rest.max(), 0);
        memory.sample(start + Duration::from_millis(1_900), counts(10, 10));
        assert_eq!(memory.rest.max(), 10);
        assert!(memory.idle.len() < 25, "what is old is dropped");
    }

    #[test]
    fn a_doubling_is_forgotten_within_two_hours() {
        let minute = 60;
        let mut samples = vec![(0, counts(16, 10)), (1, counts(16, 10)), (2, counts(16, 10))];
        samples.extend((1..125).map(|n| (n * minute, counts(5, 5))));
        assert_eq!(after(&samples).1, 5);
        samples.truncate(3 + 100);
        assert_eq!(after(&samples).1, 16);
    }
}
