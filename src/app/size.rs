//! The inputs of a sizing advice from a live server: a few samples of its sessions and limits.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::probe::{self, Roster, SampleSeries, Snapshot, Target, publish_series};
use crate::sizing::{Inputs, Measured, PoolLimit, PoolNow, PoolUse, Processes, ServerRoom, Span};
use crate::view::activity::SessionState;
use crate::view::{Application, SessionKey, Views};

/// The time in which connections must end.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a live server is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveRequest {
    /// The time of the look.
    pub time: Duration,
    /// The time from one sample to the next.
    pub step: Duration,
    /// The number of processors of the server, where it was given.
    pub cores: Option<u32>,
    /// The most processes at once as a multiple of the usual number, where it was given.
    pub overlap: Option<f64>,
}

/// A target, and the inputs of each of its applications or the reason why there are none.
pub(crate) struct LiveTarget {
    /// The target's name.
    pub target: String,
    /// The failure of the last sample in words; `None` if it succeeded.
    pub failure: Option<String>,
    /// The applications.
    pub applications: Vec<Inputs>,
    /// What the server gives; `None` where that is not known.
    pub server: Option<ServerRoom>,
}

/// Samples every target for a time. `progress`: called with the samples taken so far, and with all.
///
/// # Errors
/// When the runtime cannot be made.
pub(crate) fn look(
    targets: Vec<probe::TargetSettings>,
    request: LiveRequest,
    progress: impl FnMut(u32, u32) + Send,
) -> std::io::Result<Vec<LiveTarget>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let progress = Mutex::new(progress);
    let all = runtime.block_on(async {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let roster = Roster::new(tasks.clone(), stop, probe::Probing::ByCaller);
        roster.apply(targets.into_iter().map(without_extras).collect());
        let targets = roster.targets();
        let looks = targets.iter().enumerate().map(|(n, target)| {
            let progress = &progress;
            sample(target, request, move |done, of| {
                // One bar for all: that of the first target.
                if let (0, Ok(mut progress)) = (n, progress.lock()) {
                    progress(done, of);
                }
            })
        });
        let all = join_all(looks).await;
        drop((targets, roster));
        tasks.close();
        // Connections end in order, but a server that does not answer is not waited for.
        let _ = timeout(FAREWELL, tasks.wait()).await;
        all
    });
    runtime.shutdown_background();
    Ok(all)
}

/// A look needs neither fresh connections nor writes.
fn without_extras(settings: probe::TargetSettings) -> probe::TargetSettings {
    let schedule = probe::Schedule { connect_interval: None, ..settings.schedule.clone() };
    probe::TargetSettings { schedule, write: None, ..settings }
}

async fn sample(
    target: &Target,
    request: LiveRequest,
    mut progress: impl FnMut(u32, u32),
) -> LiveTarget {
    let count = request.time.as_secs_f64() / request.step.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let count = count.ceil().clamp(1.0, 1e6) as u32;
    let mut seen = Seen::default();
    let series = SampleSeries { count, pause: request.step };
    let last = publish_series(target, series, |snapshot| {
        seen.add(snapshot);
        progress(seen.samples, count);
    })
    .await;
    let failure = last.query.as_ref().err().map(|failure| failure.message.clone());
    let applications = seen.applications.iter();
    let applications = applications.map(|(key, app)| seen.inputs(target.name(), request, key, app));
    LiveTarget {
        target: target.name().to_owned(),
        failure,
        applications: applications.collect(),
        server: seen.server(None, request.cores),
    }
}

/// What the samples have shown.
#[derive(Default)]
struct Seen {
    samples: u32,
    applications: BTreeMap<SessionKey, Vec<Application>>,
    used: Vec<u64>,
    open: BTreeMap<SessionKey, Vec<u64>>,
    on_cpu: Vec<f64>,
    views: Option<Views>,
}

impl Seen {
    fn add(&mut self, snapshot: &Snapshot) {
        self.samples += 1;
        let views = &snapshot.views;
        for app in views.applications.iter().filter(|app| app.allowed.is_some()) {
            self.applications.entry(app.key.clone()).or_default().push(app.clone());
        }
        let Some(activity) = &views.activity else { return };
        self.used.push(activity.used);
        for app in &views.applications {
            self.open
                .entry(app.key.clone())
                .or_default()
                .push(activity.used.saturating_sub(app.open));
        }
        let active: u64 =
            activity.sets.iter().map(|(_, sessions)| sessions.count(SessionState::Active)).sum();
        let waiting: u64 = activity.waiting.iter().map(|(_, _, number)| number).sum();
        self.on_cpu.push(active.saturating_sub(waiting) as f64);
        if views.limits.is_some() {
            self.views = Some(views.clone());
        }
    }

    fn inputs(
        &self,
        target: &str,
        request: LiveRequest,
        key: &SessionKey,
        samples: &[Application],
    ) -> Inputs {
        let last = samples.last();
        let allowed = last.and_then(|app| app.allowed);
        let max = allowed.and_then(|allowed| allowed.process.max());
        let numbers = samples.iter().filter_map(|app| Some(app.allowed?.instances.number));
        let most = numbers.max().unwrap_or(1).max(1);
        let overlap = request.overlap.map_or(f64::from(most), |factor| f64::from(most) * factor);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let overlap = overlap.ceil().clamp(1.0, 1e6) as u32;
        Inputs {
            target: target.to_owned(),
            application: key.application.clone(),
            user: key.user.clone(),
            database: key.database.clone(),
            span: Span {
                measured: Measured::Live,
                asked: request.time,
                seen: request.step * u32::try_from(samples.len()).unwrap_or(u32::MAX),
                step: request.step,
            },
            pool: PoolNow {
                size: allowed.and_then(|allowed| allowed.process.size()),
                max: max.map_or(PoolLimit::Unlimited, PoolLimit::AtMost),
            },
            processes: Processes {
                usual: most,
                most: overlap.max(most),
                are_known: allowed.is_some_and(|allowed| allowed.instances.is_known()),
            },
            usage: self.usage(samples),
            server: self.server(Some(key), request.cores),
        }
    }

    fn usage(&self, samples: &[Application]) -> PoolUse {
        let wanted = |app: &Application| Some(app.active? + app.waiting.unwrap_or(0));
        let active: Vec<f64> = samples.iter().filter_map(|app| Some(wanted(app)? as f64)).collect();
        let are_told_apart = samples.iter().any(|app| {
            let number = app.allowed.map_or(1, |allowed| allowed.instances.number);
            number > 1 && app.fullest.is_some_and(|fullest| fullest.processes == 1)
        });
        let fullest = || samples.iter().filter_map(|app| Some(app.fullest?.active as f64));
        let full = samples.iter().filter(|app| app.is_saturated()).count();
        let wait = samples.iter().filter_map(|app| app.oldest_wait).max();
        let mean = active.iter().sum::<f64>() / active.len().max(1) as f64;
        PoolUse {
            peak: samples
                .iter()
                .map(|app| app.recent.peak)
                .max()
                .and_then(|n| u32::try_from(n).ok()),
            means: if active.is_empty() { Vec::new() } else { vec![mean] },
            active: active.into_iter().collect(),
            fullest: are_told_apart.then(|| fullest().collect()),
            saturated: Some(full as f64 / samples.len().max(1) as f64),
            has_waiting: samples.iter().any(|app| app.waiting.is_some()),
            longest_wait: wait,
            on_cpu: (!self.on_cpu.is_empty()).then(|| self.on_cpu.iter().copied().collect()),
            ..PoolUse::default()
        }
    }

    /// The server's limits. `key`: the application that is not counted among the others.
    fn server(&self, key: Option<&SessionKey>, cores: Option<u32>) -> Option<ServerRoom> {
        let views = self.views.as_ref()?;
        let limits = views.limits.as_ref()?;
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let others = key.and_then(|key| self.open.get(key)).unwrap_or(&self.used).iter().max();
        let sessions = |is_one: &dyn Fn(&SessionKey) -> bool| -> u64 {
            let activity = views.activity.iter().flat_map(|activity| &activity.sets);
            let others = activity.filter(|(other, _)| is_one(other) && Some(other) != key);
            others.map(|(_, sessions)| sessions.open()).sum()
        };
        let left = |limits: &[(String, u64)], name: &str, used: u64| {
            let limit = limits.iter().find(|(known, _)| known == name);
            limit.map(|(_, limit)| narrow(limit.saturating_sub(used)))
        };
        let role = key.and_then(|key| {
            left(&limits.roles, &key.user, sessions(&|other| other.user == key.user))
        });
        let database = key.and_then(|key| {
            let used = sessions(&|other| other.database == key.database);
            left(&limits.databases, &key.database, used)
        });
        let ordinary = limits.max.saturating_sub(limits.superuser_reserved + limits.reserved);
        Some(ServerRoom {
            max_connections: narrow(limits.max),
            ordinary: narrow(ordinary),
            others: narrow(others.copied().unwrap_or(0)),
            role,
            database,
            cores,
        })
    }
}
