//! The writer that a table row pushes its samples into.
//!
//! Sample lines are the same in the text format and in OpenMetrics (only the heads of the families
//! differ), so lines that were written once serve both.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto;

use super::Kind;

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
    out: &'a mut String,
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    base: &'a str,
}

impl<'a> Samples<'a> {
    pub(super) fn new<T: ?Sized>(
        out: &'a mut String,
        reading: &super::Reading<T>,
        base: &'a str,
    ) -> Self {
        Self { out, name: reading.name, kind: reading.kind, labels: reading.labels, base }
    }

    /// Adds a sample with the row's labels, in their order. `None` adds nothing.
    pub fn push<const N: usize>(&mut self, values: [&str; N], value: impl Value) {
        debug_assert_eq!(N, self.labels.len(), "{}: a value a label", self.name);
        let pairs = self.labels.iter().copied().zip(values);
        write_sample(self.out, self.name, "", self.base, pairs, value.number());
    }

    /// Adds a sample with further labels, whose names the user chose, after the row's own.
    pub fn push_own<'l>(
        &mut self,
        values: &[&'l str],
        own: impl Iterator<Item = (&'l str, &'l str)>,
        value: impl Value,
    ) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}: a value a label", self.name);
        let fixed = self.labels.iter().copied().zip(values.iter().copied());
        write_sample(self.out, self.name, "", self.base, fixed.chain(own), value.number());
    }

    /// Adds all samples of an instrument of the `prometheus` crate.
    pub(super) fn collect(&mut self, instrument: &impl Collector) {
        for family in instrument.collect() {
            for metric in family.get_metric() {
                let pairs = || label_pairs(metric);
                match self.kind {
                    Kind::Counter => {
                        let value = Some(metric.get_counter().get_value());
                        write_sample(self.out, self.name, "", self.base, pairs(), value);
                    }
                    Kind::Gauge => {
                        let value = Some(metric.get_gauge().get_value());
                        write_sample(self.out, self.name, "", self.base, pairs(), value);
                    }
                    Kind::Histogram => self.buckets(metric),
                }
            }
        }
    }

    fn buckets(&mut self, metric: &proto::Metric) {
        let histogram = metric.get_histogram();
        for bucket in histogram.get_bucket() {
            let mut edge = String::new();
            write_edge(&mut edge, bucket.upper_bound());
            let pairs = label_pairs(metric).chain([("le", edge.as_str())]);
            let value = Some(bucket.cumulative_count() as f64);
            write_sample(self.out, self.name, "_bucket", self.base, pairs, value);
        }
        let count = Some(histogram.get_sample_count() as f64);
        let last = label_pairs(metric).chain([("le", "+Inf")]);
        write_sample(self.out, self.name, "_bucket", self.base, last, count);
        let sum = Some(histogram.get_sample_sum());
        write_sample(self.out, self.name, "_sum", self.base, label_pairs(metric), sum);
        write_sample(self.out, self.name, "_count", self.base, label_pairs(metric), count);
    }
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
    value: Option<f64>,
) {
    let Some(value) = value else { return };
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
        let mut out = String::new();
        (reading.read)(&(), &mut Samples::new(&mut out, reading, base));
        out
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
