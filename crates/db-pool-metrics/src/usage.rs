//! One connection pool at one moment, in one vocabulary for every source.
//!
//! A pool that a program owns, one that a server shows as a list of sessions, and one that an
//! application reports itself all become a [`Usage`]; the ratios are defined here and nowhere else.
//! `None` means unknown or without a limit, never 0.

use strum::{IntoStaticStr, VariantArray};

use crate::PoolState;

/// The source of the numbers of a [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum UsageSource {
    /// The application's own status endpoint; exact.
    Endpoint,
    /// The sessions that the server lists; `active` is a lower bound.
    Activity,
    /// The pool cannot be seen now, or could not be distinguished from others.
    Unknown,
    /// The pool of the program that exports the metrics; exact.
    Exporter,
}

impl UsageSource {
    /// The word in labels and answers.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// The usage of one pool. For an application of several processes, the sum of their pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections that are checked out.
    pub active: u64,
    /// Connections that are open and not checked out.
    pub idle: u64,
    /// Connections that are open, in use or not.
    pub open: u64,
    /// Open connections above the size; never below 0.
    pub overflow: u64,
    /// The number of connections that the pool keeps; `None` when unlimited or unknown.
    pub size: Option<u32>,
    /// The number of connections allowed above the size; `None` when unlimited or unknown.
    pub max_overflow: Option<u32>,
    /// The largest number of open connections; `None` when unlimited or unknown.
    pub max: Option<u32>,
    /// The source of the numbers.
    pub source: UsageSource,
}

impl Usage {
    /// Checked-out connections in percent of the size: over 100 in overflow, `None` without a limit.
    pub fn utilization_percent(&self) -> Option<f64> {
        self.max?;
        let size = self.size.filter(|size| *size > 0)?;
        Some(self.active as f64 / f64::from(size) * 100.0)
    }

    /// Checked-out connections as a part of all that may be open; `None` without a limit.
    pub fn saturation_ratio(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0)?;
        Some(self.active as f64 / f64::from(max))
    }

    /// Reports whether the next check-out has to wait; `false` without a limit.
    pub fn is_saturated(&self) -> bool {
        self.max.is_some_and(|max| max > 0 && self.active >= u64::from(max))
    }
}

/// The number of open connections above a pool's size; 0 for a pool without a size.
///
/// SQLAlchemy's `overflow()` differs: it starts at minus the size.
pub fn overflow(open: u64, size: u32) -> u64 {
    if size == 0 { 0 } else { open.saturating_sub(u64::from(size)) }
}

impl From<&PoolState> for Usage {
    fn from(state: &PoolState) -> Self {
        Self {
            active: state.active,
            idle: state.idle,
            open: state.open,
            overflow: overflow(state.open, state.size),
            size: (state.size > 0).then_some(state.size),
            max_overflow: state.max_overflow,
            max: state.max,
            source: UsageSource::Exporter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(active: u64, size: Option<u32>, max: Option<u32>) -> Usage {
        Usage {
            active,
            idle: 0,
            open: active,
            overflow: 0,
            size,
            max_overflow: None,
            max,
            source: UsageSource::Exporter,
        }
    }

    #[test]
    fn ratios_are_of_what_is_checked_out() {
        let five = usage(5, Some(20), Some(30));
        assert_eq!(five.utilization_percent(), Some(25.0));
        assert_eq!(usage(15, Some(20), Some(30)).saturation_ratio(), Some(0.5));
        assert!(!usage(29, Some(20), Some(30)).is_saturated());
        assert!(usage(30, Some(20), Some(30)).is_saturated());
    }

    #[test]
    fn without_a_limit_there_is_no_ratio() {
        for unlimited in [usage(5, None, None), usage(5, Some(20), None), usage(5, Some(0), None)] {
            assert_eq!(unlimited.utilization_percent(), None);
            assert_eq!(unlimited.saturation_ratio(), None);
            assert!(!unlimited.is_saturated());
        }
    }

    #[test]
    fn overflow_is_what_is_open_above_the_size() {
        assert_eq!((overflow(3, 5), overflow(7, 5), overflow(7, 0)), (0, 2, 0));
    }
}
