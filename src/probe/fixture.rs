//! Targets and snapshots for the tests of the rooms above: the specification's example as a probe
//! would have seen it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    Connected, Failure, PoolSight, ProbePart, ProbeSample, ProcessSettings, Published, Queried,
    Schedule, Sight, Snapshot, Target, TargetKind, TargetSettings, Thresholds, Window,
};
use crate::dsn::Dsn;
use crate::metrics::{Detail, UsageSource};
use crate::pool::{self, Backend, Peer, Timings, Totals};
use crate::view::{self, Usage, Views};

/// The time of a snapshot's fresh connect.
pub const CONNECT: Duration = Duration::from_micros(12_500);

/// A target of this name with the specification's defaults, and a URL without a host.
pub fn settings(name: &str) -> TargetSettings {
    let interval = Duration::from_secs(10);
    let mut dsn = Dsn::default();
    dsn.database = Some("orders".to_owned());
    TargetSettings {
        name: name.to_owned(),
        labels: vec![("team".to_owned(), "payments".to_owned())],
        kind: TargetKind::Postgres,
        schedule: Schedule { interval, timeout: interval, connect_interval: Some(Duration::ZERO) },
        query: "SELECT 1".to_owned(),
        slow_threshold: Duration::from_secs(1),
        command_timeout: None,
        connections_per_server: pool::CONNECTIONS_PER_SERVER,
        connect: pool::fixture::connect_to(dsn),
        limits: pool::fixture::limits(),
        views: view::ViewSettings::default(),
        sources: Vec::new(),
        processes: ProcessSettings::One,
        write: None,
        thresholds: Thresholds::default(),
        app_env: "development".to_owned(),
        detail: Detail::Standard,
        parent: None,
    }
}

/// A probe that went well, just now: the numbers of the specification's examples.
pub fn snapshot() -> Snapshot {
    let server = Backend {
        pid: 1,
        version: "15.18".to_owned(),
        peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 5432))),
        tls: None,
    };
    let startup = Some(CONNECT);
    let timings = Timings { startup, total: CONNECT, ..Timings::default() };
    let query = Duration::from_micros(2_500);
    Snapshot {
        taken_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000),
        taken: Instant::now(),
        took: CONNECT,
        connect: Some(Ok(Connected { timings, server: server.clone(), identity: None })),
        query: Ok(Queried { checkout: Duration::ZERO, query, server, identity: None }),
        views: Views::default(),
        extras: Vec::new(),
        last_success_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000)),
        usage: usage(5),
        totals: Totals {
            checkouts: 1_523,
            checkins: 1_518,
            connects: 20,
            disconnects: 0,
            failed: 0,
            timeouts: 0,
        },
        slow: 2,
        session_fault: None,
        endpoints: Vec::new(),
        sight: Arc::default(),
        window: Arc::new(Window::default()),
        tls: None,
        path: None,
        pooled_databases: Arc::default(),
    }
}

/// The sample that a successful probe adds to the window.
pub fn sample(query: Duration) -> ProbeSample {
    ProbeSample {
        at: Instant::now(),
        ok: true,
        query: Some(query),
        slow: false,
        connect: None,
        saturated: false,
        checkout_timeouts: 0,
        failed_connects: 0,
        headroom: None,
    }
}

/// A pool of size 20 with an overflow of 10 and this number of connections checked out.
pub fn usage(active: u64) -> Usage {
    let open = active.max(20);
    Usage {
        active,
        idle: open - active,
        open,
        overflow: open - 20,
        size: Some(20),
        max_overflow: Some(10),
        max: Some(30),
        source: UsageSource::Exporter,
    }
}

/// An application of one configured process with a pool of 5 and 3, and this many connections open, all
/// of them checked out.
pub fn application(name: &str, open: u64) -> view::Application {
    let settings = view::application::ApplicationSettings {
        name: Some(name.to_owned()),
        pool: view::application::ProcessPool::Sqlalchemy { size: 5, max_overflow: Some(3) },
        instances: Some(1),
        ..view::application::ApplicationSettings::default()
    };
    let app = view::fixture::application(&settings, open, open);
    view::Application { key: view::SessionKey::new("orders", "app", name), ..app }
}

/// Pools that are seen now; each with the number of probes in a row at which it had nothing left.
pub fn sight(pools: impl IntoIterator<Item = (view::Application, usize)>) -> Arc<Sight> {
    let seen = |(app, saturated_in_a_row): (view::Application, usize)| PoolSight {
        key: app.key.clone(),
        last: Some((Instant::now(), app)),
        saturated_in_a_row,
        ended: None,
        blindness: None,
        was_ambiguous: false,
        is_gone: false,
    };
    Arc::new(Sight { pools: pools.into_iter().map(seen).collect(), blindness: None })
}

/// A probe of everything that a probe can do: each family of the exposition has a sample, but for those
/// that count events.
pub fn rich_snapshot() -> Snapshot {
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let failed = Err(Failure::deadline(Duration::from_secs(10)));
    Snapshot {
        sight: sight([(application("shop", 5), 0)]),
        views: view::fixture::views(),
        extras: vec![
            (ProbePart::Write, Ok(())),
            (ProbePart::View(view::activity::VIEW.name), Ok(())),
            (ProbePart::View(view::databases::VIEW.name), failed),
        ],
        tls: Some(pool::TlsInfo {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            not_after: Some(expiry),
        }),
        ..snapshot()
    }
}

/// Publishes snapshots of the last time, one every ten seconds, as the target's probe would have. The last
/// one is of now.
pub fn publish_past(target: &Target, snapshots: Vec<Snapshot>) {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let number = u32::try_from(snapshots.len()).unwrap_or(u32::MAX);
    let before = |n: u32| super::STEP * (number - n - 1);
    target.restart_hour(now.checked_sub(before(0)).unwrap_or(now));
    for (n, snapshot) in (0..number).zip(snapshots) {
        let taken = now.checked_sub(before(n)).unwrap_or(now);
        publish(target, Snapshot { taken, taken_at: wall - before(n), ..snapshot });
    }
}

/// Publishes a snapshot, as the target's probe would.
pub fn publish(target: &Target, snapshot: Snapshot) {
    target.publish(Published::new(snapshot, target.base()));
}
