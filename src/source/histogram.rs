//! Histograms of durations that others have counted, in the buckets of this exporter.

/// The number of values in each bucket, and their sum.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BucketCounts {
    /// The buckets' upper bounds in seconds.
    pub(super) bounds: &'static [f64],
    /// One for each bound, and one for what is above the last. Not cumulative.
    pub(super) counts: Vec<u64>,
    /// The sum of all values in seconds.
    pub(super) sum: f64,
}

impl BucketCounts {
    /// No values.
    pub(super) fn empty(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Puts counts of other buckets into these. A bucket without a counterpart goes to the next larger one,
    /// so that no value is shown as shorter than it was.
    pub(super) fn of(bounds: &'static [f64], edges: &[f64], counts: &[u64], sum: f64) -> Self {
        let mut own = Self::empty(bounds);
        for (n, count) in counts.iter().enumerate() {
            let at = edges.get(n).map_or(bounds.len(), |edge| {
                bounds.iter().position(|bound| bound >= edge).unwrap_or(bounds.len())
            });
            if let Some(own) = own.counts.get_mut(at) {
                *own = own.saturating_add(*count);
            }
        }
        own.sum = sum;
        own
    }

    /// Reports whether a count is smaller than it was before.
    pub(super) fn fell_since(&self, before: &Self) -> bool {
        self.counts.iter().zip(&before.counts).any(|(now, then)| now < then)
    }

    /// Adds what was counted since `before`.
    pub(super) fn add_since(&mut self, now: &Self, before: Option<&Self>) {
        for (n, (own, count)) in self.counts.iter_mut().zip(&now.counts).enumerate() {
            let then = before.and_then(|before| before.counts.get(n)).copied().unwrap_or(0);
            *own = own.saturating_add(count.saturating_sub(then));
        }
        // Sums of floats can fall by a rounding error.
        self.sum += (now.sum - before.map_or(0.0, |before| before.sum)).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[0.1, 1.0, 10.0];

    #[test]
    fn buckets_of_others_are_put_where_no_value_becomes_shorter() {
        let own = BucketCounts::of(BOUNDS, &[0.05, 0.1, 0.5, 60.0], &[1, 2, 4, 8, 16], 7.0);
        assert_eq!(own.counts, [3, 4, 0, 24]);
        assert_eq!(BucketCounts::of(BOUNDS, BOUNDS, &[1, 2, 3, 4], 7.0).counts, [1, 2, 3, 4]);
    }

    #[test]
    fn sums_grow_by_what_is_new() {
        let mut sum = BucketCounts::empty(BOUNDS);
        let before = BucketCounts::of(BOUNDS, BOUNDS, &[1, 0, 0, 5], 50.0);
        let now = BucketCounts::of(BOUNDS, BOUNDS, &[3, 0, 1, 5], 51.5);
        sum.add_since(&now, Some(&before));
        assert_eq!((sum.counts.clone(), sum.sum), (vec![2, 0, 1, 0], 1.5));
        sum.add_since(&now, None);
        assert_eq!(sum.counts, [5, 0, 2, 5]);
        assert!(before.fell_since(&now) && !now.fell_since(&before));
    }
}
