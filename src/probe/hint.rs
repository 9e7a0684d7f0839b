//! Advice about a part of a probe that failed.

use super::settings::DEFAULT_TARGET;
use super::snapshot::{Failure, ProbePart};
use crate::pool::{self, Reason};

/// The names of options in hints: as variables, which describe the target `default`, and as keys of the
/// file, which describe all others.
const KEYS: [(&str, &str); 6] = [
    ("(DB_PASSWORD, DATABASE_URL)", "(`password`, `password_file`, `url`)"),
    ("DATABASE_URL", "the target's `url`"),
    ("DB_MONITOR_QUERY", "the target's `query`"),
    ("DB_MONITOR_INSTANCES", "the application's `instances`"),
    ("DB_POOL_SIZE", "`pool_size`"),
    ("DB_MAX_OVERFLOW", "`max_overflow`"),
];

/// Returns the first thing to do about a failed part of a target's probe.
pub(crate) fn hint(target: &str, part: ProbePart, failure: &Failure) -> String {
    with_keys_of(target, advice(part, failure).to_owned())
}

/// Returns a text with the names of options as a target's configuration has them: variables for the target
/// `default`, keys of the file for all others.
pub(crate) fn with_keys_of(target: &str, text: String) -> String {
    if target == DEFAULT_TARGET || !text.contains("DB_") && !text.contains("DATABASE_") {
        return text;
    }
    KEYS.iter().fold(text, |text, (variable, key)| text.replace(variable, key))
}

fn advice(part: ProbePart, failure: &Failure) -> &'static str {
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
            pool::hint(failure.phase, failure.reason, &failure.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_options_as_the_target_is_configured() {
        let auth = Failure::new(Reason::Auth, "");
        let of_variables = hint(DEFAULT_TARGET, ProbePart::Connect, &auth);
        assert!(of_variables.contains("(DB_PASSWORD, DATABASE_URL)"));
        let of_file = hint("orders", ProbePart::Connect, &auth);
        assert!(of_file.contains("(`password`, `password_file`, `url`)"), "{of_file}");
        for reason in <Reason as crate::metrics::Label>::all() {
            let failure = Failure::new(reason, "");
            for part in [ProbePart::Connect, ProbePart::Query, ProbePart::Write] {
                let text = hint("orders", part, &failure);
                assert!(!text.contains("DB_") && !text.contains("DATABASE_"), "{text}");
            }
        }
    }
}
