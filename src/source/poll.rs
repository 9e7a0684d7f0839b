//! Reads all processes of an application at once, and publishes what they say.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};

use super::client::{FetchError, FetchReason, fetch};
use super::directory::Directory;
use super::endpoint::Endpoint;
use super::material::Materials;
use super::report::{ProcessReport, SourceReport};
use super::settings::SourceSettings;
use super::status::PoolStatus;
use super::totals::{Seen, Totals};
use crate::metrics::Label as _;
use crate::text::printable;

/// The number of problems that are kept for people.
const PROBLEMS: usize = 20;

/// The number of processes that are remembered for each address.
const IN_TURN: usize = 8;

/// The status of one application's processes. One reader polls, and many see the last report.
pub struct Source {
    settings: SourceSettings,
    state: Mutex<State>,
    last: ArcSwapOption<SourceReport>,
}

struct State {
    totals: Totals,
    directory: Directory,
    materials: Materials,
    failures: HashMap<FetchReason, u64>,
    /// The processes that each configured address has answered for, the last one at the end.
    answered: HashMap<usize, VecDeque<String>>,
}

/// An address that one poll reads.
struct Asked {
    endpoint: Endpoint,
    /// The place among the configured addresses; `None` for a socket of the directory.
    place: Option<usize>,
}

impl Source {
    /// A source that has read nothing yet.
    pub fn new(settings: SourceSettings) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let state = State {
            totals: Totals::new(now.as_secs_f64()),
            directory: Directory::default(),
            materials: Materials::default(),
            failures: HashMap::new(),
            answered: HashMap::new(),
        };
        Self { settings, state: Mutex::new(state), last: ArcSwapOption::empty() }
    }

    /// Its settings.
    pub fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// The report of the last poll; `None` before the first.
    pub fn report(&self) -> Option<Arc<SourceReport>> {
        self.last.load_full()
    }

    /// Reads all processes and publishes the report. Takes at most twice the time limit of a request.
    ///
    /// `target`: the name of the target, for the log.
    pub async fn poll(&self, target: &str) -> Arc<SourceReport> {
        let mut state = self.state.lock().await;
        let mut poll = Poll::default();
        let asked = poll.asked(&self.settings, &mut state).await;
        let needs_tls = |asked: &Asked| matches!(&asked.endpoint, Endpoint::Web(web) if web.is_tls);
        let needs_tls = asked.iter().any(needs_tls);
        let material = state.materials.get(&self.settings, needs_tls).await;
        let limit = self.settings.timeout;
        let answers = join_all(asked.iter().map(async |asked| {
            let answer = timeout(limit, fetch(&asked.endpoint, &material)).await;
            answer.unwrap_or_else(|_| {
                let message = format!("no answer within {} s", limit.as_secs_f64());
                Err(FetchError::new(FetchReason::Timeout, message))
            })
        }));
        for (asked, answer) in asked.iter().zip(answers.await) {
            poll.take(asked, answer, &mut state, &self.settings);
        }
        let report = Arc::new(poll.end(&mut state, &self.settings));
        self.log(target, &report);
        self.last.store(Some(Arc::clone(&report)));
        report
    }

    /// Logs how the report differs from the last one.
    fn log(&self, target: &str, report: &SourceReport) {
        let before = self.last.load();
        let was_well = before.as_ref().is_none_or(|before| before.problems.is_empty());
        let was_up = before.as_ref().is_none_or(|before| before.is_up());
        let application = &report.key.application;
        match report.complaint() {
            Some(complaint) if was_well || (was_up && !report.is_up()) => {
                warn!(target, application, "status of the application's pools: {complaint}");
            }
            None if !was_well => {
                let processes = report.processes.len();
                info!(target, application, processes, "the application's pools answer again");
            }
            Some(_) | None => {}
        }
    }
}

/// A poll under way.
#[derive(Default)]
struct Poll {
    processes: Vec<ProcessReport>,
    failed: usize,
    problems: Vec<String>,
}

impl Poll {
    /// Lists what to ask: the configured addresses, then the directory's sockets.
    async fn asked(&mut self, settings: &SourceSettings, state: &mut State) -> Vec<Asked> {
        let configured = settings.endpoints.iter().cloned().enumerate();
        let mut asked: Vec<Asked> =
            configured.map(|(place, endpoint)| Asked { endpoint, place: Some(place) }).collect();
        if let Some(directory) = &settings.directory {
            let shown = directory.display();
            let pool = settings.pool.as_deref();
            let listing = state.directory.sockets(directory, pool);
            match timeout(settings.timeout, listing).await {
                Ok(Ok(sockets)) => asked.extend(
                    sockets
                        .into_iter()
                        .map(|path| Asked { endpoint: Endpoint::Socket(path), place: None }),
                ),
                Ok(Err(error)) => {
                    let message = format!("{shown} cannot be read: {}", error.kind());
                    self.fail(FetchReason::Connect, message, state);
                }
                Err(_) => {
                    let message = format!("{shown}: its file system does not answer");
                    self.fail(FetchReason::Timeout, message, state);
                }
            }
        }
        let most = settings.processes as usize;
        if asked.len() > most {
            let all = asked.len();
            asked.truncate(most);
            self.complain(format!("{all} processes, of which status_processes allows {most}"));
        }
        asked
    }

    /// Counts a failure and keeps its message.
    fn fail(&mut self, reason: FetchReason, message: String, state: &mut State) {
        self.failed += 1;
        *state.failures.entry(reason).or_insert(0) += 1;
        self.complain(message);
    }

    fn complain(&mut self, message: String) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(printable(&message).into_owned());
        }
    }

    /// Takes one answer.
    fn take(
        &mut self,
        asked: &Asked,
        answer: Result<PoolStatus, FetchError>,
        state: &mut State,
        settings: &SourceSettings,
    ) {
        let shown = asked.endpoint.show();
        let status = match answer {
            Ok(status) => status,
            // A process that was killed leaves its socket; the others remove it in some seconds.
            Err(error) if asked.place.is_none() && error.is_dead => return,
            Err(FetchError { reason, message, .. }) => {
                if reason == FetchReason::Login {
                    state.materials.expire();
                }
                return self.fail(reason, format!("{shown}: {message}"), state);
            }
        };
        let identity = status.identity.as_ref();
        let instance =
            identity.map_or_else(|| shown.clone(), |process| process.instance_id.clone());
        if self.processes.iter().any(|other| other.instance == instance) {
            let message = format!("{shown}: another address answers for the same process");
            return self.fail(FetchReason::Process, message, state);
        }
        let started_at = identity.map(|process| process.started_at);
        let seen = Seen { instance: &instance, started_at, counts: &status.counts };
        if state.totals.add(&seen).is_err() {
            let message = format!("{shown}: a counter fell, although the process is the same");
            return self.fail(FetchReason::Nonsense, message, state);
        }
        if let Some(place) = asked.place
            && answers_in_turn(state.answered.entry(place).or_default(), &instance)
        {
            *state.failures.entry(FetchReason::Process).or_insert(0) += 1;
            self.complain(format!(
                "{shown}: several processes answer in turn: use status_dir, or one address for each"
            ));
        }
        self.processes.push(ProcessReport::new(instance, status, settings));
    }

    fn end(mut self, state: &mut State, settings: &SourceSettings) -> SourceReport {
        if self.processes.is_empty() && self.problems.is_empty() {
            let directory = settings.directory.as_deref().map(|path| path.display().to_string());
            let of = settings.pool.as_deref().map(|pool| format!(" of {pool}")).unwrap_or_default();
            self.complain(format!("no process{of} answers in {}", directory.unwrap_or_default()));
        }
        state.totals.next_poll();
        let failures = FetchReason::all().map(|reason| state.failures.get(&reason).copied());
        SourceReport {
            key: settings.key.clone(),
            name: settings.name.clone(),
            processes: self.processes,
            failed: self.failed,
            problems: self.problems,
            totals: state.totals.sums().clone(),
            failures: failures.map(Option::unwrap_or_default).collect(),
        }
    }
}

/// Remembers the process that an address answered for. Returns true if one that it answered for before is
/// back after another: somebody distributes the requests.
fn answers_in_turn(answered: &mut VecDeque<String>, instance: &str) -> bool {
    if answered.back().is_some_and(|last| last == instance) {
        return distinct_are_back(answered);
    }
    answered.push_back(instance.to_owned());
    if answered.len() > IN_TURN {
        answered.pop_front();
    }
    distinct_are_back(answered)
}

fn distinct_are_back(answered: &VecDeque<String>) -> bool {
    answered.iter().collect::<HashSet<_>>().len() < answered.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_several_processes_is_told_from_one_whose_process_restarts() {
        let answers = |all: &[&str]| {
            let mut answered = VecDeque::new();
            all.iter().map(|one| answers_in_turn(&mut answered, one)).last()
        };
        assert_eq!(answers(&["a", "a", "b", "b", "c"]), Some(false), "restarts");
        assert_eq!(answers(&["a", "b", "a"]), Some(true));
        assert_eq!(answers(&["a", "b", "a", "a"]), Some(true), "by chance twice the same");
    }
}
