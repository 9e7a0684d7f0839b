//! The state of a console's views that is kept from one probe to the next.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::clients::ApplicationMemory;
use super::clock::WaitClocks;
use super::console::Console;
use super::limits::ConsoleLimits;
use super::pools::{self, PoolKey, Pools, SHOW_VERSION};
use super::product::PoolerIdentity;
use super::stats::DatabaseCounters;
use super::table::ConsoleAnswers;
use crate::view::dropped::CappedFamily;
use crate::view::memory::Memory;
use crate::view::settings::ViewSettings;

/// The state of a console's views that is kept from one probe to the next.
#[derive(Debug)]
pub(in crate::view) struct ConsoleMemory {
    /// The pooler, and the parameter `server_version` for which it is known.
    identity: Option<(String, PoolerIdentity)>,
    /// The commands that the pooler of this `server_version` does not have.
    missing: (String, BTreeSet<&'static str>),
    pub(super) clocks: WaitClocks,
    pub(super) stats: DatabaseCounters,
    pub(super) applications: ApplicationMemory,
}

/// What the views of a console have read so far in one probe.
#[derive(Debug, Default)]
pub(in crate::view) struct ConsoleReadings {
    pub(super) pools: Option<Pools>,
    pub(super) limits: Option<ConsoleLimits>,
}

impl ConsoleMemory {
    pub(in crate::view) fn new(series_limit: usize) -> Self {
        Self {
            identity: None,
            missing: (String::new(), BTreeSet::new()),
            clocks: WaitClocks::new(series_limit),
            stats: DatabaseCounters::default(),
            applications: ApplicationMemory::new(series_limit),
        }
    }

    /// The pooler behind this `server_version`; `None` while it is not known.
    pub(super) fn identity(&self, server_version: &str) -> Option<PoolerIdentity> {
        let (known, identity) = self.identity.as_ref()?;
        (known == server_version).then(|| identity.clone())
    }

    /// The pooler as it was last seen.
    pub(super) fn last_identity(&self) -> Option<&PoolerIdentity> {
        self.identity.as_ref().map(|(_, identity)| identity)
    }

    /// The pooler that gave these answers.
    pub(super) fn identify(&self, answers: &ConsoleAnswers) -> PoolerIdentity {
        let shown = answers.get(SHOW_VERSION).and_then(|table| table.rows().next());
        let shown = shown.and_then(|row| row.text("version"));
        let known = if shown.is_none() { self.identity(&answers.server_version) } else { None };
        known.unwrap_or_else(|| PoolerIdentity::of(&answers.server_version, shown))
    }

    /// The time that clients have waited, by pool, for a scrape.
    pub(in crate::view) fn show_waiting(&mut self) -> WaitingSeconds {
        self.clocks.show()
    }

    /// Reports whether the pooler was seen not to have a command.
    fn lacks(&self, server_version: &str, command: &str) -> bool {
        self.missing.0 == server_version && self.missing.1.contains(command)
    }

    /// Takes in that the pooler does not have a command. It is not asked again, because each such question is an
    /// error in the pooler's log.
    fn add_missing(&mut self, server_version: &str, command: &'static str) {
        if self.missing.0 != server_version {
            self.missing = (server_version.to_owned(), BTreeSet::new());
        }
        self.missing.1.insert(command);
    }
}

impl Memory {
    /// Takes in a SHOW POOLS, of a probe or of a sample.
    pub(super) fn take_pools(&mut self, pools: &Pools) {
        let span = self.sampling.take(pools.at);
        self.console.identity = Some((pools.server_version.clone(), pools.identity.clone()));
        self.console.clocks.take(&pools.pools, pools.at, span);
        self.dropped.set(CappedFamily::PoolerPools, self.console.clocks.rolled());
    }

    /// Puts together what the views of a console have read in one probe.
    pub(in crate::view) fn assemble_console(
        &mut self,
        settings: &ViewSettings,
        readings: ConsoleReadings,
    ) -> Console {
        let ConsoleReadings { pools, limits } = readings;
        let reads_pools = settings.enabled.contains(&pools::VIEW.name);
        let is_up = if reads_pools { pools.is_some() } else { limits.is_some() };
        let console = Console::assemble(&self.console, pools, limits, Instant::now());
        let (console, left_out) = console.limited(settings.series_limit);
        self.dropped.add(CappedFamily::PoolerUsers, left_out);
        Console { is_up, ..console }
    }

    /// Takes in that a console's command does not exist in this version.
    pub(crate) fn console_lacks(&mut self, server_version: &str, command: &'static str) {
        self.console.add_missing(server_version, command);
    }

    /// Reports whether a console was seen not to have a command.
    pub(crate) fn is_missing(&self, server_version: &str, command: &str) -> bool {
        self.console.lacks(server_version, command)
    }
}

/// The time that a pool's clients have waited, all together, by pool.
pub type WaitingSeconds = Vec<(PoolKey, f64)>;
