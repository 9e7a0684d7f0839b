//! The pool as families of a registry of the `prometheus` crate.

use std::collections::HashMap;

use bb8::ManageConnection;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use strum::{IntoStaticStr, VariantArray};

use super::{View, Watched};
use crate::samples::label_pair;
use crate::{
    Description, Kind, Label as _, POOL_READINGS, POOL_STATE_READINGS, PoolInstruments, PoolState,
    Reading, Samples,
};

/// Why bb8 closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Closed {
    /// It was broken when it came back.
    Broken,
    /// It failed the test at check-out.
    PingFailed,
    /// It was idle for `idle_timeout`.
    IdleTimeout,
    /// It was older than `max_lifetime`.
    Recycled,
}

/// Families that a bb8 pool cannot fill, or fills from [`OWN`]. Absent is not zero.
const NOT_HERE: [&str; 4] = [
    // bb8 gives no connect up.
    "db_pool_abandoned_connections",
    // A manager shows no phases.
    "db_pool_connect_phase_duration_seconds",
    "db_pool_connect_errors_total",
    "db_pool_connections_closed_total",
];

/// Families with labels or values that only this wrapper has.
const OWN: &[Reading<View>] = &[
    Reading {
        name: "db_pool_oldest_wait_seconds",
        help: "The time that the longest of the waiting check-outs has waited; 0 when none waits.",
        kind: Kind::Gauge,
        labels: &[],
        read: |view, out| out.push([], view.queue.oldest),
    },
    Reading {
        name: "db_pool_connect_errors_total",
        help: "Attempts to connect that failed, by reason.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |view, out| view.meter.connect_errors.show(out),
    },
    Reading {
        name: "db_pool_connections_closed_total",
        help: "Connections closed by the pool, by reason.",
        kind: Kind::Counter,
        labels: &["reason"],
        read: |view, out| {
            for reason in Closed::all() {
                out.push([reason.label()], view.closed(reason));
            }
        },
    },
    Reading {
        name: OPENED,
        help: "Connections opened by the pool.",
        kind: Kind::Counter,
        labels: &[],
        read: |view, out| out.push([], view.opened),
    },
];

/// bb8 counts it itself.
const OPENED: &str = "db_pool_connections_opened_total";

fn state_rows() -> impl Iterator<Item = &'static Reading<PoolState>> {
    POOL_STATE_READINGS.iter().filter(|row| !NOT_HERE.contains(&row.name))
}

fn instrument_rows() -> impl Iterator<Item = &'static Reading<PoolInstruments>> {
    POOL_READINGS.iter().filter(|row| !NOT_HERE.contains(&row.name) && row.name != OPENED)
}

/// The descriptors that a registry checks for names that are taken.
pub(super) fn descriptors(target: &str) -> Vec<Desc> {
    let rows = state_rows().map(Reading::describe);
    let rows = rows.chain(instrument_rows().map(Reading::describe));
    rows.chain(OWN.iter().map(Reading::describe)).map(|row| descriptor(&row, target)).collect()
}

fn descriptor(row: &Description, target: &str) -> Desc {
    let constant = HashMap::from([("target".to_owned(), target.to_owned())]);
    let labels = row.labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(row.name.to_owned(), row.help.to_owned(), labels, constant)
        .expect("the tables have valid names and labels")
}

/// The families of one pool, each sample with the label `target`.
fn families(view: &View, target: &str) -> Vec<MetricFamily> {
    let state = state_rows().map(|row| family(row, &view.state, target));
    let instruments = instrument_rows().map(|row| family(row, &view.meter.instruments, target));
    let own = OWN.iter().map(|row| family(row, view, target));
    state.chain(instruments).chain(own).collect()
}

fn family<T>(row: &Reading<T>, subject: &T, target: &str) -> MetricFamily {
    let mut metrics = Vec::new();
    (row.read)(subject, &mut Samples::of_family(&mut metrics, row));
    for metric in &mut metrics {
        let mut labels = metric.take_label();
        labels.push(label_pair("target", target));
        metric.set_label(labels);
    }
    let mut family = MetricFamily::default();
    family.set_name(row.name.to_owned());
    family.set_help(row.help.to_owned());
    family.set_field_type(match row.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

impl<M: ManageConnection> Collector for Watched<M> {
    fn desc(&self) -> Vec<&Desc> {
        self.watch.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.view(), &self.watch.name)
    }
}
