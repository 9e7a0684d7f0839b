//! A connection that is checked out.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bb8::{ManageConnection, PooledConnection};
use tokio::time::Instant;

use super::metered::{Meter, Metered};

/// A connection of a [`Watched`](super::Watched) pool. Dropping it gives it back, and records how long
/// it was in use.
pub struct WatchedConnection<'a, M: ManageConnection> {
    connection: PooledConnection<'a, Metered<M>>,
    meter: Arc<Meter>,
    since: Instant,
}

impl<'a, M: ManageConnection> WatchedConnection<'a, M> {
    pub(super) fn new(
        connection: PooledConnection<'a, Metered<M>>,
        meter: &Arc<Meter>,
        since: Instant,
    ) -> Self {
        Self { connection, meter: Arc::clone(meter), since }
    }
}

impl<M: ManageConnection> Deref for WatchedConnection<'_, M> {
    type Target = M::Connection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<M: ManageConnection> DerefMut for WatchedConnection<'_, M> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl<M: ManageConnection> fmt::Debug for WatchedConnection<'_, M>
where
    M::Connection: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

impl<M: ManageConnection> Drop for WatchedConnection<'_, M> {
    fn drop(&mut self) {
        self.meter.instruments.times.usage.observe(self.since.elapsed());
        self.meter.instruments.checkins.inc();
    }
}
