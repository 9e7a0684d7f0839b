//! Plays the script: begins each scene in time, restarts the database, and notes the alerts that fire.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, interval, sleep_until};

use super::application::Counts;
use super::crew::{Crew, Places};
use super::prometheus::{Alert, firing};
use super::screen::{self, Diary, Screen};
use super::script::{Act, Scene, Script};
use super::server::Server;

/// The part of the scene of a restart in which the database is down.
const DOWN: f64 = 0.6;

/// The pause between two looks at Prometheus.
const LOOK: Duration = Duration::from_millis(500);

/// The number of times that the script is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Until the demo is stopped.
    Endless,
    /// This number of times.
    Times(u32),
}

impl Rounds {
    /// Reports whether another round follows this one, the first being 1.
    fn has_after(self, round: u32) -> bool {
        match self {
            Self::Endless => true,
            Self::Times(number) => round < number,
        }
    }
}

/// The play, and what it needs.
pub(super) struct Director<'d> {
    pub(super) script: &'d Script,
    pub(super) screen: Screen,
    pub(super) server: &'d mut Server,
    pub(super) places: Places<'d>,
    /// The port of a Prometheus.
    pub(super) prometheus: Option<u16>,
    pub(super) crew: Crew,
    pub(super) diary: Diary,
}

/// A scene that is on.
#[derive(Clone, Copy)]
struct Now {
    act: Act,
    /// The start of the demo.
    start: Instant,
    /// The start of the scene.
    since: Instant,
    /// The following scene, and the time from the start of the demo to its beginning.
    next: Option<(Scene, Duration)>,
}

impl Director<'_> {
    /// Plays the script. It can be dropped at any time; then call [`Self::end`].
    ///
    /// # Errors
    /// A process of an application, or the database, does not start.
    pub(super) async fn play(&mut self, rounds: Rounds) -> Result<()> {
        let start = Instant::now();
        let mut firing = BTreeSet::new();
        for number in 1.. {
            let round = start + self.script.length() * (number - 1);
            for (place, act) in self.script.acts.iter().enumerate() {
                let since = round + act.begins;
                let following = self.script.acts.get(place + 1);
                let first = self.script.acts.first().filter(|_| rounds.has_after(number));
                let next = following.or(first).map(|next| (next.scene, since + act.lasts - start));
                let now = Now { act: *act, start, since, next };
                self.scene(now, &mut firing).await?;
            }
            if !rounds.has_after(number) {
                break;
            }
        }
        Ok(())
    }

    async fn scene(&mut self, now: Now, firing: &mut BTreeSet<Alert>) -> Result<()> {
        self.screen.say(&screen::opening(now.since - now.start, now.act, now.next));
        self.crew.begin(now.act, self.places).await?;
        let end = now.since + now.act.lasts;
        if now.act.scene == Scene::Restart {
            self.server.stop().await?;
            self.watch(now, now.since + now.act.lasts.mul_f64(DOWN), firing).await;
            self.server.start_again().await?;
            self.screen
                .say(&format!("{:>5}    the database is back", screen::clock(now.start.elapsed())));
        }
        self.watch(now, end, firing).await;
        Ok(())
    }

    /// Notes the alerts until a time.
    async fn watch(&mut self, now: Now, until: Instant, firing: &mut BTreeSet<Alert>) {
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                _ = looks.tick() => {}
            }
            self.look(now, firing).await;
            self.screen.renew(&status(now, firing.len()));
        }
    }

    /// Compares the alerts that fire with those before.
    async fn look(&mut self, now: Now, before: &mut BTreeSet<Alert>) {
        let Some(port) = self.prometheus else { return };
        let Ok(found) = firing(port).await else { return };
        let at = now.start.elapsed();
        for alert in found.difference(before) {
            self.screen.say(&screen::alert(at, "fires", alert));
            self.diary.note(now.act.scene, &alert.name, now.since.elapsed());
        }
        for alert in before.difference(&found) {
            self.screen.say(&screen::alert(at, "ends", alert));
        }
        *before = found;
    }

    /// Ends the applications. Returns their counts.
    pub(super) async fn end(self) -> (Counts, Diary) {
        (self.crew.end().await, self.diary)
    }
}

fn status(now: Now, firing: usize) -> String {
    let at = now.start.elapsed();
    let next = now.next.map_or_else(
        || "the end".to_owned(),
        |(scene, begins)| {
            let left = begins.saturating_sub(at).as_secs_f64().ceil();
            format!("{} in {left} s", scene.name())
        },
    );
    format!(
        "{:>5}  {}, {next}; alerts that fire: {firing}",
        screen::clock(at),
        now.act.scene.name()
    )
}
