//! The limits of a pooler, and what counts towards them: SHOW DATABASES, USERS, CONFIG, LISTS and STATE.

use std::collections::BTreeMap;

use super::pools::{CONSOLE, SHOW_VERSION};
use super::product::PoolerIdentity;
use super::table::{ConsoleAnswers, Record, Table, count, is_true};
use crate::view::column::ViewError;
use crate::view::memory::Digest;
use crate::view::row::{Answer, Context, View, ViewSource, view_name};

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("pooler"),
    doc: "a pooler's limits and its state, from `SHOW DATABASES`, `USERS`, `CONFIG`, `LISTS` and `STATE` (`kind: pgbouncer`)",
    since: 0,
    on_by_default: true,
    is_sampled: false,
    source: ViewSource::Console { ask, read },
    readings: &[super::readings::LIMITS],
};

const DATABASES: &str = "SHOW DATABASES";
const USERS: &str = "SHOW USERS";
const CONFIG: &str = "SHOW CONFIG";
const LISTS: &str = "SHOW LISTS";
/// Since 1.19.
const STATE: &str = "SHOW STATE";

/// The limits of a pooler, and what counts towards them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsoleLimits {
    /// The databases by name, without the console's own.
    pub databases: BTreeMap<String, DatabaseLimits>,
    /// The users by name.
    pub users: BTreeMap<String, UserLimits>,
    /// The keys of SHOW CONFIG that matter here.
    pub config: ConsoleConfig,
    /// Client connections of the whole process, those to the console included.
    pub clients: Option<u64>,
    /// True while the whole process is paused; `None` before 1.19, where it cannot be seen.
    pub is_paused: Option<bool>,
    /// True while the whole process is suspended; `None` before 1.19.
    pub is_suspended: Option<bool>,
    /// True if several processes share the address, and a connection reaches any one of them.
    pub is_one_of_several: bool,
    /// True if a pool size of 0 means no limit, as since 1.24.
    pub zero_is_unlimited: bool,
}

/// A database of SHOW DATABASES. A limit of 0 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseLimits {
    /// The server as `host:port`; `local:port` for a Unix socket.
    pub server: String,
    /// The database's name on the server.
    pub database: String,
    /// The database's own pool size, or the default one.
    pub pool_size: Option<u64>,
    /// Connections beyond the pool size, for clients that have waited for long.
    pub reserve_pool: Option<u64>,
    /// The limit of server connections of all its pools.
    pub max_connections: Option<u64>,
    /// The server connections of all its pools.
    pub connections: Option<u64>,
    /// The limit of client connections (since 1.24).
    pub max_clients: Option<u64>,
    /// Client connections (since 1.24).
    pub clients: Option<u64>,
    /// True while it is paused by name. A pause of the whole process does not show here.
    pub is_paused: Option<bool>,
}

/// A user of SHOW USERS. A limit of 0 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// The pool size that this user's pools have instead of the database's.
    pub pool_size: OwnSize,
    /// The same for the reserve.
    pub reserve_pool: OwnSize,
    /// The limit of server connections of all pools of the user (since 1.23).
    pub max_connections: Option<u64>,
    /// The server connections of all pools of the user (since 1.23).
    pub connections: Option<u64>,
    /// The limit of client connections (since 1.24).
    pub max_clients: Option<u64>,
    /// Client connections (since 1.24).
    pub clients: Option<u64>,
}

/// A size of a user's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnSize {
    /// It has none, and the database's applies.
    #[default]
    Unset,
    /// It has this one.
    Set(u64),
    /// It has this one or none. Until 1.25.2, SHOW USERS shows a user without a size of its own with that of the
    /// user before it (<https://github.com/pgbouncer/pgbouncer/pull/1489>).
    Unclear(u64),
}

impl OwnSize {
    /// The size in force where the database's is this one; `None` where it is not known.
    pub fn or(self, of_database: Option<u64>) -> Option<u64> {
        match self {
            Self::Unset => of_database,
            Self::Set(size) => Some(size),
            // Either way it is the same one.
            Self::Unclear(size) => of_database.filter(|of_database| *of_database == size),
        }
    }
}

/// The keys of SHOW CONFIG that matter here; no other key is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// Client connections that the process accepts.
    pub max_client_conn: Option<u64>,
    /// The pool size of users and databases without one of their own.
    pub default_pool_size: Option<u64>,
    /// True if several processes share the port.
    pub so_reuseport: bool,
    /// The number of this process among its peers; 0 or `None` for none.
    pub peer_id: Option<u64>,
    /// The folder of its Unix socket, which tells the processes of one machine apart.
    pub unix_socket_dir: Option<String>,
}

impl Answer for ConsoleLimits {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        digest.memory.console.stats.may_change_process = self.is_one_of_several;
        digest.console.limits = Some(*self);
    }
}

/// The answer where only the pooler's version is read.
struct IdentityOnly;

impl Answer for IdentityOnly {
    fn digest(self: Box<Self>, _: &mut Digest<'_>) {}
}

fn ask(context: &Context<'_>, server_version: &str) -> Vec<&'static str> {
    let known = context.memory.console.identity(server_version);
    let identity = known.unwrap_or_else(|| PoolerIdentity::of(server_version, None));
    if identity.product.has_limits() {
        vec![DATABASES, USERS, CONFIG, LISTS, STATE]
    } else {
        // What they answer to the rest has another meaning than PgBouncer's columns of the same names.
        vec![SHOW_VERSION]
    }
}

fn read(context: &Context<'_>, answers: &ConsoleAnswers) -> Result<Box<dyn Answer>, ViewError> {
    let identity = context.memory.console.identify(answers);
    if !identity.product.has_limits() {
        return Ok(Box::new(IdentityOnly));
    }
    let databases = answers.required(DATABASES, &["name", "pool_size", "max_connections"])?;
    let state = answers.get(STATE).map(|table| table.pairs("key", "value"));
    let state = |key| state.as_ref().and_then(|state| state.get(key).map(|value| is_true(value)));
    let config = answers.get(CONFIG).map_or_else(ConsoleConfig::default, config);
    Ok(Box::new(ConsoleLimits {
        is_one_of_several: config.so_reuseport && answers.is_tcp,
        databases: databases.rows().filter_map(database).collect(),
        users: answers.get(USERS).map_or_else(BTreeMap::new, |table| users(table, &identity)),
        config,
        clients: answers.get(LISTS).and_then(|table| {
            table.pairs("list", "items").get("used_clients").and_then(|items| count(items))
        }),
        is_paused: state("paused"),
        is_suspended: state("suspended"),
        zero_is_unlimited: identity.is_at_least(1, 24).unwrap_or(true),
    }))
}

fn database(row: Record<'_>) -> Option<(String, DatabaseLimits)> {
    let name = row.text("name").filter(|name| *name != CONSOLE)?;
    let host = row.text("host").filter(|host| !host.is_empty() && !host.starts_with('/'));
    let port = row.text("port").unwrap_or_default();
    let limits = DatabaseLimits {
        server: format!("{}:{port}", host.unwrap_or("local")),
        database: row.text("database").unwrap_or(name).to_owned(),
        pool_size: row.count("pool_size"),
        // Renamed in 1.24.
        reserve_pool: row.count("reserve_pool_size").or_else(|| row.count("reserve_pool")),
        max_connections: row.count("max_connections"),
        connections: row.count("current_connections"),
        max_clients: row.count("max_client_connections"),
        clients: row.count("current_client_connections"),
        is_paused: row.flag("paused"),
    };
    Some((name.to_owned(), limits))
}

fn users(table: &Table, identity: &PoolerIdentity) -> BTreeMap<String, UserLimits> {
    // A version that is not known is taken for one that repeats.
    let is_repeating = identity.number().is_none_or(|number| number <= (1, 25, 2));
    let mut before = [None, None];
    let mut users = BTreeMap::new();
    for row in table.rows() {
        let shown = [row.count("pool_size"), row.count("reserve_pool_size")];
        let own = |place: usize| match shown[place] {
            None => OwnSize::Unset,
            Some(size) if is_repeating && before[place] == Some(size) => OwnSize::Unclear(size),
            Some(size) => OwnSize::Set(size),
        };
        let limits = UserLimits {
            pool_size: own(0),
            reserve_pool: own(1),
            max_connections: row.count("max_user_connections"),
            connections: row.count("current_connections"),
            max_clients: row.count("max_user_client_connections"),
            clients: row.count("current_client_connections"),
        };
        before = shown;
        if let Some(name) = row.text("name") {
            users.insert(name.to_owned(), limits);
        }
    }
    users
}

fn config(table: &Table) -> ConsoleConfig {
    let values = table.pairs("key", "value");
    let number = |key| values.get(key).and_then(|value| count(value));
    ConsoleConfig {
        max_client_conn: number("max_client_conn"),
        default_pool_size: number("default_pool_size"),
        so_reuseport: values.get("so_reuseport").is_some_and(|value| is_true(value)),
        peer_id: number("peer_id"),
        unix_socket_dir: values
            .get("unix_socket_dir")
            .filter(|folder| !folder.is_empty())
            .map(|folder| (*folder).to_owned()),
    }
}
