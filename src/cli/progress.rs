//! A progress bar on a terminal.

use std::io::Write as _;

/// The width of the bar, in characters.
const WIDTH: usize = 40;

/// A bar on standard error, or nothing where that is no terminal.
pub(super) struct Bar {
    is_shown: bool,
}

impl Bar {
    /// Makes a bar that is not drawn yet.
    pub(super) fn new(is_shown: bool) -> Self {
        Self { is_shown }
    }

    /// Draws the bar over the last one.
    pub(super) fn show(&mut self, done: usize, all: usize, unit: &str) {
        if self.is_shown {
            eprint!("\r{}", line(done, all, unit));
            let _ = std::io::stderr().flush();
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&mut self) {
        if self.is_shown {
            eprint!("\r\u{1b}[K");
        }
        self.is_shown = false;
    }
}

fn line(done: usize, all: usize, unit: &str) -> String {
    let all = all.max(1);
    let full = (done.min(all) * WIDTH) / all;
    format!("[{}{}] {done}/{all} {unit} ", "#".repeat(full), ".".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(line(0, 4, "s"), format!("[{}] 0/4 s ", ".".repeat(40)));
        assert_eq!(line(2, 4, "s"), format!("[{}{}] 2/4 s ", "#".repeat(20), ".".repeat(20)));
        assert!(line(9, 4, "s").starts_with(&format!("[{}]", "#".repeat(40))));
        assert!(line(0, 0, "s").starts_with("[."));
    }
}
