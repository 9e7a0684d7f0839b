//! The numbers of our own pool at this moment.

use super::Pool;
use crate::metrics::PoolState;

impl Pool {
    /// The pool's numbers, all of one moment.
    pub fn state(&self) -> PoolState {
        let open = self.manager.opened();
        let active = self.gauges.active.value().min(open);
        PoolState {
            active,
            idle: open - active,
            open,
            connecting: self.connector().connecting(),
            pending: self.gauges.pending.value(),
            abandoned: self.connector().budget().abandoned(),
            size: self.limits.size,
            max_overflow: self.limits.max_overflow,
            max: self.limits.max(),
            timeout: self.limits.timeout,
            recycle: self.limits.recycle,
        }
    }
}
