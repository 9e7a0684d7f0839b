//! The verdict as a metric: 1 for the layer, 0 for all others.

use super::{Bottleneck, BottleneckLayer};
use crate::metrics::{Kind, Label, Reading};

/// The family of [`Bottleneck`]. Read at each scrape, because it follows from the snapshots of several targets.
pub(crate) const READINGS: &[Reading<Bottleneck>] = &[Reading {
    name: "db_pool_bottleneck",
    help: "1 for the layer in which the wait is, 0 for the others: the deepest of application, pooler, network and server that waits. none: every layer is seen, and none waits. unknown: a layer that would decide cannot be seen. A pooler is seen where its console is a target of kind pgbouncer.",
    kind: Kind::Gauge,
    labels: &["layer"],
    read: |bottleneck, out| {
        for layer in BottleneckLayer::all() {
            out.push([layer.label()], bottleneck.layer == layer);
        }
    },
}];
