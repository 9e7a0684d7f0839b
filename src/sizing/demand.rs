//! How many connections one process needs, from samples of all processes or of the fullest one.

use std::collections::BTreeMap;

use super::chance::{Factorials, MOST};
use super::inputs::{Inputs, PoolLimit, Spread};

/// The part of the time in which a process may have nothing left: 86 seconds a day. A pool that never touches its
/// limit costs connections that are hardly ever used.
pub(super) const FULL: f64 = 0.001;

/// The part of the time in which a process may be in overflow. Each overflow connection costs a login.
const OVERFLOWING: f64 = 0.05;

/// A mean load above this part of the limit is more than the pool can serve.
const OVERLOADED: f64 = 0.95;

/// The way in which the need was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// From samples of the fullest process.
    Fullest,
    /// From samples of all processes together, which share the load by chance.
    Shared,
    /// The pool was full, so that samples do not show what was wanted: from the mean of each hour, with callers
    /// that come at random.
    Means,
}

/// What one process needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Connections that it uses at most nearly all the time.
    pub size: u32,
    /// Connections with which it has nothing left for at most a thousandth of the time.
    pub max: u32,
    /// Connections that also cover the highest peak.
    pub peak: u32,
    /// The way in which this was found.
    pub basis: Basis,
    /// True if the pool was overloaded: the need is at least this, and nobody knows how much more.
    pub is_open_ended: bool,
}

/// Returns what one process needs; `None` without samples.
pub(super) fn of(inputs: &Inputs) -> Option<Demand> {
    let usage = &inputs.usage;
    let processes = inputs.processes.usual.max(1);
    let peak = usage.peak.or(usage.active.peak())?.max(usage.active.peak()?);
    let model = Model::new(inputs, peak);
    let size = smallest(|k| model.any_at_least(k + 1), OVERFLOWING).max(1);
    let max = smallest(|k| model.any_at_least(k), FULL).max(size);
    let of_peak = model.for_peak(peak, processes);
    Some(Demand {
        size,
        max,
        peak: of_peak.max(max),
        basis: model.basis,
        is_open_ended: model.basis == Basis::Means && is_overloaded(inputs),
    })
}

/// Returns the part of the time in which some process has nothing left with this limit, by the samples.
pub(super) fn full_with(inputs: &Inputs, max: u32) -> Option<f64> {
    let peak = inputs.usage.active.peak()?;
    let model = Model::new(inputs, peak);
    Some(model.any_at_least(usize::try_from(max).unwrap_or(MOST)))
}

/// Reports whether the load of the busiest hour is about all that the pools can serve.
fn is_overloaded(inputs: &Inputs) -> bool {
    let PoolLimit::AtMost(max) = inputs.pool.max else { return false };
    let busiest = inputs.usage.means.iter().copied().fold(0.0, f64::max);
    busiest >= OVERLOADED * f64::from(max) * f64::from(inputs.processes.usual.max(1))
}

/// A way to compute the chance that some process has many connections in use.
struct Model {
    basis: Basis,
    processes: f64,
    /// Numbers of connections, with the part of the time of each.
    shares: BTreeMap<u32, f64>,
    means: Vec<f64>,
    factorials: Factorials,
}

impl Model {
    fn new(inputs: &Inputs, peak: u32) -> Self {
        let usage = &inputs.usage;
        let was_full = usage.saturated.is_some_and(|part| part > FULL);
        let is_hidden = was_full && !usage.has_waiting && !usage.means.is_empty();
        let (basis, spread) = match &usage.fullest {
            _ if is_hidden => (Basis::Means, &usage.active),
            Some(fullest) if fullest.len() > 0 => (Basis::Fullest, fullest),
            Some(_) | None => (Basis::Shared, &usage.active),
        };
        let most = usize::try_from(peak).unwrap_or(MOST).saturating_mul(4).max(1_000);
        Self {
            basis,
            processes: f64::from(inputs.processes.usual.max(1)),
            shares: shares(spread),
            means: usage.means.iter().map(|mean| mean.min(MOST as f64)).collect(),
            factorials: Factorials::up_to(most),
        }
    }

    /// The chance that some process has at least `k` connections in use.
    fn any_at_least(&self, k: usize) -> f64 {
        match self.basis {
            Basis::Fullest => {
                let high = self.shares.iter().filter(|(n, _)| size_of(**n) >= k);
                high.map(|(_, share)| share).sum()
            }
            Basis::Shared => {
                let by_number =
                    self.shares.iter().map(|(n, share)| share * self.any_of_shared(size_of(*n), k));
                by_number.sum()
            }
            Basis::Means => {
                let tails = self.means.iter().map(|mean| {
                    let of_one = self.factorials.poisson_tail(mean / self.processes, k);
                    (of_one * self.processes).min(1.0)
                });
                tails.sum::<f64>() / self.means.len().max(1) as f64
            }
        }
    }

    /// The chance that of `n` connections some process has at least `k`, each process getting each with the same
    /// chance. The sum over the processes is an upper bound that is close where the chance is small.
    fn any_of_shared(&self, n: usize, k: usize) -> f64 {
        let of_one = self.factorials.binomial_tail(n, 1.0 / self.processes, k);
        (of_one * self.processes).min(1.0)
    }

    /// The connections of one process that cover the peak of all.
    fn for_peak(&self, peak: u32, processes: u32) -> u32 {
        if self.basis == Basis::Fullest {
            return self.shares.keys().last().copied().unwrap_or(0) + 1;
        }
        if processes == 1 {
            return peak.saturating_add(1);
        }
        smallest(|k| self.any_of_shared(size_of(peak), k), 0.01)
    }
}

fn size_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(MOST).min(MOST)
}

fn shares(spread: &Spread) -> BTreeMap<u32, f64> {
    let mut shares = BTreeMap::new();
    let one = 1.0 / spread.len().max(1) as f64;
    for number in spread.sorted() {
        *shares.entry(*number).or_default() += one;
    }
    shares
}

/// Returns the smallest number whose chance is small enough. The chance falls with the number.
fn smallest(chance: impl Fn(usize) -> f64, enough: f64) -> u32 {
    // Sums of shares are not exact.
    let is_enough = |k: usize| chance(k) <= enough + 1e-9;
    let mut high = 1;
    while high < MOST && !is_enough(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if is_enough(middle) { high = middle } else { low = middle }
    }
    let found = if low == 0 && is_enough(0) { 0 } else { high };
    u32::try_from(found).unwrap_or(u32::MAX)
}
