//! Random load beside the pools' own status, and saturations at random moments. Both are short in the suite;
//! `make soak-truth` runs them for ten minutes.

use std::time::{Duration, Instant, SystemTime};

use super::samples::{fill, rare_probes};
use super::stage::{Setup, Stage};
use crate::support::wait_for;
use crate::support::web::get;
use crate::support::workers::{Change, Library, Plan, Worker};

/// How far what is shown may lie behind the processes: one interval, one probe, and a busy machine.
const LAG: f64 = 0.6;
/// How often the load of each process changes.
const PHASE: Duration = Duration::from_secs(10);

#[test]
fn two_processes_under_random_load() {
    soak(2);
}

#[test]
fn five_processes_under_random_load() {
    soak(5);
}

/// One look at the page.
struct Look {
    at: f64,
    active: f64,
    processes: f64,
}

fn soak(count: usize) {
    let span = Duration::from_secs(setting("TRUTH_SECONDS", 20));
    let setup =
        Setup::of(5, 3).with("DB_MONITOR_INTERVAL", "0.25").with("DB_CONNECT_TIMEOUT", "0.2");
    let stage = Stage::start(setup.with("DB_MONITOR_CONNECT_INTERVAL", "0"));
    let mut dice = Dice(setting("TRUTH_SEED", 11) + count as u64);
    let mut workers: Vec<Worker> = (0..count)
        .map(|n| {
            let library = [Library::Asyncpg, Library::Psycopg][n % 2];
            Worker::start(&stage.cluster, Plan { library, ..Plan::USUAL })
        })
        .collect();
    let mut traces: Vec<Vec<Change>> = vec![Vec::new(); count];
    let mut looks = Vec::new();
    let started = Instant::now();
    while started.elapsed() < span {
        for worker in &mut workers {
            let (rate, hold) = (dice.between(2.0, 10.0), dice.between(0.1, 0.4));
            worker.tell(&format!("load {rate:.2} {hold:.2} {}", dice.next()));
        }
        let phase = Instant::now();
        while phase.elapsed() < PHASE.min(span) {
            looks.extend(look(&stage));
            std::thread::sleep(Duration::from_millis(200));
        }
        for (worker, trace) in workers.iter_mut().zip(&mut traces) {
            worker.tell("stop");
            trace.extend(worker.tell("trace").trace);
        }
    }
    judge(count, &looks, &traces, counted(&stage));
}

fn look(stage: &Stage) -> Option<Look> {
    let said = stage.said();
    let (active, processes) =
        (said.app("active_connections", "app")?, said.app("instances", "app")?);
    Some(Look { at: now(), active, processes })
}

/// The connection seconds that the exporter has counted.
fn counted(stage: &Stage) -> f64 {
    std::thread::sleep(Duration::from_millis(500));
    stage.said().app("active_connection_seconds_total", "app").unwrap_or(f64::NAN)
}

fn judge(count: usize, looks: &[Look], traces: &[Vec<Change>], counted: f64) {
    let truth = merged(traces);
    let above = looks.iter().filter(|look| look.active > most(&truth, look.at)).count();
    let right = looks.iter().filter(|look| look.processes == count as f64).count();
    let more = looks.iter().filter(|look| look.processes > count as f64).count();
    let first = looks.iter().find(|look| look.processes == count as f64);
    let after = first.map_or(f64::NAN, |look| look.at - looks[0].at);
    let seconds: f64 =
        truth.windows(2).map(|pair| pair[0].1 as f64 * (pair[1].0 - pair[0].0)).sum();
    println!(
        "{count} processes, {} looks: the number of processes right in {right}, first after {after:.1} s, \
         too many in {more}; active above the truth in {above}; {counted:.1} connection seconds of {seconds:.1}",
        looks.len(),
    );
    assert!(looks.len() > 20, "the application was seen");
    assert_eq!(above, 0, "active above the truth");
    assert_eq!(more, 0, "more processes than there are");
    // What is learned is a lower bound: under light load, pools have not filled.
    assert!(looks.last().is_some_and(|look| look.processes >= 2.0), "not even two");
    assert!(counted > 0.7 * seconds && counted < 1.05 * seconds, "{counted} of {seconds}");
}

/// What all processes together have checked out, by time.
fn merged(traces: &[Vec<Change>]) -> Vec<(f64, u64)> {
    let of = |(n, trace): (usize, &Vec<Change>)| {
        trace.iter().map(move |change| (change.0, n, change.1)).collect::<Vec<_>>()
    };
    let mut changes: Vec<(f64, usize, u64)> = traces.iter().enumerate().flat_map(of).collect();
    changes.sort_by(|one, next| one.0.total_cmp(&next.0));
    let mut out = vec![0; traces.len()];
    let mut sums = Vec::new();
    for (at, n, now) in changes {
        out[n] = now;
        sums.push((at, out.iter().sum()));
    }
    sums
}

/// The most that was checked out while what is shown at `at` was seen.
fn most(truth: &[(f64, u64)], at: f64) -> f64 {
    let before = truth.iter().rev().find(|(when, _)| *when < at - LAG).map_or(0, |(_, out)| *out);
    let within = truth.iter().filter(|(when, _)| (at - LAG..=at).contains(when));
    within.map(|(_, out)| *out).fold(before, u64::max) as f64
}

/// Each saturation falls between two scrapes, at a random moment. One exporter samples every tenth of a second,
/// which measures it; another as it does by default, which must see it.
#[test]
fn saturations_of_two_seconds_are_all_seen() {
    let rounds = setting("TRUTH_SATURATIONS", 3);
    let scrape = Duration::from_secs(if rounds > 3 { 15 } else { 4 });
    let stage = Stage::start(rare_probes("0.1"));
    let (_usual, usual) = stage.another(&rare_probes("1"));
    let mut worker = stage.worker(Library::Asyncpg, "", 1);
    worker.tell("warm 1");
    for address in [stage.address, usual] {
        let family = "db_pool_app_saturated_seconds_total{";
        wait_for("the counters at 0", Duration::from_secs(20), || {
            get(address, "/metrics").body.contains(family).then_some(())
        });
    }
    let mut dice = Dice(setting("TRUTH_SEED", 11));
    let mut grown = Vec::new();
    let counters = || {
        [stage.address, usual]
            .map(|address| get(address, "/metrics").sum("db_pool_app_saturated_seconds_total"))
    };
    let mut before = counters();
    for _ in 0..rounds {
        let begun = Instant::now();
        std::thread::sleep((scrape - Duration::from_millis(2_500)).mul_f64(dice.between(0.0, 1.0)));
        fill(&mut worker, Duration::from_secs(2));
        std::thread::sleep(scrape.saturating_sub(begun.elapsed()));
        let after = counters();
        grown.push([after[0] - before[0], after[1] - before[1]]);
        before = after;
    }
    println!("saturated seconds for each of {rounds} saturations of 2 s: {grown:.2?}");
    for [measured, seen] in &grown {
        assert!((1.5..=2.5).contains(measured), "{measured} s");
        assert!(*seen > 0.0, "not seen at the usual sampling interval");
    }
    // One can be off by a sampling interval; over many it is right.
    let sum: f64 = grown.iter().map(|[_, seen]| seen).sum();
    let truth = 2.0 * rounds as f64;
    assert!(rounds < 10 || (0.75 * truth..=1.25 * truth).contains(&sum), "{sum} of {truth} s");
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a whole number"))
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// Random numbers from a seed: SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) >> 12
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() as f64 / 2f64.powi(52))
    }
}
