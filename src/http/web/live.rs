//! The web configuration in force, read again when the file or one that it names changes.
//!
//! A file that was half written when we looked is an empty one, and an empty one means no
//! protection. So a change may give protection, or change it, but only a restart takes it away.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rate::Bucket;
use super::tls::Server;
use super::users::Users;
use super::{Header, RateLimit, WebConfig};
use crate::http::HttpInstruments;

/// Reads the file; `config` knows how.
pub type Load = Box<dyn Fn() -> Loaded + Send + Sync>;

/// What reading the file gave.
pub struct Loaded {
    /// The files that were looked at, also when that failed.
    pub files: Files,
    /// The settings, or all that is wrong.
    pub outcome: Result<WebConfig, Vec<String>>,
}

/// Files that were read, and what they looked like just before.
#[derive(Default)]
pub struct Files(Vec<(PathBuf, Option<Look>)>);

/// Device, inode, size, and the times of the last change in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look([u64; 3], [i64; 4]);

impl Files {
    /// Reads a file, to be looked at again later.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.push((path.to_owned(), look(path)));
        fs::read(path)
    }

    fn changed(&self) -> bool {
        self.0.iter().any(|(path, before)| look(path) != *before)
    }
}

fn look(path: &Path) -> Option<Look> {
    let found = fs::metadata(path).ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some(Look([found.dev(), found.ino(), found.size()], times))
}

/// One reading of the file, ready for use.
pub(in super::super) struct Web {
    pub(in super::super) tls: Option<Server>,
    pub(in super::super) headers: Vec<Header>,
    pub(in super::super) users: Users,
    pub(in super::super) rate: Option<Arc<Bucket>>,
    /// Cancelled by a successor: connections that were let in by this one come in anew.
    pub(in super::super) retired: CancellationToken,
    rate_limit: Option<RateLimit>,
}

impl Web {
    fn new(settings: WebConfig) -> Result<Self, Vec<String>> {
        let WebConfig { tls, http2, headers, users, rate_limit } = settings;
        let tls = tls.map(|tls| Server::new(tls, http2)).transpose().map_err(|e| vec![e])?;
        let rate = rate_limit.map(|limit| Arc::new(Bucket::new(limit)));
        let (users, retired) = (Users::new(users), CancellationToken::new());
        Ok(Self { tls, headers, users, rate, retired, rate_limit })
    }

    /// What a successor must not take away.
    fn succeed(mut self, before: &Self) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        if before.tls.is_some() && self.tls.is_none() {
            problems.push("tls_server_config: only a restart switches TLS off".to_owned());
        }
        if !before.users.is_empty() && self.users.is_empty() {
            problems.push("basic_auth_users: only a restart removes the last user".to_owned());
        }
        if self.rate_limit == before.rate_limit {
            self.rate.clone_from(&before.rate);
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

/// Whether settings can be used: what reading the file alone does not show.
///
/// # Errors
/// All that is wrong with them.
pub fn check(settings: WebConfig) -> Result<(), Vec<String>> {
    Web::new(settings).map(|_| ())
}

/// From one look at the files to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// The configuration in force.
pub(in super::super) struct Live {
    load: Option<Load>,
    current: ArcSwap<Web>,
    seen: Mutex<Seen>,
    instruments: Arc<HttpInstruments>,
}

struct Seen {
    files: Files,
    at: Instant,
}

impl Live {
    /// Reads the file for the first time.
    pub(in super::super) fn start(
        load: Option<Load>,
        instruments: Arc<HttpInstruments>,
    ) -> Result<Self, Vec<String>> {
        let loaded = match &load {
            Some(load) => load(),
            None => Loaded { files: Files::default(), outcome: Ok(WebConfig::default()) },
        };
        let web = loaded.outcome.and_then(Web::new)?;
        if load.is_some() {
            instruments.web_config_read(true);
        }
        let seen = Mutex::new(Seen { files: loaded.files, at: Instant::now() });
        Ok(Self { load, current: ArcSwap::from_pointee(web), seen, instruments })
    }

    /// The configuration in force; looks at the files at most once a second.
    pub(in super::super) fn current(&self) -> Arc<Web> {
        if let Some(load) = &self.load
            && let Ok(mut seen) = self.seen.try_lock()
            && seen.at.elapsed() >= PAUSE
        {
            seen.at = Instant::now();
            if seen.files.changed() {
                let loaded = load();
                seen.files = loaded.files;
                self.take_over(loaded.outcome);
            }
        }
        self.current.load_full()
    }

    fn take_over(&self, outcome: Result<WebConfig, Vec<String>>) {
        let before = self.current.load_full();
        let web = outcome.and_then(Web::new).and_then(|web| web.succeed(&before));
        self.instruments.web_config_read(web.is_ok());
        match web {
            Ok(web) => {
                self.current.store(Arc::new(web));
                before.retired.cancel();
                tracing::info!("web configuration read again");
            }
            Err(problems) => tracing::error!(
                problems = problems.join("; "),
                "web configuration not taken over, the last good one stays"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn with_user() -> WebConfig {
        let hash = bcrypt::hash("x", 4).unwrap();
        let users = vec![("u".to_owned(), super::super::password_hash(&hash).unwrap())];
        WebConfig { users, ..WebConfig::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_within_a_second_and_takes_no_protection_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        fs::write(&path, "u").unwrap();
        let (file, reads) = (path.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&reads);
        let load: Load = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut files = Files::default();
            let outcome = match files.read(&file).unwrap().as_slice() {
                b"u" => Ok(with_user()),
                b"" => Ok(WebConfig::default()),
                _ => Err(vec!["broken".to_owned()]),
            };
            Loaded { files, outcome }
        });
        let live = Live::start(Some(load), Arc::new(HttpInstruments::new())).unwrap();
        for content in ["broken", "", "u"] {
            fs::write(&path, content).unwrap();
            live.current();
            tokio::time::advance(PAUSE).await;
            assert!(!live.current().users.is_empty());
        }
        tokio::time::advance(PAUSE).await;
        live.current();
        assert_eq!(reads.load(Ordering::Relaxed), 4);
    }
}
