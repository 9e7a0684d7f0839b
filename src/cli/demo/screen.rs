//! What the demo prints: plain lines on standard error, and on a terminal one more that is renewed.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::prometheus::Alert;
use super::script::{Act, Scene, Script};

/// The control sequence that erases the last line of a terminal.
const ERASE: &str = "\r\x1b[K";

/// Standard error.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal() }
    }

    /// Prints a line.
    pub(super) fn say(self, text: &str) {
        let erase = if self.is_terminal { ERASE } else { "" };
        let _ = writeln!(std::io::stderr(), "{erase}{text}");
    }

    /// Renews the last line of a terminal.
    pub(super) fn renew(self, text: &str) {
        if self.is_terminal {
            let mut errors = std::io::stderr();
            let _ = write!(errors, "{ERASE}{text}");
            let _ = errors.flush();
        }
    }
}

/// Writes a time as minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    // Up, because a moment after the start is not before it.
    let seconds = time.as_secs_f64().round();
    format!("{}:{:02}", (seconds / 60.0).floor(), seconds % 60.0)
}

/// The scenes with their times, as a list.
pub(super) fn programme(script: &Script) -> String {
    let lines = script.acts.iter().map(|act| {
        format!("  {:>5}  {:14} {}\n", clock(act.begins), act.scene.name(), act.scene.story())
    });
    lines.collect()
}

/// The line that a scene begins with.
pub(super) fn opening(at: Duration, act: Act, next: Option<(Scene, Duration)>) -> String {
    let next = next.map_or_else(String::new, |(scene, begins)| {
        format!("\n       next: {} at {}", scene.name(), clock(begins))
    });
    format!("{:>5}  {}: {}{next}", clock(at), act.scene.name(), act.scene.story())
}

/// The line about an alert that begins or ends.
pub(super) fn alert(at: Duration, word: &str, alert: &Alert) -> String {
    let about: Vec<&str> =
        [&*alert.target, &*alert.application].into_iter().filter(|text| !text.is_empty()).collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    format!("{:>5}    alert {word}: {}{about}", clock(at), alert.name)
}

/// When alerts began to fire, in which scene.
#[derive(Default)]
pub(super) struct Diary(Vec<(Scene, String, Duration)>);

impl Diary {
    /// Notes that an alert fires, `into` a scene.
    pub(super) fn note(&mut self, scene: Scene, alert: &str, into: Duration) {
        let is_known = self.0.iter().any(|(of, name, _)| *of == scene && name == alert);
        if !is_known {
            self.0.push((scene, alert.to_owned(), into));
        }
    }

    /// Compares the notes with the script, as a table.
    pub(super) fn table(&self, script: &Script) -> String {
        let mut text = format!("  {:14} {:28} {:9} {}\n", "scene", "alert", "expected", "fired");
        let mut row = |scene: Scene, alert: &str, expected: &str, fired: &str| {
            text.push_str(&format!("  {:14} {alert:28} {expected:9} {fired}\n", scene.name()));
        };
        let mut seen = Vec::new();
        for act in &script.acts {
            if seen.contains(&act.scene) {
                continue;
            }
            seen.push(act.scene);
            let of_scene = || self.0.iter().filter(|(scene, _, _)| *scene == act.scene);
            for name in act.scene.alerts() {
                let noted = of_scene().find(|(_, noted, _)| noted == name);
                let fired = noted.map_or_else(|| "no".to_owned(), |(_, _, into)| after(*into));
                row(act.scene, name, "yes", &fired);
            }
            for (_, name, into) in of_scene() {
                if !act.scene.alerts().contains(&name.as_str()) {
                    row(act.scene, name, "-", &after(*into));
                }
            }
            if act.scene.alerts().is_empty() && of_scene().next().is_none() {
                row(act.scene, "none", "-", "none");
            }
        }
        text
    }
}

fn after(into: Duration) -> String {
    format!("after {:.1} s", into.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::script::Scenario;

    #[test]
    fn times_are_minutes_and_seconds() {
        let texts = [0.0, 59.6, 61.2, 754.0].map(|s| clock(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["0:00", "1:00", "1:01", "12:34"]);
    }

    #[test]
    fn the_table_shows_what_was_missed_and_what_came_besides() {
        let script = Script::new(Scenario::Slow, None);
        let mut diary = Diary::default();
        let table = diary.table(&script);
        assert!(table.contains("calm           none"), "{table}");
        assert!(table.contains("DbPoolSlowQueries            yes       no"), "{table}");
        diary.note(Scene::Slow, "DbPoolSlowQueries", Duration::from_secs(4));
        diary.note(Scene::Slow, "DbPoolSlowQueries", Duration::from_secs(9));
        diary.note(Scene::Slow, "DbPoolAppSaturated", Duration::from_secs(5));
        let table = diary.table(&script);
        assert!(table.contains("DbPoolSlowQueries            yes       after 4.0 s"), "{table}");
        assert!(table.contains("DbPoolAppSaturated           -         after 5.0 s"), "{table}");
    }
}
