//! Small charts of the last hour, drawn on the server: they need no script.
//!
//! A drawing is 360 units wide, one a step of ten seconds, and 100 high, so that a step's place is its number. What
//! was not recorded stays empty, and a time in which the target was down is marked: neither is a zero.

use std::time::Duration;

use crate::api::html::{Html, Part, html};
use crate::probe::{STEP, STEPS, Step};

/// Steps without a probe that a line still bridges, where the interval is short.
const BRIDGED: u32 = 3;

/// A value at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Steps before now.
    pub(super) ago: u32,
    /// The value; `None` where it is not known.
    pub(super) value: Option<f64>,
}

/// The texts of a chart.
pub(super) struct Texts<'t> {
    pub(super) title: &'t str,
    /// The value of now, or what stands for it.
    pub(super) now: &'t str,
    /// All of it in words.
    pub(super) words: &'t str,
    /// The value of the top edge.
    pub(super) top: &'t str,
    /// The name of the limit line at the top edge; empty for none.
    pub(super) limit: &'t str,
    /// More classes: `twice` takes two places where there is room.
    pub(super) class: &'static str,
}

/// Puts a chart together. `plot`: what is drawn; `legend`: list items.
pub(super) fn figure(texts: &Texts<'_>, plot: &Html, legend: &Html) -> Html {
    let limit = (!texts.limit.is_empty())
        .then(|| html("<span class=\"limit-mark\">{}</span>", &[&texts.limit]));
    let legend = (!legend.is_empty()).then(|| html("<ul class=\"legend\">{}</ul>", &[legend]));
    html(
        "<figure class=\"card chart {}\"><div class=\"top\"><figcaption class=\"long\">{}</figcaption><b>{}</b></div>\
         <div class=\"plot\"><svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 360 100\" preserveAspectRatio=\"none\">{}</svg>\
         <span class=\"top-mark\" aria-hidden=\"true\">{}</span>{}</div>\
         <div class=\"times\" aria-hidden=\"true\"><span>1 h ago</span><span>30 min</span><span>now</span></div>{}</figure>",
        &[&texts.class, &texts.title, &texts.now, &texts.words, plot, &texts.top, &limit, &legend],
    )
}

/// The longest distance of two steps that belong together. `interval`: the time between two probes.
pub(super) fn bridge(interval: Duration) -> u32 {
    let steps = (interval * 5 / 2).as_secs().div_ceil(STEP.as_secs());
    u32::try_from(steps).unwrap_or(STEPS).clamp(BRIDGED, STEPS)
}

/// Marks the times before the record, and those in which the target was down.
pub(super) fn background(steps: &[Step], bridge: u32) -> Html {
    let mut out = Html::default();
    let first = steps.first().map_or(STEPS, |step| step.ago.saturating_add(1).min(STEPS));
    let before = STEPS - first;
    if before > 0 {
        out.fill("<rect class=\"dark\" width=\"{}\" height=\"100\"/>", &[&before]);
    }
    let mut steps = steps.iter().peekable();
    while let Some(step) = steps.next() {
        if step.is_up {
            continue;
        }
        // One rectangle for steps in a row.
        let (from, mut last) = (step.ago, step.ago);
        while let Some(next) = steps.next_if(|next| !next.is_up && last - next.ago <= bridge) {
            last = next.ago;
        }
        let until = steps
            .peek()
            .map_or(0, |next| if last - next.ago <= bridge { next.ago + 1 } else { last });
        let (x, wide) = (place(from) - 0.5, f64::from(from - until + 1));
        out.fill("<rect class=\"down\" x=\"{}\" width=\"{}\" height=\"100\"/>", &[&x, &wide]);
    }
    out
}

/// Draws a line; it breaks where nothing is known.
pub(super) fn line(points: &[Point], top: f64, bridge: u32, class: &'static str) -> Html {
    let runs = runs(points, bridge);
    let path: String = runs.iter().map(|run| stroke(run, top)).collect();
    html("<path class=\"{}\" d=\"{}\"/>", &[&class, &Numbers(path)])
}

/// Draws the area under a line.
pub(super) fn area(points: &[Point], top: f64, bridge: u32, class: &'static str) -> Html {
    let floor: Vec<f64> = vec![0.0; points.len()];
    band(points, &floor, top, bridge, class)
}

/// Draws the area between a line and the values below it, one for each point.
pub(super) fn band(
    points: &[Point],
    below: &[f64],
    top: f64,
    bridge: u32,
    class: &'static str,
) -> Html {
    let mut path = String::new();
    let floors: Vec<Point> = points
        .iter()
        .zip(below)
        .map(|(point, below)| Point { value: point.value.map(|_| *below), ..*point })
        .collect();
    for (upper, lower) in runs(points, bridge).iter().zip(runs(&floors, bridge)) {
        let mut back = lower;
        back.reverse();
        path.push_str(&stroke(upper, top));
        path.push_str(&stroke(&back, top).replacen('M', "L", 1));
        path.push('Z');
    }
    html("<path class=\"{}\" d=\"{}\"/>", &[&class, &Numbers(path)])
}

/// Draws a bar for each step above 0.
pub(super) fn bars(points: &[Point], top: f64) -> Html {
    let mut out = Html::default();
    for point in points {
        let Some(value) = point.value.filter(|value| *value > 0.0) else { continue };
        let high = (value / top * 100.0).clamp(2.0, 100.0);
        let (x, y) = (place(point.ago) - 0.5, 100.0 - high);
        out.fill(
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"1\" height=\"{}\"/>",
            &[&x, &y, &high],
        );
    }
    out
}

/// Draws a dashed line at a value.
pub(super) fn limit(value: f64, top: f64) -> Html {
    let y = height(value, top);
    html("<line class=\"limit\" x1=\"0\" x2=\"360\" y1=\"{}\" y2=\"{}\"/>", &[&y, &y])
}

/// A path of a drawing: letters and numbers that were written here.
struct Numbers(String);

impl Part for Numbers {
    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

fn place(ago: u32) -> f64 {
    f64::from(STEPS.saturating_sub(ago)) - 0.5
}

fn height(value: f64, top: f64) -> f64 {
    let part = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
    100.0 - part * 100.0
}

/// Points that belong together, without those that are not known.
fn runs(points: &[Point], bridge: u32) -> Vec<Vec<(u32, f64)>> {
    let mut runs: Vec<Vec<(u32, f64)>> = Vec::new();
    for point in points {
        let Some(value) = point.value else {
            // A known break.
            runs.push(Vec::new());
            continue;
        };
        match runs.last_mut() {
            Some(run) if run.last().is_none_or(|(ago, _)| ago - point.ago <= bridge) => {
                run.push((point.ago, value));
            }
            Some(_) | None => runs.push(vec![(point.ago, value)]),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn stroke(run: &[(u32, f64)], top: f64) -> String {
    let point = |x: f64, value: f64, sign: char| format!("{sign}{x:.1} {:.2}", height(value, top));
    let mut path = String::new();
    for (n, (ago, value)) in run.iter().enumerate() {
        path.push_str(&point(place(*ago), *value, if n == 0 { 'M' } else { 'L' }));
    }
    // A single point would be invisible.
    if let [(ago, value)] = run {
        path.push_str(&point(place(*ago) + 0.5, *value, 'L'));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(ago: u32, value: impl Into<Option<f64>>) -> Point {
        Point { ago, value: value.into() }
    }

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let points = [point(9, 1.0), point(8, 2.0), point(7, None), point(6, 2.0), point(1, 1.0)];
        let drawn = line(&points, 2.0, 3, "line").into_string();
        assert_eq!(
            drawn,
            "<path class=\"line\" d=\"M350.5 50.00L351.5 0.00M353.5 0.00L354.0 0.00M358.5 50.00L359.0 50.00\"/>"
        );
    }

    #[test]
    fn what_is_before_the_record_and_what_was_down_is_marked() {
        let step = |ago, is_up| Step { ago, is_up, phases: [None; 5], query: None, headroom: None };
        let drawn = background(&[step(9, true), step(8, false), step(7, false), step(6, true)], 3);
        let drawn = drawn.into_string();
        assert!(drawn.contains("<rect class=\"dark\" width=\"350\""), "{drawn}");
        assert!(drawn.contains("<rect class=\"down\" x=\"351\" width=\"2\""), "{drawn}");
    }

    #[test]
    fn a_line_bridges_the_time_between_two_probes() {
        assert_eq!([1, 10, 60].map(|n| bridge(Duration::from_secs(n))), [3, 3, 15]);
    }
}
