//! The charts of a target's last hour.

use std::time::Duration;

use super::chart::{Point, Texts, area, background, band, bars, bridge, figure, limit, line};
use super::words::{age, millis};
use crate::api::html::{Html, html};
use crate::probe::{HourView, PoolStep, STEP, Snapshot, Step, phase_names};
use crate::view::SessionKey;

/// The charts of a target. `interval`: the time between two probes; `present`: the snapshot, if it says what is now.
pub(super) fn charts(hour: &HourView, interval: Duration, present: Option<&Snapshot>) -> Html {
    let frame = Frame { hour, bridge: bridge(interval), present };
    let several = hour.pools.len() > 1;
    let pools = hour.pools.iter().map(|(key, steps)| {
        let name = if several { format!(": {}", key.application) } else { String::new() };
        [frame.checked_out(key, steps, &name), frame.saturated(steps, &name)].into_iter().collect()
    });
    let all: Html = pools.chain([frame.headroom(), frame.query(), frame.connect()]).collect();
    html(
        "<section aria-labelledby=\"hour\"><h2 id=\"hour\">The last hour</h2><div class=\"charts\">{}</div></section>",
        &[&all],
    )
}

struct Frame<'h> {
    hour: &'h HourView,
    bridge: u32,
    present: Option<&'h Snapshot>,
}

impl Frame<'_> {
    fn background(&self) -> Html {
        background(&self.hour.steps, self.bridge)
    }

    /// What is shown as the value of now.
    fn now(&self, value: Option<String>) -> String {
        value.filter(|_| self.present.is_some()).unwrap_or_else(|| "unknown".to_owned())
    }

    fn points(&self, value: impl Fn(&Step) -> Option<f64>) -> Vec<Point> {
        // A step in which the target was down is a break, also where an earlier number is still there.
        let steps = self.hour.steps.iter();
        steps
            .map(|step| Point { ago: step.ago, value: value(step).filter(|_| step.is_up) })
            .collect()
    }

    fn checked_out(&self, key: &SessionKey, steps: &[PoolStep], name: &str) -> Html {
        let active = points(steps, |step| step.active);
        let peak = points(steps, |step| step.peak.map(|peak| peak as f64));
        let most = steps.iter().filter_map(|step| step.peak).max().unwrap_or(0);
        let last = steps.last();
        let max = last.and_then(|step| step.max);
        let top = (max.unwrap_or(0).max(most).max(1)) as f64;
        let mut plot = self.background();
        let drawn = [
            area(&active, top, self.bridge, "area"),
            line(&active, top, self.bridge, "line"),
            line(&peak, top, self.bridge, "peak"),
        ];
        plot = [plot].into_iter().chain(drawn).collect();
        if let Some(max) = max {
            plot = [plot, limit(max as f64, top)].into_iter().collect();
        }
        // The record ends where the pool was seen last; now it may be hidden.
        let pools = self.present.into_iter().flat_map(|snapshot| &snapshot.sight.pools);
        let app = pools.filter(|pool| pool.key == *key).find_map(|pool| pool.now());
        let now = self.now(app.and_then(|app| app.active).map(|active| active.to_string()));
        let limit = max.map(|max| format!("limit {max}")).unwrap_or_default();
        let words = format!(
            "Connections checked out by {} in the last hour: {now} now, at most {most}. {limit}",
            key.application
        );
        let title = format!("Checked out{name}");
        let mark = format!("{top:.0}");
        let texts = Texts {
            title: &title,
            now: &now,
            words: &words,
            top: &mark,
            limit: &limit,
            class: "twice",
        };
        figure(
            &texts,
            &plot,
            &html("<li class=\"line\">on average</li><li class=\"peak\">at most</li>", &[]),
        )
    }

    fn saturated(&self, steps: &[PoolStep], name: &str) -> Html {
        let seconds = |step: &PoolStep| step.saturated.map(|time| time.as_secs_f64());
        let points = points(steps, seconds);
        let sum: Duration = steps.iter().filter_map(|step| step.saturated).sum();
        let plot = [self.background(), bars(&points, STEP.as_secs_f64())].into_iter().collect();
        let is_known = steps.iter().any(|step| step.saturated.is_some());
        let now = match sum.as_secs_f64() {
            _ if !is_known => "unknown".to_owned(),
            0.0 => "never".to_owned(),
            ..1.0 => millis(sum),
            _ => age(sum),
        };
        let title = format!("Nothing left{name}");
        let words = format!("Time with no connection left in the last hour{name}: {now}.");
        let texts = Texts {
            title: &title,
            now: &now,
            words: &words,
            top: "10 of 10 s",
            limit: "",
            class: "",
        };
        figure(&texts, &plot, &Html::default())
    }

    fn headroom(&self) -> Html {
        let points = self.points(|step| step.headroom.map(|free| free as f64));
        let known =
            || self.hour.steps.iter().filter(|step| step.is_up).filter_map(|step| step.headroom);
        if known().next().is_none() {
            return Html::default();
        }
        let most = known().max().unwrap_or(0).max(1);
        let fewest = known().min().unwrap_or(0);
        let top = most as f64;
        let drawn = [
            self.background(),
            area(&points, top, self.bridge, "area"),
            line(&points, top, self.bridge, "line"),
        ];
        let now = self.hour.steps.last().and_then(|step| step.headroom);
        let now = self.now(now.map(|free| free.to_string()));
        let words = format!(
            "Connections that the server could still give in the last hour: {now} now, {fewest} at the least."
        );
        let mark = most.to_string();
        let texts = Texts {
            title: "Left on the server",
            now: &now,
            words: &words,
            top: &mark,
            limit: "",
            class: "",
        };
        figure(&texts, &drawn.into_iter().collect(), &Html::default())
    }

    fn query(&self) -> Html {
        let points = self.points(|step| step.query.map(|micros| micros as f64));
        let most = highest(self.hour.steps.iter().filter_map(|step| step.query));
        let drawn = [self.background(), line(&points, most as f64, self.bridge, "line")];
        let now = self.now(self.hour.steps.last().and_then(|step| step.query).map(time));
        let mark = time(most);
        let words =
            format!("Time of the probe's statement in the last hour: {now} now, at most {mark}.");
        let texts = Texts {
            title: "Query time",
            now: &now,
            words: &words,
            top: &mark,
            limit: "",
            class: "",
        };
        figure(&texts, &drawn.into_iter().collect(), &Html::default())
    }

    fn connect(&self) -> Html {
        let steps = &self.hour.steps;
        let total = |step: &Step| step.phases.iter().flatten().sum::<u64>();
        let is_known = |step: &Step| step.phases.iter().any(Option::is_some);
        if !steps.iter().any(is_known) {
            return Html::default();
        }
        let totals = self.points(|step| is_known(step).then(|| total(step) as f64));
        let most = highest(steps.iter().map(total));
        let top = most as f64;
        let mut plot = self.background();
        let mut below = vec![0.0; steps.len()];
        let mut legend = Html::default();
        let last = steps.last();
        for (n, name) in phase_names().enumerate() {
            if !steps.iter().any(|step| step.phases[n].is_some()) {
                continue;
            }
            let took = |step: &Step| step.phases[n].unwrap_or(0) as f64;
            let upper: Vec<f64> =
                steps.iter().zip(&below).map(|(step, below)| below + took(step)).collect();
            let points = totals.iter().zip(&upper);
            let points =
                points.map(|(point, upper)| Point { value: point.value.map(|_| *upper), ..*point });
            let points: Vec<Point> = points.collect();
            plot =
                [plot, band(&points, &below, top, self.bridge, CLASSES[n])].into_iter().collect();
            below = upper;
            let took = last
                .filter(|step| step.is_up && self.present.is_some())
                .and_then(|step| step.phases[n]);
            let took = took.map(|took| format!(" {}", time(took)));
            legend.fill("<li class=\"{}\">{}{}</li>", &[&CLASSES[n], &name, &took]);
        }
        let now = self.now(last.filter(|step| is_known(step)).map(|step| time(total(step))));
        let mark = time(most);
        let words = format!(
            "Time to open a connection, by phase, in the last hour: {now} now, at most {mark}."
        );
        let texts = Texts {
            title: "Connect time by phase",
            now: &now,
            words: &words,
            top: &mark,
            limit: "",
            class: "",
        };
        figure(&texts, &plot, &legend)
    }
}

/// The classes of the phases.
const CLASSES: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];

fn points(steps: &[PoolStep], value: impl Fn(&PoolStep) -> Option<f64>) -> Vec<Point> {
    steps.iter().map(|step| Point { ago: step.ago, value: value(step) }).collect()
}

/// The highest value, at least one microsecond: the scale needs one.
fn highest(micros: impl Iterator<Item = u64>) -> u64 {
    micros.max().unwrap_or(0).max(1)
}

fn time(micros: u64) -> String {
    millis(Duration::from_micros(micros))
}
