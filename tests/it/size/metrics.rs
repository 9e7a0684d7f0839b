//! What a Prometheus has scraped, written as OpenMetrics text and put into its storage by promtool.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::fleet::{Day, Fleet, SCRAPES, STEP};
use crate::support::installed;

/// Series by family, labels and time. A value of `None` is a scrape that failed.
#[derive(Default)]
pub(crate) struct Past {
    families: BTreeMap<String, Vec<Scraped>>,
}

/// The labels of a series, and its value at each scrape.
type Scraped = (String, Vec<Option<f64>>);

impl Past {
    /// Adds a series with a value for each scrape, the last one just now.
    pub(crate) fn add(
        &mut self,
        family: &str,
        labels: &str,
        values: impl Fn(usize) -> Option<f64>,
    ) {
        let values = (0..SCRAPES as usize).map(values).collect();
        self.families.entry(family.to_owned()).or_default().push((labels.to_owned(), values));
    }

    /// Adds a series that never changes.
    pub(crate) fn constant(&mut self, family: &str, labels: &str, value: f64) {
        self.add(family, labels, |_| Some(value));
    }

    /// Adds the series of a simulated fleet.
    pub(crate) fn fleet(&mut self, fleet: &Fleet, day: &Day) {
        let server = format!("instance=\"e\",job=\"j\",target=\"{}\"", fleet.name);
        let pool =
            format!("{server},application=\"app\",database=\"d\",source=\"activity\",user=\"u\"");
        let scrape = |n: usize| day.scrapes[n];
        let max = f64::from(fleet.max());
        self.limits(&server, f64::from(fleet.ordinary) + 3.0);
        let others = f64::from(fleet.others);
        self.add("db_pool_server_used_connections", &server, |n| {
            Some(f64::from(scrape(n).open) + others)
        });
        self.add("db_pool_sampled_seconds_total", &server, |n| {
            Some((n as f64 + 1.0) * f64::from(STEP))
        });
        let mut of_pool = |family: &str, value: &dyn Fn(usize) -> f64| {
            self.add(&format!("db_pool_app_{family}"), &pool, |n| Some(value(n)));
        };
        of_pool("active_connections", &|n| f64::from(scrape(n).active));
        of_pool("open_connections", &|n| f64::from(scrape(n).open));
        of_pool("active_connections_peak", &|n| f64::from(scrape(n).peak));
        of_pool("active_connection_seconds_total", &|n| scrape(n).active_seconds);
        of_pool("saturated_seconds_total", &|n| scrape(n).saturated_seconds);
        of_pool("instances", &|n| f64::from(scrape(n).instances));
        of_pool("instances_known", &|_| 1.0);
        of_pool("max_connections", &|n| f64::from(scrape(n).instances) * max);
        of_pool("size", &|n| f64::from(scrape(n).instances * fleet.size));
        let mean = |n: usize| f64::from(scrape(n).active) / f64::from(fleet.processes) / max;
        of_pool("mean_saturation_ratio", &mean);
        of_pool("saturation_ratio", &|n| {
            if fleet.told_apart { f64::from(scrape(n).fullest) / max } else { mean(n) }
        });
    }

    /// Adds the series of a server that is up.
    pub(crate) fn limits(&mut self, server: &str, max_connections: f64) {
        self.constant("db_pool_up", server, 1.0);
        self.constant("db_pool_server_max_connections", server, max_connections);
        self.constant("db_pool_server_superuser_reserved_connections", server, 3.0);
        self.constant("db_pool_server_reserved_connections", server, 0.0);
    }

    /// Writes the storage of a Prometheus.
    pub(crate) fn write(&self, folder: &Path) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let first = now - u64::from(STEP) * u64::from(SCRAPES - 1);
        let mut text = String::new();
        for (family, all) in &self.families {
            let name = family.strip_suffix("_total");
            let kind = if name.is_some() { "counter" } else { "gauge" };
            let _ = writeln!(text, "# TYPE {} {kind}", name.unwrap_or(family));
            for (labels, values) in all {
                for (n, value) in values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    let at = first + u64::from(STEP) * n as u64;
                    let _ = writeln!(text, "{family}{{{labels}}} {value} {at}");
                }
            }
        }
        text.push_str("# EOF\n");
        let file = folder.join("past.txt");
        fs::write(&file, text).expect("the folder is writable");
        let output = Command::new(installed(&["promtool"]))
            .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
            .args([&file, &folder.join("data")])
            .output()
            .expect("promtool runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
