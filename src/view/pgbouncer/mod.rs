//! The views of a pooler's console: PgBouncer's, and those of poolers that imitate it.
//!
//! A console answers SHOW commands in the simple protocol, one command a query. Columns by version and what is wrong
//! with them: <https://www.pgbouncer.org/usage.html#admin-console>. Numbers that lie are not passed on: averages,
//! counters that fall, `free_clients` (a slab of memory), a maximum wait of 0 while clients wait.

pub mod clients;
pub mod limits;
pub mod pools;
pub mod stats;

mod clock;
mod console;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
mod memory;
mod peers;
mod product;
mod readings;
mod table;

pub use clients::{PoolerApplication, PoolerApplications};
pub use console::{Console, PooledPool};
pub use limits::{ConsoleLimits, DatabaseLimits, UserLimits};
pub use memory::WaitingSeconds;
pub(in crate::view) use memory::{ConsoleMemory, ConsoleReadings};
pub use peers::{PEERS, Peer, peers};
pub use pools::{ClientState, PoolConnections, PoolKey, ServerState};
pub use product::{PoolerIdentity, PoolerProduct};
pub(in crate::view) use readings::WAITING_CLIENT_SECONDS;
pub use stats::{Stat, StatTotals};
pub use table::{ConsoleAnswers, Table};

use super::row::View;

/// The views of a console, in the order in which they are read and shown: the waits first.
pub(crate) const CONSOLE_VIEWS: &[&View] =
    &[&pools::VIEW, &limits::VIEW, &stats::VIEW, &clients::VIEW];
