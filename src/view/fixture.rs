//! Rows of the views for tests: of this room and of the rooms above.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Scan, SessionGroup, SessionState, SlowQuery};
use super::application::{self, ApplicationSettings};
use super::databases::{Database, Databases};
use super::key::SessionKey;
use super::limits::{OwnRole, ServerLimits};
use super::memory::Memory;
use super::row::Answer;
use super::settings::ViewSettings;
use super::statements::{StatementId, StatementPart, StatementStats, Statements};
use super::{Application, Pattern, Views};

/// Sessions of the role `app` in the database `db`, which are the exporter's own.
pub fn group(application: &str, state: SessionState, sessions: u64) -> SessionGroup {
    SessionGroup {
        key: SessionKey::new("db", "app", application),
        own_database: true,
        own_role: true,
        address: Some("10.0.0.1".to_owned()),
        state,
        waits_for: None,
        sessions,
        transaction: None,
        query: None,
        idle_in_transaction: None,
        leaked: 0,
        slow: None,
    }
}

/// The pools of an application, as they are inferred from this many open sessions that share a name and
/// an address, and are not more than were ever open at once. `busy`: how many of them are busy.
pub fn application(settings: &ApplicationSettings, open: u64, busy: u64) -> Application {
    application::of_one_cell(settings, SessionKey::new("db", "app", "app"), open, busy)
}

/// Two idle sessions in the database `db`; `own`: whether role and database are the exporter's own.
pub fn session_group(user: &str, application: &str, own: bool) -> SessionGroup {
    SessionGroup {
        key: SessionKey::new("db", user, application),
        own_database: own,
        own_role: own,
        ..group("", SessionState::Idle, 2)
    }
}

/// A session with a slow query.
pub fn slow(pid: i32, started: i64) -> SessionGroup {
    let slow = SlowQuery { pid, started, wait_event: None, text: None };
    SessionGroup { slow: Some(slow), ..group("", SessionState::Active, 1) }
}

/// The views of a probe in which every family has a sample.
pub fn views() -> Views {
    let mut settings = ViewSettings::default();
    settings.applications[0].sessions.application_name = Some(Pattern::new("web-*"));
    settings.applications[0].name = Some("web".to_owned());
    let mut memory = Memory::new(&settings);
    // The first snapshot shows a counter with 0.
    memory.digest(&settings, answers());
    Views {
        consoles: vec![super::pgbouncer::fixture::console()],
        ..memory.digest(&settings, answers())
    }
}

fn answers() -> Vec<Box<dyn Answer>> {
    let seconds = |s: u64| Some(Duration::from_millis(s * 1000 + 250));
    let in_transaction = SessionGroup {
        transaction: seconds(90),
        idle_in_transaction: seconds(61),
        leaked: 1,
        ..group("web-1", SessionState::IdleInTransaction, 1)
    };
    let waiting = SessionGroup {
        waits_for: Some("Lock".to_owned()),
        transaction: seconds(2),
        query: seconds(2),
        ..slow(4_711, 1_750_000_000_000_000)
    };
    let groups = vec![
        group("web-1", SessionState::Active, 3),
        in_transaction,
        group("web-2", SessionState::Idle, 18),
        group("psql \"7\"\\\n", SessionState::Idle, 2),
        group("hidden", SessionState::Unknown, 2),
        waiting,
    ];
    vec![
        Box::new(Scan { at: Instant::now(), groups, own_open: 2 }),
        Box::new(limits()),
        Box::new(Databases { shown: vec![database()], left_out: 1 }),
        Box::new(Statements(vec![StatementPart { is_toplevel: true, stats: statement() }])),
    ]
}

fn limits() -> ServerLimits {
    let own = OwnRole {
        role: "monitor".to_owned(),
        database: "db".to_owned(),
        superuser: false,
        uses_reserved: true,
        sees_all: true,
    };
    ServerLimits {
        version: "16.4".to_owned(),
        started: 1_749_000_000.5,
        in_recovery: false,
        max: 100,
        superuser_reserved: 3,
        reserved: 2,
        own,
        roles: vec![("app".to_owned(), 40)],
        reserved_roles: BTreeSet::new(),
        databases: vec![("db".to_owned(), 60)],
        left_out: 3,
    }
}

fn database() -> Database {
    Database {
        name: "db".to_owned(),
        sessions: 1_000,
        abandoned: 3,
        fatal: 2,
        killed: 1,
        session_time: Duration::from_secs(86_400),
        active_time: Duration::from_secs(3_600),
        idle_in_transaction_time: Duration::from_millis(1_500),
    }
}

fn statement() -> StatementStats {
    StatementStats {
        id: StatementId { database: "db".to_owned(), user: "app".to_owned(), query: -42 },
        calls: 7,
        time: Duration::from_millis(350),
        rows: 70,
        text: Some("SELECT $1".to_owned()),
        is_top: true,
    }
}
