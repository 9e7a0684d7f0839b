//! The cost of a get with and without the wrapper: `cargo bench -p db-pool-metrics --features bb8`.
//!
//! Both pools run in turns in one process, so that a ratio means something on a busy machine. Of all turns
//! the fastest counts: others were disturbed. The manager has no server and answers at once, which is the
//! worst case for a ratio.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark prints, and is no daemon"
)]

use std::time::{Duration, Instant};

use bb8::ManageConnection;
use db_pool_metrics::{Metered, Watched};

const TURNS: usize = 40;
const GETS: u32 = 20_000;

struct Instantly;

impl ManageConnection for Instantly {
    type Connection = ();
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

/// The time of a single get, and how it compares.
fn report(what: &str, [plain, watched]: [Duration; 2]) {
    let [plain, watched] = [plain, watched].map(|turn| turn.as_secs_f64() * 1e9 / f64::from(GETS));
    println!(
        "{what:30} plain {plain:6.0} ns   watched {watched:6.0} ns   ratio {:.2}   difference {:.0} ns",
        watched / plain,
        watched - plain
    );
}

/// A get and a drop, again and again, by several tasks at once; returns the time of all.
macro_rules! turn {
    ($pool:expr, $tasks:expr) => {{
        let start = Instant::now();
        let running: Vec<_> = (0..$tasks)
            .map(|_| {
                let pool = $pool.clone();
                tokio::spawn(async move {
                    for _ in 0..GETS / $tasks {
                        let held = pool.get().await;
                        tokio::task::yield_now().await;
                        drop(held);
                    }
                })
            })
            .collect();
        for task in running {
            task.await.expect("no panic");
        }
        start.elapsed()
    }};
}

async fn compare(
    plain: &bb8::Pool<Instantly>,
    watched: &Watched<Instantly>,
    tasks: u32,
) -> [Duration; 2] {
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..TURNS {
        fastest[0] = fastest[0].min(turn!(plain, tasks));
        fastest[1] = fastest[1].min(turn!(watched, tasks));
    }
    fastest
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let Ok(plain) = bb8::Pool::builder().max_size(8).build(Instantly).await;
        let Ok(metered) = bb8::Pool::builder().max_size(8).build(Metered::new(Instantly)).await;
        let watched = Watched::new(metered, "bench");
        report("a free connection", compare(&plain, &watched, 1).await);
        report("32 tasks, 8 connections", compare(&plain, &watched, 32).await);
        let start = Instant::now();
        let length = watched.status_json().len();
        println!("the status document            {:?} for {length} bytes", start.elapsed());
    });
}
