//! The families of a pooler.
//!
//! Where a target has several processes, each sample has the label `process` after those of its family.

use super::clients::PoolerApplication;
use super::console::{Console, PooledPool};
use super::stats::Stat;
use crate::metrics::{Kind, Label, Reading, Samples, Value};
use crate::view::Views;
use crate::view::counters::Counters;

/// The labels of the families of a pool.
const POOL: &[&str] = &["database", "user"];

const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Views, &mut Samples<'_>),
) -> Reading<Views> {
    Reading { name, help, kind: Kind::Gauge, labels, read }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&Views, &mut Samples<'_>),
) -> Reading<Views> {
    Reading { name, help, kind: Kind::Counter, labels: &["database"], read }
}

/// Families of a process.
pub(super) const PROCESS: &[Reading<Views>] = &[
    gauge(
        "db_pool_pgbouncer_up",
        "1 when the pooler's console has answered SHOW POOLS in the last probe, otherwise 0.",
        &[],
        |views, out| each(views, |console| push(out, console, &[], console.is_up)),
    ),
    gauge(
        "db_pool_pgbouncer_info",
        "Always 1; the labels have the pooler's version and its product: pgbouncer, pgcat, pgdog, odyssey or other.",
        &["version", "pooler"],
        |views, out| {
            each(views, |console| {
                if let Some(identity) = &console.identity {
                    let product = identity.product.label();
                    push(out, console, &[&identity.version, product], 1_u32);
                }
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_one_of_several",
        "1 when the target's address belongs to several processes (so_reuseport) of which a connection reaches any one: the numbers are those of one process. Otherwise 0. The processes are told apart with discover: peers.",
        &[],
        |views, out| {
            each(views, |console| {
                push(out, console, &[], console.is_one_of_several);
            });
        },
    ),
];

/// Families of a pool.
pub(super) const POOLS: &[Reading<Views>] = &[
    gauge(
        "db_pool_pgbouncer_client_connections",
        "Client connections of a pool by state. waiting: has sent something and waits for a server connection. active_or_idle: has a server connection, or is idle, which PgBouncer counts together. A state that the pooler does not count is absent.",
        &["database", "user", "state"],
        |views, out| {
            pools(views, |console, pool| {
                for (state, n) in &pool.connections.clients {
                    push(out, console, &[&pool.key.database, &pool.key.user, state.label()], *n);
                }
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_server_connections",
        "Server connections of a pool by state. active: a client has it, also while it is idle in a transaction. used: idle for so long that it is tested before use. A state that the pooler does not count is absent.",
        &["database", "user", "state"],
        |views, out| {
            pools(views, |console, pool| {
                for (state, n) in &pool.connections.servers {
                    push(out, console, &[&pool.key.database, &pool.key.user, state.label()], *n);
                }
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_max_wait_seconds",
        "How long the client that waits for longest has waited for a server connection; 0 while none waits. PgBouncer shows 0 for a client that waits for a login or in PAUSE before its first query: then it is the time for which the exporter has seen such waits without a break. Absent where the pooler does not measure waits.",
        POOL,
        |views, out| pools(views, |console, pool| of_pool(out, console, pool, pool.max_wait)),
    ),
    gauge(
        "db_pool_pgbouncer_waiting_seconds",
        "How long clients of the pool have waited without a break, as seen in the exporter's samples; 0 while none waits. Each of them may have waited for a shorter time. Absent where the pooler does not count waiting clients.",
        POOL,
        |views, out| {
            pools(views, |console, pool| {
                let waiting =
                    pool.connections.waiting().map(|_| pool.waiting_for.unwrap_or_default());
                of_pool(out, console, pool, waiting);
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_pool_size",
        "Server connections that a pool may open without its reserve: the user's pool_size, or else the database's, or else default_pool_size. 0 is no limit. Absent where it is not known.",
        POOL,
        |views, out| pools(views, |console, pool| of_pool(out, console, pool, pool.size)),
    ),
    gauge(
        "db_pool_pgbouncer_reserve_pool_size",
        "Server connections beyond the pool size that a pool may open when a client has waited for reserve_pool_timeout.",
        POOL,
        |views, out| pools(views, |console, pool| of_pool(out, console, pool, pool.reserve)),
    ),
    gauge(
        "db_pool_pgbouncer_saturation_ratio",
        "Server connections in use, divided by the limit that is reached first: pool size, max_db_connections or max_user_connections. At 1 the next client waits; above 1 reserve connections are in use. Absent where no limit exists.",
        POOL,
        |views, out| pools(views, |console, pool| of_pool(out, console, pool, pool.saturation)),
    ),
];

/// Families of limits.
pub(super) const LIMITS: &[Reading<Views>] = &[
    gauge(
        "db_pool_pgbouncer_database_connections",
        "Server connections of all pools of a database.",
        &["database"],
        |views, out| databases(views, out, |limits| limits.connections),
    ),
    gauge(
        "db_pool_pgbouncer_database_connection_limit",
        "The limit of server connections of a database (max_db_connections); 0 is no limit.",
        &["database"],
        |views, out| databases(views, out, |limits| limits.max_connections),
    ),
    gauge(
        "db_pool_pgbouncer_database_clients",
        "Client connections of a database (PgBouncer 1.24 and later).",
        &["database"],
        |views, out| databases(views, out, |limits| limits.clients),
    ),
    gauge(
        "db_pool_pgbouncer_database_client_limit",
        "The limit of client connections of a database (max_db_client_connections, PgBouncer 1.24 and later); 0 is no limit.",
        &["database"],
        |views, out| databases(views, out, |limits| limits.max_clients),
    ),
    gauge(
        "db_pool_pgbouncer_user_connections",
        "Server connections of all pools of a user that has a limit (PgBouncer 1.23 and later).",
        &["user"],
        |views, out| users(views, out, |limits| limits.connections),
    ),
    gauge(
        "db_pool_pgbouncer_user_connection_limit",
        "The limit of server connections of a user that has one (max_user_connections, PgBouncer 1.23 and later).",
        &["user"],
        |views, out| users(views, out, |limits| limits.max_connections),
    ),
    gauge(
        "db_pool_pgbouncer_clients",
        "Client connections of the whole process, those to the console included.",
        &[],
        |views, out| {
            each(views, |console| {
                push(out, console, &[], console.limits.as_ref().and_then(|limits| limits.clients));
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_client_limit",
        "The client connections that the process accepts (max_client_conn). A client beyond it is refused; the console still answers then.",
        &[],
        |views, out| {
            each(views, |console| {
                let limits = console.limits.as_ref();
                push(out, console, &[], limits.and_then(|limits| limits.config.max_client_conn));
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_paused",
        "1 while a database is paused, by name or with the whole process; its clients wait. Otherwise 0. PgBouncer before 1.19 does not show a pause of the whole process: 0 is absent there.",
        &["database"],
        |views, out| {
            each(views, |console| {
                let pauses = console.pauses();
                pauses.iter().for_each(|(name, paused)| push(out, console, &[name], *paused));
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_budget_connections",
        "The server connections that the process's present pools may open together on a server: their sizes and reserves, within max_db_connections and max_user_connections. To be held against the server's max_connections. Absent for a server with a pool without a limit.",
        &["server"],
        |views, out| {
            each(views, |console| {
                console.budgets.iter().for_each(|(server, n)| push(out, console, &[server], *n));
            });
        },
    ),
];

/// Families of a database's counters.
pub(super) const TOTALS: &[Reading<Views>] = &[
    counter(
        "db_pool_pgbouncer_transactions_total",
        "Transactions of a database since the exporter has watched it. It does not fall when the pooler's own number does.",
        |views, out| totals(views, out, Stat::Transactions),
    ),
    counter(
        "db_pool_pgbouncer_queries_total",
        "Statements of a database since the exporter has watched it.",
        |views, out| totals(views, out, Stat::Queries),
    ),
    counter(
        "db_pool_pgbouncer_server_assignments_total",
        "Times that a server connection was given to a client (PgBouncer 1.23 and later).",
        |views, out| totals(views, out, Stat::ServerAssignments),
    ),
    counter(
        "db_pool_pgbouncer_client_logins_total",
        "Logins of clients (versions of PgBouncer after 1.25).",
        |views, out| totals(views, out, Stat::ClientLogins),
    ),
    counter(
        "db_pool_pgbouncer_received_bytes_total",
        "Bytes received from clients.",
        |views, out| totals(views, out, Stat::ReceivedBytes),
    ),
    counter("db_pool_pgbouncer_sent_bytes_total", "Bytes sent to clients.", |views, out| {
        totals(views, out, Stat::SentBytes)
    }),
    counter(
        "db_pool_pgbouncer_transaction_seconds_total",
        "Time that clients spent in transactions.",
        |views, out| totals(views, out, Stat::TransactionSeconds),
    ),
    counter(
        "db_pool_pgbouncer_query_seconds_total",
        "Time that servers spent with statements.",
        |views, out| totals(views, out, Stat::QuerySeconds),
    ),
    counter(
        "db_pool_pgbouncer_wait_seconds_total",
        "Time that clients waited for a server connection, as the pooler counts it: it grows when a wait ends. db_pool_pgbouncer_waiting_client_seconds_total grows while they wait.",
        |views, out| totals(views, out, Stat::WaitSeconds),
    ),
];

/// Families of the applications behind a pool.
pub(super) const APPLICATIONS: &[Reading<Views>] = &[
    gauge(
        "db_pool_pgbouncer_application_clients",
        "Client connections of an application by state, once a minute (views.clients). Idle ones are active before PgBouncer 1.25; the application's name is empty before 1.18.",
        &["database", "user", "application", "state"],
        |views, out| {
            applications(views, |console, [database, user, name], application| {
                for (state, n) in &application.clients {
                    push(out, console, &[database, user, name, state], *n);
                }
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_application_servers",
        "Server connections that an application has, or had last, by state, once a minute (views.clients).",
        &["database", "user", "application", "state"],
        |views, out| {
            applications(views, |console, [database, user, name], application| {
                for (state, n) in &application.servers {
                    push(out, console, &[database, user, name, state], *n);
                }
            });
        },
    ),
    gauge(
        "db_pool_pgbouncer_application_max_wait_seconds",
        "How long the application's client that waits for longest has waited, once a minute (views.clients); 0 while none waits.",
        &["database", "user", "application"],
        |views, out| {
            applications(views, |console, labels, application| {
                push(out, console, &labels, application.max_wait);
            });
        },
    ),
];

/// The family that grows between two probes; read at each scrape.
pub(in crate::view) const WAITING_CLIENT_SECONDS: Reading<Counters> = Reading {
    name: "db_pool_pgbouncer_waiting_client_seconds_total",
    help: "Sampled seconds that clients of a pool have waited for a server connection, all clients together; it grows while they wait, and its rate is their mean number. Absent where the pooler does not count waiting clients.",
    kind: Kind::Counter,
    labels: POOL,
    read: |counters, out| {
        for (process, pools) in &counters.waiting {
            for (key, seconds) in pools {
                let process = process.iter().map(|process| ("process", process.as_str()));
                out.push_own(&[&key.database, &key.user], process, *seconds);
            }
        }
    },
};

fn each(views: &Views, each: impl FnMut(&Console)) {
    views.consoles.iter().for_each(each);
}

fn pools(views: &Views, mut each: impl FnMut(&Console, &PooledPool)) {
    for console in &views.consoles {
        console.pools.iter().flatten().for_each(|pool| each(console, pool));
    }
}

fn of_pool(out: &mut Samples<'_>, console: &Console, pool: &PooledPool, value: impl Value) {
    push(out, console, &[&pool.key.database, &pool.key.user], value);
}

fn applications(views: &Views, mut each: impl FnMut(&Console, [&str; 3], &PoolerApplication)) {
    for console in &views.consoles {
        for (key, application) in console.applications.iter().flatten() {
            each(console, key.labels(), application);
        }
    }
}

fn databases(
    views: &Views,
    out: &mut Samples<'_>,
    value: impl Fn(&super::limits::DatabaseLimits) -> Option<u64>,
) {
    for console in &views.consoles {
        for (name, limits) in console.limits.iter().flat_map(|limits| &limits.databases) {
            push(out, console, &[name], value(limits));
        }
    }
}

fn users(
    views: &Views,
    out: &mut Samples<'_>,
    value: impl Fn(&super::limits::UserLimits) -> Option<u64>,
) {
    for console in &views.consoles {
        for (name, limits) in console.limits.iter().flat_map(|limits| &limits.users) {
            push(out, console, &[name], value(limits));
        }
    }
}

fn totals(views: &Views, out: &mut Samples<'_>, stat: Stat) {
    for console in &views.consoles {
        for (name, totals) in &console.totals {
            push(out, console, &[name], totals.get(&stat).copied());
        }
    }
}

/// Adds a sample with the label of its process, where there are several.
fn push(out: &mut Samples<'_>, console: &Console, labels: &[&str], value: impl Value) {
    let process = console.process.iter().map(|process| ("process", process.as_str()));
    out.push_own(labels, process, value);
}
