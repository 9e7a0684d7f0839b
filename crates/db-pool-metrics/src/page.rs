//! The exposition: families one after another, in one of the two text formats.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Description, Detail, Kind, Rank, Ranks, Reading, Samples, Subject};

/// The text format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` that Prometheus 3 demands.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The families that a client wants; empty means all.
#[derive(Clone, Debug, Default)]
pub struct Filter(HashSet<String>);

impl Filter {
    /// Accepts names of families and of samples (`x`, `x_bucket`).
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    fn wants(&self, family: &Description) -> bool {
        if self.0.is_empty() || self.0.contains(family.name) {
            return true;
        }
        match family.kind {
            Kind::Gauge => false,
            // OpenMetrics names the family without `_total`.
            Kind::Counter => {
                self.0.contains(family.name.strip_suffix("_total").unwrap_or_default())
            }
            Kind::Histogram => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| self.0.contains(&format!("{}{suffix}", family.name))),
        }
    }
}

/// The sample lines of one subject, one text for each row of a table.
///
/// For values that change less often than they are scraped: the lines are written once and put
/// into every page until the next change.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    lines: Vec<String>,
    detail: Detail,
}

impl Rendered {
    /// Reads every row of the table from a value of the subject.
    pub fn new<'t, 's, T: ?Sized + 't>(
        table: impl IntoIterator<Item = &'t Reading<T>>,
        value: &T,
        subject: impl Into<Subject<'s>>,
    ) -> Self {
        let subject = subject.into();
        let lines = table.into_iter().map(|reading| {
            let mut out = String::new();
            (reading.read)(value, &mut Samples::new(&mut out, reading, subject, Rank::Main));
            out
        });
        Self { lines: lines.collect(), detail: subject.detail }
    }

    fn lines(&self, row: usize) -> &str {
        self.lines.get(row).map_or("", String::as_str)
    }
}

/// A page that grows family by family.
pub struct Page<'f> {
    format: Format,
    filter: &'f Filter,
    ranks: Ranks,
    body: String,
}

impl<'f> Page<'f> {
    /// An empty page.
    pub fn new(format: Format, filter: &'f Filter) -> Self {
        Self { format, filter, ranks: &[], body: String::with_capacity(32 * 1024) }
    }

    /// Sets the ranks of families, which decide what subjects show that are not shown in full.
    pub fn set_ranks(&mut self, ranks: Ranks) {
        self.ranks = ranks;
    }

    fn rank(&self, family: &str) -> Rank {
        let found = self.ranks.iter().find(|(name, _)| *name == family);
        found.map_or(Rank::Main, |(_, rank)| *rank)
    }

    /// Adds every family of a table, read now, with the samples of all subjects.
    /// `subjects` are pairs of the subject, or its base label (`target="x"`, or empty), and the value to read.
    pub fn live<'s, T: ?Sized + 's, S: Into<Subject<'s>>, I>(
        &mut self,
        table: &[Reading<T>],
        subjects: I,
    ) where
        I: IntoIterator<Item = (S, &'s T)> + Clone,
    {
        self.live_about("", table, subjects);
    }

    /// As [`Page::live`], with `about` in front of every help text. It says which of several
    /// kinds of subjects a table describes here: `"The worker's pool: "`.
    pub fn live_about<'s, T: ?Sized + 's, S: Into<Subject<'s>>, I>(
        &mut self,
        about: &str,
        table: &[Reading<T>],
        subjects: I,
    ) where
        I: IntoIterator<Item = (S, &'s T)> + Clone,
    {
        for reading in table {
            let rank = self.rank(reading.name);
            self.family(about, &reading.describe(), |body| {
                for (subject, value) in subjects.clone() {
                    let subject = subject.into();
                    if is_shown(rank, subject.detail) {
                        (reading.read)(value, &mut Samples::new(body, reading, subject, rank));
                    }
                }
            });
        }
    }

    /// Adds every family of a table, with lines that were rendered before.
    pub fn rendered<'t, 's, T: ?Sized + 't, I>(
        &mut self,
        table: impl IntoIterator<Item = &'t Reading<T>>,
        subjects: I,
    ) where
        I: IntoIterator<Item = &'s Rendered> + Clone,
    {
        for (row, reading) in table.into_iter().enumerate() {
            let rank = self.rank(reading.name);
            self.family("", &reading.describe(), |body| {
                for subject in subjects.clone() {
                    if is_shown(rank, subject.detail) {
                        body.push_str(subject.lines(row));
                    }
                }
            });
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.body.push_str("# EOF\n");
        }
        self.body
    }

    /// A family without samples gets no head either.
    fn family(&mut self, about: &str, family: &Description, samples: impl FnOnce(&mut String)) {
        if !self.filter.wants(family) {
            return;
        }
        let start = self.body.len();
        self.head(about, family);
        let head = self.body.len();
        samples(&mut self.body);
        if self.body.len() == head {
            self.body.truncate(start);
        }
    }

    fn head(&mut self, about: &str, family: &Description) {
        let mut name = family.name;
        let mut help = format!("{about}{}", family.help);
        if self.format == Format::OpenMetrics {
            name = name.strip_suffix("_total").unwrap_or(name);
            help = help.replace('"', "\\\"");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "# HELP {name} {help}\n# TYPE {name} {}", family.kind.label());
    }
}

fn is_shown(rank: Rank, detail: Detail) -> bool {
    rank != Rank::Extra || detail != Detail::Lean
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Reading<u32>] = &[
        Reading {
            name: "a_total",
            help: "The \"a\".",
            kind: Kind::Counter,
            labels: &[],
            read: |n, out| out.push([], *n),
        },
        Reading {
            name: "b",
            help: "Never there.",
            kind: Kind::Gauge,
            labels: &[],
            read: |_, out| out.push([], None::<u32>),
        },
    ];

    fn page(format: Format, filter: &Filter) -> String {
        let mut page = Page::new(format, filter);
        page.live(TABLE, [("t=\"1\"", &1), ("t=\"2\"", &2)]);
        page.finish()
    }

    #[test]
    fn a_family_has_one_head_for_all_subjects_and_none_without_samples() {
        assert_eq!(
            page(Format::Text, &Filter::default()),
            "# HELP a_total The \"a\".\n# TYPE a_total counter\na_total{t=\"1\"} 1\na_total{t=\"2\"} 2\n"
        );
    }

    #[test]
    fn a_page_can_say_what_its_tables_are_about() {
        let filter = Filter::default();
        let mut page = Page::new(Format::Text, &filter);
        page.live_about("The \"b\": ", TABLE, [("", &1)]);
        assert_eq!(
            page.finish(),
            "# HELP a_total The \"b\": The \"a\".\n# TYPE a_total counter\na_total 1\n"
        );
    }

    #[test]
    fn openmetrics_names_the_counter_without_total_and_ends_with_eof() {
        assert_eq!(
            page(Format::OpenMetrics, &Filter::default()),
            "# HELP a The \\\"a\\\".\n# TYPE a counter\na_total{t=\"1\"} 1\na_total{t=\"2\"} 2\n# EOF\n"
        );
    }

    #[test]
    fn rendered_lines_read_as_live_ones() {
        let one = Rendered::new(TABLE, &1, "t=\"1\"");
        let two = Rendered::new(TABLE, &2, "t=\"2\"");
        let filter = Filter::default();
        let mut later = Page::new(Format::Text, &filter);
        later.rendered(TABLE, [&one, &two]);
        assert_eq!(later.finish(), page(Format::Text, &filter));
    }

    #[test]
    fn a_lean_subject_has_no_extra_family_live_or_rendered() {
        let lean = Subject { base: "t=\"1\"", detail: Detail::Lean };
        let standard = Subject { base: "t=\"2\"", detail: Detail::Standard };
        let filter = Filter::default();
        let begin = || {
            let mut page = Page::new(Format::Text, &filter);
            page.set_ranks(&[("a_total", Rank::Extra)]);
            page
        };
        let mut live = begin();
        live.live(TABLE, [(lean, &1), (standard, &2)]);
        let mut rendered = begin();
        let both = [Rendered::new(TABLE, &1, lean), Rendered::new(TABLE, &2, standard)];
        rendered.rendered(TABLE, &both);
        for text in [live.finish(), rendered.finish()] {
            assert!(text.contains("a_total{t=\"2\"} 2\n") && !text.contains("t=\"1\""), "{text}");
        }
    }

    #[test]
    fn a_filter_leaves_other_families_out() {
        let wants = |name: &str| !page(Format::Text, &Filter::new([name.to_owned()])).is_empty();
        assert!(wants("a_total") && wants("a"));
        assert!(!wants("b") && !wants("c"));
    }
}
