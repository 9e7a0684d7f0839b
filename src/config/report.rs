//! The results of reading a configuration: problems, warnings, notes and effective values.

use std::cell::RefCell;

use super::listing::{Entry, Origin};
use crate::problem::{Problem, Problems};

/// Collects results while the configuration is read.
#[derive(Default)]
pub(super) struct Report {
    problems: RefCell<Problems>,
    warnings: RefCell<Vec<String>>,
    notes: RefCell<Vec<String>>,
    /// The places of passwords that stand in the file.
    inline_passwords: RefCell<Vec<String>>,
    entries: RefCell<Vec<Entry>>,
}

/// The results, once all is read.
pub(super) struct Findings {
    pub(super) problems: Problems,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) entries: Vec<Entry>,
}

impl Report {
    /// Adds a problem: the configuration is refused.
    pub(super) fn refuse(&self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.borrow_mut().add(Problem::new(place, message));
    }

    /// Adds a warning, once.
    pub(super) fn warn(&self, message: String) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&message) {
            warnings.push(message);
        }
    }

    /// Adds a line for the log's level debug.
    pub(super) fn note(&self, message: String) {
        self.notes.borrow_mut().push(message);
    }

    /// Adds the place of a password, if it is in the file.
    pub(super) fn password_at(&self, origin: &Origin) {
        if let Origin::File(place) = origin {
            self.inline_passwords.borrow_mut().push(place.clone());
        }
    }

    /// Warns if a file that everybody may read holds passwords.
    pub(super) fn warn_inline_passwords(&self, file: &str) {
        let places = self.inline_passwords.borrow();
        if !places.is_empty() {
            self.warn(format!(
                "{file} holds passwords ({}) and every user of this host may read it: use \
                 password_file, or chmod 640",
                places.join(", ")
            ));
        }
    }

    /// Adds an effective value.
    pub(super) fn list(&self, path: Vec<String>, shown: String, origin: Origin) {
        self.entries.borrow_mut().push(Entry { path, shown, origin });
    }

    /// Returns what was collected.
    pub(super) fn finish(self) -> Findings {
        Findings {
            problems: self.problems.into_inner(),
            warnings: self.warnings.into_inner(),
            notes: self.notes.into_inner(),
            entries: self.entries.into_inner(),
        }
    }
}
