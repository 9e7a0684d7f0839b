//! The catalogue: the tables that make `/metrics`, in their order.
//!
//! A family is either live (read at each scrape) or rendered (written once a snapshot), never both.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio::time::Instant;

use super::detail;
use super::fleet::{self, Fleet};
use super::log_queue::{self, LogQueue};
use super::otel;
use super::process::{self, ProcessUsage, boot_time};
use super::reload::{self, ReloadStatus};
use super::version::{REVISION, VERSION};
use crate::api::Shown;
use crate::health;
use crate::metrics::{Description, Kind, Page, Reading};
use crate::pool;
use crate::probe::{self, Published, Roster, Target};
use crate::source;
use crate::view;
use crate::web::{self, HttpInstruments};

/// The sources of the exporter's own families.
pub(crate) struct Exporter {
    /// The machine's start, in seconds since 1970.
    boot: Option<u64>,
    fleet: Arc<Fleet>,
    web: Arc<HttpInstruments>,
    reloads: Arc<ReloadStatus>,
    log: LogQueue,
}

impl Exporter {
    /// Collects the sources, and reads the start of the machine, once.
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        web: Arc<HttpInstruments>,
        reloads: Arc<ReloadStatus>,
        log: LogQueue,
    ) -> Self {
        Self { boot: boot_time(), fleet, web, reloads, log }
    }

    /// Writes the families of the targets, then the exporter's own, which are not shown beside single targets:
    /// with a scrape for each target they would be there many times.
    pub(crate) fn write(&self, roster: &Roster, shown: &Shown, page: &mut Page<'_>) {
        page.set_ranks(detail::RANKS);
        match shown {
            Shown::Targets(targets) => self.write_subjects(targets, page),
            Shown::Everything => {
                self.write_subjects(&roster.targets(), page);
                page.live(probe::PACE_READINGS, [("", roster.pace())]);
                self.write_own(page);
            }
        }
    }

    fn write_subjects(&self, targets: &[Arc<Target>], page: &mut Page<'_>) {
        write_targets(targets, page);
        self.fleet.with_servers(|servers| {
            let known = targets.iter().filter_map(|t| Some((t.base(), servers.get(t.name())?)));
            page.live(fleet::READINGS, known.collect::<Vec<_>>());
        });
        write_health(targets, page);
    }

    fn write_own(&self, page: &mut Page<'_>) {
        page.live(BUILD, [("", &())]);
        page.live(reload::READINGS, [("", self.reloads.as_ref())]);
        page.live(web::READINGS, [("", self.web.as_ref())]);
        page.live(log_queue::READINGS, [("", &self.log)]);
        page.live(process::READINGS, [("", &ProcessUsage::now(self.boot))]);
    }
}

fn write_targets(targets: &[Arc<Target>], page: &mut Page<'_>) {
    let each = || targets.iter().map(|target| (target.base(), target.as_ref()));
    page.live(probe::TARGET_READINGS, each().collect::<Vec<_>>());
    let published: Vec<Arc<Published>> = targets.iter().filter_map(|t| t.published()).collect();
    page.rendered(probe::SNAPSHOT_READINGS, published.iter().map(|p| &p.rendered));
    page.rendered(view::readings(), published.iter().map(|p| &p.views));
    let counters: Vec<_> = each().filter_map(|(base, t)| Some((base, t.counters()?))).collect();
    page.live(view::COUNTER_READINGS, counters.iter().map(|(base, counters)| (*base, counters)));
    let reports: Vec<_> = each()
        .flat_map(|(base, t)| t.endpoints().iter().filter_map(move |e| Some((base, e.report()?))))
        .collect();
    page.live(source::READINGS, reports.iter().map(|(base, report)| (*base, report.as_ref())));
    let states: Vec<_> = each().map(|(base, target)| (base, target.pool().state())).collect();
    page.live_about(
        pool::ABOUT,
        pool::STATE_READINGS,
        states.iter().map(|(base, state)| (*base, state)),
    );
    let pools = targets.iter().map(|t| (t.base(), t.pool().instruments().as_ref()));
    page.live_about(pool::ABOUT, pool::READINGS, pools);
    let probes = targets.iter().map(|t| (t.base(), t.instruments()));
    page.live(probe::INSTRUMENT_READINGS, probes);
}

fn write_health(targets: &[Arc<Target>], page: &mut Page<'_>) {
    let now = Instant::now();
    let verdicts: Vec<_> = targets.iter().map(|t| (t.base(), health::of(t, now))).collect();
    page.live(health::READINGS, verdicts.iter().map(|(base, verdict)| (*base, verdict)));
    let all = health::Neighbours::new(targets);
    let found = targets.iter().filter_map(|t| Some((t.base(), health::bottleneck(t, &all, now)?)));
    let found: Vec<_> = found.collect();
    page.live(health::BOTTLENECK_READINGS, found.iter().map(|(base, found)| (*base, found)));
}

const BUILD: &[Reading<()>] = &[Reading {
    name: "db_pool_exporter_build_info",
    help: "1, with the exporter's version and what it was built from.",
    kind: Kind::Gauge,
    labels: &["version", "revision"],
    read: |(), out| out.push([VERSION, REVISION], 1_u32),
}];

/// A part of the catalogue.
pub struct Section {
    /// The heading in METRICS.md.
    pub title: &'static str,
    /// In front of each help text.
    pub about: &'static str,
    /// Its families, in their order on the page.
    pub families: Vec<Description>,
}

/// Every family that the exporter can show.
pub fn catalogue() -> Vec<Section> {
    vec![
        section(
            "The target and its last probe",
            &[
                describe(probe::TARGET_READINGS),
                describe(probe::SNAPSHOT_READINGS),
                describe(probe::INSTRUMENT_READINGS),
            ],
        ),
        Section {
            about: pool::ABOUT,
            ..section(
                "The exporter's own probe pool",
                &[describe(pool::STATE_READINGS), describe(pool::READINGS)],
            )
        },
        section(
            "The server, and the applications' pools",
            &[describe(view::readings()), describe(view::COUNTER_READINGS)],
        ),
        section("The databases that are discovered", &[describe(fleet::READINGS)]),
        section("The applications' own status", &[describe(source::READINGS)]),
        section("Health", &[describe(health::READINGS), describe(health::BOTTLENECK_READINGS)]),
        section(
            "The exporter itself",
            &[
                describe(probe::PACE_READINGS),
                describe(BUILD),
                describe(reload::READINGS),
                describe(web::READINGS),
                describe(log_queue::READINGS),
                describe(process::READINGS),
            ],
        ),
    ]
}

fn section(title: &'static str, tables: &[Vec<Description>]) -> Section {
    Section { title, about: "", families: tables.concat() }
}

fn describe<'t, T: ?Sized + 't>(
    table: impl IntoIterator<Item = &'t Reading<T>>,
) -> Vec<Description> {
    table.into_iter().map(Reading::describe).collect()
}

/// METRICS.md, from the tables.
pub fn metrics_md() -> String {
    let mut text = String::from(HEAD);
    for Section { title, about, families } in catalogue() {
        let _ = write!(
            text,
            "\n## {title}\n\n| name | type | labels | lean | meaning |\n| --- | --- | --- | --- | --- |\n"
        );
        for family in families {
            let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
            let (name, kind, help) = (family.name, family.kind.label(), family.help);
            let (labels, lean) = (labels.join(", "), detail::when_lean(name, family.kind));
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {lean} | {about}{help} |");
        }
    }
    text.push_str(&otel::section());
    text
}

const HEAD: &str = "# Metrics

Made from the code's tables by `make metrics-md`; a test keeps it true. Every sample of a target also has
the label `target`, the target's name (`default` for DATABASE_URL). A target's own labels stand on
`db_pool_target_info` alone, to be joined. Seconds and bytes, never milliseconds; a value that is not
known has no sample. What a target cannot have (TLS without TLS, a view or a write probe that is off) has no
sample either. Names are an interface: CHANGELOG.md lists each change under **Metrics**.

The column **lean** has what is left of a family with `metrics: lean`, for a target or in `defaults:`. `6 buckets`
are those up to 0.001, 0.01, 0.1, 0.5, 5 and `+Inf`; `sum, count` keeps the mean. By default (`metrics: standard`) the
histograms of `sum, count` have these six buckets, and everything else is whole; `metrics: full` has every bucket.
Give all targets the same: `sum by (le)` over different buckets gives wrong quantiles.
";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::metrics::Rank;

    #[test]
    fn names_are_unique_and_follow_prometheus() {
        let mut names = HashSet::new();
        for family in catalogue().iter().flat_map(|section| &section.families) {
            let Description { name, kind, help, labels } = family;
            assert!(names.insert(*name), "{name} stands twice");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: a sentence");
            assert!(!labels.contains(&"target"), "{name}: the caller adds it");
            let family = name.strip_suffix("_total").unwrap_or(name);
            assert!(family == *name || names.insert(family), "{family} is a family of its own");
        }
    }

    #[test]
    fn ranks_are_of_families_that_exist_and_no_alert_needs_an_extra_one() {
        let sections = catalogue();
        let alerts = include_str!("../../alerts/db_pool_alerts.yml");
        let recording = include_str!("../../alerts/db_pool_recording.yml");
        for (name, rank) in detail::RANKS {
            let mut families = sections.iter().flat_map(|section| &section.families);
            let family = families.find(|family| family.name == *name).expect(name);
            assert!(*rank != Rank::Minor || family.kind == Kind::Histogram, "{name}");
            let used = [alerts, recording]
                .concat()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == *name);
            assert!(!used || *rank == Rank::Minor, "{name} is used by a rule");
        }
    }

    #[test]
    fn opentelemetry_is_mapped_to_families_that_exist() {
        let sections = catalogue();
        let exists = |name: &str| {
            let mut families = sections.iter().flat_map(|section| &section.families);
            name.is_empty() || families.any(|family| family.name == name)
        };
        for row in otel::OTEL {
            assert!(exists(row.application), "{}", row.application);
            assert!(exists(row.own), "{}", row.own);
        }
    }

    #[test]
    fn metrics_md_is_what_the_tables_say() {
        // Twice: at the top, where releases have it, and in the book, which a code host shows page by page.
        for name in ["METRICS.md", "docs/metrics.md"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            if std::env::var_os("UPDATE_METRICS_MD").is_some() {
                std::fs::write(&path, metrics_md()).expect("the page can be written");
            }
            let text = std::fs::read_to_string(&path).expect("the page is there");
            assert!(text == metrics_md(), "{name} is old: make metrics-md");
        }
    }
}
