//! The counters and histograms that we keep ourselves, by event.
//!
//! Thin covers over the `prometheus` crate's: label values are closed enums, and every value of an
//! enum exists from the start with 0, so that `rate()` and `increase()` see the first event. The
//! names that the crate wants are not shown; a [`Reading`](super::Reading) names the family.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
use strum::VariantArray;

use super::Samples;

/// A closed set of label values.
///
/// An enum without data gets it from `strum`: derive [`VariantArray`] and `IntoStaticStr` with
/// `#[strum(serialize_all = "snake_case")]`. Its list of values is complete by construction then.
pub trait Label: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The value's text in a sample.
    fn label(self) -> &'static str;
}

impl<T: VariantArray + Into<&'static str>> Label for T
where
    T: Copy + 'static,
{
    const ALL: &'static [Self] = T::VARIANTS;

    fn label(self) -> &'static str {
        self.into()
    }
}

const VALID: &str = "a fixed, valid name, and edges that grow";

/// A counter without labels.
pub struct Counter(IntCounter);

impl Counter {
    /// Starts at 0.
    pub fn new() -> Self {
        Self(IntCounter::new("counter", "counter").expect(VALID))
    }

    /// Adds one event.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Adds several events.
    pub fn add(&self, events: u64) {
        self.0.inc_by(events);
    }

    /// The events so far.
    pub fn count(&self) -> u64 {
        self.0.get()
    }

    /// Pushes the sample.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// A gauge that events move.
pub struct Gauge(IntGauge);

impl Gauge {
    /// Starts at 0.
    pub fn new() -> Self {
        Self(IntGauge::new("gauge", "gauge").expect(VALID))
    }

    /// One more, until the answer is dropped.
    pub fn hold(&self) -> Held {
        self.0.inc();
        Held(self.0.clone())
    }

    /// The value now, never below 0.
    pub fn value(&self) -> u64 {
        u64::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes one from its gauge when dropped.
pub struct Held(IntGauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter for each value of a label.
pub struct Counters<L>(IntCounterVec, PhantomData<fn(L)>);

impl<L: Label> Counters<L> {
    /// Every value of the label starts at 0.
    pub fn new(name: &str) -> Self {
        let vec = IntCounterVec::new(Opts::new("counters", "counters"), &[name]).expect(VALID);
        for value in L::ALL {
            vec.with_label_values(&[value.label()]);
        }
        Self(vec, PhantomData)
    }

    /// Adds one event.
    pub fn inc(&self, value: L) {
        self.0.with_label_values(&[value.label()]).inc();
    }

    /// The events so far of one value.
    pub fn count(&self, value: L) -> u64 {
        self.0.with_label_values(&[value.label()]).get()
    }

    /// The events so far of all values.
    pub fn sum(&self) -> u64 {
        L::ALL.iter().map(|value| self.count(*value)).sum()
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// A counter for each pair of label values, from its first event on: too many pairs for zeros.
pub struct PairCounters<A, B>(IntCounterVec, PhantomData<fn(A, B)>);

impl<A: Label, B: Label> PairCounters<A, B> {
    /// Has no sample yet.
    pub fn new(names: [&str; 2]) -> Self {
        let vec = IntCounterVec::new(Opts::new("counters", "counters"), &names).expect(VALID);
        Self(vec, PhantomData)
    }

    /// Adds one event.
    pub fn inc(&self, a: A, b: B) {
        self.0.with_label_values(&[a.label(), b.label()]).inc();
    }

    /// Makes the samples of a pair, with 0.
    pub fn start(&self, a: A, b: B) {
        self.0.with_label_values(&[a.label(), b.label()]);
    }

    /// The events so far of all pairs.
    pub fn sum(&self) -> u64 {
        // Asking for a pair by its labels would make its sample.
        let families = self.0.collect();
        let counters = families.iter().flat_map(|family| family.get_metric());
        let sum: f64 = counters.map(|metric| metric.get_counter().get_value()).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let sum = sum as u64;
        sum
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// A histogram of durations, in seconds.
pub struct Histogram(prometheus::Histogram);

impl Histogram {
    /// Starts empty. `edges`: upper bounds in seconds, growing; +Inf comes by itself.
    pub fn new(edges: &[f64]) -> Self {
        let options = HistogramOpts::new("histogram", "histogram").buckets(edges.to_vec());
        Self(prometheus::Histogram::with_opts(options).expect(VALID))
    }

    /// Adds one duration.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// How many durations so far.
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// A histogram for each value of a label.
pub struct Histograms<L>(HistogramVec, PhantomData<fn(L)>);

impl<L: Label> Histograms<L> {
    /// Has a value's samples from its first duration on. `edges` as for [`Histogram::new`].
    pub fn new(name: &str, edges: &[f64]) -> Self {
        let options = HistogramOpts::new("histogram", "histogram").buckets(edges.to_vec());
        Self(HistogramVec::new(options, &[name]).expect(VALID), PhantomData)
    }

    /// Adds one duration.
    pub fn observe(&self, value: L, took: Duration) {
        self.0.with_label_values(&[value.label()]).observe(took.as_secs_f64());
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, VariantArray, strum::IntoStaticStr)]
    #[strum(serialize_all = "snake_case")]
    enum Side {
        Left,
        Right,
    }

    #[test]
    fn a_sum_makes_no_samples_of_pairs_that_never_were() {
        let pairs = PairCounters::new(["a", "b"]);
        pairs.inc(Side::Left, Side::Right);
        pairs.inc(Side::Left, Side::Right);
        pairs.start(Side::Right, Side::Right);
        assert_eq!(pairs.sum(), 2);
        assert_eq!(pairs.0.collect()[0].get_metric().len(), 2);
    }
}
