//! The two distributions of connections in use, and their tails.

/// The largest number of connections that is computed with; larger ones count as this many.
pub(super) const MOST: usize = 100_000;

/// Logarithms of factorials, so that large numbers neither overflow nor vanish.
pub(super) struct Factorials(Vec<f64>);

impl Factorials {
    /// Prepares for numbers up to `most`.
    pub(super) fn up_to(most: usize) -> Self {
        let mut logs = Vec::with_capacity(most.min(MOST) + 2);
        logs.push(0.0);
        for n in 1..=most.min(MOST) + 1 {
            logs.push(logs[n - 1] + (n as f64).ln());
        }
        Self(logs)
    }

    fn of(&self, n: usize) -> f64 {
        self.0[n.min(self.0.len() - 1)]
    }

    /// The chance that at least `k` of `n` connections belong to one of several processes that get each with the
    /// chance `p`.
    pub(super) fn binomial_tail(&self, n: usize, p: f64, k: usize) -> f64 {
        let n = n.min(MOST);
        if k == 0 {
            return 1.0;
        }
        if k > n {
            return 0.0;
        }
        if p >= 1.0 {
            return 1.0;
        }
        let log = self.of(n) - self.of(k) - self.of(n - k)
            + k as f64 * p.ln()
            + (n - k) as f64 * (1.0 - p).ln();
        let mut term = log.exp();
        let mut sum = 0.0;
        for i in k..=n {
            sum += term;
            // From the mode on the terms only get smaller.
            if term < sum * 1e-12 && i as f64 > n as f64 * p {
                break;
            }
            term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
        }
        sum.min(1.0)
    }

    /// The chance that at least `k` connections are in use at once, when callers come at random and `mean` are in
    /// use on average.
    pub(super) fn poisson_tail(&self, mean: f64, k: usize) -> f64 {
        if k == 0 {
            return 1.0;
        }
        if mean <= 0.0 {
            return 0.0;
        }
        let mut term = (k as f64 * mean.ln() - mean - self.of(k)).exp();
        let mut sum = 0.0;
        for i in k..=MOST {
            sum += term;
            if term < sum * 1e-12 && i as f64 > mean {
                break;
            }
            // Below the mode a term can be too small for a number, while later ones are not.
            term = if term > 0.0 {
                term * mean / (i + 1) as f64
            } else {
                ((i + 1) as f64 * mean.ln() - mean - self.of(i + 1)).exp()
            };
            if i > self.0.len() && term == 0.0 {
                break;
            }
        }
        sum.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        let factorials = Factorials::up_to(2_000);
        near(factorials.binomial_tail(10, 0.5, 5), 0.623_046_875);
        near(factorials.binomial_tail(10, 1.0, 10), 1.0);
        near(factorials.binomial_tail(10, 0.5, 11), 0.0);
        near(factorials.binomial_tail(100, 0.125, 23), 0.002_581_985);
        near(factorials.poisson_tail(5.0, 5), 0.559_506_715);
        near(factorials.poisson_tail(5.0, 14), 0.000_697_990);
        near(factorials.poisson_tail(900.0, 1), 1.0);
        near(factorials.poisson_tail(0.0, 1), 0.0);
    }
}
