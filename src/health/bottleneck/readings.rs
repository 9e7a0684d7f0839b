//! The verdict as a metric: 1 for the layer, 0 for all others.

use super::{Bottleneck, BottleneckLayer};
use crate::metrics::{Kind, Label, Reading};

/// The families of [`Bottleneck`]. Read at each scrape, because they follow from the snapshots of several targets.
pub(crate) const READINGS: &[Reading<Bottleneck>] = &[
    Reading {
        name: "db_pool_bottleneck",
        help: "1 for the layer in which the wait is, 0 for the others: the deepest of application, pooler, network and server that waits. none: every layer is seen, and none waits. unknown: a layer that would decide cannot be seen. A pooler is seen where its console is a target of kind pgbouncer.",
        kind: Kind::Gauge,
        labels: &["layer"],
        read: |bottleneck, out| {
            for layer in BottleneckLayer::all() {
                out.push([layer.label()], bottleneck.layer == layer);
            }
        },
    },
    Reading {
        name: "db_pool_server_pooler_budget_connections",
        help: "Server connections that the poolers in front of this server may open together, by the sizes and reserves of their present pools (db_pool_pgbouncer_budget_connections). To be held against db_pool_server_max_connections. Absent without a pooler whose console is a target, and where a pool has no limit.",
        kind: Kind::Gauge,
        labels: &[],
        read: |bottleneck, out| out.push([], bottleneck.pooler_budget),
    },
];
