//! SHOW POOLS: the clients and the server connections of each pool, now. The only sampled view of a console.

use std::collections::BTreeMap;
use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use tokio::time::Instant;

use super::product::{PoolerIdentity, PoolerProduct};
use super::table::{ConsoleAnswers, Record};
use crate::view::column::ViewError;
use crate::view::memory::{Digest, Memory};
use crate::view::row::{Answer, Context, View, ViewSource, view_name};
use crate::view::settings::ViewSettings;

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("pools"),
    doc: "a pooler's pools, from `SHOW POOLS` (`kind: pgbouncer`)",
    since: 0,
    on_by_default: true,
    is_sampled: true,
    source: ViewSource::Console { ask, read },
    readings: &[super::readings::PROCESS, super::readings::POOLS],
};

pub(super) const SHOW_VERSION: &str = "SHOW VERSION";
const SHOW_POOLS: &str = "SHOW POOLS";

/// The console's own database: its pool and its statements are ours.
pub(super) const CONSOLE: &str = "pgbouncer";

/// The state of a client connection; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClientState {
    /// It has a server connection, or it is idle: PgBouncer counts both in `cl_active`.
    ActiveOrIdle,
    /// It has a server connection.
    Active,
    /// It is between two transactions.
    Idle,
    /// It has sent something and waits for a server connection.
    Waiting,
    /// A cancel request that waits or was sent on (1.16 and 1.17).
    CancelRequested,
    /// A cancel request that was sent on, and has no answer.
    ActiveCancel,
    /// A cancel request that waits.
    WaitingCancel,
}

/// The state of a server connection; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ServerState {
    /// A client has it, also while it is idle in a transaction.
    Active,
    /// It can be given to a client.
    Idle,
    /// It has been idle for so long that it is tested before a client gets it.
    Used,
    /// It is being reset or tested.
    Tested,
    /// It is logging in.
    Login,
    /// It carries a cancel request.
    ActiveCancel,
    /// It waits for the end of all cancel requests to it.
    BeingCanceled,
}

impl ServerState {
    /// Reports whether a connection in this state can be given to a client, after a test at most.
    fn is_free(self) -> bool {
        matches!(self, Self::Idle | Self::Used)
    }
}

/// A pool's database and user, as the console names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The database's name in the pooler's configuration; the server's database can have another name.
    pub database: String,
    /// The role that logs in to the server.
    pub user: String,
}

/// The connections of one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolConnections {
    /// Client connections by state, as far as the pooler counts the state.
    pub clients: BTreeMap<ClientState, u64>,
    /// Server connections by state, as far as the pooler counts the state.
    pub servers: BTreeMap<ServerState, u64>,
    /// The wait of the client that waits for longest, as the pooler measures it; `None` where it does not.
    pub max_wait: Option<Duration>,
    /// True if it is paused; `None` where SHOW POOLS does not show it.
    pub is_paused: Option<bool>,
}

impl PoolConnections {
    /// Clients that wait for a server connection; `None` where the pooler does not count them.
    pub fn waiting(&self) -> Option<u64> {
        self.clients.get(&ClientState::Waiting).copied()
    }

    /// Server connections that no client can get now.
    pub fn busy(&self) -> u64 {
        self.servers.iter().filter(|(state, _)| !state.is_free()).map(|(_, n)| *n).sum()
    }

    /// All server connections.
    pub fn open(&self) -> u64 {
        self.servers.values().sum()
    }

    /// Adds another pool's connections. A wait is the longer one.
    pub(super) fn add(&mut self, other: &Self) {
        for (state, n) in &other.clients {
            *self.clients.entry(*state).or_default() += n;
        }
        for (state, n) in &other.servers {
            *self.servers.entry(*state).or_default() += n;
        }
        self.max_wait = self.max_wait.max(other.max_wait);
        self.is_paused = self.is_paused.max(other.is_paused);
    }

    /// The same states, each with 0.
    pub(super) fn emptied(&self) -> Self {
        Self {
            clients: self.clients.keys().map(|state| (*state, 0)).collect(),
            servers: self.servers.keys().map(|state| (*state, 0)).collect(),
            max_wait: self.max_wait.map(|_| Duration::ZERO),
            is_paused: None,
        }
    }
}

/// The pools of one SHOW POOLS.
#[derive(Debug)]
pub(in crate::view) struct Pools {
    pub(super) at: Instant,
    pub(super) identity: PoolerIdentity,
    pub(super) server_version: String,
    pub(super) pools: BTreeMap<PoolKey, PoolConnections>,
}

impl Answer for Pools {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        digest.memory.take_pools(&self);
        digest.console.pools = Some(*self);
    }

    fn sample(self: Box<Self>, _: &ViewSettings, memory: &mut Memory) {
        memory.take_pools(&self);
    }
}

fn ask(context: &Context<'_>, server_version: &str) -> Vec<&'static str> {
    let console = &context.memory.console;
    if console.identity(server_version).is_some() || PoolerIdentity::is_known_by(server_version) {
        vec![SHOW_POOLS]
    } else {
        vec![SHOW_VERSION, SHOW_POOLS]
    }
}

fn read(context: &Context<'_>, answers: &ConsoleAnswers) -> Result<Box<dyn Answer>, ViewError> {
    let identity = context.memory.console.identify(answers);
    let table = answers
        .required(SHOW_POOLS, &["database", "user", "cl_waiting", "sv_active", "sv_idle"])?;
    let mut pools: BTreeMap<PoolKey, PoolConnections> = BTreeMap::new();
    for row in table.rows() {
        let key = key(row);
        if key.database != CONSOLE {
            // pgdog has a row for each server and shard of a pool.
            pools.entry(key).or_default().add(&connections(row, identity.product));
        }
    }
    let server_version = answers.server_version.clone();
    Ok(Box::new(Pools { at: answers.at, identity, server_version, pools }))
}

fn key(row: Record<'_>) -> PoolKey {
    let text = |column| row.text(column).unwrap_or_default().to_owned();
    PoolKey { database: text("database"), user: text("user") }
}

/// The columns of client connections that a pooler counts.
fn client_columns(product: PoolerProduct) -> &'static [(&'static str, ClientState)] {
    use ClientState::{
        Active, ActiveCancel, ActiveOrIdle, CancelRequested, Idle, Waiting, WaitingCancel,
    };
    match product {
        PoolerProduct::PgBouncer => &[
            ("cl_active", ActiveOrIdle),
            ("cl_waiting", Waiting),
            ("cl_cancel_req", CancelRequested),
            ("cl_active_cancel_req", ActiveCancel),
            ("cl_waiting_cancel_req", WaitingCancel),
        ],
        PoolerProduct::PgCat => {
            &[("cl_active", Active), ("cl_idle", Idle), ("cl_waiting", Waiting)]
        }
        PoolerProduct::PgDog => &[("cl_waiting", Waiting)],
        // Its cl_waiting counts the clients that have no server connection and want none.
        PoolerProduct::Odyssey => &[("cl_active", Active), ("cl_waiting", Idle)],
        PoolerProduct::Other => &[("cl_active", ActiveOrIdle), ("cl_waiting", Waiting)],
    }
}

/// The columns of server connections that a pooler counts.
fn server_columns(product: PoolerProduct) -> &'static [(&'static str, ServerState)] {
    use ServerState::{Active, ActiveCancel, BeingCanceled, Idle, Login, Tested, Used};
    match product {
        PoolerProduct::PgBouncer => &[
            ("sv_active", Active),
            ("sv_idle", Idle),
            ("sv_used", Used),
            ("sv_tested", Tested),
            ("sv_login", Login),
            ("sv_active_cancel", ActiveCancel),
            ("sv_being_canceled", BeingCanceled),
        ],
        // Its sv_idle is wrong: <https://github.com/postgresml/pgcat/issues/450>.
        PoolerProduct::PgCat => {
            &[("sv_active", Active), ("sv_tested", Tested), ("sv_login", Login)]
        }
        PoolerProduct::PgDog | PoolerProduct::Odyssey | PoolerProduct::Other => {
            &[("sv_active", Active), ("sv_idle", Idle)]
        }
    }
}

fn connections(row: Record<'_>, product: PoolerProduct) -> PoolConnections {
    let clients = client_columns(product).iter();
    let servers = server_columns(product).iter();
    PoolConnections {
        clients: clients.filter_map(|(column, s)| Some((*s, row.count(column)?))).collect(),
        servers: servers.filter_map(|(column, s)| Some((*s, row.count(column)?))).collect(),
        max_wait: product.measures_waits().then(|| wait(row, "maxwait", "maxwait_us")).flatten(),
        is_paused: row.flag("paused"),
    }
}

/// A time in two columns: whole seconds, and the microseconds beside them.
pub(super) fn wait(row: Record<'_>, seconds: &str, microseconds: &str) -> Option<Duration> {
    let whole = Duration::try_from_secs_f64(row.number(seconds)?).ok()?;
    Some(whole + Duration::from_micros(row.count(microseconds).unwrap_or(0)))
}
