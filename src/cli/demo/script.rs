//! The script: which scenes follow each other, how long each lasts, and what must be seen in it.

use std::time::Duration;

use clap::ValueEnum;

/// The length of the whole day, which all other times follow from.
const DAY: Duration = Duration::from_secs(300);

/// The length of a scenario of one scene.
const EVENT: Duration = Duration::from_secs(100);

/// The factor by which the rules are faster than in production, when the day has its usual length.
const FACTOR: f64 = 20.0;

/// The choices of `--scenario`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// All scenes, one after the other.
    Day,
    /// Few requests.
    Calm,
    /// More requests than the pools can serve.
    Burst,
    /// Requests that forget to end their transaction.
    Leak,
    /// Queries that take long.
    Slow,
    /// A restart of the database.
    Restart,
    /// Second processes, and more connections than the settings allow.
    TwoProcesses,
}

/// A part of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Calm,
    Burst,
    Leak,
    Slow,
    Restart,
    TwoProcesses,
}

impl Scene {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Burst => "burst",
            Self::Leak => "leak",
            Self::Slow => "slow",
            Self::Restart => "restart",
            Self::TwoProcesses => "two processes",
        }
    }

    /// One sentence for people: what happens.
    pub(super) fn story(self) -> &'static str {
        match self {
            Self::Calm => "few requests; every check-out gets its connection at once",
            Self::Burst => {
                "more requests than the pools can serve: shop goes into overflow, then to 8 of 8; \
                 orders-api has callers that wait and time out"
            }
            Self::Leak => {
                "some requests of shop forget to end their transaction, until nothing is left"
            }
            Self::Slow => "the queries of shop take seconds, and its pool fills up",
            Self::Restart => "the database stops, and starts again",
            Self::TwoProcesses => {
                "a second process of shop, which the settings do not know of; one process of orders-api \
                 is full beside one that is not; reports has used up its role's limit; how many \
                 processes jobs has is not configured"
            }
        }
    }

    /// The alerts that must fire in the scene.
    pub(super) fn alerts(self) -> &'static [&'static str] {
        match self {
            Self::Calm => &[],
            Self::Burst => &["DbPoolAppSaturated", "DbPoolAppFullAtTimes", "DbPoolAppExhausted"],
            Self::Leak => &["DbPoolIdleInTransaction", "DbPoolLongTransaction"],
            Self::Slow => &["DbPoolSlowQueries"],
            Self::Restart => &["DbPoolTargetDown", "DbPoolConnectFailing", "DbPoolAppUnseen"],
            Self::TwoProcesses => {
                &["DbPoolAppOvercommitted", "DbPoolAppInstancesUnknown", "DbPoolRoleLimitNear"]
            }
        }
    }
}

/// A scene with its place in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) scene: Scene,
    pub(super) begins: Duration,
    pub(super) lasts: Duration,
}

/// The acts in their order, without a gap.
pub(super) struct Script {
    pub(super) acts: Vec<Act>,
    /// The time of the script divided by its usual time.
    scale: f64,
}

impl Script {
    /// The script of a scenario, played in `whole`; `None` for its usual length.
    pub(super) fn new(scenario: Scenario, whole: Option<Duration>) -> Self {
        let (parts, usual) = parts(scenario);
        let scale = whole.map_or(1.0, |whole| whole.as_secs_f64() / usual.as_secs_f64());
        let unit = usual.mul_f64(scale) / parts.iter().map(|(_, share)| share).sum::<u32>();
        let mut begins = Duration::ZERO;
        let mut acts = Vec::new();
        for (scene, share) in parts {
            let lasts = unit * share;
            acts.push(Act { scene, begins, lasts });
            begins += lasts;
        }
        Self { acts, scale }
    }

    /// The length of the script.
    pub(super) fn length(&self) -> Duration {
        self.acts.iter().map(|act| act.lasts).sum()
    }

    /// The factor by which the rules' times are divided.
    pub(super) fn factor(&self) -> f64 {
        FACTOR / self.scale
    }

    /// A time of the day's usual length, at the pace of this script, between two limits.
    pub(super) fn scaled(&self, usual: Duration, least: Duration) -> Duration {
        usual.mul_f64(self.scale).clamp(least, usual)
    }
}

/// The scenes of a scenario with their shares of its time, and its usual length.
fn parts(scenario: Scenario) -> (Vec<(Scene, u32)>, Duration) {
    let event = |scene| (vec![(Scene::Calm, 3), (scene, 12), (Scene::Calm, 5)], EVENT);
    match scenario {
        Scenario::Calm => (vec![(Scene::Calm, 1)], EVENT),
        Scenario::Burst => event(Scene::Burst),
        Scenario::Leak => event(Scene::Leak),
        Scenario::Slow => event(Scene::Slow),
        Scenario::Restart => event(Scene::Restart),
        Scenario::TwoProcesses => event(Scene::TwoProcesses),
        Scenario::Day => {
            let day = vec![
                (Scene::Calm, 9),
                (Scene::Burst, 10),
                (Scene::Leak, 11),
                (Scene::Slow, 9),
                (Scene::Restart, 9),
                (Scene::TwoProcesses, 12),
            ];
            (day, DAY)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_has_every_scene_and_takes_five_minutes() {
        let script = Script::new(Scenario::Day, None);
        assert_eq!(script.length(), Duration::from_secs(300));
        let names: Vec<_> = script.acts.iter().map(|act| act.scene.name()).collect();
        assert_eq!(names, ["calm", "burst", "leak", "slow", "restart", "two processes"]);
        for pair in script.acts.windows(2) {
            assert_eq!(pair[0].begins + pair[0].lasts, pair[1].begins);
        }
    }

    #[test]
    fn a_shorter_day_has_faster_rules_and_probes() {
        let script = Script::new(Scenario::Day, Some(Duration::from_secs(60)));
        assert_eq!(script.length(), Duration::from_secs(60));
        assert!((script.factor() - 100.0).abs() < 1e-9);
        let scaled = |seconds| script.scaled(Duration::from_secs(seconds), Duration::from_secs(1));
        assert_eq!((scaled(2), scaled(10)), (Duration::from_secs(1), Duration::from_secs(2)));
    }

    #[test]
    fn a_scenario_of_one_scene_begins_and_ends_calm() {
        for scenario in Scenario::value_variants() {
            let acts = Script::new(*scenario, None).acts;
            assert_eq!(acts[0].scene, Scene::Calm);
            assert!(*scenario == Scenario::Day || acts[acts.len() - 1].scene == Scene::Calm);
        }
    }
}
