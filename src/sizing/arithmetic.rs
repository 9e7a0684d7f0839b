//! The rule of thumb for a pool that nobody has measured yet: workers times connections, and half of it as overflow.

use super::advise::{Fit, Plan};
use super::inputs::whole;

/// The overflow as a part of the size.
const OVERFLOW: f64 = 0.5;

/// The inputs of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arithmetic {
    /// Workers that share one pool.
    pub workers: u32,
    /// Connections that one worker uses on average.
    pub per_worker: f64,
    /// Processes, each with a pool of its own, at the most: also while a deploy overlaps.
    pub processes: u32,
    /// What the server gives to all of them together; `None` where that is not known.
    pub given: Option<u32>,
}

/// The result of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The limits of one process's pool.
    pub plan: Plan,
    /// The connections of all processes together.
    pub total: u64,
    /// Whether the server gives that many.
    pub fit: Fit,
    /// How many more processes fit.
    pub room: Option<u32>,
}

impl Arithmetic {
    /// Applies the rule. Fractions are rounded up.
    pub(crate) fn estimate(&self) -> Estimate {
        let size = whole((f64::from(self.workers) * self.per_worker).ceil()).max(1);
        let overflow = whole((f64::from(size) * OVERFLOW).ceil());
        let plan = Plan { size, overflow };
        let total = u64::from(plan.max()) * u64::from(self.processes);
        let fit = match self.given {
            None => Fit::Unknown,
            Some(given) if total <= u64::from(given) => Fit::Yes,
            Some(_) => Fit::No,
        };
        let room = self.given.map(|given| (given / plan.max()).saturating_sub(self.processes));
        Estimate { plan, total, fit, room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example() {
        let estimate = |processes, given| {
            Arithmetic { workers: 4, per_worker: 5.0, processes, given }.estimate()
        };
        let one = estimate(1, None);
        assert_eq!((one.plan, one.total), (Plan { size: 20, overflow: 10 }, 30));
        assert_eq!((one.fit, one.room), (Fit::Unknown, None));
        assert_eq!((estimate(3, Some(97)).fit, estimate(3, Some(97)).room), (Fit::Yes, Some(0)));
        assert_eq!((estimate(8, Some(97)).fit, estimate(8, None).total), (Fit::No, 240));
        let odd = Arithmetic { workers: 3, per_worker: 1.5, processes: 1, given: None };
        assert_eq!(odd.estimate().plan, Plan { size: 5, overflow: 3 });
    }
}
