//! The processes of the demo's applications, and what each does in each scene.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::application::{Counts, Identity, Load};
use super::script::{Act, Scene};
use super::server::NAME;

/// The role of a second application, which has a CONNECTION LIMIT.
pub(super) const REPORTS: &str = "reports";

/// The CONNECTION LIMIT of that role, which its application uses up.
pub(super) const REPORTS_LIMIT: u32 = 5;

/// `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` of each process of shop.
pub(super) const SHOP: (u32, u32) = (5, 3);

/// The limit of each process of orders-api.
pub(super) const ORDERS: u32 = 6;

/// The variable with which the demo starts itself as a process of an application. It is no flag, because it is
/// nothing for people.
pub(super) const AS_APPLICATION: &str = "DEMO_AS_APPLICATION";

/// The time in which a process must end after its input has ended.
const FAREWELL: Duration = Duration::from_secs(3);

/// A process of the cast, and where it connects to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Server,
    Bouncer,
}

/// A process of the cast.
struct Member {
    name: &'static str,
    user: &'static str,
    gate: Gate,
    max: u32,
    serves_status: bool,
    load: fn(Act) -> Option<Load>,
}

const CALM: Load = Load { every: 150, lasts: (20, 120), forgets_every: None };
/// No query of it is slow: what is slow has a scene of its own.
const BUSY: Load = Load { every: 35, lasts: (200, 800), forgets_every: None };
const SLOW: Load = Load { every: 400, lasts: (1500, 3000), forgets_every: None };

const CAST: &[Member] = &[
    Member {
        name: "shop-1",
        user: NAME,
        gate: Gate::Server,
        max: SHOP.0 + SHOP.1,
        serves_status: false,
        load: |act| {
            Some(match act.scene {
                Scene::Calm | Scene::Restart => CALM,
                Scene::Burst | Scene::TwoProcesses => BUSY,
                // Nothing is left when two thirds of the scene are over.
                Scene::Leak => Load { forgets_every: Some(part(act, 12)), ..CALM },
                Scene::Slow => SLOW,
            })
        },
    },
    Member {
        name: "shop-2",
        user: NAME,
        gate: Gate::Server,
        max: SHOP.0 + SHOP.1,
        serves_status: false,
        load: |act| (act.scene == Scene::TwoProcesses).then_some(CALM),
    },
    Member {
        name: "orders-api",
        user: NAME,
        gate: Gate::Server,
        max: ORDERS,
        serves_status: true,
        load: |act| {
            let is_busy = matches!(act.scene, Scene::Burst | Scene::TwoProcesses);
            Some(if is_busy { Load { every: 55, ..BUSY } } else { CALM })
        },
    },
    Member {
        name: "orders-api",
        user: NAME,
        gate: Gate::Server,
        max: ORDERS,
        serves_status: true,
        load: |act| (act.scene == Scene::TwoProcesses).then_some(CALM),
    },
    Member {
        name: "reports",
        user: REPORTS,
        gate: Gate::Server,
        max: REPORTS_LIMIT,
        serves_status: false,
        load: |act| {
            let load = Load { every: 80, ..BUSY };
            (act.scene == Scene::TwoProcesses).then_some(load)
        },
    },
    Member {
        name: "jobs",
        user: NAME,
        gate: Gate::Server,
        max: 2,
        serves_status: false,
        load: |act| (act.scene == Scene::TwoProcesses).then_some(CALM),
    },
    Member {
        name: "mobile",
        user: NAME,
        gate: Gate::Bouncer,
        max: 8,
        serves_status: false,
        load: |act| {
            let is_busy = act.scene == Scene::Burst;
            Some(if is_busy { Load { every: 60, ..BUSY } } else { CALM })
        },
    },
];

/// A part of an act, in milliseconds.
fn part(act: Act, of: u32) -> u64 {
    u64::try_from((act.lasts / of).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The ports of the servers, and the folder for statuses.
#[derive(Clone, Copy)]
pub(super) struct Places<'p> {
    pub(super) server: u16,
    /// `None` where there is no PgBouncer, and so no application behind it.
    pub(super) bouncer: Option<u16>,
    pub(super) status: &'p Path,
}

/// The running processes, in the order of the cast.
pub(super) struct Crew {
    running: Vec<Option<Process>>,
    counts: Counts,
}

impl Crew {
    pub(super) fn new() -> Self {
        let running = CAST.iter().map(|_| None).collect();
        Self { running, counts: Counts::default() }
    }

    /// Begins an act: starts the processes that it needs, ends the others, and gives each its load.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(super) async fn begin(&mut self, act: Act, places: Places<'_>) -> Result<()> {
        for (member, place) in CAST.iter().zip(&mut self.running) {
            let port = match member.gate {
                Gate::Server => Some(places.server),
                Gate::Bouncer => places.bouncer,
            };
            match (member.load)(act).zip(port) {
                Some((load, port)) => {
                    let process = match place.take() {
                        Some(process) => process,
                        None => Process::start(&identity(member, port, places.status))?,
                    };
                    place.insert(process).order(&load);
                }
                None => {
                    if let Some(process) = place.take() {
                        self.counts.add(process.end().await);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends all processes. Returns the counts of all that ever ran.
    pub(super) async fn end(mut self) -> Counts {
        for process in self.running.drain(..).flatten() {
            self.counts.add(process.end().await);
        }
        self.counts
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.timed_out += other.timed_out;
    }
}

fn identity(member: &Member, port: u16, status: &Path) -> Identity {
    Identity {
        name: member.name.to_owned(),
        port,
        user: member.user.to_owned(),
        password: member.user.to_owned(),
        database: NAME.to_owned(),
        max: member.max,
        status: member.serves_status.then(|| status.to_owned()),
    }
}

/// A running process. Dropping it kills it.
struct Process {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Process {
    fn start(identity: &Identity) -> Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(program);
        // Without the variables of the demo, which a shop does not have.
        command.arg("demo").env_clear().env(AS_APPLICATION, "yes").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("a process of an application")?;
        let orders = child.stdin.take();
        let mut process = Self { child, orders };
        process.order(identity);
        Ok(process)
    }

    /// Sends an order. A process that is gone gets none.
    fn order(&mut self, order: &impl serde::Serialize) {
        if let (Some(orders), Ok(text)) = (&mut self.orders, serde_json::to_string(order)) {
            let _ = writeln!(orders, "{text}");
        }
    }

    /// Ends its input and waits for it. Returns its counts; none if it had to be killed.
    async fn end(mut self) -> Counts {
        drop(self.orders.take());
        let end = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                return Counts::default();
            }
            sleep(Duration::from_millis(10)).await;
        }
        let mut text = String::new();
        let read = self.child.stdout.take().map(|mut output| output.read_to_string(&mut text));
        let is_read = matches!(read, Some(Ok(_)));
        serde_json::from_str(&text).ok().filter(|_| is_read).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(scene: Scene) -> Act {
        Act { scene, begins: Duration::ZERO, lasts: Duration::from_secs(60) }
    }

    fn on_stage(scene: Scene) -> Vec<&'static str> {
        let members = CAST.iter().filter(|member| (member.load)(act(scene)).is_some());
        members.map(|member| member.name).collect()
    }

    #[test]
    fn second_processes_are_there_in_one_scene_only() {
        assert_eq!(on_stage(Scene::Calm), ["shop-1", "orders-api", "mobile"]);
        let all: Vec<_> = CAST.iter().map(|member| member.name).collect();
        assert_eq!(on_stage(Scene::TwoProcesses), all);
    }

    #[test]
    fn a_leak_uses_up_the_pool_before_its_scene_ends() {
        let load = (CAST[0].load)(act(Scene::Leak)).unwrap();
        let leaks = 60_000 / load.forgets_every.unwrap();
        assert!(leaks >= u64::from(CAST[0].max), "{leaks}");
    }
}
