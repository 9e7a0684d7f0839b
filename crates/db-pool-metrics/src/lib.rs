//! What a metric is: a row of a table that shows a value, and the text that a scraper reads.
//!
//! A metric is one [`Reading`] in a table beside the type it reads. The same tables serve
//! `/metrics`, `/probe`, `check` and the generated METRICS.md. The text is written here, because the
//! `prometheus` crate has no OpenMetrics encoder and prints `le="1"`, which Prometheus 2 takes for
//! another series than `le="1.0"`. This is the only room that knows `prometheus::proto`.

mod instrument;
mod page;
mod samples;

pub use instrument::{Counter, Counters, Gauge, Held, Histogram, Histograms, Label, PairCounters};
pub use page::{Filter, Format, Page, Rendered};
pub use samples::{Samples, Value, base_label};

/// The type of a metric family, as the exposition formats name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts again from zero with the process. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl Kind {
    /// The word after `# TYPE name`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Name, meaning and labels of a metric family: what METRICS.md prints.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The full name, with `_total` for a counter.
    pub name: &'static str,
    /// One sentence, with the unit.
    pub help: &'static str,
    /// The family's type.
    pub kind: Kind,
    /// The label names beside `target`.
    pub labels: &'static [&'static str],
}

/// A table row: a metric family, and how its samples are read from a `T`.
pub struct Reading<T: ?Sized> {
    /// The full name, with `_total` for a counter.
    pub name: &'static str,
    /// One sentence, with the unit.
    pub help: &'static str,
    /// The family's type.
    pub kind: Kind,
    /// The label names beside `target`, in the order in which `read` pushes their values.
    pub labels: &'static [&'static str],
    /// Pushes the samples; pushing `None` or nothing writes none, because absent is not zero.
    pub read: fn(&T, &mut Samples<'_>),
}

impl<T: ?Sized> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Tables can be joined, whatever their `T`.
impl<T: ?Sized> Copy for Reading<T> {}

impl<T: ?Sized> Reading<T> {
    /// The row without its function.
    pub const fn describe(&self) -> Description {
        Description { name: self.name, help: self.help, kind: self.kind, labels: self.labels }
    }
}
