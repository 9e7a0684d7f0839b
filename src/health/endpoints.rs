//! Whether the applications that serve the status of their own pools do so.

use super::check::{Check, CheckName, CheckOutcome, Measured};
use crate::probe::Snapshot;

/// Judges the status that applications serve; `None` where none is configured.
///
/// It never fails: the application may be well, and its sessions are seen on the server all the same.
pub(super) fn endpoints(snapshot: &Snapshot) -> Option<Check> {
    if snapshot.endpoints.is_empty() {
        return None;
    }
    let complaints = snapshot.endpoints.iter().filter_map(|report| report.complaint());
    let complaints: Vec<String> = complaints.collect();
    let is_well = complaints.is_empty();
    Some(Check {
        kind: CheckName::Endpoints,
        outcome: if is_well { CheckOutcome::Pass } else { CheckOutcome::Warn },
        measured: Measured::Nothing,
        message: (!is_well).then(|| complaints.join("; ")),
    })
}
