//! The number of an application's processes, and the evidence for it.
//!
//! The limits of a pool are those of one process, so saturation cannot be judged without this number,
//! and the server does not show it. A configured number wins. Otherwise the largest of several
//! lower bounds is used:
//!
//! - distinct names, where a pattern tells processes apart, and distinct client addresses;
//! - what was open at once: more connections than one process may open need two processes;
//! - what rests idle: QueuePool closes connections above its size at check-in, so more than its size at
//!   rest is two processes, *or* one process that holds connections without a statement. Both
//!   explanations fit the same sessions, so this evidence alone is not certain.
//!
//! Without any of these saying two or more, one process is assumed.

use strum::{IntoStaticStr, VariantArray};

use super::cell::Cell;
use super::settings::ApplicationSettings;

/// The evidence for a number of processes; the label `evidence`. The strongest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Evidence {
    /// Each process serves its own status.
    Endpoint,
    /// The configuration states it.
    Configured,
    /// Processes have names of their own.
    Names,
    /// Processes have client addresses of their own.
    Addresses,
    /// More was open at once than fewer processes may open.
    Open,
    /// More rests idle than fewer processes keep, unless their connections are held without a statement.
    Idle,
    /// Nothing says that there is more than one.
    Assumed,
}

/// The number of an application's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// The number; at least 1.
    pub number: u32,
    /// The evidence for it.
    pub evidence: Evidence,
}

impl Instances {
    /// Reports whether the number is more than a guess. A number that is not known must not raise an
    /// alarm by itself.
    pub fn is_known(&self) -> bool {
        match self.evidence {
            Evidence::Endpoint
            | Evidence::Configured
            | Evidence::Names
            | Evidence::Addresses
            | Evidence::Open => true,
            Evidence::Idle | Evidence::Assumed => false,
        }
    }

    /// Reports whether two explanations fit the sessions: this many processes at rest, or fewer processes
    /// that hold connections without a statement.
    pub fn is_ambiguous(&self) -> bool {
        self.evidence == Evidence::Idle
    }
}

/// Concludes the number of processes from the cells that are alive.
pub(super) fn conclude(settings: &ApplicationSettings, cells: &[Cell<'_>]) -> Instances {
    if let Some(number) = settings.instances {
        return Instances { number: number.max(1), evidence: Evidence::Configured };
    }
    // A person's psql beside the application is not evidence for another process of it.
    let cells = || cells.iter().filter(|cell| !cell.is_tool());
    let names =
        if settings.sessions.names_processes() { distinct(cells().map(|c| c.name)) } else { 0 };
    let pool = &settings.pool;
    let bounds = [
        (Evidence::Names, names),
        (Evidence::Addresses, distinct(cells().map(|c| c.address))),
        (Evidence::Open, cells().map(|c| c.by_open(pool)).sum()),
        (Evidence::Idle, cells().map(|c| c.by_open(pool).max(c.by_rest(pool))).sum()),
    ];
    // Of equal numbers the first is named, which is the strongest evidence.
    let best = bounds.into_iter().rev().max_by_key(|(_, number)| *number);
    match best {
        Some((evidence, number)) if number > 1 => Instances { number, evidence },
        Some(_) | None => Instances { number: 1, evidence: Evidence::Assumed },
    }
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> u32 {
    let distinct: std::collections::BTreeSet<T> = all.collect();
    u32::try_from(distinct.len()).unwrap_or(u32::MAX)
}
