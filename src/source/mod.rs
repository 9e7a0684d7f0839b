//! An application's own account of its pool: the status that each of its processes serves.
//!
//! A [`Source`] reads the processes of one application, over HTTP or over the Unix sockets of a
//! directory. The status is outside data: `status.rs` accepts missing and unknown fields, and refuses an
//! answer with an impossible number as a whole. Gauges are those of the last poll. Counters are the
//! daemon's own sums over all processes that it has seen, which never go back (`totals.rs`).
//!
//! This room knows nothing of PostgreSQL. The probe puts what was read in place of what it inferred.

mod client;
mod directory;
mod endpoint;
mod histogram;
mod material;
mod poll;
mod prometheus;
mod readings;
mod report;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod totals;

pub use endpoint::{BadEndpoint, Endpoint};
pub use poll::Source;
pub(crate) use prometheus::{Prometheus, PrometheusError, PrometheusSettings, Selector, Series};
pub(crate) use readings::READINGS;
pub use report::{ProcessReport, SourceEvents, SourceReport};
pub use settings::{Login, SourceKey, SourceSettings};
pub use status::{PoolGauges, PoolLimitsTold, PoolStatus, ProcessIdentity};
