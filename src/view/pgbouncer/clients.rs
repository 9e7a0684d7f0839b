//! SHOW CLIENTS and SHOW SERVERS, added up by application: who waits, and who has the server connections.
//!
//! A row a connection is work for the one thread that pools for everybody, so this view is off by default, and is read
//! once a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::memory::ConsoleMemory;
use super::pools::{CONSOLE, wait};
use super::product::PoolerIdentity;
use super::table::{ConsoleAnswers, Record, Table};
use crate::view::column::ViewError;
use crate::view::dropped::CappedFamily;
use crate::view::key::SessionKey;
use crate::view::memory::Digest;
use crate::view::row::{Answer, Context, View, ViewSource, view_name};
use crate::view::series::{Series, label};

/// The row of this view.
pub const VIEW: View = View {
    name: view_name!("clients"),
    doc: "a pooler's connections by application, from `SHOW CLIENTS` and `SHOW SERVERS`, once a minute (`kind: pgbouncer`)",
    since: 0,
    on_by_default: false,
    is_sampled: false,
    source: ViewSource::Console { ask, read },
    readings: &[super::readings::APPLICATIONS],
};

const CLIENTS: &str = "SHOW CLIENTS";
const SERVERS: &str = "SHOW SERVERS";

/// The shortest time between two readings.
const EVERY: Duration = Duration::from_secs(60);

/// A reading that is older is not shown any more: several have failed since.
const STALE: Duration = Duration::from_secs(3 * 60);

/// The connections of one application through one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolerApplication {
    /// Client connections by state.
    pub clients: BTreeMap<&'static str, u64>,
    /// Server connections by state: those that the application has, or had last.
    pub servers: BTreeMap<&'static str, u64>,
    /// The wait of the client that has waited for longest.
    pub max_wait: Duration,
}

/// The applications of one reading.
pub type PoolerApplications = BTreeMap<SessionKey, PoolerApplication>;

/// The last reading, and the label sets that are shown.
#[derive(Debug)]
pub(super) struct ApplicationMemory {
    series: Series,
    last: Option<(Instant, PoolerApplications)>,
}

impl ApplicationMemory {
    pub(super) fn new(series_limit: usize) -> Self {
        Self { series: Series::new(series_limit), last: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= EVERY)
    }

    fn take(&mut self, at: Instant, applications: PoolerApplications) -> u64 {
        let keys: BTreeSet<SessionKey> = applications.keys().cloned().collect();
        let labels = self.series.admit(keys, at);
        let mut shown = PoolerApplications::new();
        for (key, application) in applications {
            shown.entry(label(&labels, &key).clone()).or_default().add(&application);
        }
        self.last = Some((at, shown));
        self.series.rolled()
    }

    /// The applications of the last reading, while it still says something.
    pub(super) fn shown(&self, now: Instant) -> Option<&PoolerApplications> {
        let (at, applications) = self.last.as_ref()?;
        (now.saturating_duration_since(*at) <= STALE).then_some(applications)
    }
}

impl PoolerApplication {
    fn add(&mut self, other: &Self) {
        for (state, n) in &other.clients {
            *self.clients.entry(state).or_default() += n;
        }
        for (state, n) in &other.servers {
            *self.servers.entry(state).or_default() += n;
        }
        self.max_wait = self.max_wait.max(other.max_wait);
    }
}

/// The rows of one reading.
struct Rows {
    at: Instant,
    applications: PoolerApplications,
}

impl Answer for Rows {
    fn digest(self: Box<Self>, digest: &mut Digest<'_>) {
        let memory = &mut *digest.memory;
        let rolled = memory.console.applications.take(self.at, self.applications);
        memory.dropped.set(CappedFamily::PoolerApplications, rolled);
    }
}

fn ask(context: &Context<'_>, server_version: &str) -> Vec<&'static str> {
    let console: &ConsoleMemory = &context.memory.console;
    let known = console.identity(server_version);
    let identity = known.unwrap_or_else(|| PoolerIdentity::of(server_version, None));
    // Others have columns of other meanings.
    if identity.product.has_limits() && console.applications.is_due(Instant::now()) {
        vec![CLIENTS, SERVERS]
    } else {
        Vec::new()
    }
}

fn read(_: &Context<'_>, answers: &ConsoleAnswers) -> Result<Box<dyn Answer>, ViewError> {
    let clients = answers.required(CLIENTS, &["user", "database", "state"])?;
    let mut applications = PoolerApplications::new();
    for row in clients.rows().filter(|row| !is_console(*row)) {
        let application = applications.entry(key(row)).or_default();
        let state = state(row, CLIENT_STATES);
        *application.clients.entry(state).or_default() += 1;
        if state == WAITING {
            let wait = wait(row, "wait", "wait_us").unwrap_or_default();
            application.max_wait = application.max_wait.max(wait);
        }
    }
    let servers = answers.get(SERVERS).into_iter().flat_map(Table::rows);
    for row in servers.filter(|row| !is_console(*row)) {
        let application = applications.entry(key(row)).or_default();
        *application.servers.entry(state(row, SERVER_STATES)).or_default() += 1;
    }
    Ok(Box::new(Rows { at: answers.at, applications }))
}

fn is_console(row: Record<'_>) -> bool {
    row.text("database") == Some(CONSOLE)
}

/// Before 1.18 the name of an application is not shown.
fn key(row: Record<'_>) -> SessionKey {
    let text = |column| row.text(column).unwrap_or_default();
    SessionKey::new(text("database"), text("user"), text("application_name")).kept_apart()
}

const WAITING: &str = "waiting";
const CLIENT_STATES: &[&str] =
    &["active", "idle", WAITING, "active_cancel_req", "waiting_cancel_req", "login"];
const SERVER_STATES: &[&str] =
    &["active", "idle", "used", "tested", "new", "login", "active_cancel", "being_canceled"];

/// The state in a row: one of these words, so that a console cannot make series without end.
fn state(row: Record<'_>, words: &[&'static str]) -> &'static str {
    let text = row.text("state").unwrap_or_default();
    words.iter().find(|word| **word == text).copied().unwrap_or("other")
}
