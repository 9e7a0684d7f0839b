//! Counts what active sessions wait for, by database and wait_event_type.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{SessionGroup, SessionStats};
use crate::view::key::SessionKey;
use crate::view::series::{Labels, RETAINED, label};

/// The pairs of database and wait_event_type that were seen, and when each was last seen. A pair stays at 0 for a while, so that a graph falls to 0 rather than ending.
#[derive(Debug, Default)]
pub(in crate::view) struct Waits(BTreeMap<(String, String), Instant>);

impl Waits {
    /// Counts the waiting sessions of a scan, by database and wait_event_type.
    ///
    /// Lock waits are shown for every database, even at 0, so that the first one is a rise and not a new
    /// series. Where the exporter's role may not see the sessions, there is no such 0.
    pub(super) fn count(
        &mut self,
        at: Instant,
        groups: &[SessionGroup],
        labels: &Labels,
        sets: &BTreeMap<SessionKey, SessionStats>,
    ) -> Vec<(String, String, u64)> {
        let mut now: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (key, _) in sets.iter().filter(|(key, s)| !key.database.is_empty() && s.are_visible()) {
            now.insert((key.database.clone(), "Lock".to_owned()), 0);
        }
        for group in groups {
            if let Some(kind) = &group.waits_for {
                let database = label(labels, &group.key).database.clone();
                *now.entry((database, kind.clone())).or_default() += group.sessions;
            }
        }
        self.0.extend(now.keys().map(|pair| (pair.clone(), at)));
        self.0.retain(|_, seen| at.duration_since(*seen) <= RETAINED);
        let pairs = self.0.keys();
        pairs.map(|pair| (pair.0.clone(), pair.1.clone(), *now.get(pair).unwrap_or(&0))).collect()
    }
}
