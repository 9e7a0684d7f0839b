//! Advice about a part of a probe that failed.

use super::snapshot::{Failure, ProbePart};
use crate::pool::{self, Reason};

/// Returns the first thing to do about a failed part.
pub(crate) fn hint(part: ProbePart, failure: &Failure) -> &'static str {
    match (part, failure.reason) {
        (ProbePart::Query, Reason::ReadOnly) => {
            "DB_MONITOR_QUERY runs in a read-only transaction: it must not write"
        }
        (ProbePart::Query, Reason::TooLarge) => {
            "DB_MONITOR_QUERY returns far too much: it should return one small row"
        }
        (ProbePart::Write, Reason::NoTable) => "make the table with deploy/sql/heartbeat.sql",
        (ProbePart::Write, Reason::NoPrivilege) => {
            "GRANT SELECT, INSERT, DELETE on the table to the exporter's role"
        }
        (ProbePart::View(_), Reason::NoPrivilege) => {
            "GRANT pg_read_all_stats (and USAGE on the schema of pg_stat_statements) to the exporter's role, or switch the view off"
        }
        (ProbePart::Connect | ProbePart::Query | ProbePart::Write | ProbePart::View(_), _) => {
            pool::hint(failure.phase, failure.reason)
        }
    }
}
