//! What is known of a pool, its server and its use, before any advice.

use std::time::Duration;

/// The inputs of an advice. What is not known is `None`, never 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The target's name.
    pub target: String,
    /// The application's name.
    pub application: String,
    /// The role of its sessions.
    pub user: String,
    /// Their database.
    pub database: String,
    /// The time that was looked at.
    pub span: Span,
    /// The limits of one process's pool now.
    pub pool: PoolNow,
    /// The number of processes.
    pub processes: Processes,
    /// The use of all pools together.
    pub usage: PoolUse,
    /// The server's side.
    pub server: Option<ServerRoom>,
}

/// Where the numbers come from, and the time that they cover.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// From where.
    pub measured: Measured,
    /// The time that was asked for.
    pub asked: Duration,
    /// The time with data.
    pub seen: Duration,
    /// The time from one sample to the next.
    pub step: Duration,
}

/// The source of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// The series of a Prometheus.
    Prometheus,
    /// Samples of the server, taken now.
    Live,
}

/// A limit of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolLimit {
    /// At most this many connections.
    AtMost(u32),
    /// No limit.
    Unlimited,
}

/// The limits of one process's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolNow {
    /// Connections that it keeps; `None` without a limit.
    pub size: Option<u32>,
    /// Connections that it may open.
    pub max: PoolLimit,
}

/// The number of processes, each with a pool of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Processes {
    /// Most of the time.
    pub usual: u32,
    /// The most at once: while a deploy overlaps, or an autoscaler adds some.
    pub most: u32,
    /// True if the number is more than a guess.
    pub are_known: bool,
}

/// Samples of a number of connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    /// In ascending order.
    sorted: Vec<u32>,
}

impl FromIterator<f64> for Spread {
    /// Numbers below 0 and infinite ones are dropped.
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        let good = samples.into_iter().filter(|sample| sample.is_finite() && *sample >= 0.0);
        let mut sorted: Vec<u32> = good.map(whole).collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

/// Rounds to a whole number that is not negative.
pub(super) fn whole(number: f64) -> u32 {
    // The cast saturates, and is 0 for what is no number.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let whole = number.round().clamp(0.0, f64::from(u32::MAX)) as u32;
    whole
}

impl Spread {
    /// The number of samples.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The samples in ascending order.
    pub(super) fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// The value that this part of the samples does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> Option<u32> {
        let last = self.sorted.len().checked_sub(1)?;
        let place = whole((last as f64 * part).ceil());
        self.sorted.get(usize::try_from(place).unwrap_or(last).min(last)).copied()
    }

    /// The largest value.
    pub(crate) fn peak(&self) -> Option<u32> {
        self.sorted.last().copied()
    }

    /// The mean.
    pub(crate) fn mean(&self) -> Option<f64> {
        let sum: f64 = self.sorted.iter().map(|value| f64::from(*value)).sum();
        (!self.sorted.is_empty()).then(|| sum / self.sorted.len() as f64)
    }
}

/// The use of an application's pools.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PoolUse {
    /// Checked out, and waited for where that is known, by all processes together.
    pub active: Spread,
    /// Checked out by the fullest process; `None` where processes cannot be told apart.
    pub fullest: Option<Spread>,
    /// The most that was checked out at once, between the samples too.
    pub peak: Option<u32>,
    /// The mean of each hour, or of the whole time where it is shorter.
    pub means: Vec<f64>,
    /// The part of the time in which a process had nothing left.
    pub saturated: Option<f64>,
    /// True if `active` has the waiting callers as well, so that a full pool hides no demand.
    pub has_waiting: bool,
    /// The longest wait of a caller.
    pub longest_wait: Option<Duration>,
    /// Check-outs that timed out.
    pub timeouts: Option<f64>,
    /// Check-outs in a second.
    pub rate: Option<f64>,
    /// The mean time from a check-out to its check-in.
    pub hold: Option<Duration>,
    /// Sessions of all clients that are active and do not wait.
    pub on_cpu: Option<Spread>,
}

/// The connections that the server gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerRoom {
    /// max_connections.
    pub max_connections: u32,
    /// Of these, the connections that ordinary roles may open.
    pub ordinary: u32,
    /// The most that all other clients had open at once.
    pub others: u32,
    /// The CONNECTION LIMIT of the application's role, less what the role's other sessions had open.
    pub role: Option<u32>,
    /// The CONNECTION LIMIT of its database, likewise.
    pub database: Option<u32>,
    /// The processors of the server, where they were given.
    pub cores: Option<u32>,
}

/// The limit that leaves the least to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TightestLimit {
    /// max_connections, less what is reserved and what others use.
    Server,
    /// The CONNECTION LIMIT of the role.
    Role,
    /// The CONNECTION LIMIT of the database.
    Database,
}

impl ServerRoom {
    /// Returns what all processes of the application may open together, and the limit that decides it.
    pub(crate) fn for_application(&self) -> (u32, TightestLimit) {
        let mut tightest = (self.ordinary.saturating_sub(self.others), TightestLimit::Server);
        let limits = [(self.role, TightestLimit::Role), (self.database, TightestLimit::Database)];
        for (limit, kind) in limits {
            if let Some(limit) = limit.filter(|limit| *limit < tightest.0) {
                tightest = (limit, kind);
            }
        }
        tightest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_samples() {
        let spread: Spread = (1..=100).map(f64::from).chain([f64::NAN, -1.0]).collect();
        assert_eq!(spread.len(), 100);
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|q| spread.quantile(q)),
            [Some(1), Some(51), Some(100), Some(100)]
        );
        assert_eq!((spread.peak(), spread.mean()), (Some(100), Some(50.5)));
        assert_eq!(Spread::default().quantile(0.5), None);
    }

    #[test]
    fn the_smallest_limit_decides() {
        let room = |role, database| ServerRoom {
            max_connections: 100,
            ordinary: 97,
            others: 7,
            role,
            database,
            cores: None,
        };
        assert_eq!(room(None, None).for_application(), (90, TightestLimit::Server));
        assert_eq!(room(Some(50), Some(60)).for_application(), (50, TightestLimit::Role));
        assert_eq!(room(Some(200), Some(60)).for_application(), (60, TightestLimit::Database));
    }
}
