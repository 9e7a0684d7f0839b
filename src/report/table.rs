//! The table of phases, one row for each target.

use std::time::Duration;

use super::{Report, tone};
use crate::metrics::{Label, Phase};
use crate::pool::Timings;
use crate::probe::Failure;
use crate::text::{Palette, Tone, printable};

const HEADS: [&str; 10] = [
    "TARGET",
    "STATUS",
    "CONNECT",
    "DNS",
    "TCP",
    "SSL REQUEST",
    "TLS",
    "STARTUP",
    "CHECK-OUT",
    "QUERY",
];

/// The columns that hold words, aligned to the left; the others hold times.
const WORDS: usize = 2;

struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    fn time(took: Option<Duration>) -> Self {
        Self::plain(took.map_or_else(|| "-".to_owned(), in_ms))
    }

    fn failed() -> Self {
        Self { text: "failed".to_owned(), tone: Tone::Bad }
    }
}

/// Returns the table.
pub(super) fn of(reports: &[Report<'_>], palette: Palette) -> String {
    let mut rows = vec![HEADS.map(Cell::plain).into_iter().collect::<Vec<_>>()];
    rows.extend(reports.iter().map(row));
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0))
        .collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> =
            cells.map(|(n, (cell, width))| aligned(cell, *width, n < WORDS, palette)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}

/// Pads before painting, because escape sequences have no width.
fn aligned(cell: &Cell, width: usize, is_word: bool, palette: Palette) -> String {
    let padding = " ".repeat(width - cell.text.chars().count());
    let text = palette.paint(cell.tone, &cell.text);
    if is_word { format!("{text}{padding}") } else { format!("{padding}{text}") }
}

fn row(report: &Report<'_>) -> Vec<Cell> {
    let Report { settings, snapshot, verdict } = report;
    let status = Cell { text: verdict.status.label().to_owned(), tone: tone(verdict.status) };
    let mut cells = vec![Cell::plain(printable(&settings.name)), status];
    match &snapshot.connect {
        None => cells.extend((0..6).map(|_| Cell::time(None))),
        Some(Ok(connected)) => {
            cells.push(Cell::time(Some(connected.timings.total)));
            cells.extend(connected.timings.phases().map(|(_, took)| Cell::time(took)));
        }
        Some(Err(failure)) => {
            cells.push(Cell::failed());
            cells.extend(until_failure(failure));
        }
    }
    match &snapshot.query {
        Ok(queried) => {
            cells.extend([queried.checkout, queried.query].map(|took| Cell::time(Some(took))));
        }
        // Without a phase the check-out succeeded, or there was none in time.
        Err(_) => cells.extend([Cell::time(None), Cell::failed()]),
    }
    cells
}

/// Returns the phases that passed with their times, and the one that failed.
fn until_failure(failure: &Failure) -> impl Iterator<Item = Cell> {
    let passed = failure.passed.as_deref().copied().unwrap_or_default();
    let phase = failure.phase;
    passed.phases().into_iter().map(move |(this, took): (Phase, _)| {
        if phase == Some(this) { Cell::failed() } else { Cell::time(took) }
    })
}

/// Returns milliseconds to the tenth.
pub(super) fn in_ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}

/// Returns the phases of an attempt that passed, in words.
pub(super) fn phases_in_words(timings: &Timings) -> String {
    let passed = timings.phases().into_iter();
    let passed =
        passed.filter_map(|(phase, took)| Some(format!("{} {}", phase.label(), in_ms(took?))));
    passed.collect::<Vec<_>>().join(", ")
}
