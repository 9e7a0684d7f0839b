//! The writer that a table row pushes its samples into.
//!
//! Sample lines are the same in the text format and in OpenMetrics (only the heads of the families
//! differ), so lines that were written once serve both.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto;

use super::{Detail, Kind, Rank, Subject};

/// A value that a sample can have; `None` when there is no value and so no sample.
pub trait Value {
    /// The number in the metric's base unit.
    fn number(self) -> Option<f64>;
}

impl Value for f64 {
    fn number(self) -> Option<f64> {
        Some(self)
    }
}

impl Value for bool {
    fn number(self) -> Option<f64> {
        Some(f64::from(u8::from(self)))
    }
}

impl Value for u32 {
    fn number(self) -> Option<f64> {
        Some(f64::from(self))
    }
}

impl Value for i32 {
    fn number(self) -> Option<f64> {
        Some(f64::from(self))
    }
}

impl Value for u64 {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Value for i64 {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Value for usize {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

/// Seconds.
impl Value for Duration {
    fn number(self) -> Option<f64> {
        Some(self.as_secs_f64())
    }
}

impl<V: Value> Value for Option<V> {
    fn number(self) -> Option<f64> {
        self.and_then(Value::number)
    }
}

/// Writes the samples of one family of one subject.
pub struct Samples<'a> {
    out: Sink<'a>,
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// The buckets that are shown of a histogram.
    buckets: Buckets,
}

/// The bounds that are left of a histogram where few are shown: a bucket for each decade that matters, and 0.5 s,
/// the limit of the objective for opening a connection. With `+Inf` they are six.
const FEW: [f64; 5] = [0.001, 0.01, 0.1, 0.5, 5.0];

/// The buckets of a histogram that are shown, beside `+Inf`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buckets {
    All,
    Few,
    None,
}

impl Buckets {
    fn of(detail: Detail, rank: Rank) -> Self {
        match (detail, rank) {
            (Detail::Full, _) | (Detail::Standard, Rank::Main) => Self::All,
            (Detail::Standard, _) | (Detail::Lean, Rank::Main) => Self::Few,
            (Detail::Lean, _) => Self::None,
        }
    }

    /// Reports whether the bucket at `place` is shown.
    fn shows(self, bounds: &[f64], place: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Few if bounds.len() <= FEW.len() => true,
            Self::Few => {
                let has_usual_bounds = FEW.iter().all(|few| bounds.contains(few));
                if has_usual_bounds {
                    bounds.get(place).is_some_and(|bound| FEW.contains(bound))
                } else {
                    // Bounds that somebody else has chosen: every n-th, so that the whole range is covered.
                    let step = bounds.len().div_ceil(FEW.len());
                    place % step == step - 1
                }
            }
        }
    }
}

/// The destination of samples.
enum Sink<'a> {
    /// Lines of a page, each with the base label in front of its own.
    Lines { text: &'a mut String, base: &'a str },
    /// A family for a registry of the `prometheus` crate.
    Family(&'a mut Vec<proto::Metric>),
}

impl<'a> Samples<'a> {
    pub(super) fn new<T: ?Sized>(
        out: &'a mut String,
        reading: &super::Reading<T>,
        subject: Subject<'a>,
        rank: Rank,
    ) -> Self {
        let Subject { base, detail } = subject;
        Self::into_sink(Sink::Lines { text: out, base }, reading, Buckets::of(detail, rank))
    }

    /// Collects the samples for a registry; the caller adds the base label.
    pub(super) fn of_family<T: ?Sized>(
        metrics: &'a mut Vec<proto::Metric>,
        reading: &super::Reading<T>,
    ) -> Self {
        Self::into_sink(Sink::Family(metrics), reading, Buckets::All)
    }

    fn into_sink<T: ?Sized>(out: Sink<'a>, reading: &super::Reading<T>, buckets: Buckets) -> Self {
        Self { out, name: reading.name, kind: reading.kind, labels: reading.labels, buckets }
    }

    /// Adds a sample with the row's labels, in their order. `None` adds nothing.
    pub fn push<const N: usize>(&mut self, values: [&str; N], value: impl Value) {
        debug_assert_eq!(N, self.labels.len(), "{}: a value a label", self.name);
        self.sample(self.labels.iter().copied().zip(values), value.number());
    }

    /// Adds a sample with further labels after the row's own. The user chose the names of these labels.
    pub fn push_own<'l>(
        &mut self,
        values: &[&'l str],
        own: impl Iterator<Item = (&'l str, &'l str)>,
        value: impl Value,
    ) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}: a value a label", self.name);
        let fixed = self.labels.iter().copied().zip(values.iter().copied());
        self.sample(fixed.chain(own), value.number());
    }

    fn sample<'l>(&mut self, pairs: impl Iterator<Item = (&'l str, &'l str)>, value: Option<f64>) {
        let Some(number) = value else { return };
        match &mut self.out {
            Sink::Lines { text, base } => write_sample(text, self.name, "", base, pairs, number),
            Sink::Family(metrics) => metrics.push(metric(self.kind, pairs, number)),
        }
    }

    /// Adds a histogram that somebody else has counted. `counts`: one for each bound and one for what is
    /// above the last, not cumulative.
    pub fn push_buckets<const N: usize>(
        &mut self,
        values: [&str; N],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        debug_assert_eq!(N, self.labels.len(), "{}: a value a label", self.name);
        let pairs = self.labels.iter().copied().zip(values);
        let metric = counted(pairs.map(|(n, v)| label_pair(n, v)).collect(), bounds, counts, sum);
        match &mut self.out {
            Sink::Lines { text, base } => {
                write_buckets(text, self.name, base, &metric, self.buckets);
            }
            Sink::Family(metrics) => metrics.push(metric),
        }
    }

    /// Adds all samples of an instrument of the `prometheus` crate.
    pub(super) fn collect(&mut self, instrument: &impl Collector) {
        for mut family in instrument.collect() {
            match &mut self.out {
                Sink::Family(metrics) => metrics.append(family.mut_metric()),
                Sink::Lines { text, base } => {
                    for metric in family.get_metric() {
                        write_metric(text, self.kind, self.name, base, metric, self.buckets);
                    }
                }
            }
        }
    }
}

fn metric<'l>(
    kind: Kind,
    pairs: impl Iterator<Item = (&'l str, &'l str)>,
    number: f64,
) -> proto::Metric {
    let mut metric = proto::Metric::from_label(pairs.map(|(n, v)| label_pair(n, v)).collect());
    if kind == Kind::Counter {
        let mut counter = proto::Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
    metric
}

/// A histogram from counts that are not cumulative, one more than the bounds.
fn counted(
    labels: Vec<proto::LabelPair>,
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
) -> proto::Metric {
    let mut all = 0_u64;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        all = all.saturating_add(*count);
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(all);
        bucket
    });
    let buckets = buckets.collect();
    let above: u64 = counts.iter().skip(bounds.len()).sum();
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(all.saturating_add(above));
    histogram.set_sample_sum(sum);
    let mut metric = proto::Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}

pub(super) fn label_pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn write_metric(
    out: &mut String,
    kind: Kind,
    name: &str,
    base: &str,
    metric: &proto::Metric,
    shown: Buckets,
) {
    let pairs = label_pairs(metric);
    match kind {
        Kind::Counter => {
            write_sample(out, name, "", base, pairs, metric.get_counter().get_value());
        }
        Kind::Gauge => write_sample(out, name, "", base, pairs, metric.get_gauge().get_value()),
        Kind::Histogram => write_buckets(out, name, base, metric, shown),
    }
}

fn write_buckets(out: &mut String, name: &str, base: &str, metric: &proto::Metric, shown: Buckets) {
    let histogram = metric.get_histogram();
    let bounds: Vec<f64> = histogram.get_bucket().iter().map(proto::Bucket::upper_bound).collect();
    let buckets = histogram.get_bucket().iter().enumerate();
    for (_, bucket) in buckets.filter(|(place, _)| shown.shows(&bounds, *place)) {
        let mut edge = String::new();
        write_edge(&mut edge, bucket.upper_bound());
        let pairs = label_pairs(metric).chain([("le", edge.as_str())]);
        write_sample(out, name, "_bucket", base, pairs, bucket.cumulative_count() as f64);
    }
    let count = histogram.get_sample_count() as f64;
    let last = label_pairs(metric).chain([("le", "+Inf")]);
    write_sample(out, name, "_bucket", base, last, count);
    write_sample(out, name, "_sum", base, label_pairs(metric), histogram.get_sample_sum());
    write_sample(out, name, "_count", base, label_pairs(metric), count);
}

/// Formats the label that every sample of a subject carries: `target="orders"`.
pub fn base_label(name: &str, value: &str) -> String {
    let mut text = String::new();
    write_label(&mut text, name, value);
    text
}

fn label_pairs(metric: &proto::Metric) -> impl Iterator<Item = (&str, &str)> {
    metric.get_label().iter().map(|pair| (pair.name(), pair.value()))
}

fn write_sample<'l>(
    out: &mut String,
    name: &str,
    suffix: &str,
    base: &str,
    pairs: impl Iterator<Item = (&'l str, &'l str)>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let open = out.len();
    out.push('{');
    out.push_str(base);
    for (label, text) in pairs {
        if !out.ends_with('{') {
            out.push(',');
        }
        write_label(out, label, text);
    }
    if out.len() == open + 1 {
        out.truncate(open);
    } else {
        out.push('}');
    }
    out.push(' ');
    write_number(out, value);
    out.push('\n');
}

fn write_label(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, value: f64) {
    // Writing to a String cannot fail.
    let _ = if value.is_nan() {
        write!(out, "NaN")
    } else if value == f64::INFINITY {
        write!(out, "+Inf")
    } else if value == f64::NEG_INFINITY {
        write!(out, "-Inf")
    } else {
        write!(out, "{value}")
    };
}

/// A bucket's bound, always with a point: OpenMetrics and Prometheus 3 write `1.0`.
fn write_edge(out: &mut String, edge: f64) {
    write_number(out, edge);
    if edge.is_finite() && !out.contains('.') {
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Histogram, Reading};

    fn text(reading: &Reading<()>, base: &str) -> String {
        text_in(reading, base.into(), Rank::Main)
    }

    fn text_in(reading: &Reading<()>, subject: Subject<'_>, rank: Rank) -> String {
        let mut out = String::new();
        (reading.read)(&(), &mut Samples::new(&mut out, reading, subject, rank));
        out
    }

    /// The bounds that a page shows, `+Inf` included.
    fn shown(bounds: &'static [f64], rank: Rank, detail: Detail) -> Vec<String> {
        let read: fn(&(), &mut Samples<'_>) = match bounds.len() {
            18 => |(), out| Histogram::new(crate::QUERY).show(out),
            17 => |(), out| Histogram::new(crate::CHECKOUT).show(out),
            15 => |(), out| Histogram::new(crate::CONNECT).show(out),
            12 => |(), out| out.push_buckets([], &FOREIGN, &[1; 13], 1.0),
            other => panic!("no instrument with {other} bounds"),
        };
        let reading =
            Reading { name: "d_seconds", help: "", kind: Kind::Histogram, labels: &[], read };
        let text = text_in(&reading, Subject { base: "", detail }, rank);
        assert!(text.contains("d_seconds_sum") && text.contains("d_seconds_count"), "{text}");
        let edges = text.lines().filter_map(|line| line.split("le=\"").nth(1)?.split('"').next());
        edges.map(str::to_owned).collect()
    }

    /// Bounds of a pool that is not ours.
    const FOREIGN: [f64; 12] = [0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4, 1.5];

    #[test]
    fn a_lean_subject_has_at_most_six_buckets_a_histogram() {
        let few = ["0.001", "0.01", "0.1", "0.5", "5.0", "+Inf"];
        for bounds in [crate::QUERY, crate::CHECKOUT, crate::CONNECT] {
            assert_eq!(shown(bounds, Rank::Main, Detail::Lean), few);
            assert_eq!(shown(bounds, Rank::Main, Detail::Standard).len(), bounds.len() + 1);
        }
        assert_eq!(shown(crate::QUERY, Rank::Minor, Detail::Standard), few);
        assert_eq!(shown(crate::QUERY, Rank::Minor, Detail::Lean), ["+Inf"]);
        assert_eq!(shown(crate::QUERY, Rank::Minor, Detail::Full).len(), 19);
        assert_eq!(shown(&FOREIGN, Rank::Main, Detail::Full).len(), 13);
        let foreign = shown(&FOREIGN, Rank::Main, Detail::Lean);
        assert_eq!(foreign, ["0.4", "0.8", "1.2", "1.5", "+Inf"]);
    }

    #[test]
    fn labels_are_escaped_and_absent_values_leave_no_sample() {
        let reading = Reading {
            name: "x",
            help: "",
            kind: Kind::Gauge,
            labels: &["a"],
            read: |(), out| {
                out.push(["q\"\\\n"], 1.5);
                out.push(["none"], None::<u32>);
                out.push(["inf"], f64::INFINITY);
            },
        };
        assert_eq!(
            text(&reading, &base_label("target", "t")),
            "x{target=\"t\",a=\"q\\\"\\\\\\n\"} 1.5\nx{target=\"t\",a=\"inf\"} +Inf\n"
        );
    }

    #[test]
    fn a_sample_without_labels_has_no_braces() {
        let reading = Reading {
            name: "x_total",
            help: "",
            kind: Kind::Counter,
            labels: &[],
            read: |(), out| out.push([], true),
        };
        assert_eq!(text(&reading, ""), "x_total 1\n");
    }

    #[test]
    fn counted_buckets_read_as_a_histogram_of_our_own() {
        let read: fn(&(), &mut Samples<'_>) = |(), out| {
            out.push_buckets(["x"], &[0.5, 1.0], &[1, 0, 2], 7.5);
        };
        let reading =
            Reading { name: "d_seconds", help: "", kind: Kind::Histogram, labels: &["a"], read };
        assert_eq!(
            text(&reading, ""),
            "d_seconds_bucket{a=\"x\",le=\"0.5\"} 1\nd_seconds_bucket{a=\"x\",le=\"1.0\"} 1\n\
             d_seconds_bucket{a=\"x\",le=\"+Inf\"} 3\nd_seconds_sum{a=\"x\"} 7.5\nd_seconds_count{a=\"x\"} 3\n"
        );
    }

    #[test]
    fn edges_of_buckets_have_a_point_and_counts_grow() {
        let reading = Reading {
            name: "d_seconds",
            help: "",
            kind: Kind::Histogram,
            labels: &[],
            read: |(), out| {
                let h = Histogram::new(&[0.00001, 1.0, 30.0]);
                h.observe(Duration::from_secs(1));
                h.observe(Duration::from_secs(60));
                h.show(out);
            },
        };
        assert_eq!(
            text(&reading, ""),
            "d_seconds_bucket{le=\"0.00001\"} 0\nd_seconds_bucket{le=\"1.0\"} 1\n\
             d_seconds_bucket{le=\"30.0\"} 1\nd_seconds_bucket{le=\"+Inf\"} 2\n\
             d_seconds_sum 61\nd_seconds_count 2\n"
        );
    }
}
