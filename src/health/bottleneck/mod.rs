//! Where is the wait? One verdict on the layers between an application and its data.
//!
//! A layer that waits makes every layer above it wait: sessions that wait for a lock fill PgBouncer's pool, and
//! clients that wait in PgBouncer fill the application's. So the deepest layer that waits decides, and where a
//! deeper one cannot be seen, nothing does: the verdict is then `unknown`, and its message says what is seen.

mod layers;
mod readings;
#[cfg(test)]
mod tests;
mod watched;

use strum::{IntoStaticStr, VariantArray};

pub(super) use layers::{Finding, Layers, Wait};
pub(crate) use readings::READINGS;
pub(crate) use watched::{Neighbours, of};

/// A layer between an application and its data; the label `layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum BottleneckLayer {
    /// The connection pools in the application's processes.
    Application,
    /// PgBouncer, or another pooler.
    Pooler,
    /// The PostgreSQL server.
    Server,
    /// The way to the server.
    Network,
    /// Nothing waits.
    None,
    /// Something cannot be seen, and what is seen does not decide.
    Unknown,
}

/// The layer in which the wait is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bottleneck {
    /// The layer; exactly one for each database.
    pub(crate) layer: BottleneckLayer,
    /// What each layer shows, the deciding one first.
    pub(crate) message: String,
    /// The connections that the poolers in front may open on the server together. `None` where there is none, or
    /// a pool without a limit.
    pub(crate) pooler_budget: Option<u64>,
}

/// Judges the layers of one database.
pub(super) fn judge(layers: &Layers) -> Bottleneck {
    let application = layers.application.finding();
    let pooler = layers.pooler.finding();
    let is_waited_for = [&application, &pooler].into_iter().flatten().any(Finding::waits);
    let server = layers.server.finding(is_waited_for);
    let network = layers.network.finding();
    let found = [
        (BottleneckLayer::Application, application),
        (BottleneckLayer::Pooler, pooler),
        (BottleneckLayer::Network, network),
        (BottleneckLayer::Server, server),
    ];
    let found: Vec<(BottleneckLayer, Finding)> =
        found.into_iter().filter_map(|(layer, finding)| Some((layer, finding?))).collect();
    let layer = decide(&found);
    Bottleneck { layer, message: message(layer, &found), pooler_budget: None }
}

/// Goes from the deepest layer up. `found`: from the uppermost layer down.
fn decide(found: &[(BottleneckLayer, Finding)]) -> BottleneckLayer {
    let is_cut_off = found.iter().any(|(layer, f)| *layer == BottleneckLayer::Network && f.waits());
    for (layer, finding) in found.iter().rev() {
        match finding.wait {
            Wait::Yes => return *layer,
            // Behind a network that fails nothing can be seen, and the network explains it.
            Wait::Unsure if is_cut_off && *layer == BottleneckLayer::Server => {}
            Wait::Unsure => return BottleneckLayer::Unknown,
            Wait::No => {}
        }
    }
    BottleneckLayer::None
}

/// The deciding layer comes first, then those that wait, those that cannot be seen, and those that are calm.
fn message(decided: BottleneckLayer, found: &[(BottleneckLayer, Finding)]) -> String {
    let mut shown: Vec<&(BottleneckLayer, Finding)> =
        found.iter().filter(|(_, finding)| !finding.text.is_empty()).collect();
    shown.sort_by_key(|(layer, finding)| (*layer != decided, std::cmp::Reverse(finding.wait)));
    let texts: Vec<&str> = shown.iter().map(|(_, finding)| finding.text.as_str()).collect();
    texts.join("; ")
}
