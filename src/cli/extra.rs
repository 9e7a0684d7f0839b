//! What follows the flags in `--help` and in the manual pages: the environment, exit codes and examples.

/// The further sections of a subcommand's help.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    /// The subcommand; empty for the program itself.
    pub name: &'static str,
    /// Variables with their meanings.
    pub environment: &'static [(&'static str, &'static str)],
    /// Exit codes with their meanings.
    pub exit: &'static [(&'static str, &'static str)],
    /// Command lines, each with what it is for.
    pub examples: &'static [(&'static str, &'static str)],
}

const TARGET: &[(&str, &str)] = &[
    ("DATABASE_URL", "the database, as the application has it"),
    ("DB_POOL_SIZE, DB_MAX_OVERFLOW", "the limits of one process's pool"),
    ("DB_MONITOR_INSTANCES", "the number of processes, each with such a pool"),
    ("NO_COLOR", "no colours, unless --color asks for them"),
];

/// The sections of every subcommand that has some.
pub const EXTRAS: &[Extra] = &[
    Extra {
        name: "",
        environment: &[
            ("DATABASE_URL", "the database, as the application has it"),
            ("DB_POOL_SIZE, DB_MAX_OVERFLOW", "the limits of one process's pool"),
            ("DB_MONITOR_INSTANCES", "the number of processes, each with such a pool"),
            ("DB_MONITOR_INTERVAL", "the time from one probe to the next"),
            ("DB_POOL_EXPORTER_...", "the variable of each flag"),
            ("NO_COLOR", "no colours, unless --color asks for them"),
        ],
        exit: &[
            ("0", "stopped by SIGTERM or SIGINT"),
            ("1", "the daemon could not listen"),
            ("64", "flags, variables or the configuration file are wrong"),
        ],
        examples: &[
            (
                "DATABASE_URL=postgresql+asyncpg://app@db:5432/orders db_pool_exporter",
                "watch one database",
            ),
            ("db_pool_exporter --config.file /etc/db_pool_exporter/config.yml", "watch several"),
            ("db_pool_exporter check", "probe once, and see what is wrong"),
            ("db_pool_exporter size --prometheus.url http://prometheus:9090", "size the pool"),
        ],
    },
    Extra {
        name: "config",
        environment: &[],
        exit: &[("0", "the configuration is valid"), ("64", "it is not")],
        examples: &[("db_pool_exporter config --config.file config.yml", "show what is in force")],
    },
    Extra {
        name: "check",
        environment: TARGET,
        exit: &[
            ("0", "every target is healthy"),
            ("1", "a target is degraded"),
            ("2", "a target is unhealthy"),
            ("3", "the targets could not be judged"),
        ],
        examples: &[
            ("db_pool_exporter check", "probe once"),
            ("db_pool_exporter check --samples 5", "also see whether the pool stays exhausted"),
            ("db_pool_exporter check --format json | jq .status", "for programs"),
        ],
    },
    Extra {
        name: "size",
        environment: TARGET,
        exit: &[
            ("0", "the pools fit the server and the load"),
            ("1", "they do not"),
            ("3", "it cannot be judged: too little data, no server, or no application"),
            ("64", "flags are wrong"),
        ],
        examples: &[
            (
                "db_pool_exporter size --prometheus.url http://prometheus:9090 --window 7d",
                "from a week of measurements",
            ),
            ("db_pool_exporter size --for 60s", "from a short look at the server"),
            (
                "db_pool_exporter size --workers 4 --connections-per-worker 5 --processes 8",
                "by the rule of thumb",
            ),
        ],
    },
    Extra {
        name: "drill",
        environment: TARGET,
        exit: &[
            ("0", "the server gave every connection"),
            ("1", "it refused some"),
            ("3", "the configuration is wrong"),
            ("64", "flags are wrong, or --yes is missing"),
            ("130", "interrupted; everything is closed all the same"),
        ],
        examples: &[
            ("db_pool_exporter drill", "show what would be done"),
            ("db_pool_exporter drill --yes", "all connections of one process"),
            ("db_pool_exporter drill --yes --connections 240 --hold 10s", "those of eight"),
        ],
    },
    Extra {
        name: "healthcheck",
        environment: &[(
            "DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS",
            "the daemon's address, as the daemon has it",
        )],
        exit: &[("0", "the daemon is alive"), ("1", "it is not")],
        examples: &[("HEALTHCHECK CMD [\"db_pool_exporter\", \"healthcheck\"]", "in a Dockerfile")],
    },
    Extra {
        name: "completions",
        environment: &[],
        exit: &[],
        examples: &[("source <(db_pool_exporter completions bash)", "in this shell, now")],
    },
];

/// Returns the sections of a subcommand, or of the program itself if the name is empty.
#[must_use]
pub fn extra(name: &str) -> Option<&'static Extra> {
    EXTRAS.iter().find(|extra| extra.name == name)
}

impl Extra {
    /// Returns the sections as they follow the flags in `--help`.
    pub(super) fn text(&self) -> String {
        let examples: Vec<String> = self
            .examples
            .iter()
            .map(|(line, purpose)| format!("  # {purpose}\n  {line}\n"))
            .collect();
        let examples = if examples.is_empty() {
            String::new()
        } else {
            format!("EXAMPLES:\n{}", examples.join("\n"))
        };
        let sections =
            [list("ENVIRONMENT", self.environment), list("EXIT STATUS", self.exit), examples];
        let sections: Vec<String> = sections.into_iter().filter(|text| !text.is_empty()).collect();
        sections.join("\n").trim_end().to_owned()
    }
}

fn list(head: &str, rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let rows = rows.iter().map(|(name, meaning)| format!("  {name:<width$}  {meaning}\n"));
    let rows: String = rows.collect();
    if rows.is_empty() { rows } else { format!("{head}:\n{rows}") }
}
