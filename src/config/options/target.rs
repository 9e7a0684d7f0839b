//! Options of a target, and those of them that `defaults` may hold too.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::{options, row};
use crate::config::kind::{
    Checked, Choice, FilePath, Grammar, Hidden, Limit, List, OptionType, Percent, RawValue,
    Section, Switch, Text, Time, TimeOr, Whole, quote,
};
use crate::metrics::Detail;
use crate::probe::{ProcessAddress, TargetKind, write};

const INTERVALS: Time = Time::new(100, 3600);
const DEADLINES: Time = Time::new(10, 3600);
const STATEMENTS: Time = Time::new(1, 86_400);
const CONNECTIONS: u32 = 10_000;

/// The URL that the application has built in.
pub(in crate::config) const BUILT_IN_URL: &str =
    "postgresql+asyncpg://sentinelops:sentinelops@localhost:5432/sentinelops";

options! {
    /// Options that may stand in `defaults` and in each target.
    COMMON:

    POOL_SIZE: Whole = row(
        "pool.size",
        Whole(0, CONNECTIONS, " (0 is no limit)"),
        "connections that the pool keeps; 0 means no limit",
    ).app_variable("DB_POOL_SIZE");
    POOL_MAX_OVERFLOW: Limit = row(
        "pool.max_overflow",
        Limit(CONNECTIONS),
        "connections beyond the pool size, closed on return; -1 means no limit",
    ).app_variable("DB_MAX_OVERFLOW");
    POOL_TIMEOUT: Time = row("pool.timeout", Time::new(1, 3600), "how long a check-out waits for a connection")
        .app_variable("DB_POOL_TIMEOUT");
    POOL_RECYCLE: TimeOr = row(
        "pool.recycle",
        TimeOr { time: Time::new(0, 31_536_000), word: "never", number: Some(-1), whole: true },
        "age at which a connection is replaced at check-out; -1 means never",
    ).app_variable("DB_POOL_RECYCLE");
    POOL_PRE_PING: Switch = row(
        "pool.pre_ping",
        Switch,
        "test an idle connection at check-out, and replace a dead one",
    ).app_variable("DB_POOL_PRE_PING");
    POOL_USE_LIFO: Switch = row(
        "pool.use_lifo",
        Switch,
        "the connection used last goes out first; false: the one used first",
    ).app_variable("DB_POOL_USE_LIFO");
    POOL_ECHO: Switch = row("pool.echo", Switch, "log every check-out and check-in, with its wait")
        .app_variable("DB_ECHO_POOL");

    INTERVAL: Time = row("interval", INTERVALS, "from the start of one probe to the start of the next")
        .own_variable("DB_MONITOR_INTERVAL");
    TIMEOUT: Time = row(
        "timeout",
        DEADLINES,
        "the deadline of one probe, at most the interval: at its end what is known is published, and `db_pool_up` is 0",
    ).own_variable("DB_MONITOR_TIMEOUT").default("80 % of the interval").example("8s");
    SLOW_QUERY_SAMPLING: Time = row(
        "slow_query_sampling",
        INTERVALS,
        "the time between two samples of the sessions, at most the interval: slow queries and what pools have in use \
         over time are counted from them. Where a sample takes long, the exporter samples less often by itself, so \
         that it never takes more than half a percent of a core",
    ).own_variable("DB_MONITOR_SLOW_QUERY_SAMPLING");
    CONNECT_INTERVAL: TimeOr = row(
        "connect_interval",
        TimeOr { time: Time::new(100, 86_400), word: "never", number: Some(0), whole: false },
        "how often to open a connection only to see that it can be done; 0 never",
    ).own_variable("DB_MONITOR_CONNECT_INTERVAL").default("each probe").example("10s");
    QUERY: Text = row(
        "query",
        Text("a statement"),
        "the statement of the probe; it runs in a read-only transaction. For `kind: pgbouncer` it is `SHOW VERSION`, \
         and `defaults` does not change it",
    ).own_variable("DB_MONITOR_QUERY");
    SLOW_QUERY_THRESHOLD: Time = row(
        "slow_query_threshold",
        STATEMENTS,
        "a query that runs for longer is slow; see [how slow queries are counted](how-it-works.md#slow-queries)",
    ).own_variable("DB_MONITOR_SLOW_QUERY_THRESHOLD");
    SATURATION_PERCENT: Percent = row(
        "saturation_percent",
        Percent,
        "percent of the pool size in use from which the pool is degraded",
    ).own_variable("DB_MONITOR_SATURATION_PERCENT");
    SLOW_RATE_PERCENT: Percent = row(
        "slow_rate_percent",
        Percent,
        "percent of slow statements of the probe itself from which the pool is degraded",
    ).own_variable("DB_MONITOR_SLOW_RATE_PERCENT");
    CONNECT_TIMEOUT: Time = row(
        "connect_timeout",
        Time::new(10, 300),
        "the limit for opening a connection, all phases together; at most 95 % of the probe's `timeout`, so that the \
         probe can name the phase that hung",
    ).app_variable("DB_CONNECT_TIMEOUT");
    MAX_CONNECTIONS_PER_SERVER: Whole = row(
        "max_connections_per_server",
        Whole(2, 100, ""),
        "the most connections that the exporter opens to the target's server, together with all other targets of the \
         same hosts and ports; where these differ, the smallest number counts. See \
         [many databases on one server](how-it-works.md#many-databases-on-one-server)",
    ).own_variable("DB_MONITOR_MAX_CONNECTIONS_PER_SERVER");
    COMMAND_TIMEOUT: TimeOr = row(
        "command_timeout",
        TimeOr { time: STATEMENTS, word: "none", number: None, whole: false },
        "the limit of a statement, here and on the server; without it the probe's `timeout` is the limit",
    ).app_variable("DB_COMMAND_TIMEOUT");
    ECHO: Switch = row("echo", Switch, "log every statement that the exporter sends")
        .app_variable("DATABASE_ECHO");
    QUERY_CACHE_SIZE: Whole = row(
        "query_cache_size",
        Whole(0, 1_000_000, " (0 remembers none)"),
        "how many queries are remembered for each target, the oldest dropped first \
         ([slow ones](how-it-works.md#slow-queries), and the top statements); 0 remembers none",
    ).app_variable("DB_QUERY_CACHE_SIZE");
    USE_INSERTMANYVALUES: Switch = row(
        "use_insertmanyvalues",
        Switch,
        "the [write probe](how-it-works.md#the-write-probe) sends its rows as one INSERT; false: one by one",
    ).app_variable("DB_USE_INSERTMANYVALUES");
    SHOW_QUERY_TEXT: Switch = row(
        "show_query_text",
        Switch,
        "show the text of slow queries at `/api/v1/database/slow-queries`; it can hold personal data",
    );
    LEAK_THRESHOLD: Time = row(
        "leak_threshold",
        STATEMENTS,
        "a session that is idle in its transaction for longer is a leak",
    );
    SERIES_LIMIT: Whole = row(
        "series_limit",
        Whole(1, 10_000, ""),
        "the maximum number of label sets of database, user and application; the rest is added up as `other`",
    );
    METRICS: Choice<Detail> = row(
        "metrics",
        Choice::new(),
        "the detail of the metrics: `full` shows every bucket of every histogram, `standard` at most six buckets of the \
         histograms that are mostly asked for their mean, `lean` at most six of the main ones and no family that only \
         explains others ([which](metrics.md))",
    ).own_variable("DB_MONITOR_METRICS");
}

options! {
    /// Options of single views, and of the write probe; beside those of [`COMMON`].
    VIEW_DETAILS:

    STATEMENTS_TOP: Whole = row("views.statements.top", Whole(1, 500, ""), "how many statements");
    STATEMENTS_SHOW_TEXT: Switch = row(
        "views.statements.show_text",
        Switch,
        "show their normalized text, as a label",
    );

    WRITE_PROBE_ENABLED: Switch = row(
        "write_probe.enabled",
        Switch,
        "the [write probe](how-it-works.md#the-write-probe); it needs the table that deploy/sql/heartbeat.sql makes",
    );
    WRITE_PROBE_TABLE: Checked = row(
        "write_probe.table",
        Checked(is_table, "a table's name of letters, digits and `_`, perhaps with its schema and a `.`"),
        "its table, perhaps with its schema",
    );
    WRITE_PROBE_ROWS: Whole = row("write_probe.rows", Whole(1, write::MOST_ROWS, ""), "rows of one probe");
}

options! {
    /// Options of a target alone.
    TARGET:

    KIND: Choice<TargetKind> = row(
        "kind",
        Choice::new(),
        "a database, or the console of a [PgBouncer](pgbouncer.md); without it, a URL with the database `pgbouncer` is a console",
    );
    URL: Hidden = row(
        "url",
        Hidden,
        "the target: SQLAlchemy's form, libpq's URL or `key=value`, see [DATABASE_URL](#database_url); required in \
         the file, except for the target `default`",
    )
        .app_variable("DATABASE_URL")
        .file_variable(
            "DATABASE_URL_FILE",
            "a file with DATABASE_URL; its password is read again for each connection, the rest at a reload",
        )
        .default(BUILT_IN_URL)
        .example("postgresql+asyncpg://app@db.example:5432/orders");
    DATABASES: Checked = row(
        "databases",
        Checked(|word| word == "discover", "`discover`, or a table with `include`, `exclude`, `refresh` and `limit`"),
        "`discover`, or a table of the keys below: each database of the server becomes a target `TARGET/DATABASE` with \
         the settings of this one; see [many databases](scaling.md#many-databases-of-one-server)",
    ).default("none").example("discover");
    DISCOVER_INCLUDE: List<Text> = row(
        "databases.include",
        List(Text("a name; `*` stands for any characters")),
        "the databases that are wanted",
    ).default("all").example("[ \"app_*\" ]");
    DISCOVER_EXCLUDE: List<Text> = row(
        "databases.exclude",
        List(Text("a name; `*` stands for any characters")),
        "the databases that are not wanted, also where `include` has them",
    ).default("none").example("[ \"*_test\" ]");
    DISCOVER_REFRESH: Time = row(
        "databases.refresh",
        Time(Duration::from_secs(1), Duration::from_secs(86_400)),
        "from one listing of the databases to the next; one that is dropped while it is probed is noticed at once",
    );
    DISCOVER_LIMIT: Whole = row(
        "databases.limit",
        Whole(1, 10_000, ""),
        "the most databases that become targets, the first by name",
    );
    LABELS: Section = row("labels", Section, "labels on `db_pool_target_info` and in service discovery")
        .default("none");
    DISCOVER: Choice<Discover> = row(
        "discover",
        Choice::new(),
        "`peers`: the processes of a [PgBouncer with `so_reuseport`](pgbouncer.md#several-processes) are found by `SHOW \
         PEERS` (1.19 and later), and each is asked apart",
    ).default("none").example("peers");
    PROCESSES: List<ProcessAt> = row(
        "processes",
        List(ProcessAt),
        "the consoles of these processes, in place of `discover`: the folders of their Unix sockets, or hosts, perhaps \
         with `:PORT`",
    ).default("none").example("[/run/pgbouncer-1, /run/pgbouncer-2]");
    APPLICATIONS: Section = row(
        "applications",
        Section,
        "the applications whose pools are watched, by name; without any, the sessions of the URL's role in its \
         database are one",
    ).default("none");
}

options! {
    /// The ways to give a password.
    PASSWORD:

    PASSWORD_TEXT: Hidden = row(
        "password",
        Hidden,
        "the password, for a URL without one; at most one of these three",
    ).app_variable("DB_PASSWORD");
    PASSWORD_FILE: FilePath = row("password_file", FilePath, "a file with the password, read again for each connection")
        .app_variable("DB_PASSWORD_FILE");
    PASSWORD_COMMAND: Section = row(
        "password_command",
        Section,
        "a program that prints the password; no shell",
    );
    PASSWORD_COMMAND_ARGV: List<Text> = row(
        "password_command.command",
        List(Text("a program or an argument")),
        "the program and its arguments",
    );
    PASSWORD_COMMAND_TIMEOUT: Time = row("password_command.timeout", Time::new(100, 60), "how long it may run");
    PASSWORD_COMMAND_CACHE: Time = row(
        "password_command.cache",
        Time(Duration::ZERO, Duration::from_secs(86_400)),
        "how long its output is used; after a refusal it is run again at the next connection",
    );
}

/// The ways to find the processes of a pooler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(in crate::config) enum Discover {
    /// By SHOW PEERS.
    Peers,
}

/// The address of a process' console.
#[derive(Clone, Copy)]
pub(in crate::config) struct ProcessAt;

impl OptionType for ProcessAt {
    type Value = ProcessAddress;

    fn parse(&self, raw: &RawValue<'_>) -> Option<ProcessAddress> {
        ProcessAddress::parse(&Text("").parse(raw)?)
    }

    fn allowed(&self, _: Grammar) -> String {
        "the folder of a Unix socket or a host, perhaps with `:` and a port".to_owned()
    }

    fn show(&self, value: &ProcessAddress) -> String {
        quote(&value.name)
    }
}

/// Reports whether a text is the name of a table, with or without its schema.
fn is_table(name: &str) -> bool {
    name.split('.').count() <= 2 && name.split('.').all(is_identifier)
}

/// Reports whether a text is an identifier that needs no quotes, within PostgreSQL's 63 bytes.
fn is_identifier(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
