//! A cluster, an exporter that watches it, and all that the exporter says at one moment.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::pools::ROLE;
use crate::support::postgres::{Builder, Cluster};
use crate::support::process::{self, Program};
use crate::support::web::{Answer, get};
use crate::support::workers::{self, Library, Plan, Worker};
use crate::support::workplace;

/// A cluster and the exporter that watches it.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) daemon: Program,
    pub(super) address: SocketAddr,
    setup: Setup,
}

/// How the exporter is configured. Without anything else it is as in the README: the application's own URL and
/// pool settings, only with short times.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    variables: Vec<(String, String)>,
    file: Option<String>,
    url: Option<String>,
}

impl Setup {
    /// For pools of SQLAlchemy with this pool_size and max_overflow.
    pub(super) fn of(size: u32, overflow: u32) -> Setup {
        Setup::default()
            .with("DB_POOL_SIZE", &size.to_string())
            .with("DB_MAX_OVERFLOW", &overflow.to_string())
            .with("DB_MONITOR_INTERVAL", "1")
            .with("DB_MONITOR_SLOW_QUERY_SAMPLING", "0.1")
            .with("DB_CONNECT_TIMEOUT", "0.9")
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this table below `applications` of the target, as a flow of YAML.
    pub(super) fn applications(self, table: &str) -> Setup {
        self.file(&format!("targets:\n  default:\n    applications: {table}\n"))
    }

    /// With a configuration file.
    pub(super) fn file(mut self, text: &str) -> Setup {
        self.file = Some(text.to_owned());
        self
    }

    /// Through this URL, instead of the cluster's own.
    pub(super) fn url(mut self, url: String) -> Setup {
        self.url = Some(url);
        self
    }

    /// The variables and flags on a program.
    fn on(&self, program: process::Builder, cluster: &Cluster) -> process::Builder {
        let password = ROLE.1.replace(' ', "%20");
        let own = cluster.url(ROLE.0, &password) + "?sslmode=disable";
        let url = self.url.as_ref().unwrap_or(&own);
        let all = self.variables.iter();
        let program =
            all.fold(program.env("DATABASE_URL", url), |p, (name, value)| p.env(name, value));
        let Some(text) = &self.file else { return program };
        let file = workplace::folder("configuration").join("exporter.yml");
        fs::write(&file, text).expect("the folder is writable");
        program.arg("--config.file").arg(file)
    }
}

impl Stage {
    pub(super) fn start(setup: Setup) -> Stage {
        Stage::on(workers::cluster(Cluster::builder()), setup)
    }

    pub(super) fn builder(builder: Builder, setup: Setup) -> Stage {
        Stage::on(workers::cluster(builder), setup)
    }

    pub(super) fn on(cluster: Cluster, setup: Setup) -> Stage {
        let mut daemon = setup.on(Program::daemon(), &cluster).start();
        let address = daemon.address();
        Stage { cluster, daemon, address, setup }
    }

    /// A second exporter, with other settings.
    pub(super) fn another(&self, setup: &Setup) -> (Program, SocketAddr) {
        let mut daemon = setup.on(Program::daemon(), &self.cluster).start();
        let address = daemon.address();
        (daemon, address)
    }

    /// Processes of one plan.
    pub(super) fn workers(&self, count: usize, plan: Plan<'_>) -> Vec<Worker> {
        Worker::several(&self.cluster, count, plan)
    }

    /// A process of this library, name and address, with pools of 5 and 3 more.
    pub(super) fn worker(&self, library: Library, name: &str, address: u8) -> Worker {
        Worker::start(&self.cluster, Plan { library, name, address, ..Plan::USUAL })
    }

    /// All that is said now.
    pub(super) fn said(&self) -> Said {
        let ask = |path| get(self.address, path);
        Said { page: ask("/metrics"), health: ask("/api/v1/health"), landing: ask("/") }
    }

    /// The exit code of `check` with the same settings, and what it prints.
    pub(super) fn check(&self) -> (i32, String) {
        let program = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).arg("check");
        let mut program = self.setup.on(program, &self.cluster).start();
        let code = program.end().code().unwrap_or(-1);
        (code, program.output())
    }

    /// Waits until the exporter says what is expected of an application, and `check` too; prints what it says.
    pub(super) fn expect(&self, situation: &str, application: &str, expected: &Expected<'_>) {
        let started = Instant::now();
        let (said, mut missing) = loop {
            let said = self.said();
            let missing = expected.missing(&said, application);
            if missing.is_empty() || started.elapsed() > expected.within.unwrap_or(PATIENCE) {
                break (said, missing);
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let (code, output) = self.check();
        missing.extend(expected.missing_from_check(code, &output));
        let row = format!("| {situation} | {} | check {code} |", said.row(application));
        println!("{row}");
        assert!(missing.is_empty(), "{row}\n{}\n{output}", missing.join("\n"));
    }

    /// Fails when, for so long, the exporter ever says what it must not.
    pub(super) fn never(&self, span: Duration, what: &str, bad: impl Fn(&Said) -> bool) {
        let started = Instant::now();
        while started.elapsed() < span {
            let said = self.said();
            assert!(!bad(&said), "{what}: {}", said.health.body);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What is expected; what is left empty is not looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected<'a> {
    /// The status of the whole.
    pub(super) status: &'a str,
    /// Checks with the outcome that each must have.
    pub(super) checks: &'a [(&'a str, &'a str)],
    /// Words that the health answer must hold.
    pub(super) says: &'a [&'a str],
    /// Words that the landing page must hold.
    pub(super) landing: &'a [&'a str],
    /// Values of the families `db_pool_app_*` of the application.
    pub(super) samples: &'a [(&'a str, f64)],
    /// Those that must not be there.
    pub(super) absent: &'a [&'a str],
    /// From what the number of processes is known.
    pub(super) evidence: &'a str,
    /// The source of the verdict.
    pub(super) source: &'a str,
    /// Exit codes that `check` may have.
    pub(super) codes: &'a [i32],
    /// Words that `check` must print.
    pub(super) check_says: &'a [&'a str],
    /// How long it may take, when it is longer than usual.
    pub(super) within: Option<Duration>,
}

impl Expected<'_> {
    fn missing(&self, said: &Said, application: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let mut compare = |what: &str, found: String, expected: &str| {
            if !expected.is_empty() && found != expected {
                missing.push(format!("{what}: {found} instead of {expected}"));
            }
        };
        compare("status", said.status(), self.status);
        compare("source", said.source(), self.source);
        compare("evidence", said.evidence(application).unwrap_or_default(), self.evidence);
        for (check, outcome) in self.checks {
            compare(check, said.check(check), outcome);
        }
        for (family, value) in self.samples {
            compare(
                family,
                format!("{:?}", said.app(family, application)),
                &format!("{:?}", Some(value)),
            );
        }
        for family in self.absent {
            compare(family, format!("{:?}", said.app(family, application)), "None");
        }
        missing.extend(lacking("health", &said.health.body, self.says));
        missing.extend(lacking("page", &said.landing.body, self.landing));
        missing
    }

    fn missing_from_check(&self, code: i32, output: &str) -> Vec<String> {
        let mut missing = lacking("check", output, self.check_says);
        if !self.codes.is_empty() && !self.codes.contains(&code) {
            missing.push(format!("check: exit code {code} instead of {:?}", self.codes));
        }
        missing
    }
}

fn lacking(place: &str, text: &str, words: &[&str]) -> Vec<String> {
    let lacking = words.iter().filter(|words| !text.contains(**words));
    lacking.map(|words| format!("{place} does not say {words:?}")).collect()
}

/// All that the exporter says at one moment.
pub(super) struct Said {
    pub(super) page: Answer,
    pub(super) health: Answer,
    pub(super) landing: Answer,
}

impl Said {
    /// The sample of a family `db_pool_app_*` of an application; `None` when there is not exactly one.
    pub(super) fn app(&self, family: &str, application: &str) -> Option<f64> {
        let start = format!("db_pool_app_{family}{{");
        let label = format!("application=\"{application}\"");
        let mut lines =
            self.page.body.lines().filter(|l| l.starts_with(&start) && l.contains(&label));
        let line = lines.next().filter(|_| lines.next().is_none())?;
        line.rsplit(' ').next()?.replace("+Inf", "inf").parse().ok()
    }

    /// The label `evidence` of the number of processes.
    pub(super) fn evidence(&self, application: &str) -> Option<String> {
        let label = format!("application=\"{application}\"");
        let mut lines = self.page.body.lines().filter(|line| {
            line.starts_with("db_pool_app_instances")
                && line.contains(&label)
                && !line.ends_with(" 0")
        });
        lines.find_map(|line| {
            let value = line.split_once("evidence=\"")?.1;
            Some(value.split_once('"')?.0.to_owned())
        })
    }

    /// The values of the label `application` in the families that begin so.
    pub(super) fn applications(&self, start: &str) -> Vec<&str> {
        let lines = self.page.body.lines().filter(|line| line.starts_with(start));
        let mut all: Vec<&str> = lines
            .filter_map(|line| {
                line.split_once("application=\"")?.1.split_once('"').map(|(name, _)| name)
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn database(&self) -> Value {
        serde_json::from_str::<Value>(&self.health.body).unwrap_or_default()["components"]["database"].take()
    }

    pub(super) fn status(&self) -> String {
        text(&self.database()["status"])
    }

    pub(super) fn source(&self) -> String {
        text(&self.database()["metadata"]["source"])
    }

    pub(super) fn check(&self, name: &str) -> String {
        text(&self.database()["metadata"]["pool_health"]["checks"][name]["status"])
    }

    /// What is said, in one line for a table.
    pub(super) fn row(&self, application: &str) -> String {
        let number = |family: &str| {
            let value = self.app(family, application);
            value.map_or("-".to_owned(), |value| format!("{value}"))
        };
        let database = self.database();
        let saturation = &database["metadata"]["pool_health"]["checks"]["pool_saturation"];
        format!(
            "active {} (of {}, open {}), processes {} ({}, known {}), saturation {}, full {} | {} {}, source {}: {} / {} {}",
            number("active_connections"),
            number("max_connections"),
            number("open_connections"),
            number("instances"),
            self.evidence(application).unwrap_or("-".to_owned()),
            number("instances_known"),
            number("saturation_ratio"),
            number("saturated_instances"),
            self.health.status,
            self.status(),
            self.source(),
            text(&database["message"]),
            text(&saturation["status"]),
            text(&saturation["message"]),
        )
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const PATIENCE: Duration = Duration::from_secs(12);
