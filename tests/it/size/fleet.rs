//! Simulated fleets of processes, each with a pool of its own: what the exporter would have measured, and the truth.
//!
//! Callers come at random or in bursts, hold a connection for a while, and wait where the pool of their process has
//! nothing left. The same callers without any limit show what was wanted, which no exporter can see.

use std::collections::VecDeque;

/// The time from one scrape to the next, in seconds.
pub(crate) const STEP: u32 = 60;

/// The time from one sample of the exporter to the next, in seconds. Connections are held for much longer here.
const TICK: u32 = 3;

/// The number of scrapes: a little more than a day.
pub(crate) const SCRAPES: u32 = 24 * 60 + 15;

/// A fleet and its server.
#[derive(Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) name: &'static str,
    pub(crate) processes: u32,
    /// Whether the processes have names of their own.
    pub(crate) told_apart: bool,
    /// Connections that the callers of one process use on average.
    pub(crate) mean: f64,
    /// 0: the same all day; 1: nothing at night and twice as much at noon.
    pub(crate) daily: f64,
    /// Callers that come together.
    pub(crate) burst: u32,
    pub(crate) size: u32,
    pub(crate) overflow: u32,
    /// Connections of ordinary roles on the server.
    pub(crate) ordinary: u32,
    /// Connections of other clients.
    pub(crate) others: u32,
    /// The processes at most: during a deploy.
    pub(crate) most: u32,
}

/// What the exporter has measured at a scrape.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scrape {
    pub(crate) active: u32,
    pub(crate) fullest: u32,
    pub(crate) peak: u32,
    pub(crate) open: u32,
    pub(crate) instances: u32,
    /// Sums since the start, in seconds.
    pub(crate) active_seconds: f64,
    pub(crate) saturated_seconds: f64,
}

/// A simulated day.
pub(crate) struct Day {
    pub(crate) scrapes: Vec<Scrape>,
    /// The part of the time in which some process wanted at least this many connections.
    wanted: Vec<f64>,
}

impl Day {
    /// The smallest limit of a process with which it has nothing left for at most a thousandth of the time.
    pub(crate) fn best(&self) -> u32 {
        let place = self.wanted.iter().position(|part| *part <= 0.001).expect("the tail ends");
        u32::try_from(place).expect("small").max(1)
    }

    /// The part of the time in which a process has nothing left with this limit, if nobody waited.
    pub(crate) fn full_with(&self, max: u32) -> f64 {
        self.wanted.get(max as usize).copied().unwrap_or(0.0)
    }
}

/// One process: the callers that hold a connection, those that wait, and those that would hold one without a limit.
#[derive(Clone, Default)]
struct Process {
    held: Vec<f64>,
    waiting: VecDeque<f64>,
    wanted: Vec<f64>,
}

/// The mean time for which a connection is held, in seconds.
const HOLD: f64 = 15.0;

impl Fleet {
    pub(crate) fn max(&self) -> u32 {
        self.size + self.overflow
    }

    /// Whether all processes fit the server, and the load fits the pools.
    pub(crate) fn fits(&self, day: &Day) -> bool {
        self.most * self.max() + self.others <= self.ordinary && day.full_with(self.max()) <= 0.001
    }

    /// Simulates a day, tick by tick, as the exporter samples it.
    pub(crate) fn day(&self, seed: u64) -> Day {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut processes = vec![Process::default(); self.processes as usize];
        let mut wanted = vec![0_u64; 400];
        let mut scrapes = Vec::new();
        let mut scrape = Scrape::default();
        let seconds = STEP * SCRAPES;
        for tick in 1..=seconds / TICK {
            let second = tick * TICK;
            let rate = self.rate(second);
            for process in &mut processes {
                process.arrive(&mut random, rate, self.burst);
                process.serve(self.max());
            }
            self.sample(&processes, second, &mut scrape);
            let most = processes.iter().map(|process| process.wanted.len()).max().unwrap_or(0);
            wanted[..=most.min(399)].iter_mut().for_each(|ticks| *ticks += 1);
            if second.is_multiple_of(STEP) {
                scrapes.push(scrape);
                scrape.peak = 0;
            }
            processes.iter_mut().for_each(Process::pass);
        }
        let ticks = f64::from(seconds / TICK);
        let wanted = wanted.iter().map(|n| *n as f64 / ticks).collect();
        Day { scrapes, wanted }
    }

    /// Arrivals of one process in a tick.
    fn rate(&self, second: u32) -> f64 {
        let day = f64::from(second) / 86_400.0 * std::f64::consts::TAU;
        f64::from(TICK) * self.mean / HOLD * (1.0 - self.daily * day.cos())
    }

    fn sample(&self, processes: &[Process], second: u32, scrape: &mut Scrape) {
        let held = |process: &Process| u32::try_from(process.held.len()).expect("small");
        let active: u32 = processes.iter().map(held).sum();
        let most = processes.iter().map(held).max().unwrap_or(0);
        let is_full = if self.told_apart {
            most >= self.max()
        } else {
            active >= self.max() * self.processes
        };
        scrape.active = active;
        // Processes that cannot be told apart are taken for one.
        scrape.fullest = most;
        scrape.peak = scrape.peak.max(active);
        scrape.open = active.max(self.size * self.processes);
        // A deploy of ten minutes at noon.
        let is_deploy = (43_200..43_800).contains(&second);
        scrape.instances = if is_deploy { self.most } else { self.processes };
        scrape.active_seconds += f64::from(active * TICK);
        scrape.saturated_seconds += f64::from(u32::from(is_full) * TICK);
    }
}

impl Process {
    fn arrive(&mut self, random: &mut fastrand::Rng, rate: f64, burst: u32) {
        for _ in 0..poisson(random, rate / f64::from(burst)) {
            for _ in 0..burst {
                let hold = -HOLD * (1.0 - random.f64()).ln();
                self.waiting.push_back(hold);
                self.wanted.push(hold);
            }
        }
    }

    fn serve(&mut self, max: u32) {
        while self.held.len() < max as usize {
            let Some(hold) = self.waiting.pop_front() else { return };
            self.held.push(hold);
        }
    }

    /// A tick passes. Who ends within it is gone.
    fn pass(&mut self) {
        for holds in [&mut self.held, &mut self.wanted] {
            holds.iter_mut().for_each(|left| *left -= f64::from(TICK));
            holds.retain(|left| *left > 0.0);
        }
    }
}

/// A random number of arrivals, by Knuth's method.
fn poisson(random: &mut fastrand::Rng, mean: f64) -> u32 {
    let (limit, mut product, mut number) = ((-mean).exp(), 1.0, 0);
    loop {
        product *= random.f64();
        if product <= limit {
            return number;
        }
        number += 1;
    }
}

/// A fleet that fits: four processes whose callers use three connections each.
const CALM: Fleet = Fleet {
    name: "calm",
    processes: 4,
    told_apart: true,
    mean: 3.0,
    daily: 0.0,
    burst: 1,
    size: 10,
    overflow: 10,
    ordinary: 97,
    others: 5,
    most: 4,
};

/// The fleets, each clearly on one side.
pub(crate) const FLEETS: [Fleet; 20] = [
    CALM,
    Fleet { name: "one", processes: 1, most: 1, ..CALM },
    Fleet { name: "one-busy", processes: 1, most: 1, mean: 12.0, size: 20, overflow: 20, ..CALM },
    Fleet {
        name: "one-daily",
        processes: 1,
        most: 1,
        mean: 6.0,
        daily: 1.0,
        size: 20,
        overflow: 20,
        ..CALM
    },
    Fleet { name: "one-too-small", processes: 1, most: 1, mean: 6.0, size: 5, overflow: 3, ..CALM },
    Fleet { name: "one-idle", processes: 1, most: 1, mean: 0.2, ..CALM },
    Fleet { name: "daily", daily: 0.8, ..CALM },
    Fleet { name: "bursts", burst: 4, size: 15, overflow: 13, ordinary: 197, ..CALM },
    Fleet { name: "merged", told_apart: false, ..CALM },
    Fleet {
        name: "merged-eight",
        told_apart: false,
        processes: 8,
        most: 8,
        mean: 2.0,
        size: 8,
        overflow: 6,
        ordinary: 197,
        ..CALM
    },
    Fleet { name: "merged-daily", told_apart: false, daily: 0.9, size: 12, overflow: 10, ..CALM },
    Fleet { name: "merged-too-small", told_apart: false, mean: 4.0, size: 3, overflow: 2, ..CALM },
    Fleet { name: "too-small", mean: 4.0, size: 5, overflow: 2, ..CALM },
    Fleet { name: "server-too-small", size: 20, overflow: 10, ..CALM },
    Fleet { name: "crowded-server", others: 60, ..CALM },
    Fleet { name: "deploy-fits", most: 8, ordinary: 197, ..CALM },
    Fleet { name: "deploy-does-not-fit", most: 8, ..CALM },
    Fleet {
        name: "many",
        processes: 16,
        most: 16,
        mean: 1.0,
        size: 5,
        overflow: 5,
        ordinary: 197,
        ..CALM
    },
    Fleet {
        name: "many-too-many",
        processes: 16,
        most: 16,
        mean: 1.0,
        size: 5,
        overflow: 10,
        ordinary: 197,
        ..CALM
    },
    Fleet { name: "both-too-small", mean: 8.0, size: 6, overflow: 3, others: 70, ..CALM },
];
