//! What one probe shows of a pooler's process: its pools with the sizes and limits in force.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::PoolerApplications;
use super::clock::{WaitClocks, pool_of};
use super::limits::{ConsoleLimits, OwnSize};
use super::memory::ConsoleMemory;
use super::pools::{PoolConnections, PoolKey, Pools};
use super::product::PoolerIdentity;
use super::stats::StatTotals;

/// A process of a pooler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Console {
    /// Its name among several processes; `None` where there is one.
    pub process: Option<String>,
    /// True if its console has answered SHOW POOLS.
    pub is_up: bool,
    /// The pooler; `None` before its first answer.
    pub identity: Option<PoolerIdentity>,
    /// Its pools; `None` where SHOW POOLS failed or was not read.
    pub pools: Option<Vec<PooledPool>>,
    /// Its limits; `None` where they could not be read.
    pub limits: Option<ConsoleLimits>,
    /// What its databases have done since the exporter has watched them.
    pub totals: Vec<(String, StatTotals)>,
    /// Connections by application; `None` where they are not read.
    pub applications: Option<PoolerApplications>,
    /// The server connections that its pools may open together, by server; empty where a pool has no limit.
    pub budgets: BTreeMap<String, u64>,
    /// True if it shares its address with other processes, and a new connection can reach another one; `None` where
    /// it is not known.
    pub is_one_of_several: Option<bool>,
}

/// A pool: its connections, its sizes and its waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PooledPool {
    /// Its database and user; `other` stands for the users beyond the limit of series.
    pub key: PoolKey,
    /// Its connections.
    pub connections: PoolConnections,
    /// The size in force; 0 is no limit; `None` where it is not known.
    pub size: Option<u64>,
    /// The reserve beside the size; `None` where it is not known.
    pub reserve: Option<u64>,
    /// Server connections in use, divided by the limit that is reached first. At 1 the next client waits; it is
    /// larger while reserve connections are in use. `None` where nothing limits the pool, or the limit is not known.
    pub saturation: Option<f64>,
    /// The wait of the client that has waited for longest; `None` where the pooler measures none.
    pub max_wait: Option<Duration>,
    /// How long clients have waited without a break; `None` while none waits.
    pub waiting_for: Option<Duration>,
}

impl Console {
    /// Puts together what the views of one probe have read.
    pub(in crate::view) fn assemble(
        memory: &ConsoleMemory,
        pools: Option<Pools>,
        limits: Option<ConsoleLimits>,
        now: Instant,
    ) -> Self {
        let budgets = match (&pools, &limits) {
            (Some(pools), Some(limits)) => limits.budgets(pools.pools.keys()),
            _ => BTreeMap::new(),
        };
        let totals = memory.stats.shown(now);
        Self {
            process: None,
            is_up: false,
            identity: memory.last_identity().cloned(),
            is_one_of_several: limits.as_ref().map(|limits| limits.is_one_of_several),
            totals: totals.map(|(name, totals)| (name.clone(), totals)).collect(),
            pools: pools.map(|pools| pooled(&memory.clocks, &pools, limits.as_ref())),
            applications: memory.applications.shown(now).cloned(),
            limits,
            budgets,
        }
    }

    /// The same, as one of several processes that are asked apart.
    pub fn of_process(self, name: &str) -> Self {
        let is_one_of_several = self.is_one_of_several.map(|_| false);
        Self { process: Some(name.to_owned()), is_one_of_several, ..self }
    }

    /// Limits the databases and users that are shown, after the sizes of the pools were taken from them. Returns the
    /// number of those that found no room, too.
    pub(super) fn limited(mut self, most: usize) -> (Self, u64) {
        let Some(limits) = &mut self.limits else { return (self, 0) };
        // A user without a limit has nothing to be held against.
        limits.users.retain(|_, user| user.max_connections.is_some_and(|limit| limit > 0));
        let mut left_out = 0;
        while limits.databases.len() > most && limits.databases.pop_last().is_some() {
            left_out += 1;
        }
        while limits.users.len() > most && limits.users.pop_last().is_some() {
            left_out += 1;
        }
        (self, left_out)
    }

    /// Reports whether a database is paused, by name or with the whole process; `None` where it is not known.
    pub fn is_paused(&self, database: &str) -> Option<bool> {
        let limits = self.limits.as_ref()?;
        let own = limits.databases.get(database)?.is_paused;
        match (own, limits.is_paused) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            // Before 1.19 a pause of the whole process shows nowhere.
            _ => None,
        }
    }

    /// The databases, and whether each is paused; without those where that is not known.
    pub fn pauses(&self) -> BTreeMap<&str, bool> {
        let names = self.limits.iter().flat_map(|limits| limits.databases.keys());
        let by_name = names.filter_map(|name| Some((name.as_str(), self.is_paused(name)?)));
        let mut pauses: BTreeMap<&str, bool> = by_name.collect();
        // pgdog shows it with each pool.
        for pool in self.pools.iter().flatten() {
            if let Some(is_paused) = pool.connections.is_paused {
                *pauses.entry(&pool.key.database).or_default() |= is_paused;
            }
        }
        pauses
    }

    /// The pool of a database and a user.
    pub fn pool(&self, database: &str, user: &str) -> Option<&PooledPool> {
        let mut pools = self.pools.iter().flatten();
        pools.find(|pool| pool.key.database == database && pool.key.user == user)
    }
}

/// The pools by label set, also those that have gone a short time ago.
fn pooled(clocks: &WaitClocks, pools: &Pools, limits: Option<&ConsoleLimits>) -> Vec<PooledPool> {
    let gone = clocks.members().map(|(key, blank)| {
        let max_wait = blank.max_wait;
        let pool = PooledPool { connections: blank.clone(), max_wait, ..PooledPool::default() };
        (pool_of(key), pool)
    });
    let mut shown: BTreeMap<PoolKey, PooledPool> = gone.collect();
    let busy = Busy::of(&pools.pools);
    let mut is_first = BTreeMap::new();
    for (key, connections) in &pools.pools {
        let waits = clocks.waits(key, pools.at);
        let pool = PooledPool {
            key: key.clone(),
            connections: connections.clone(),
            size: limits.and_then(|limits| limits.size(key)),
            reserve: limits.and_then(|limits| limits.reserve(key)),
            saturation: limits.and_then(|limits| limits.saturation(key, &busy)),
            max_wait: connections
                .max_wait
                .map(|wait| wait.max(waits.unmeasured.unwrap_or_default())),
            waiting_for: waits.without_break,
        };
        let label = pool_of(&clocks.label(key));
        let is_alone = is_first.insert(label.clone(), ()).is_none();
        let place = shown.entry(label).or_default();
        if is_alone { *place = pool } else { place.add(&pool) }
    }
    for (key, pool) in &mut shown {
        pool.key = key.clone();
    }
    shown.into_values().collect()
}

impl PooledPool {
    /// Adds another pool beyond the limit of series. Sizes are added up, of waits and saturations the worst counts.
    fn add(&mut self, other: &Self) {
        self.connections.add(&other.connections);
        self.size = match (self.size, other.size) {
            (Some(0), Some(_)) | (Some(_), Some(0)) => Some(0),
            (Some(one), Some(other)) => Some(one + other),
            _ => None,
        };
        self.reserve = self.reserve.zip(other.reserve).map(|(one, other)| one + other);
        self.saturation = match (self.saturation, other.saturation) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        self.max_wait = self.max_wait.max(other.max_wait);
        self.waiting_for = self.waiting_for.max(other.waiting_for);
    }
}

/// Server connections in use: those of each pool, database and user.
struct Busy<'p> {
    pools: BTreeMap<&'p PoolKey, u64>,
    databases: BTreeMap<&'p str, u64>,
    users: BTreeMap<&'p str, u64>,
}

impl<'p> Busy<'p> {
    fn of(pools: &'p BTreeMap<PoolKey, PoolConnections>) -> Self {
        let mut busy =
            Self { pools: BTreeMap::new(), databases: BTreeMap::new(), users: BTreeMap::new() };
        for (key, pool) in pools {
            let n = pool.busy();
            busy.pools.insert(key, n);
            *busy.databases.entry(&key.database).or_default() += n;
            *busy.users.entry(&key.user).or_default() += n;
        }
        busy
    }
}

impl ConsoleLimits {
    /// The size of a pool: its user's, or else its database's, which is the default one where the database has none.
    pub fn size(&self, pool: &PoolKey) -> Option<u64> {
        let of_database = self.databases.get(&pool.database)?.pool_size;
        self.of_user(pool, |user| user.pool_size).or(of_database)
    }

    /// The reserve of a pool, by the same rule.
    pub fn reserve(&self, pool: &PoolKey) -> Option<u64> {
        let of_database = self.databases.get(&pool.database)?.reserve_pool;
        self.of_user(pool, |user| user.reserve_pool).or(of_database)
    }

    fn of_user(
        &self,
        pool: &PoolKey,
        size: impl Fn(&super::limits::UserLimits) -> OwnSize,
    ) -> OwnSize {
        self.users.get(&pool.user).map_or(OwnSize::Unset, size)
    }

    /// Divides what is in use by each limit that the pool has, and returns the largest ratio.
    ///
    /// Only connections in use count against the limits of a database and of a user, too: PgBouncer closes an idle
    /// connection of another pool when a limit is reached.
    fn saturation(&self, pool: &PoolKey, busy: &Busy<'_>) -> Option<f64> {
        let size = self.size(pool)?;
        let of = |busy: Option<&u64>, limit: Option<u64>| {
            let limit = limit.filter(|limit| *limit > 0)?;
            Some(*busy? as f64 / limit as f64)
        };
        let database = self.databases.get(&pool.database).and_then(|d| d.max_connections);
        let user = self.users.get(&pool.user).and_then(|u| u.max_connections);
        let ratios = [
            of(busy.pools.get(pool), Some(size)),
            of(busy.databases.get(pool.database.as_str()), database),
            of(busy.users.get(pool.user.as_str()), user),
        ];
        ratios.into_iter().flatten().reduce(f64::max)
    }

    /// The largest number of server connections of these pools together, by server. A server with a pool that has
    /// no limit is missing.
    fn budgets<'k>(&self, pools: impl Iterator<Item = &'k PoolKey>) -> BTreeMap<String, u64> {
        let mut by_database: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for pool in pools {
            let most = self.most(pool);
            let sum = by_database.entry(&pool.database).or_insert(Some(0));
            *sum = sum.zip(most).map(|(sum, most)| sum + most);
        }
        let mut servers: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for (name, sum) in by_database {
            let Some(database) = self.databases.get(name) else { continue };
            let most = capped(sum, database.max_connections);
            let all = servers.entry(database.server.clone()).or_insert(Some(0));
            *all = all.zip(most).map(|(all, most)| all + most);
        }
        servers.into_iter().filter_map(|(server, sum)| Some((server, sum?))).collect()
    }

    /// The largest number of server connections of one pool; `None` without a limit.
    fn most(&self, pool: &PoolKey) -> Option<u64> {
        let size = self.size(pool).filter(|size| *size > 0 || !self.zero_is_unlimited);
        let own = size.map(|size| size + self.reserve(pool).unwrap_or(0));
        let of_user = self.users.get(&pool.user).and_then(|user| user.max_connections);
        capped(own, of_user)
    }
}

/// The smaller of a number and a limit, where `None` and a limit of 0 are no limit.
fn capped(number: Option<u64>, limit: Option<u64>) -> Option<u64> {
    let limit = limit.filter(|limit| *limit > 0);
    match (number, limit) {
        (Some(number), Some(limit)) => Some(number.min(limit)),
        (number, limit) => number.or(limit),
    }
}
