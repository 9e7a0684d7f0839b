//! Since when each check of a target has had its present result.
//!
//! The checks belong to a room above; here they are names with a result.

use tokio::time::Instant;

/// A result with the time since when it stands, as far as the exporter has watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The name of the check.
    pub(crate) name: &'static str,
    /// Its result.
    pub(crate) result: &'static str,
    /// When it first had this result, without a break.
    pub(crate) since: Instant,
}

/// The last results of a target's checks.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// Takes in the present results, and returns them with the time of their last change. A check that is not
    /// there is forgotten.
    pub(super) fn update(
        &mut self,
        results: &[(&'static str, &'static str)],
        now: Instant,
    ) -> Vec<Mark> {
        let marks = results.iter().map(|&(name, result)| {
            let same = |mark: &&Mark| mark.name == name && mark.result == result;
            let since = self.0.iter().find(same).map_or(now, |mark| mark.since);
            Mark { name, result, since }
        });
        self.0 = marks.collect();
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_result_stands_since_its_last_change() {
        let start = Instant::now();
        let mut marks = Marks::default();
        let mut since = |results: &[(&'static str, &'static str)], second| {
            let marks = marks.update(results, start + Duration::from_secs(second));
            let since = marks.iter().map(|mark| mark.since.duration_since(start).as_secs());
            since.collect::<Vec<_>>()
        };
        assert_eq!(since(&[("a", "pass"), ("b", "pass")], 1), [1, 1]);
        assert_eq!(since(&[("a", "pass"), ("b", "fail")], 2), [1, 2]);
        assert_eq!(since(&[("b", "fail")], 3), [2]);
        assert_eq!(since(&[("a", "pass"), ("b", "pass")], 4), [4, 4]);
    }
}
