//! Counters and histograms that a program keeps itself, event by event.
//!
//! Thin wrappers of the `prometheus` crate's types. Label values are closed enums, and every value
//! of an enum exists from the start with 0, so that `rate()` and `increase()` see the first event.
//! The crate demands a name for each metric; it is never shown, because a
//! [`Reading`](super::Reading) names the family.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus::core::{Collector as _, Metric as _};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
use strum::VariantArray;

use super::Samples;

/// A closed set of label values.
///
/// Every enum that derives `strum`'s [`VariantArray`] and `IntoStaticStr` (with
/// `#[strum(serialize_all = "snake_case")]`) has it. Its list of values is complete by construction.
/// A set that follows from a table implements it by hand: `all` then walks the table.
pub trait Label: Copy + 'static {
    /// Every value of the set, in the order of declaration.
    fn all() -> impl Iterator<Item = Self>;
    /// The text of this value in a sample.
    fn label(self) -> &'static str;
}

impl<T: VariantArray + Into<&'static str>> Label for T
where
    T: Copy + 'static,
{
    fn all() -> impl Iterator<Item = Self> {
        T::VARIANTS.iter().copied()
    }

    fn label(self) -> &'static str {
        self.into()
    }
}

/// A label value of a set that is closed, but known at run time only: the routes of a server, for
/// example. Every [`Label`] is one.
pub trait LabelText: Copy + 'static {
    /// The text in a sample.
    fn text(self) -> &'static str;
}

impl<L: Label> LabelText for L {
    fn text(self) -> &'static str {
        self.label()
    }
}

const VALID: &str = "a fixed, valid name, and bounds that grow";

/// A counter without labels.
pub struct Counter(IntCounter);

impl Counter {
    /// A counter at 0.
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

    /// The number of events so far.
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

/// A gauge that counts things that exist now.
pub struct Gauge(IntGauge);

impl Gauge {
    /// A gauge at 0.
    pub fn new() -> Self {
        Self(IntGauge::new("gauge", "gauge").expect(VALID))
    }

    /// Increments the gauge; the guard decrements it when it is dropped, also on cancellation.
    #[must_use = "the gauge falls back when the guard is dropped"]
    pub fn inc_guard(&self) -> GaugeGuard {
        self.0.inc();
        GaugeGuard(self.0.clone())
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        u64::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

/// Decrements its gauge when it is dropped.
pub struct GaugeGuard(IntGauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter for each value of a label.
pub struct Counters<L>(IntCounterVec, PhantomData<fn(L)>);

impl<L: Label> Counters<L> {
    /// Counters at 0 for every value of the label `name`.
    pub fn new(name: &str) -> Self {
        let counters = Self::sparse(name);
        L::all().for_each(|value| counters.start(value));
        counters
    }

    /// Counters without samples; a value has one from its first event on, or from
    /// [`Counters::start`]. For sets with many values that never occur.
    pub fn sparse(name: &str) -> Self {
        let vec = IntCounterVec::new(Opts::new("counters", "counters"), &[name]).expect(VALID);
        Self(vec, PhantomData)
    }

    /// Creates the sample of a value, at 0.
    pub fn start(&self, value: L) {
        self.0.with_label_values(&[value.label()]);
    }

    /// Adds one event.
    pub fn inc(&self, value: L) {
        self.0.with_label_values(&[value.label()]).inc();
    }

    /// The counter of one value, for events too frequent to look it up each time.
    pub fn counter(&self, value: L) -> Counter {
        Counter(self.0.with_label_values(&[value.label()]))
    }

    /// The number of events so far for one value.
    pub fn count(&self, value: L) -> u64 {
        self.of(|label| label == value.label())
    }

    /// The number of events so far for all values together.
    pub fn sum(&self) -> u64 {
        self.of(|_| true)
    }

    /// Adds up the samples that there are. To look a value up would create its sample.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the crate's exposition has floats; the counters are whole and never negative"
    )]
    fn of(&self, is_meant: impl Fn(&str) -> bool) -> u64 {
        let families = self.0.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let meant = metrics.filter(|m| m.get_label().iter().all(|pair| is_meant(pair.value())));
        meant.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// A counter for each pair of label values. A pair has no sample before its first event, because
/// most pairs never happen and their zeros would fill the page.
pub struct PairCounters<A, B> {
    pairs: IntCounterVec,
    /// All events; to read it from the pairs would create the missing ones.
    total: IntCounter,
    labels: PhantomData<fn(A, B)>,
}

impl<A: LabelText, B: LabelText> PairCounters<A, B> {
    /// No samples yet. `names` are the two label names.
    pub fn new(names: [&str; 2]) -> Self {
        let pairs = IntCounterVec::new(Opts::new("counters", "counters"), &names).expect(VALID);
        let total = IntCounter::new("total", "total").expect(VALID);
        Self { pairs, total, labels: PhantomData }
    }

    /// Adds one event.
    pub fn inc(&self, a: A, b: B) {
        self.pairs.with_label_values(&[a.text(), b.text()]).inc();
        self.total.inc();
    }

    /// Creates the sample of a pair, at 0: for events common enough that an alert looks for them.
    pub fn start(&self, a: A, b: B) {
        self.pairs.with_label_values(&[a.text(), b.text()]);
    }

    /// The number of events so far for all pairs together.
    pub fn sum(&self) -> u64 {
        self.total.get()
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.pairs);
    }
}

/// A histogram of durations, in seconds.
pub struct Histogram(prometheus::Histogram);

impl Histogram {
    /// An empty histogram. `bounds` are the buckets' upper bounds in seconds, growing; `+Inf` is
    /// added.
    pub fn new(bounds: &[f64]) -> Self {
        let options = HistogramOpts::new("histogram", "histogram").buckets(bounds.to_vec());
        Self(prometheus::Histogram::with_opts(options).expect(VALID))
    }

    /// Adds one duration.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// The number of durations so far.
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }

    /// The buckets, the sum and the count, all of one moment.
    pub fn distribution(&self) -> Distribution {
        Distribution::of(&self.0)
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// A histogram for each value of a label.
pub struct Histograms<L>(HistogramVec, PhantomData<fn(L)>);

impl<L: LabelText> Histograms<L> {
    /// Empty histograms for the label `name`; a value has samples from its first duration on.
    /// `bounds` as for [`Histogram::new`].
    pub fn new(name: &str, bounds: &[f64]) -> Self {
        let options = HistogramOpts::new("histogram", "histogram").buckets(bounds.to_vec());
        Self(HistogramVec::new(options, &[name]).expect(VALID), PhantomData)
    }

    /// Adds one duration.
    pub fn observe(&self, value: L, took: Duration) {
        self.0.with_label_values(&[value.text()]).observe(took.as_secs_f64());
    }

    /// As [`Histogram::distribution`], for one value of the label.
    pub fn distribution(&self, value: L) -> Distribution {
        Distribution::of(&self.0.with_label_values(&[value.text()]))
    }

    /// Pushes the samples.
    pub fn show(&self, out: &mut Samples<'_>) {
        out.collect(&self.0);
    }
}

/// The content of a histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The upper bounds of the buckets in seconds, growing, without `+Inf`.
    pub edges: Vec<f64>,
    /// The number of durations in each bucket, not cumulative; the last is the number above the
    /// last edge.
    pub counts: Vec<u64>,
    /// The sum of all durations, in seconds.
    pub sum: f64,
}

impl Distribution {
    fn of(histogram: &prometheus::Histogram) -> Self {
        let metric = histogram.metric();
        let read = metric.get_histogram();
        let mut below = 0;
        let mut found = Self { sum: read.get_sample_sum(), ..Self::default() };
        for bucket in read.get_bucket() {
            found.edges.push(bucket.upper_bound());
            found.counts.push(bucket.cumulative_count() - below);
            below = bucket.cumulative_count();
        }
        found.counts.push(read.get_sample_count() - below);
        found
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean in seconds; 0 without durations.
    pub fn mean(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum / count as f64,
        }
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
    fn reading_a_counter_creates_no_sample() {
        let sides = Counters::sparse("side");
        sides.inc(Side::Left);
        sides.inc(Side::Left);
        assert_eq!((sides.count(Side::Left), sides.count(Side::Right), sides.sum()), (2, 0, 2));
        assert_eq!(sides.0.collect()[0].get_metric().len(), 1);
    }

    #[test]
    fn a_sum_creates_no_samples_of_pairs_that_never_happened() {
        let pairs = PairCounters::new(["a", "b"]);
        pairs.inc(Side::Left, Side::Right);
        pairs.inc(Side::Left, Side::Right);
        pairs.start(Side::Right, Side::Right);
        assert_eq!(pairs.sum(), 2);
        assert_eq!(pairs.pairs.collect()[0].get_metric().len(), 2);
    }
}
